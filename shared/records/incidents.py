"""Rows of `incidents`: the incident, its timeline, audit chain, inbox, outbox, intents and held events.

In: model values. Out: operations of one transaction, and reads (rules H1 to H9).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from shared.model import codec
from shared.model.audit import AuditEntry, TimelineEntry
from shared.model.event import Event, derive_id
from shared.model.incident import Incident
from shared.model.signal import Status
from shared.ports.store import Conflict, Insert, Replace, Row, Store, Table, Upsert, Value
from shared.records import groups, heard
from shared.records.rows import moment, number, pack, shard, text, unpack

INCIDENT = "incident"
TIMELINE = "timeline|"
AUDIT = "audit|"
INBOX = "inbox|"
OUTBOX = "outbox|"
INTENT = "intent|"
HELD = "held|"
RELEASED = "released|"
TIMER = "timer"  # who releases what was held until now
SHARDS = 16
MARKED = "marked_at"
MARKER_HOLDS = timedelta(minutes=2)


@dataclass(frozen=True, slots=True)
class Loaded:
    """An incident and the ETag its next commit must match (rule H1).

    Attributes:
        etag: empty while there is no row.
        marked_at: when its marker in `pending` was last written, as far as its row knows (rule H8).
    """

    incident: Incident
    etag: str
    marked_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Intent:
    """Somebody is about to touch the outside for one event (rule H2).

    Attributes:
        state: ``started``, ``not_sent`` (certainly nothing happened) or ``unknown``.
    """

    owner: str
    lease_until: datetime
    state: str
    etag: str


@dataclass(frozen=True, slots=True)
class Held:
    """An event that waits for a time or a person (rule H9), since when and until when."""

    event: Event
    reason: str
    until: datetime
    release_by: str
    etag: str
    since: datetime


def load(store: Store, incident_id: str) -> Loaded | None:
    """The incident with its ETag, or ``None``."""
    if not incident_id:
        return None
    row = store.get(Table.INCIDENTS, incident_id, INCIDENT)
    return None if row is None else Loaded(unpack(Incident, row.values), row.etag, moment(row.values, MARKED))


def values_of(incident: Incident, marked_at: datetime | None = None) -> dict[str, Value]:
    """Properties of an incident's row; without ``marked_at`` the next commit writes the marker again."""
    return pack(incident) if marked_at is None else pack(incident, **{MARKED: marked_at})


def still_firing(incident: Incident, members: Iterable[groups.Member]) -> tuple[str, ...]:
    """Names of the alerts that have not resolved: as the incident heard, and as its group knows beyond that.

    The router sends before it writes (rule S5), so the incident may know a newer state than the group: it counts.

    Args:
        members: of the incident's group; empty for what the incident itself knows.
    """
    found = dict.fromkeys(heard.firing(incident), "an alert")
    found.update((heard.digest(alert.fingerprint), alert.name) for alert in incident.firing)
    for member in members:
        name, state = heard.digest(member.fingerprint), heard.state_of(incident, member.fingerprint)
        newer = state is None or groups.rank(state) < groups.rank(member)
        if name in found or (newer and member.status is Status.FIRING):
            found[name] = member.name
    return tuple(found.values())


def rows(store: Store, partition: str, prefix: str, table: Table = Table.INCIDENTS) -> Iterator[Row]:
    """Every row of a partition whose key begins with ``prefix``, in key order."""
    start = prefix
    below = prefix[:-1] + chr(ord(prefix[-1]) + 1) if prefix else "\uffff"
    while True:
        page = store.query(table, partition, start, below)
        yield from page.rows
        if page.next_key is None:
            return
        start = page.next_key


def timeline(store: Store, incident_id: str) -> tuple[TimelineEntry, ...]:
    """The timeline, oldest first."""
    return tuple(unpack(TimelineEntry, row.values) for row in rows(store, incident_id, TIMELINE))


def audit(store: Store, chain: str) -> tuple[AuditEntry, ...]:
    """The audit chain of an incident, first entry first."""
    return tuple(unpack(AuditEntry, row.values) for row in rows(store, chain, AUDIT))


def timeline_row(entry: TimelineEntry) -> Insert:
    """A new timeline row."""
    return Insert(f"{TIMELINE}{entry.number:08d}", pack(entry))


def audit_row(entry: AuditEntry) -> Insert:
    """A new audit row."""
    return Insert(f"{AUDIT}{entry.number:08d}", pack(entry))


def seal(entry: AuditEntry) -> AuditEntry:
    """The entry with the hash it must carry."""
    return replace(entry, hash=entry.expected_hash())


def done(store: Store, event: Event) -> bool:
    """Whether the event was worked off before."""
    return store.get(Table.INCIDENTS, event.subject, INBOX + event.id) is not None


def inbox_row(event: Event, now: datetime) -> Insert:
    """The mark that this event was worked off; its create is what makes a hop happen once."""
    return Insert(INBOX + event.id, {"at": now, "type": event.type})


def outbox_row(event: Event, now: datetime) -> Insert:
    """An event that must be sent."""
    return Insert(OUTBOX + event.id, event_values(event, now))


def event_values(event: Event, now: datetime) -> dict[str, Value]:
    """Properties that hold a whole event, cut into pieces a row accepts."""
    body = codec.encode_event(event).decode()
    pieces = {f"body{i:02d}": body[at : at + 16_000] for i, at in enumerate(range(0, len(body), 16_000))}
    return {**pieces, "at": now, "attempt": event.attempt, "queue_type": event.type}


