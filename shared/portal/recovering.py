"""What people do about work that waits for them: replay, drop, release. Pages, forms and JSON.

In: a visit of somebody who may decide. Out: a message on its way, an audit entry, and words for the person.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from urllib.parse import quote

from shared.model import codec
from shared.model.errors import ArgusError
from shared.portal import json_api, kept
from shared.portal.acts import MAX_NAME_CHARS, text_of
from shared.portal.exchange import Refused, Response, json_answer, redirect
from shared.portal.read_model import find_incident
from shared.portal.site import Visit
from shared.ports.identity import Person
from shared.records import incidents, journal, letters, quarantine, replaying
from shared.records.quarantine import OPEN, Quarantined, Standing, Wanted

Fields = Callable[[], Mapping[str, str]]
MAX_WHY_CHARS = 1000
SHOWN = 50  # each with its body and forms of its own
STATES: Mapping[str, frozenset[Standing]] = {
    "waiting": OPEN,
    "replayed": frozenset({Standing.REPLAYED}),
    "dropped": frozenset({Standing.DROPPED}),
    "all": frozenset(),
}
_EVENT = re.compile(r"[A-Za-z0-9._~-]{6,200}")


@dataclass(frozen=True, slots=True)
class Done:
    """What became of an act."""

    entry: Quarantined
    changed: bool
    words: str


def quarantine_page(visit: Visit, message: str = "", status: int = 200) -> Response:
    """What nobody could work off, what is held, and buttons for those who may."""
    visit.reader()
    store, wanted = visit.site.ports.store, _wanted(visit)
    found = quarantine.listed(store, visit.now, wanted, SHOWN + 1)
    return visit.html(
        "quarantine.html",
        status=status,
        details=[kept.quarantine_detail(store, entry) for entry in found[:SHOWN]],
        more=len(found) > SHOWN,
        preview=kept.PREVIEW_CHARS,
        held=kept.held_list(store, SHOWN),
        may_not=_may_not(visit, visit.person),
        state=visit.request.query.get("state", "waiting"),
        message=message,
    )


def quarantine_json(visit: Visit) -> Response:
    """What nobody could work off."""
    visit.reader()
    store = visit.site.ports.store
    return json_answer(codec.to_json(kept.quarantine_list(store, visit.now, _wanted(visit), json_api.limit_of(visit))))


def entry_json(visit: Visit, entry_id: str) -> Response:
    """One entry with its body."""
    visit.reader()
    return json_answer(codec.to_json(kept.quarantine_detail(visit.site.ports.store, entry_of(visit, entry_id))))


def held_json(visit: Visit) -> Response:
    """What is held, over all incidents."""
    visit.reader()
    return json_answer(codec.to_json(kept.held_list(visit.site.ports.store, json_api.limit_of(visit))))


def act_form(visit: Visit, entry_id: str, verb: str) -> Response:
    """Replay or drop, from the page."""
    try:
        act(visit, entry_id, verb, lambda: visit.request.form)
    except Refused as refused:
        if refused.status not in (400, 409):
            raise
        return quarantine_page(visit, f"{refused.title}. {refused.detail}", refused.status)
    return redirect(f"/quarantine?note={verb}")


def act_json(visit: Visit, entry_id: str, verb: str) -> Response:
    """Replay or drop, from a script."""
    done = act(visit, entry_id, verb, partial(json_api.fields_of, visit))
    view = codec.to_json(kept.view_of(done.entry))
    return json_answer({"accepted": True, "changed": done.changed, "what": done.words, "entry": view}, 202)


def act(visit: Visit, entry_id: str, verb: str, fields: Fields) -> Done:
    """Replay or drop an entry.

    Raises:
        Refused: 401, 403, 404, 400, or 409 when it cannot be done as it stands.
        TransientError: bus or store cannot be reached; the same request again goes on.
    """
    person = _decider(visit)
    entry, ports = entry_of(visit, entry_id), visit.site.ports
    given = fields()
    if verb == "drop":
        why = text_of(given, "why", MAX_WHY_CHARS)
        told = replaying.drop(ports.store, entry, person.user, why, visit.now)
    else:
        anew = text_of(given, "again", MAX_NAME_CHARS, required=False).lower() in ("yes", "true", "1")
        told = replaying.replay(ports.store, ports.bus, entry, person.user, visit.now, anew)
    if not told.ok:
        raise Refused(409, f"It was not {'dropped' if verb == 'drop' else 'replayed'}", f"{told.words}.")
    return Done(told.entry, told.changed, told.words)


def release_form(visit: Visit, name: str, event_id: str) -> Response:
    """Release a held event, from a page."""
    incident_id, *_ = release(visit, name, event_id)
    back = "/quarantine" if visit.request.form.get("back") == "quarantine" else f"/incidents/{quote(incident_id)}"
    return redirect(f"{back}?note=released")


def release_json(visit: Visit, name: str, event_id: str) -> Response:
    """Release a held event, from a script."""
    incident_id, event, queued = release(visit, name, event_id)
    location = {"Location": f"/api/incidents/{quote(incident_id)}"}
    body = {"accepted": True, "incident": incident_id, "event": event, "what": "released", "queued": queued}
    return json_answer(body, 202, location)


def release(visit: Visit, name: str, event_id: str) -> tuple[str, str, bool]:
    """Let a held event go (rule H9).

    Returns:
        The incident, the event, and whether it was sent; what was not is sent by the sweep.

    Raises:
        Refused: 401, 403, 404, or 409 when somebody else was faster.
    """
    person, ports = visit.actor(), visit.site.ports
    found = _held(visit, name, event_id)
    group = found.release_by or ports.settings.approvals.group
    _belongs(person, group)
    event = journal.release(ports.store, found, person.user, visit.now)
    if event is None:
        raise Refused(409, "It was not released", "Somebody else, or the clock, released it a moment ago.")
    try:
        letters.send(ports.store, ports.bus, event)
    except ArgusError:
        return event.subject, event.id, False  # it is in the outbox, in the same transaction as the release
    return event.subject, event.id, True


def entry_of(visit: Visit, name: str) -> Quarantined:
    """The entry of an id or of the beginning of one; among several the one that waits.

    Raises:
        Refused: 404.
    """
    found = quarantine.find(visit.site.ports.store, visit.now, name)
    waiting = [entry for entry in found if not entry.standing.settled]
    chosen = found if len(found) == 1 else waiting
    if len(chosen) != 1:
        detail = f"Use the whole id, or at least {quarantine.MIN_PREFIX} characters that only one id begins with."
        raise Refused(404, f"{len(found)} entries are called so" if found else "There is no such entry", detail)
    return chosen[0]


def _held(visit: Visit, name: str, event_id: str) -> incidents.Held:
    store = visit.site.ports.store
    incident_id = find_incident(store, name)
    if not incident_id:
        raise Refused(404, "There is no such incident", "The address may be cut off; look in the list.")
    wanted = event_id if _EVENT.fullmatch(event_id) else ""
    found = [held for held in incidents.held(store, incident_id) if wanted and held.event.id.startswith(wanted)]
    if len(found) != 1:
        raise Refused(404, "There is no such held event", "It may have been released; look at the incident's timeline.")
    return found[0]


def _decider(visit: Visit) -> Person:
    """The signed-in person, who belongs to the group that decides about plans.

    Raises:
        Refused: 401 or 403.
    """
    person = visit.actor()
    _belongs(person, visit.site.ports.settings.approvals.group)
    return person


def _belongs(person: Person, group: str) -> None:
    if group not in person.groups:
        raise Refused(403, "You may not do this", f"Only members of {group} may; you are not one of them.")


def _may_not(visit: Visit, person: Person | None) -> str:
    """Why this visitor sees no buttons; empty when there are some."""
    if person is None:
        return "Sign in to replay, drop or release."
    group = visit.site.ports.settings.approvals.group
    return "" if group in person.groups else f"Only members of {group} may replay, drop or release."


def _wanted(visit: Visit) -> Wanted:
    query = visit.request.query
    state = query.get("state", "waiting")
    if state not in STATES:
        raise Refused(400, f"Nobody knows the state {state!r}", f"Use one of {', '.join(STATES)}.")
    return Wanted(STATES[state], query.get("origin", ""), query.get("reason", ""), _since(query.get("since", "")))


def _since(given: str) -> datetime | None:
    if not given:
        return None
    try:
        since = datetime.fromisoformat(given)
    except ValueError:
        raise Refused(400, "The time `since` cannot be read", "Use ISO 8601, such as 2026-01-31T23:30:00Z.") from None
    return since if since.tzinfo else since.replace(tzinfo=UTC)
