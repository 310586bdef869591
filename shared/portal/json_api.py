"""The JSON interface; its schema is `docs/incidents.schema.json`.

In: a visit. Out: the read model's views as JSON, or an accepted change.
"""

from __future__ import annotations

import json
from functools import partial
from urllib.parse import quote

from shared.model import codec
from shared.model.lifecycle import State
from shared.portal import acts, changes, read_model
from shared.portal.exchange import Refused, Response, json_answer
from shared.portal.read_model import LISTED, Filter
from shared.portal.site import Visit

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
    if state not in ("open", "closed", "all", *State):
        raise Refused(400, f"Nobody knows the state {state!r}", "Use open, closed, all or a state of the lifecycle.")
    wanted = Filter(state, query.get("service", ""), query.get("q", ""))
    return json_answer(codec.to_json(read_model.incident_list(visit.site.ports.store, wanted, _limit(visit))))


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
    return json_answer(codec.to_json(read_model.alert_list(visit.site.ports.store, _limit(visit))))


def quarantine_list(visit: Visit) -> Response:
    """What nobody could work off."""
    visit.reader()
    return json_answer(codec.to_json(read_model.quarantine_list(visit.site.ports.store, visit.now, _limit(visit))))


def open_incident(visit: Visit) -> Response:
    """Open an incident by hand."""
    return _accepted(changes.request_incident(visit, partial(_fields, visit)), "opened")


def act(visit: Visit, name: str, verb: str) -> Response:
    """Acknowledge, assign, close or investigate."""
    return _accepted(changes.perform(visit, name, verb, partial(_fields, visit)), acts.ACTS[verb])


def decide(visit: Visit, approval_id: str) -> Response:
    """Vote."""
    view, no, told = changes.vote(visit, approval_id, partial(_fields, visit))
    if no is not None:
        raise Refused(no.status, "The vote was not accepted", no.why)
    body = {"accepted": True, "approval": view.request.id, "incident": view.request.incident_id, "queued": told}
    return json_answer(body, 202)


def _accepted(incident_id: str, what: str) -> Response:
    location = {"Location": f"/api/incidents/{quote(incident_id)}"}
    return json_answer({"accepted": True, "incident": incident_id, "what": what}, 202, location)


def _limit(visit: Visit) -> int:
    given = visit.request.query.get("limit", str(DEFAULT_LIMIT))
    if not (given.isascii() and given.isdigit() and len(given) <= 6 and 1 <= int(given) <= LISTED):
        raise Refused(400, "The limit is no number that works", f"Use 1 to {LISTED}.")
    return int(given)


def _fields(visit: Visit) -> dict[str, str]:
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
