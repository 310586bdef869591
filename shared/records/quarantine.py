"""Rows of `quarantine`: what nobody could work off, each once, with its reason, its body and what people did with it.

In: events and bodies that failed for good. Out: entries, found by id or listed newest first.

A row lies in the partition of its day: of the event's own time, so that every attempt of one event meets one row, or
of the arrival. The partition `days` knows which days there are.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum

from shared.model import codec
from shared.model.event import Event, derive_id
from shared.ports.bus import Message
from shared.ports.store import Conflict, Delete, Insert, Replace, Row, Store, Table, Upsert, Value
from shared.records import envelopes, incidents, payloads
from shared.records.redaction import redact
from shared.records.rows import key_of, moment, number, text

COPY_KEPT_FOR = timedelta(days=14)  # nobody consumes the queue `quarantine`; the row is what counts
MAX_MESSAGE_CHARS = 2000
MIN_PREFIX = 6
DAYS = "days"
OLD_DAYS = 7  # rows from before there was the partition `days` are looked for this far back
_DAY = re.compile(r"\d{8}")
_NAME = re.compile(r"[A-Za-z0-9._~-]{6,200}")
DEAD_LETTER = "dead_letter"  # the reason of what the bus gave up, beside those of `errors.Reason`


class Standing(StrEnum):
    """Where an entry stands."""

    WAITING = "waiting"
    REPLAYING = "replaying"
    REPLAYED = "replayed"
    DROPPED = "dropped"

    @property
    def settled(self) -> bool:
        """Whether nobody has to look at it any more."""
        return self in (Standing.REPLAYED, Standing.DROPPED)


@dataclass(frozen=True, slots=True)
class Quarantined:
    """Something nobody could work off, kept and shown.

    Attributes:
        at: when it came here last.
        origin: queue or source it came from.
        message: what was wrong, for people.
        subject: incident concerned; empty for what arrived from outside.
        payload: reference of what was kept, for `payloads.get`.
        attempt: the highest attempt known to have been sent (rule M3).
        event_id: empty when it is no event anybody could read.
        message_id: as the bus knows it; empty for a webhook.
        exact: what was kept is what came; false when something in it was hidden, or was never bytes.
        deliveries: how often the bus delivered it; 0 where nobody counted.
        times: how often it came here.
        by: who replayed or dropped it last, at ``acted_at``; ``why`` is what that person said.
    """

    id: str
    at: datetime
    origin: str
    reason: str
    message: str
    subject: str
    payload: str
    standing: Standing = Standing.WAITING
    attempt: int = 0
    event_id: str = ""
    kind: str = ""
    message_id: str = ""
    exact: bool = True
    deliveries: int = 0
    times: int = 1
    by: str = ""
    acted_at: datetime | None = None
    why: str = ""
    day: str = ""
    etag: str = ""


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which entries a list shows; empty fields let everything through."""

    standings: frozenset[Standing] = frozenset()
    origin: str = ""
    reason: str = ""
    since: datetime | None = None

    def matches(self, entry: Quarantined) -> bool:
        """Whether the entry is shown."""
        return (
            (not self.standings or entry.standing in self.standings)
            and self.origin in ("", entry.origin)
            and self.reason in ("", entry.reason)
            and (self.since is None or entry.at >= self.since)
        )


OPEN = frozenset({Standing.WAITING, Standing.REPLAYING})
EVERYTHING = Wanted()


def keep_event(
    store: Store, event: Event, origin: str, reason: str, message: str, now: datetime, deliveries: int = 0
) -> Quarantined:
    """Keep an event, whole. All its attempts are one entry; a higher one than known waits for people again."""
    entry_id = derive_id("quarantined event", event.id)
    body = codec.encode_event(event)
    entry = Quarantined(
        id=entry_id,
        at=now,
        origin=origin,
        reason=str(reason),
        message=message[:MAX_MESSAGE_CHARS],
        subject=event.subject,
        payload=payloads.put(store, f"q-{entry_id}.{event.attempt}", body, now, raw=False),
        attempt=event.attempt,
        event_id=event.id,
        kind=event.type,
        message_id=event.message_id,
        deliveries=deliveries,
        day=_day(event.time),
    )
    return _write(store, entry, lambda known: _failed_again(known, event.attempt))


