"""The lists, page by page, and the search.

In: a visit. Out: an HTML page; what was not looked at is said on it, with a link that goes on from there.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from urllib.parse import urlencode

from shared.model.lifecycle import State
from shared.model.signal import Severity, Status
from shared.portal import read_model, status
from shared.portal.exchange import Refused, Response
from shared.portal.site import Visit
from shared.records import lists
from shared.records.lists import AlertFilter, Filter

PAGE = 50
MAX_WORDS_CHARS = 200
STATES = ("open", "closed", "all", *State)


def incident_list(visit: Visit) -> Response:
    """The incident list with its filter."""
    visit.reader()
    store, settings = visit.site.ports.store, visit.site.ports.settings
    query = visit.request.query
    state = query.get("state", "open")
    wanted = Filter(
        state if state in STATES else "open", _field(visit, "service"), _field(visit, "q"), _severity(visit)
    )
    cursor = cursor_of(visit)
    found = read_model.incident_list(store, wanted, PAGE, cursor)
    if wanted.state == "open" and not wanted.narrow and not cursor and not found.next:
        counted = lists.Counted()  # everything that is open is on this page
        for line in found.incidents:
            lists.count_line(counted, {name: getattr(line, name) for name in ("severity", "service", "awaiting")})
        counted.waiting = [line for line in found.incidents if line.awaiting][:3]
        exact = True
    else:
        counted, exact = visit.site.opened.look(store), False
    services = {line.service for line in found.incidents} | counted.services | set(settings.services) | {wanted.service}
    return visit.html(
        "incidents.html",
        found=found,
        wanted=wanted,
        services=sorted(service for service in services if service),
        counted=counted,
        old_s=0 if exact else math.ceil(visit.site.opened.kept_s),
        any_closed=wanted.state == "open" and not found.incidents and read_model.any_incident(store),
        first="" if not cursor else _address("/", wanted),
        further=_address("/", wanted, found.next) if found.next else "",
        trouble=status.banner(store, settings, visit.now),
    )


def alert_list(visit: Visit) -> Response:
    """The alert list: every alert, and why it did or did not open an incident."""
    visit.reader()
    state = visit.request.query.get("state", "")
    wanted = AlertFilter(
        state if state in tuple(Status) else "", _field(visit, "service"), _field(visit, "q"), _severity(visit)
    )
    cursor = cursor_of(visit)
    found = read_model.alert_list(visit.site.ports.store, PAGE, wanted, cursor)
    services = {line.alert.service for line in found.alerts} | set(visit.site.ports.settings.services)
    return visit.html(
        "alerts.html",
        found=found,
        wanted=wanted,
        services=sorted(service for service in services | {wanted.service} if service),
        first="" if not cursor else _address("/alerts", wanted),
        further=_address("/alerts", wanted, found.next) if found.next else "",
    )


def search(visit: Visit) -> Response:
    """Incidents by name whatever their age, and by words; alerts by words."""
    visit.reader()
    words, inside = _field(visit, "q"), visit.request.query.get("in", "")
    inside = inside if inside in read_model.SEARCHED else ""
    found = read_model.search(visit.site.ports.store, words, inside, cursor_of(visit)) if words else None
    return visit.html("search.html", found=found, words=words, inside=inside, further=_search_address)


def cursor_of(visit: Visit) -> str:
    """Where a page begins.

    Raises:
        Refused: 400.
    """
    cursor = visit.request.query.get("cursor", "")
    if not lists.is_cursor(cursor):
        raise Refused(400, "This place in the list does not exist", "Take `next` of the page before as it is.")
    return cursor


def _search_address(words: str, inside: str, cursor: str) -> str:
    return "/search?" + urlencode({"q": words, "in": inside, **({"cursor": cursor} if cursor else {})})


def _address(path: str, wanted: Filter | AlertFilter, cursor: str = "") -> str:
    given: Iterable[tuple[str, str]] = (
        ("state", wanted.state), ("service", wanted.service), ("severity", wanted.severity), ("q", wanted.text),
        ("cursor", cursor),
    )  # fmt: skip
    return f"{path}?{urlencode([(name, value) for name, value in given if value])}"


def _field(visit: Visit, name: str) -> str:
    return visit.request.query.get(name, "").strip()[:MAX_WORDS_CHARS]


def _severity(visit: Visit) -> str:
    severity = visit.request.query.get("severity", "").strip().lower()
    return severity if severity in tuple(Severity) else ""
