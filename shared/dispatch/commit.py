"""One transaction per hop on the incident's partition, and what is sent after it (PROTOCOL, rules H5 to H8).

In: an incident as loaded and what the micro-agents answered. Out: committed rows, sent events.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime

from shared.dispatch import braking
from shared.dispatch.engine import Engine
from shared.dispatch.lacking import caught_up
from shared.dispatch.showing import show
from shared.model.errors import ArgusError, Reason, TransientError
from shared.model.event import ApprovalDecided, Event, GroupChanged
from shared.model.incident import Incident
from shared.model.outcome import Outcome
from shared.model.pipeline import DESTINATION, STAGES, MicroAgent
from shared.ports.store import Conflict, Delete, Insert, Operation, Replace, Table
from shared.ports.telemetry import Ending
from shared.records import evidence, incidents, intents, journal, letters

log = logging.getLogger("argus.dispatch")

MAX_COMMIT_TRIES = 50
AGENTS = "/agents/"

Answers = Sequence[tuple[MicroAgent, Outcome]]


@dataclass(frozen=True, slots=True)
class Done:
    """What one event did to the incident: the answers of its chain."""

    event: Event
    answers: Answers

    @property
    def effects(self) -> bool:
        """Whether an intent went before it (rule H2)."""
        return STAGES[DESTINATION[type(self.event.data)]].effects


def commit(
    engine: Engine, event: Event, loaded: incidents.Loaded, answers: Answers, reads: tuple[str, ...]
) -> incidents.Loaded | Ending:
    """One transaction on the incident's partition (rules H5 and H6).

    Returns:
        ``DONE``; ``BEFORE`` when the event was worked off before; the incident as it is now when a read field changed.
    """
    return commit_all(engine, (Done(event, answers),), loaded, reads)


def create(engine: Engine, event: Event, incident: Incident, answers: Answers) -> bool:
    """Commit a new incident; False when it is there already."""
    try:
        commit(engine, event, incidents.Loaded(incident, ""), answers, ())
    except Existing:
        return False
    return True


class Existing(Exception):
    """Somebody else has created the incident."""


def commit_all(
    engine: Engine, work: Sequence[Done], loaded: incidents.Loaded, reads: tuple[str, ...]
) -> incidents.Loaded | Ending:
    """What several events did to one incident, in one transaction, as if one had come after the other.

    Args:
        work: later answers were given in view of the earlier ones.
        loaded: without an ETag when the incident is new.

    Returns:
        As `commit`. ``BEFORE`` for several events says that at least one of them was worked off before and that nothing
        was committed; they must be looked at one by one.

    Raises:
        TransientError: too many change it at once.
    """
    store, base, subject = engine.ports.store, loaded.incident, loaded.incident.id
    outcomes = [outcome for done in work for _, outcome in done.answers]
    found = evidence.rows_of(item for outcome in outcomes for item in outcome.evidence)
    texts = evidence.rows_of_texts(text for outcome in outcomes for text in outcome.texts)
    kept = evidence.put_before(store, subject, (*found, *texts))
    sent = {incidents.OUTBOX + done.event.id for done in work if _from_outbox(engine, done.event)}
    inbox = {incidents.INBOX + done.event.id for done in work}
    if not loaded.etag:
        braking.opened(engine, subject)
    for _ in range(MAX_COMMIT_TRIES):
        now = engine.clock()
        entry = _entry(engine, loaded.incident, work, now)
        mine = engine.following.chosen(entry.events, entry.incident, now) if engine.following else ()
        if entry.held:
            braking.expect(engine, entry.incident, entry.held)
        loaded = incidents.marked(store, loaded, now)
        values = incidents.values_of(entry.incident, loaded.marked_at)
        operations: list[Operation] = [
            Replace(incidents.INCIDENT, values, loaded.etag) if loaded.etag else Insert(incidents.INCIDENT, values),
            *entry.rows,
            *kept,
            *(incidents.inbox_row(done.event, now) for done in work),
            *(incidents.outbox_row(out, now) for out in entry.events),
            *(intents.done_row(done.event, now) for done in work if done.effects),
            *_intents(engine, mine, now),
            *(Delete(key, None) for key in sorted(sent)),  # last: any other conflict is named before theirs
        ]
        try:
            etags = store.transact(Table.INCIDENTS, subject, operations)
        except Conflict as conflict:
            if conflict.row_key in sent:
                sent.remove(conflict.row_key)  # the sweep sent it and took its row
                continue
            if conflict.row_key in inbox:
                if len(work) == 1:
                    drain(engine, subject)
                return Ending.BEFORE
            if not loaded.etag:
                raise Existing from None
            engine.recent.forget(subject)
            current = incidents.load(store, subject)
            if current is None:
                continue
            loaded = current
            if any(getattr(base, name) != getattr(current.incident, name) for name in reads):
                return current
            continue
        except TransientError:
            _let_go(engine, mine)
            raise
        before = loaded.incident if loaded.etag else None
        left = replace(loaded, incident=entry.incident, etag=etags[0])
        engine.recent.keep(left, (e.id for e in entry.events), now)
        if engine.following:
            engine.following.add(mine, left, now, found)
        _after(engine, work, before, entry, mine)
        return Ending.DONE
    raise TransientError("the incident is changed by too many at once", Reason.CONFLICT)


def _entry(engine: Engine, incident: Incident, work: Sequence[Done], now: datetime) -> journal.Entry:
    rows: list[Operation] = []
    events: list[Event] = []
    held: list[Event] = []
    for done in work:
        given = caught_up(incident, done.event, done.answers)
        entry = journal.write(incident, done.event, given, now, braking.judging(engine, done.event))
        incident = entry.incident
        rows += entry.rows
        events += entry.events
        held += entry.held
    return journal.Entry(incident, tuple(rows), tuple(events), tuple(held))


def _from_outbox(engine: Engine, event: Event) -> bool:
    """Whether the event has a row in the outbox, unless the sweep has taken it.

    Commits write rows for what agents say, and a release does, one attempt higher. The router's messages and the end of
    a wait are sent without one; a decision of the policy has one, which the sweep takes where another process wrote it.
    """
    if isinstance(event.data, (GroupChanged, ApprovalDecided)):
        return engine.recent.emitted(event)
    return event.attempt > 0 or event.source.startswith(AGENTS)


def _intents(engine: Engine, mine: Sequence[Event], now: datetime) -> Iterator[Operation]:
    """Intents of what this invocation works off itself: the row names it, so nobody else believes them theirs."""
    for event in mine:
        if engine.following and STAGES[DESTINATION[type(event.data)]].effects:
            yield intents.started_row(event, engine.following.owner, engine.following.lease, now)


def _let_go(engine: Engine, mine: Sequence[Event]) -> None:
    """Nobody knows whether the commit came through; if it did, others may begin with what it asks for right away."""
    for event in mine:
        if engine.following and STAGES[DESTINATION[type(event.data)]].effects:
            with suppress(ArgusError):
                intents.give_back(engine.ports.store, event, engine.following.owner, True, engine.clock())


def _after(
    engine: Engine, work: Sequence[Done], before: Incident | None, entry: journal.Entry, mine: Sequence[Event]
) -> None:
    """Send and show what was committed; what fails here is made good by the sweep (rules H7 and H8).

    Args:
        mine: what this invocation works off itself; it is in the outbox as well, for the case that it dies.
    """
    incident = entry.incident
    for done in work:
        for name, outcome in done.answers:
            show(name, outcome.what, outcome.reason, incident.id, str(incident.state))
    try:
        for event in entry.events:
            if event not in mine:
                letters.send(engine.ports.store, engine.ports.bus, event)
        engine.shown.put(engine.ports.store, before, incident)
    except ArgusError as error:
        log.warning("left to the sweep: %s", error)


def drain(engine: Engine, incident_id: str) -> None:
    """The hop was done before: send what may not have been sent, and finish (rule H6)."""
    for event, _, _ in incidents.outbox(engine.ports.store, incident_id):
        letters.send(engine.ports.store, engine.ports.bus, event)
