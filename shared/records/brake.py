"""Rows of the storm brake: its state, the incidents that wait, and the places of open approvals.

In: who puts it on or off; who waits; who asks people. Out: one partition of `leases` that is read with one query.

One row is the state, changed by ETag, so that of two hosts one puts the brake on. One row holds a place for each open
approval (rule B2). A row for each incident that waits says where the held events are; it is a projection, written
before them and made good by the sweep (rule B1).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from shared.model.errors import Reason, TransientError
from shared.model.event import ApprovalRequested, derive_id
from shared.model.incident import Incident
from shared.model.signal import Severity
from shared.ports.store import Conflict, Delete, Insert, Replace, Row, Store, Table, Upsert
from shared.records import approvals, incidents, journal
from shared.records.rows import moment, pack, unpack

PARTITION = "storm-brake"
PLACES, STATE = "places", "state"
WAITING = "waiting|"
STORM = "the storm brake is on"  # reasons to hold are part of a release's mark, so they never change (rule H9)
FULL = "as many approvals are open as may be"
REASONS = (STORM, FULL)
ON, OFF = "storm brake on", "storm brake off"
MAX_TRIES = 50


@dataclass(frozen=True, slots=True)
class InWork:
    """An incident that was let through; it is worked on until its event is worked off."""

    incident_id: str
    event_id: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Brake:
    """The state.

    Attributes:
        episode: id of this time the brake is on, or of the last one; empty before the first.
        on_by: the person who put it on; empty when it did so itself.
        why: what was seen, or what the person said.
        seen_at: when more new incidents than the limit were last seen.
        carrier: the incident whose queue and timeline carry the digest.
        digests: how many were made; ``owed`` is the newest one's kind until it is known to be sent.
        told_of: how many incidents had been held when the digest was last made.
        noted: the audit trail has this change.
        let_go: incidents that were let through.
    """

    episode: str = ""
    on: bool = False
    since: datetime | None = None
    on_by: str = ""
    why: str = ""
    seen_at: datetime | None = None
    ended_at: datetime | None = None
    ended_by: str = ""
    ended_why: str = ""
    carrier: str = ""
    digests: int = 0
    owed: str = ""
    told_at: datetime | None = None
    told_of: int = 0
    noted: bool = True
    let_go: int = 0
    in_work: tuple[InWork, ...] = ()


@dataclass(frozen=True, slots=True)
class Waiting:
    """An incident with held events.

    Attributes:
        approval: it waits for a place among the open approvals; otherwise for its ticket and investigation.
        since: when it was first held.
    """

    incident_id: str
    approval: bool
    title: str
    service: str
    severity: Severity
    alerts: int
    opened_at: datetime
    since: datetime
    etag: str = ""

    @property
    def key(self) -> str:
        """Key of its row."""
        return f"{WAITING}{'approval' if self.approval else 'work'}|{self.incident_id}"


@dataclass(frozen=True, slots=True)
class Place:
    """An open approval, or one that is about to be opened by an event."""

    incident_id: str
    event_id: str
    at: datetime
    deadline: datetime


@dataclass(frozen=True, slots=True)
class _Places:
    taken: Mapping[str, Place] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Seen:
    """Everything at once."""

    brake: Brake
    places: Mapping[str, Place]
    waiting: tuple[Waiting, ...]

    @property
    def work(self) -> tuple[Waiting, ...]:
        """Incidents that wait for ticket and investigation."""
        return tuple(one for one in self.waiting if not one.approval)

    @property
    def asking(self) -> tuple[Waiting, ...]:
        """Incidents whose approval waits for a place."""
        return tuple(one for one in self.waiting if one.approval)


def read(store: Store) -> Brake:
    """The state; off when nobody ever put it on."""
    return _brake(store)[0]


def seen(store: Store) -> Seen:
    """State, places and who waits, with one query."""
    found = {row.key: row for row in incidents.rows(store, PARTITION, "", Table.LEASES)}
    waiting = tuple(_waiting(row) for key, row in found.items() if key.startswith(WAITING))
    brake = unpack(Brake, found[STATE].values) if STATE in found else Brake()
    places = unpack(_Places, found[PLACES].values).taken if PLACES in found else {}
    return Seen(brake, places, waiting)


def change(store: Store, how: Callable[[Brake], Brake | None]) -> tuple[Brake, bool]:
    """Change the state as it is at that instant.

    Args:
        how: the new state; ``None`` leaves it.

    Returns:
        The state afterwards, and whether this call changed it.
    """
    for _ in range(MAX_TRIES):
        brake, etag = _brake(store)
        after = how(brake)
        if after is None or after == brake:
            return brake, False
        values = pack(after)
        try:
            store.write(Table.LEASES, PARTITION, Replace(STATE, values, etag) if etag else Insert(STATE, values))
        except Conflict:
            continue
        return after, True
    raise TransientError("the storm brake is changed by too many at once", Reason.CONFLICT)


def put_on(store: Store, why: str, now: datetime, person: str = "", carrier: str = "") -> tuple[Brake, bool]:
    """Put the brake on, note it in the audit trail, and owe people a digest.

    Returns:
        The state, and whether this call put it on; one of two hosts does.
    """

    def on(brake: Brake) -> Brake | None:
        if brake.on:
            return None
        episode = derive_id("storm brake", brake.episode, str(brake.digests), now.isoformat())
        return Brake(
            episode, True, now, person, why, now, carrier=carrier, digests=1, owed="on", told_at=now, noted=False,
            in_work=brake.in_work,
        )  # fmt: skip

    return _switch(store, on, now)


def put_off(store: Store, why: str, now: datetime, person: str = "", still: str = "") -> tuple[Brake, bool]:
    """Put the brake off; as `put_on`.

    Args:
        still: only the episode of this id.
    """

    def off(brake: Brake) -> Brake | None:
        if not brake.on or (still and brake.episode != still):
            return None
        return replace(
            brake, on=False, ended_at=now, ended_by=person, ended_why=why, digests=brake.digests + 1, owed="off",
            told_at=now, noted=False,
        )  # fmt: skip

    return _switch(store, off, now)


def note(store: Store, now: datetime) -> Brake:
    """Write the last change into the system chain, once, whoever tries (rule H12)."""
    brake = read(store)
    if brake.noted:
        return brake
    what, content = (ON if brake.on else OFF), f"{brake.episode} {brake.on}"
    why, person = (brake.why, brake.on_by) if brake.on else (brake.ended_why, brake.ended_by)
    journal.system_once(store, what, why, person, content, now)
    return change(store, lambda known: replace(known, noted=True) if _same(known, brake) else None)[0]


def _same(known: Brake, brake: Brake) -> bool:
    return (known.episode, known.on) == (brake.episode, brake.on)


def _switch(store: Store, how: Callable[[Brake], Brake | None], now: datetime) -> tuple[Brake, bool]:
    for _ in range(MAX_TRIES):
        note(store, now)  # what somebody else has not noted yet stands in the trail before what follows it
        brake, changed = change(store, lambda known: how(known) if known.noted else None)
        if changed:
            return note(store, now), True
        if brake.noted:
            return brake, False
    raise TransientError("the storm brake is switched by too many at once", Reason.CONFLICT)


# Who waits (rule B1)


def waiting_of(incident: Incident, approval: bool, now: datetime) -> Waiting:
    """The incident as it stands in the queue."""
    return Waiting(
        incident.id, approval, incident.title, incident.service, incident.severity, incident.alert_count,
        incident.opened_at, now,
    )  # fmt: skip


def wait(store: Store, waiting: Waiting) -> None:
    """Say that an incident has held events; before they are written, so that none is overlooked."""
    store.write(Table.LEASES, PARTITION, Upsert(waiting.key, {**pack(replace(waiting, etag="")), "at": waiting.since}))


def wait_again(store: Store, incident: Incident, held: incidents.Held, now: datetime) -> bool:
    """Put an incident back into the queue that has an event held by the brake, and is not in it."""
    waiting = waiting_of(incident, isinstance(held.event.data, ApprovalRequested), now)
    if held.reason not in REASONS or store.get(Table.LEASES, PARTITION, waiting.key) is not None:
        return False
    wait(store, waiting)
    return True


def served(store: Store, waiting: Waiting) -> None:
    """Nothing of it is held any more; a row that was written again meanwhile stays."""
    try:
        store.write(Table.LEASES, PARTITION, Delete(waiting.key, waiting.etag or None))
    except Conflict:
        return


# Places of open approvals (rule B2)


def take(store: Store, approval: str, place: Place, most: int) -> bool:
    """Take a place for an approval, or keep the one it has.

    Args:
        most: no more than this at once; 0 does not ask, and below 0 none is given.

    Returns:
        False when all are taken.
    """
    for _ in range(MAX_TRIES):
        row = store.get(Table.LEASES, PARTITION, PLACES)
        taken = dict(unpack(_Places, row.values).taken) if row is not None else {}
        if approval in taken:
            return True
        others = sum(known.event_id != place.event_id for known in taken.values())
        if most and others >= most:
            return False
        rest = {name: known for name, known in taken.items() if known.event_id != place.event_id}
        values = pack(_Places({**rest, approval: place}))
        try:
            store.write(Table.LEASES, PARTITION, Replace(PLACES, values, row.etag) if row else Insert(PLACES, values))
        except Conflict:
            continue
        return True
    raise TransientError("places of approvals are taken by too many at once", Reason.CONFLICT)


def free(store: Store, patience: timedelta, now: datetime) -> int:
    """Give back the places of approvals that are decided, past their deadline, or were never asked.

    Args:
        patience: how long an event may take from its place to its request.

    Returns:
        How many are taken now.
    """
    for _ in range(MAX_TRIES):
        row = store.get(Table.LEASES, PARTITION, PLACES)
        if row is None:
            return 0
        taken = unpack(_Places, row.values).taken
        left = {name: place for name, place in taken.items() if _open(store, name, place, patience, now)}
        if len(left) == len(taken):
            return len(left)
        try:
            store.write(Table.LEASES, PARTITION, Replace(PLACES, pack(_Places(left)), row.etag))
        except Conflict:
            continue
        return len(left)
    raise TransientError("places of approvals are given back by too many at once", Reason.CONFLICT)


def _open(store: Store, approval: str, place: Place, patience: timedelta, now: datetime) -> bool:
    if now >= place.deadline or approvals.decision_of(store, approval) is not None:
        return False
    if approvals.request_of(store, approval) is not None:
        return True
    done = store.get(Table.INCIDENTS, place.incident_id, incidents.INBOX + place.event_id) is not None
    return not done and now - place.at < patience


def _brake(store: Store) -> tuple[Brake, str]:
    row = store.get(Table.LEASES, PARTITION, STATE)
    return (Brake(), "") if row is None else (unpack(Brake, row.values), row.etag)


def _waiting(row: Row) -> Waiting:
    found = unpack(Waiting, row.values)
    return replace(found, since=moment(row.values, "at") or found.since, etag=row.etag)
