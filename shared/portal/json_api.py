"""The JSON interface; its schema is `docs/incidents.schema.json`.

In: a visit. Out: the read model's views as JSON, or an accepted change.
"""

from __future__ import annotations

import json
from functools import partial
from urllib.parse import quote

from shared.model import codec
from shared.model.signal import Severity, Status
from shared.portal import acts, changes, read_model
from shared.portal.exchange import Refused, Response, json_answer
from shared.portal.list_pages import MAX_WORDS_CHARS, STATES, cursor_of
from shared.portal.read_model import LISTED
from shared.portal.site import Visit
from shared.records.lists import AlertFilter, Filter

DEFAULT_LIMIT = 100
MAX_BODY_BYTES = 256 * 1024  # the longest text a field takes is 4000 characters


def session(visit: Visit) -> Response:
    """Who the session belongs to, and the token its changes need."""
    if visit.person is None:
        raise Refused(401, "Please sign in", "Open /signin in the same session first.")
    person = visit.person
    token = visit.site.access.csrf(person)
    return json_answer({"user": person.user, "name": person.name, "groups": sorted(person.groups), "csrf": token})


def incident_list(visit: Visit) -> Response:
    """Incidents as lines."""
    visit.reader()
    query = visit.request.query
    state = query.get("state", "all")
    if state not in STATES:
        raise Refused(400, f"Nobody knows the state {state!r}", "Use open, closed, all or a state of the lifecycle.")
    wanted = Filter(state, query.get("service", ""), query.get("q", ""), _severity(visit))
    found = read_model.incident_list(visit.site.ports.store, wanted, limit_of(visit), cursor_of(visit))
    return json_answer(codec.to_json(found))


def incident(visit: Visit, name: str) -> Response:
    """Everything about one incident."""
    visit.reader()
    found = read_model.find_incident(visit.site.ports.store, name)
    view = read_model.incident_view(visit.site.ports.store, found) if found else None
    if view is None:
        detail = f"Use the whole id, or at least {read_model.MIN_PREFIX} characters that only one id begins with."
        raise Refused(404, "There is no such incident", detail)
    return json_answer(flat(view))


def flat(view: read_model.IncidentView) -> dict[str, object]:
    """The incident's own fields, and beside them everything that belongs to it."""
    whole: dict[str, object] = codec.to_json(view)
    incident_fields = codec.to_json(view.incident)
    del whole["incident"]
    return {**incident_fields, **whole}


def alert_list(visit: Visit) -> Response:
    """Alerts as lines."""
    visit.reader()
    query = visit.request.query
    status = query.get("state", "")
    if status and status not in tuple(Status):
        raise Refused(400, f"Nobody knows the state {status!r}", f"Use {' or '.join(Status)}.")
    wanted = AlertFilter(status, query.get("service", ""), query.get("q", ""), _severity(visit))
    found = read_model.alert_list(visit.site.ports.store, limit_of(visit), wanted, cursor_of(visit))
    return json_answer(codec.to_json(found))


def search(visit: Visit) -> Response:
    """Incidents and alerts that have all the words."""
    visit.reader()
    query = visit.request.query
    words, inside = query.get("q", "").strip(), query.get("in", "")
    if not words or len(words) > MAX_WORDS_CHARS:
        raise Refused(400, "Nothing to look for", f"Send words in q, at most {MAX_WORDS_CHARS} characters.")
    if inside and inside not in read_model.SEARCHED:
        raise Refused(400, f"Nobody can search in {inside!r}", f"Use {' or '.join(read_model.SEARCHED)}.")
    cursor = cursor_of(visit)
    if cursor and not inside:
        raise Refused(400, "It is not said of what this is the next page", "Send `in` beside `cursor`.")
    limit = limit_of(visit, read_model.FOUND)
    return json_answer(codec.to_json(read_model.search(visit.site.ports.store, words, inside, cursor, limit)))


def _severity(visit: Visit) -> str:
    severity = visit.request.query.get("severity", "").lower()
    if severity and severity not in tuple(Severity):
        raise Refused(400, f"Nobody knows the severity {severity!r}", f"Use one of {', '.join(Severity)}.")
    return severity


def open_incident(visit: Visit) -> Response:
    """Open an incident by hand."""
    return _accepted(changes.request_incident(visit, partial(fields_of, visit)), "opened")


def act(visit: Visit, name: str, verb: str) -> Response:
    """Acknowledge, assign, close or investigate."""
    return _accepted(changes.perform(visit, name, verb, partial(fields_of, visit)), acts.ACTS[verb])


def decide(visit: Visit, approval_id: str) -> Response:
    """Vote."""
    view, no, told = changes.vote(visit, approval_id, partial(fields_of, visit))
    if no is not None:
        raise Refused(no.status, "The vote was not accepted", no.why)
    body = {"accepted": True, "approval": view.request.id, "incident": view.request.incident_id, "queued": told}
    return json_answer(body, 202)


def _accepted(incident_id: str, what: str) -> Response:
    location = {"Location": f"/api/incidents/{quote(incident_id)}"}
    return json_answer({"accepted": True, "incident": incident_id, "what": what}, 202, location)


def limit_of(visit: Visit, usual: int = DEFAULT_LIMIT) -> int:
    """How many lines a list may have.

    Raises:
        Refused: 400.
    """
    given = visit.request.query.get("limit", str(usual))
    if not (given.isascii() and given.isdigit() and len(given) <= 6 and 1 <= int(given) <= LISTED):
        raise Refused(400, "The limit is no number that works", f"Use 1 to {LISTED}.")
    return int(given)


def fields_of(visit: Visit) -> dict[str, str]:
    """The texts of a JSON body.

    Raises:
        Refused: 413, 415 or 400.
    """
    if not visit.request.body:
        return {}
    kind = visit.request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if len(visit.request.body) > MAX_BODY_BYTES:
        raise Refused(413, "The body is too large", f"At most {MAX_BODY_BYTES} bytes.")
    if kind != "application/json":
        raise Refused(415, "The body is not declared as JSON", "Send it with Content-Type: application/json.")
    try:
        given = json.loads(visit.request.body)
    except (ValueError, RecursionError):
        raise Refused(400, "The body is not JSON", "Send one JSON object.") from None
    if not isinstance(given, dict) or not all(isinstance(value, str) for value in given.values()):
        raise Refused(400, "The body is no object of texts", "Send one JSON object whose values are strings.")
    return given
