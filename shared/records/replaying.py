"""What people do with quarantine: send an entry again, or drop it; each step may be cut off and is then gone on with.

In: an entry and a person. Out: a message one attempt higher, a settled entry, an audit entry (rules M3, H10, H12).
The attempt is taken by ETag before anything is sent, so whoever goes on sends the same message id.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from shared.model.errors import PermanentError
from shared.model.event import Event
from shared.model.outcome import Outcome
from shared.model.pipeline import Queue
from shared.ports.bus import Bus, Message
from shared.ports.store import Conflict, Delete, Store, Table, Upsert
from shared.records import envelopes, incidents, journal, letters, payloads, quarantine
from shared.records.quarantine import Quarantined, Standing
from shared.records.rows import moment, text

LEFT_AFTER = timedelta(minutes=1)  # a replay takes a second; after this its process is taken for dead
MARKED = "acting"  # partition of what somebody has begun
MOST_TRIES = 5
NOT_JSON = "it is a webhook body that is not JSON, so no source can read it; correct it at its sender and send it anew"


@dataclass(frozen=True, slots=True)
class Told:
    """What became of a request.

    Attributes:
        ok: it is as the person wanted, or was so before.
        changed: this request made it so.
        words: one sentence for the person.
    """

    ok: bool
    changed: bool
    words: str
    entry: Quarantined


@dataclass(frozen=True, slots=True)
class Letter:
    """How an entry goes out again: an event, or bytes on a queue; neither for a webhook body."""

    event: Event | None = None
    message: Message | None = None
    queue: Queue | None = None


def why_not(store: Store, entry: Quarantined, body: bytes | None) -> str:
    """Why an entry with this body cannot be replayed, whoever wants it; empty when it can."""
    made = _made(store, entry, body, entry.attempt + 1)
    return made if isinstance(made, str) else ""


def replay(store: Store, bus: Bus, entry: Quarantined, by: str, now: datetime, anew: bool = False) -> Told:
    """Send an entry again.

    Args:
        by: the person.
        anew: also what was replayed or dropped before.

    Raises:
        TransientError: bus or store cannot be reached; the same request goes on where this one ended.
    """
    for _ in range(MOST_TRIES):
        standing = _stands_against(entry, by, now, anew)
        if standing is not None:
            return standing
        highest = max(entry.attempt, _attempt_inside(store, entry))
        attempt = entry.attempt if entry.standing is Standing.REPLAYING else highest + 1
        made = _letter(store, entry, attempt)
        if isinstance(made, str):
            return Told(False, False, made, entry)
        if entry.standing is not Standing.REPLAYING:
            _mark(store, entry, now)
        taken = replace(entry, standing=Standing.REPLAYING, attempt=attempt, by=by, acted_at=now, why="")
        written = quarantine.change(store, taken)
        if written is not None:
            return _send(store, bus, written, made, now)
        current = quarantine.again(store, entry, now)
        if current is None:
            return Told(False, False, "retention has taken it meanwhile", entry)
        entry = current
    return Told(False, False, "others are working on it right now; look again in a moment", entry)


def drop(store: Store, entry: Quarantined, by: str, why: str, now: datetime) -> Told:
    """Say that an entry needs nothing more; it stays readable until retention takes it."""
    if entry.standing is Standing.DROPPED:
        return Told(True, False, f"{entry.by} has dropped it already: {entry.why}", entry)
    if entry.standing is Standing.REPLAYED:
        return Told(False, False, f"{entry.by} has replayed it; there is nothing left to drop", entry)
    if entry.standing is Standing.REPLAYING and not _left(entry, now):
        return Told(False, False, f"{entry.by} is replaying it right now", entry)
    _mark(store, entry, now)
    wanted = replace(entry, standing=Standing.DROPPED, by=by, acted_at=now, why=why)
    dropped = quarantine.change(store, wanted)
    if dropped is None:
        return Told(False, False, "somebody else was faster; look at it again", entry)
    _tell_drop(store, dropped, now)
    _unmark(store, dropped)
    return Told(True, True, f"dropped by {by}: {why}", dropped)


def unfinished(store: Store, now: datetime) -> Iterator[Quarantined]:
    """Entries that somebody began to replay or drop a while ago and has not finished; and replays of webhook bodies."""
    for row in list(incidents.rows(store, MARKED, "", Table.QUARANTINE)):
        begun = Quarantined(row.key, moment(row.values, "at") or now, "", "", "", "", "", day=text(row.values, "day"))
        entry, left = quarantine.again(store, begun, now), now - begun.at >= LEFT_AFTER
        if entry is not None and entry.standing in (Standing.REPLAYING, Standing.DROPPED):
            if left or (entry.standing is Standing.REPLAYING and came_in(entry)):
                yield entry
        elif left:
            _unmark(store, begun)


def finish(store: Store, bus: Bus, entry: Quarantined, now: datetime) -> Told:
    """Go on with what `unfinished` found; not for webhook bodies, which the collector takes in again."""
    if entry.standing is Standing.DROPPED:
        _tell_drop(store, entry, now)
        _unmark(store, entry)
        return Told(True, True, f"dropped by {entry.by}: {entry.why}", entry)
    made = _letter(store, entry, entry.attempt)
    if isinstance(made, str):
        return fail(store, entry, made, now)
    return _send(store, bus, entry, made, now)


def done(store: Store, entry: Quarantined) -> Told:
    """Write down that a replay has gone out; one that is back already stays as it is."""
    settled = quarantine.change(store, replace(entry, standing=Standing.REPLAYED))
    current = settled or quarantine.again(store, entry, entry.at) or entry
    _unmark(store, entry)
    words = f"replayed by {entry.by} as attempt {entry.attempt}"
    if current.standing is Standing.WAITING:
        words += f", and it has failed again: {current.reason}: {current.message}"
    return Told(True, True, words, current)


def fail(store: Store, entry: Quarantined, why: str, now: datetime) -> Told:
    """Give an entry back to people, whose replay turned out to be impossible."""
    current = quarantine.again(store, entry, now)
    if current is not None and current.standing is Standing.REPLAYING:
        quarantine.change(store, replace(current, standing=Standing.WAITING, message=why))
    _unmark(store, entry)
    return Told(False, True, why, entry)


def came_in(entry: Quarantined) -> bool:
    """Whether it came from outside, by a webhook, and not from one of our queues."""
    return entry.origin not in tuple(Queue)


def _stands_against(entry: Quarantined, by: str, now: datetime, anew: bool) -> Told | None:
    at = f"{entry.acted_at:%Y-%m-%d %H:%M:%S} UTC" if entry.acted_at else "an unknown time"
    if entry.standing is Standing.REPLAYED and not anew:
        words = f"{entry.by} has replayed it already, at {at} as attempt {entry.attempt}"
        return Told(True, False, words, entry)
    if entry.standing is Standing.DROPPED and not anew:
        return Told(False, False, f"{entry.by} has dropped it, at {at}: {entry.why}", entry)
    if entry.standing is Standing.REPLAYING and entry.by != by and not _left(entry, now):
        return Told(False, False, f"{entry.by} is replaying it right now", entry)
    return None


def _left(entry: Quarantined, now: datetime) -> bool:
    return entry.acted_at is None or now - entry.acted_at >= LEFT_AFTER


def _send(store: Store, bus: Bus, entry: Quarantined, letter: Letter, now: datetime) -> Told:
    """Audit, send, and settle; each of them may have happened before."""
    _tell_replay(store, entry, letter, now)
    if letter.event is not None:
        letters.send(store, bus, letter.event)
    elif letter.message is not None and letter.queue is not None:
        bus.send(letter.queue, (letter.message,))
    else:
        return Told(True, True, f"accepted from {entry.by}: the collector takes it in again within a minute", entry)
    return done(store, entry)


def _letter(store: Store, entry: Quarantined, attempt: int) -> Letter | str:
    """How an entry is sent as an attempt, or why it cannot be."""
    return _made(store, entry, payloads.get(store, entry.payload), attempt)


def _made(store: Store, entry: Quarantined, body: bytes | None, attempt: int) -> Letter | str:
    if body is None:
        return "what was kept of it has expired"
    if came_in(entry):
        return Letter() if _is_json(body) else NOT_JSON
    try:
        event = letters.read(store, body)
    except PermanentError:
        return _unread(entry, body, attempt)
    return Letter(event=replace(event, attempt=attempt, not_before=None))


def _unread(entry: Quarantined, body: bytes, attempt: int) -> Letter | str:
    """A message nobody can read, at least today: back to the queue it was on, as it was but for its attempt."""
    if entry.origin == Queue.QUARANTINE:
        return "it lay on the queue quarantine, which nobody consumes, and it is no event of ours"
    if not entry.exact:
        return "parts of it are hidden because they look like secrets, so it cannot be sent as it was"
    envelope, name = dict(envelopes.read(body)), entry.id
    if envelope:
        envelope.pop("notbefore", None)
        name, envelope["attempt"] = str(envelope["id"]), attempt
        body = json.dumps(envelope, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass")
    return Letter(message=Message(f"{name[:100]}.{attempt}", body, entry.subject), queue=Queue(entry.origin))


def _attempt_inside(store: Store, entry: Quarantined) -> int:
    """The attempt a message says of itself; it counts for entries from before attempts were written down."""
    body = None if came_in(entry) else payloads.get(store, entry.payload)
    return envelopes.attempt(envelopes.read(body or b""))


def _is_json(body: bytes) -> bool:
    try:
        json.loads(body.removeprefix(b"\xef\xbb\xbf"))
    except (ValueError, RecursionError):
        return False
    return True


def _tell_replay(store: Store, entry: Quarantined, letter: Letter, now: datetime) -> None:
    why = f"it was in quarantine because of {entry.reason}: {entry.message}"
    _tell(store, entry, letter.event, f"replayed as attempt {entry.attempt}", why, now)


def _tell_drop(store: Store, entry: Quarantined, now: datetime) -> None:
    letter = _letter(store, entry, entry.attempt)
    event = letter.event if isinstance(letter, Letter) else None
    _tell(store, entry, event, "dropped from quarantine", entry.why, now)


def _tell(store: Store, entry: Quarantined, event: Event | None, what: str, why: str, now: datetime) -> None:
    """Write it into the incident's timeline and chain, or the system's; saying it again changes nothing (rule H12)."""
    try:
        if event is not None and event.subject and _told_incident(store, event, entry.by, what, why, now):
            return
    except (PermanentError, ValueError):
        pass  # the incident's own rows cannot be read, which may be why it is here
    line = f"quarantine entry {entry.id[:8]} from {entry.origin} {what}"
    said = incidents.audit(store, journal.system_chain(now))
    if not any(known.what == line and known.person == entry.by and known.why == why for known in said):
        journal.system(store, line, why, entry.by, f"{entry.id} {entry.payload}", now)


def _told_incident(store: Store, event: Event, by: str, what: str, why: str, now: datetime) -> bool:
    if incidents.load(store, event.subject) is None:
        return False
    what = f"{event.type} {what}"
    for line in incidents.timeline(store, event.subject):
        if (line.event_id, line.person, line.what, line.why) == (event.id, by, what, why):
            return True
    return journal.told(store, event, Outcome(what, why, person=by), now)


def _mark(store: Store, entry: Quarantined, now: datetime) -> None:
    store.write(Table.QUARANTINE, MARKED, Upsert(entry.id, {"day": entry.day, "at": now}))


def _unmark(store: Store, entry: Quarantined) -> None:
    try:
        store.write(Table.QUARANTINE, MARKED, Delete(entry.id, None))
    except Conflict:
        return  # somebody else finished it too