def keep_body(
    store: Store,
    identity: str,
    origin: str,
    reason: str,
    message: str,
    body: bytes,
    now: datetime,
    *,
    raw: bool = True,
    recurs: bool = True,
    came_at: datetime | None = None,
    message_id: str = "",
    whole: bool = True,
    deliveries: int = 0,
) -> Quarantined:
    """Keep a body that is no event, or one of ours that cannot be read today; all attempts of that are one entry.

    Args:
        identity: what makes it this one, where it has no id of its own; the same one is kept once.
        raw: it came from outside, so what looks like a secret is hidden.
        recurs: the identity again is the same body once more, not the same delivery, so it waits for people again.
        came_at: when it came, if it can be kept long after that and more than once.
        whole: ``body`` is what came, not a description of it.
    """
    envelope = {} if raw else envelopes.read(body)
    name = str(envelope.get("id", ""))
    entry_id = derive_id("quarantined event", name) if name else derive_id("quarantined", identity)
    stored, attempt = redact(body) if raw else body, envelopes.attempt(envelope)
    entry = Quarantined(
        id=entry_id,
        at=now,
        origin=origin,
        reason=str(reason),
        message=message[:MAX_MESSAGE_CHARS],
        subject=str(envelope.get("subject", ""))[:MAX_MESSAGE_CHARS],
        payload=payloads.put(store, f"q-{entry_id}.{attempt}", stored, now, raw=False),
        attempt=attempt,
        event_id=name,
        kind=str(envelope.get("type", "")),
        message_id=message_id[:MAX_MESSAGE_CHARS] or (f"{name}.{attempt}" if name else ""),
        exact=whole and stored == body,
        deliveries=deliveries,
        day=_day(envelopes.time(envelope) or came_at or now),
    )
    if name:
        return _write(store, entry, lambda known: _failed_again(known, attempt))
    if came_at is None:
        yesterday = _day(now - timedelta(days=1))  # a delivery that was kept before midnight and settled after it
        if store.get(Table.QUARANTINE, yesterday, entry.id) is not None:
            entry = replace(entry, day=yesterday)
    return _write(store, entry, lambda known: recurs)


def copy_for_queue(entry: Quarantined, body: bytes, traceparent: str = "") -> Message:
    """The copy that goes on the queue `quarantine`, for whoever watches queues; the bus forgets it by itself."""
    return Message(f"q.{entry.message_id or entry.id}", body, entry.subject, traceparent, kept_for=COPY_KEPT_FOR)


def listed(store: Store, now: datetime, wanted: Wanted = EVERYTHING, limit: int = 100) -> tuple[Quarantined, ...]:
    """Entries, newest first."""
    found = (entry for entry in _all(store, now) if wanted.matches(entry))
    return tuple(sorted(found, key=lambda entry: entry.at, reverse=True)[:limit])


def find(store: Store, now: datetime, name: str) -> tuple[Quarantined, ...]:
    """Entries of an id, or whose id begins so.

    Args:
        name: the whole id or at least six characters of it; other texts find nothing.
    """
    if not _NAME.fullmatch(name):
        return ()
    found = [
        _entry(row, now)
        for day in _days(store, now)
        for row in store.query(Table.QUARANTINE, day, name, f"{name}\uffff", limit=10).rows
    ]
    exact = tuple(entry for entry in found if entry.id == name)
    return exact or tuple(found)


def again(store: Store, entry: Quarantined, now: datetime) -> Quarantined | None:
    """The entry as it is now, or ``None`` when retention has taken it."""
    row = store.get(Table.QUARANTINE, entry.day, entry.id)
    return None if row is None else _entry(row, now)


def change(store: Store, entry: Quarantined) -> Quarantined | None:
    """Write an entry over what its ETag names; ``None`` when somebody else has changed it since."""
    try:
        etag = store.write(Table.QUARANTINE, entry.day, Replace(entry.id, _values(entry), entry.etag))
    except Conflict:
        return None
    return replace(entry, etag=etag)


def replayed_at(store: Store, event: Event) -> datetime:
    """When an event was last replayed, so that its attempts begin anew (rule H10); the event's time when it never was.

    Only attempts above the first can be replays, so nothing is read for those.
    """
    if event.attempt == 0:
        return event.time
    row = store.get(Table.QUARANTINE, _day(event.time), derive_id("quarantined event", event.id))
    return event.time if row is None else moment(row.values, "acted_at") or event.time


def strike(store: Store, event_id: str, now: datetime) -> int:
    """Count a failure that nobody foresaw (rule H10).

    Returns:
        How often this event has failed so today, this time included.
    """
    partition, key = f"bugs-{now:%Y%m%d}", key_of(event_id)
    row = store.get(Table.QUARANTINE, partition, key)
    times = 1 if row is None else number(row.values, "times") + 1
    store.write(Table.QUARANTINE, partition, Upsert(key, {"times": times, "at": now}))
    return times


