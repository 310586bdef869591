"""What pages and JSON show of work that waits for people: quarantine and held events.

In: a store and an id or a filter. Out: frozen views; the JSON interface answers with exactly these.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import quote

from shared.model import codec
from shared.model.pipeline import DESTINATION, STAGES
from shared.ports.store import Store
from shared.records import incidents, payloads, quarantine, replaying
from shared.records.quarantine import OPEN, Quarantined, Standing, Wanted
from shared.records.redaction import redact

PREVIEW_CHARS = 600
BODY_CHARS = 64_000
WAITING = Wanted(OPEN)


@dataclass(frozen=True, slots=True)
class QuarantinedView:
    """Something nobody could work off.

    Attributes:
        at: when it came here last; ``times`` is how often it has.
        origin: the source or queue it came from.
        reason: kind of failure; ``message`` says what was wrong.
        subject: the incident concerned; empty for what arrived from outside.
        raw: address of what was kept.
        state: ``waiting``, ``replaying``, ``replayed`` or ``dropped``; the last three ``by`` somebody at ``acted_at``.
        attempt: the highest attempt that was sent.
        kind: the type of the event; empty when it is none that can be read.
        deliveries: how often the bus delivered it; 0 where nobody counted.
        why: what the person said who dropped it.
    """

    id: str
    at: datetime
    origin: str
    reason: str
    message: str
    subject: str
    raw: str
    state: Standing
    attempt: int
    kind: str
    message_id: str
    deliveries: int
    times: int
    by: str
    acted_at: datetime | None
    why: str


@dataclass(frozen=True, slots=True)
class QuarantineList:
    """What is in quarantine, newest first; ``count`` is how many are in this answer, ``more`` whether it is cut."""

    quarantined: tuple[QuarantinedView, ...]
    count: int
    more: bool


@dataclass(frozen=True, slots=True)
class QuarantineDetail:
    """One entry with its body.

    Attributes:
        body: as text, what looks like a secret hidden; cut at 64,000 characters, which ``cut`` says.
        body_bytes: length of what was kept.
        exact: what was kept is what came, to the byte.
        replay: why it cannot be replayed; empty when it can.
    """

    entry: QuarantinedView
    body: str
    body_bytes: int
    cut: bool
    exact: bool
    replay: str


@dataclass(frozen=True, slots=True)
class HeldView:
    """An event that waits for a time or a person.

    Attributes:
        title: of the incident.
        kind: type of the event, for ``micro_agents`` of ``queue``.
        since: when it was held, ``until`` when it is looked at again.
        release_by: group whose members may release it.
        body: the event's data as JSON, what looks like a secret hidden, cut at 600 characters.
    """

    incident_id: str
    title: str
    event_id: str
    kind: str
    queue: str
    micro_agents: tuple[str, ...]
    reason: str
    since: datetime
    until: datetime
    release_by: str
    attempt: int
    body: str


@dataclass(frozen=True, slots=True)
class HeldList:
    """What is held, over all incidents, the one that is due first first; ``count`` is how many are in this answer."""

    held: tuple[HeldView, ...]
    count: int
    more: bool


def quarantine_list(store: Store, now: datetime, wanted: Wanted = WAITING, limit: int = 200) -> QuarantineList:
    """What nobody could work off."""
    found = quarantine.listed(store, now, wanted, limit + 1)
    views = tuple(view_of(entry) for entry in found[:limit])
    return QuarantineList(views, len(views), len(found) > limit)


def quarantine_detail(store: Store, entry: Quarantined) -> QuarantineDetail:
    """One entry with its body and whether it can be replayed."""
    kept = payloads.get(store, entry.payload)
    body = b"what was kept has expired" if kept is None else redact(kept)
    words = body.decode("utf-8", "replace")
    return QuarantineDetail(
        entry=view_of(entry),
        body=words[:BODY_CHARS],
        body_bytes=0 if kept is None else len(kept),
        cut=len(words) > BODY_CHARS,
        exact=entry.exact,
        replay=replaying.why_not(store, entry, kept),
    )


def view_of(entry: Quarantined) -> QuarantinedView:
    """An entry as people see it."""
    return QuarantinedView(
        id=entry.id,
        at=entry.at,
        origin=entry.origin,
        reason=entry.reason,
        message=entry.message,
        subject=entry.subject,
        raw=f"/alerts/raw?ref={quote(entry.payload, safe='')}" if entry.payload else "",
        state=entry.standing,
        attempt=entry.attempt,
        kind=entry.kind,
        message_id=entry.message_id,
        deliveries=entry.deliveries,
        times=entry.times,
        by=entry.by,
        acted_at=entry.acted_at,
        why=entry.why,
    )


def held_list(store: Store, limit: int = 200) -> HeldList:
    """Held events of every incident; only incidents with a marker can have one (rules H8 and H9)."""
    found: list[HeldView] = []
    for incident_id, *_ in incidents.pending(store):
        found += held_of(store, incident_id)
    found.sort(key=lambda view: view.until)
    return HeldList(tuple(found[:limit]), min(len(found), limit), len(found) > limit)


def held_of(store: Store, incident_id: str) -> tuple[HeldView, ...]:
    """Held events of one incident."""
    kept = incidents.held(store, incident_id)
    loaded = incidents.load(store, incident_id) if kept else None
    return tuple(_held_view(store, held, loaded.incident.title if loaded else "") for held in kept)


def _held_view(store: Store, held: incidents.Held, title: str) -> HeldView:
    event = held.event
    queue = DESTINATION[type(event.data)]
    words = json.dumps(codec.to_json(event.data), ensure_ascii=False).encode("utf-8", "replace")
    return HeldView(
        incident_id=event.subject,
        title=title,
        event_id=event.id,
        kind=event.type,
        queue=str(queue),
        micro_agents=tuple(str(name) for name in STAGES[queue].chain),
        reason=held.reason,
        since=held.since,
        until=held.until,
        release_by=held.release_by,
        attempt=event.attempt,
        body=redact(words).decode("utf-8", "replace")[:PREVIEW_CHARS],
    )