def event_of(row: Row) -> Event:
    """The event of an outbox or held row."""
    names = sorted(name for name in row.values if name.startswith("body"))
    return codec.decode_event("".join(text(row.values, name) for name in names).encode())


def outbox(store: Store, incident_id: str) -> tuple[tuple[Event, datetime, str], ...]:
    """Events that may not have been sent: event, when it was written, ETag."""
    found = []
    for row in rows(store, incident_id, OUTBOX):
        written = moment(row.values, "at")
        if written is not None:
            found.append((event_of(row), written, row.etag))
    return tuple(found)


def intent_of(store: Store, incident_id: str, event_id: str) -> Intent | None:
    """The intent of an event, or ``None``."""
    row = store.get(Table.INCIDENTS, incident_id, INTENT + event_id)
    if row is None:
        return None
    until = moment(row.values, "lease_until")
    if until is None:
        return None
    return Intent(text(row.values, "owner"), until, text(row.values, "state"), row.etag)


def write_intent(
    store: Store, incident_id: str, event_id: str, owner: str, until: datetime, state: str, etag: str | None
) -> bool:
    """Create (``etag`` is ``None``) or take over an intent; False when somebody else was faster."""
    values: dict[str, Value] = {"owner": owner, "lease_until": until, "state": state}
    key = INTENT + event_id
    try:
        store.write(Table.INCIDENTS, incident_id, Insert(key, values) if etag is None else Replace(key, values, etag))
    except Conflict:
        return False
    return True


def held_row(event: Event, reason: str, until: datetime, release_by: str, now: datetime) -> Insert:
    """A held event (rule H9)."""
    also: dict[str, Value] = {"reason": reason, "until": until, "release_by": release_by}
    return Insert(HELD + event.id, {**event_values(event, now), **also})


def held(store: Store, incident_id: str) -> tuple[Held, ...]:
    """All held events of an incident."""
    found = []
    for row in rows(store, incident_id, HELD):
        until = moment(row.values, "until")
        if until is not None:
            reason, by = text(row.values, "reason"), text(row.values, "release_by")
            since = moment(row.values, "at") or until
            found.append(Held(event_of(row), reason, until, by, row.etag, since))
    return tuple(found)


def held_since(store: Store, event: Event) -> bool:
    """Give a held event the highest attempt that was seen of it, or its release would be dropped as a repeat (rule M3).

    Returns:
        False when it is not held any more.
    """
    key = HELD + event.id
    while row := store.get(Table.INCIDENTS, event.subject, key):
        if number(row.values, "attempt") >= event.attempt:
            return True
        rest = {name: value for name, value in row.values.items() if not name.startswith("body")}
        newer = event_values(replace(event_of(row), attempt=event.attempt), moment(row.values, "at") or event.time)
        try:
            store.write(Table.INCIDENTS, event.subject, Replace(key, {**rest, **newer}, row.etag))
        except Conflict:
            continue
        return True
    return False


def released_row(event: Event, reason: str, by: str, now: datetime) -> Upsert:
    """The mark of a release from one reason; a person's keeps the event from being held for it again (rule H9)."""
    return Upsert(f"{RELEASED}{event.id}|{derive_id(reason)[:8]}", {"reason": reason, "by": by, "at": now})


def released_from(store: Store, event: Event) -> frozenset[str]:
    """Every reason that a person released an event from."""
    marks = rows(store, event.subject, f"{RELEASED}{event.id}|")
    return frozenset(text(row.values, "reason") for row in marks if text(row.values, "by") != TIMER)


def began(store: Store, event: Event) -> datetime:
    """When the attempts of an event began: when it was due, or was last released (rule H10)."""
    if event.attempt == 0:
        return max(event.time, event.not_before or event.time)
    marks = rows(store, event.subject, f"{RELEASED}{event.id}|") if event.subject else ()
    return max([event.time, *(at for row in marks if (at := moment(row.values, "at")) is not None)])


def mark_pending(store: Store, incident_id: str, now: datetime, due: datetime | None = None) -> None:
    """Say that this incident may have something to send or release (rule H8)."""
    store.write(Table.PENDING, shard(incident_id, SHARDS), Upsert(incident_id, {"at": now, "due": due or now}))


def marked(store: Store, loaded: Loaded, now: datetime) -> Loaded:
    """See to it that the marker is there for what is committed next (rule H8).

    One that is two minutes old is as good as a new one: what is committed under it is committed a function time-out
    later at the latest, and the sweep takes no marker that is younger than the time-out and five minutes.
    """
    if loaded.marked_at is not None and abs(now - loaded.marked_at) < MARKER_HOLDS:
        return loaded
    mark_pending(store, loaded.incident.id, now)
    return replace(loaded, marked_at=now)


def pending(store: Store) -> Iterator[tuple[str, datetime, str, str]]:
    """Incidents that may have something to send: id, marker time, shard, ETag."""
    for part in store.partitions(Table.PENDING):  # one look at a small table; most shards are empty, most of the time
        for row in rows(store, part, "", Table.PENDING):
            at = moment(row.values, "at")
            if at is not None:
                yield row.key, at, row.partition, row.etag