def forget_a_day(store: Store, now: datetime) -> str:
    """Take the oldest day out of the list of days when retention has emptied it.

    Returns:
        The day, or empty when it stays.
    """
    oldest = next(incidents.rows(store, DAYS, "", Table.QUARANTINE), None)
    if oldest is None or oldest.key >= _day(now - timedelta(days=2)):
        return ""
    if store.query(Table.QUARANTINE, oldest.key, limit=1).rows:
        return ""
    try:
        store.write(Table.QUARANTINE, DAYS, Delete(oldest.key, oldest.etag))
    except Conflict:
        return ""  # something came for it just now
    return oldest.key


def _failed_again(known: Quarantined, attempt: int) -> bool:
    """Whether this failure is news: a later attempt, or the very one that a replay sent."""
    return attempt > known.attempt or (
        attempt == known.attempt and known.standing in (Standing.REPLAYING, Standing.REPLAYED)
    )


def _write(store: Store, entry: Quarantined, reopens: Callable[[Quarantined], bool]) -> Quarantined:
    """Create the row, or bring the one that is there back to people when this is something new."""
    while True:
        row = store.get(Table.QUARANTINE, entry.day, entry.id)
        remember = Upsert(entry.day, {"day": entry.day})
        store.write(Table.QUARANTINE, DAYS, remember)
        if row is None:
            try:
                etag = store.write(Table.QUARANTINE, entry.day, Insert(entry.id, _values(entry)))
            except Conflict:
                continue
            store.write(Table.QUARANTINE, DAYS, remember)  # whoever forgets an empty day may have looked before
            return replace(entry, etag=etag)
        known = _entry(row, entry.at)
        if not reopens(known):
            return known
        attempt = max(known.attempt, entry.attempt)
        news = replace(entry, etag=row.etag, times=known.times + 1, attempt=attempt)
        written = change(store, replace(news, by=known.by, acted_at=known.acted_at, why=known.why))
        if written is not None:
            return written


def _all(store: Store, now: datetime) -> Iterator[Quarantined]:
    for day in _days(store, now):
        for row in incidents.rows(store, day, "", Table.QUARANTINE):
            yield _entry(row, now)


def _days(store: Store, now: datetime) -> list[str]:
    known = {row.key for row in incidents.rows(store, DAYS, "", Table.QUARANTINE)}
    old = {_day(now - timedelta(days=back)) for back in range(OLD_DAYS)}
    return sorted((day for day in known | old if _DAY.fullmatch(day)), reverse=True)


def _day(at: datetime) -> str:
    return f"{at.astimezone(UTC):%Y%m%d}"


def _values(entry: Quarantined) -> dict[str, Value]:
    values: dict[str, Value] = {
        "at": entry.at,
        "origin": entry.origin,
        "reason": entry.reason,
        "message": entry.message,
        "subject": entry.subject,
        "payload": entry.payload,
        "standing": str(entry.standing),
        "attempt": entry.attempt,
        "event_id": entry.event_id,
        "kind": entry.kind,
        "message_id": entry.message_id,
        "exact": entry.exact,
        "deliveries": entry.deliveries,
        "times": entry.times,
        "by": entry.by,
        "why": entry.why,
    }
    if entry.acted_at is not None:
        values["acted_at"] = entry.acted_at
        if entry.standing.settled:
            values["settled_at"] = entry.acted_at  # what retention counts from
    return values


def _entry(row: Row, now: datetime) -> Quarantined:
    v = row.values
    return Quarantined(
        id=row.key,
        at=moment(v, "at") or now,
        origin=text(v, "origin"),
        reason=text(v, "reason"),
        message=text(v, "message"),
        subject=text(v, "subject"),
        payload=text(v, "payload"),
        standing=Standing(text(v, "standing") or Standing.WAITING),
        attempt=number(v, "attempt"),
        event_id=text(v, "event_id"),
        kind=text(v, "kind"),
        message_id=text(v, "message_id"),
        exact=v.get("exact") is not False,
        deliveries=number(v, "deliveries"),
        times=number(v, "times") or 1,
        by=text(v, "by"),
        acted_at=moment(v, "acted_at"),
        why=text(v, "why"),
        day=row.partition,
        etag=row.etag,
    )
