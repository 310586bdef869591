"""What an incident lacks while a far side is away: said on it once, and gone when it has caught up.

In: events whose effect failed. Out: a line in the timeline, an entry in the incident's list of what is missing, and
another way to tell people where there is one. A hop that goes well pays nothing for any of it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from shared.agents import conductor, notices
from shared.config.schema import Settings
from shared.dispatch import beating
from shared.dispatch.engine import Engine
from shared.dispatch.showing import show
from shared.model import event as ev
from shared.model import missing
from shared.model.errors import ArgusError, Reason, TransientError
from shared.model.event import Event, derive_id
from shared.model.incident import Incident
from shared.model.lifecycle import State
from shared.model.missing import PartKind
from shared.model.notice import Fact
from shared.model.outcome import Emit, Outcome, Revise
from shared.model.pipeline import STAGES, MicroAgent, Queue
from shared.ports.store import Conflict, Delete, Operation, Replace, Table
from shared.records import incidents, index, journal, letters

log = logging.getLogger("argus.dispatch")

FAILED_TWICE = 1  # the attempt from which a failure is worth a line; a single lost answer is not
LONG_WAIT = timedelta(minutes=1)  # a far side that asks for so much is away, whatever the attempt
ORDINARY = (Reason.NOT_YET, Reason.CONFLICT)  # the order of things, not somebody's failure
# Quarantined for what the event is, or for how often it was tried, which was counted then.
NOBODYS_FAULT = (Reason.BAD_INPUT, Reason.TOO_OLD, Reason.TOO_LARGE, Reason.BUG, Reason.NOT_YET, Reason.CONFLICT)
ASKED_AGAIN = (State.OPEN, State.INVESTIGATING, State.AWAITING_APPROVAL)
MAX_TRIES = 50

Part = tuple[PartKind, str]


def part_of(event: Event, incident: Incident, settings: Settings, named: str = "") -> Part | None:
    """The part of the outside that an event needs; ``None`` when it needs none.

    Args:
        named: what the failure itself says failed.
    """
    match event.data:
        case ev.NotificationRequested(channel, _):
            return PartKind.CHANNEL, channel
        case ev.TicketRequested(system):
            return PartKind.TICKETS, system
        case ev.TicketUpdateRequested():
            system = incident.ticket.system if incident.ticket else next(iter(settings.ticketing), "")
            return (PartKind.TICKETS, system) if system else None
        case ev.IncidentClosed():
            return PartKind.DESTINATION, named or ", ".join(settings.knowledge.publish_to) or "documents"
        case ev.ApprovalRequested() | ev.VoteCast() | ev.ApprovalDecided():
            return PartKind.WAITS, "the wait for people"
        case ev.ActionApproved() | ev.DiagnosisMade():
            return PartKind.TARGET, named or incident.service or "the target"
        case _:
            return None


def note(engine: Engine, queue: Queue, event: Event, error: TransientError, delay: timedelta) -> None:
    """Say on the incident, once, that an event waits for a part that is away; a note that fails is made next time."""
    if not event.subject or error.reason in ORDINARY:
        return
    settings, now, why = engine.ports.settings, engine.clock(), str(error)

    def answer(incident: Incident) -> Outcome | None:
        part = part_of(event, incident, settings, error.part)
        if part is None:
            return None
        kind, name = part
        after = missing.wait(incident.missing, kind, name, event.id, why, now)
        diverted = _diverted(event, incident, settings, now)
        if after == incident.missing and not diverted:
            return None
        waits = missing.waits_for(after, event.id)
        says = waits.says if waits else why
        change = Revise("missing", lambda known: missing.wait(known, kind, name, event.id, why, now))
        if not diverted:
            return Outcome(f"{name} cannot be reached", says, (change,))
        aside = Revise("missing", lambda known: missing.divert(known, name, event.id))
        told = ", ".join(emit.data.channel for emit in diverted if isinstance(emit.data, ev.NotificationRequested))
        return Outcome(f"told {told} instead of {name}", says, (change, aside), diverted)

    try:
        loaded = incidents.load(engine.ports.store, event.subject)
        part = part_of(event, loaded.incident, settings, error.part) if loaded else None
        if part is None:
            return
        for name in _names(part):
            beating.failed(engine, name, why)
        if event.attempt >= FAILED_TWICE or delay >= LONG_WAIT:
            _write(engine, event, STAGES[queue].chain[-1], answer, now)
    except ArgusError as failed:
        log.warning("incident %s cannot say what is missing: %s", event.subject, failed)


def reached(engine: Engine, event: Event, before: Incident, after: Incident) -> None:
    """Mark parts that work, after a hop that went well; nothing is read or written while nothing had failed."""
    waited = missing.waits_for(before.missing, event.id)
    part = part_of(event, before, engine.ports.settings)
    if waited is not None:
        part = waited.kind, waited.name
    if part is not None and (waited or part[0] is not PartKind.TARGET):
        for name in _names(part):
            beating.part_works(engine, name, waited is not None)
    if not isinstance(event.data, ev.InvestigationRequested):
        return
    silent = {m.part: m.why for m in after.missing if m.kind is PartKind.EVIDENCE}
    for name, why in silent.items():
        beating.failed(engine, name, why)
    for known in before.missing:
        if known.kind is PartKind.EVIDENCE and known.part not in silent and after.state in ASKED_AGAIN:
            beating.part_works(engine, known.part, waited=True)


def _names(part: Part) -> tuple[str, ...]:
    """Names of heartbeats; several destinations may be away at once."""
    kind, name = part
    return tuple(f"{kind} {one}" for one in name.split(", ")) if kind is PartKind.DESTINATION else (f"{kind} {name}",)


def give_up(engine: Engine, queue: Queue, event: Event, reason: Reason, message: str, named: str = "") -> None:
    """Say on the incident that an event went to quarantine, and call somebody where people or tickets miss it."""
    settings, now = engine.ports.settings, engine.clock()

    def answer(incident: Incident) -> Outcome | None:
        why = f"{reason}: {message}"
        part = part_of(event, incident, settings, named)
        if part is None:
            return Outcome("quarantined", why)
        kind, name = part
        first = not any(m.given_up for m in incident.missing if (m.kind, m.name) == part)
        change = Revise("missing", lambda known: missing.give_up(known, kind, name, event.id, message, now))
        calls = notices.call(kind, name, event.data, why, incident, settings) if first else ()
        return Outcome("quarantined", why, (change,), calls)

    _write(engine, event, STAGES[queue].chain[0], answer, now)
    if reason in NOBODYS_FAULT:
        return
    loaded = incidents.load(engine.ports.store, event.subject)
    part = part_of(event, loaded.incident, settings, named) if loaded else None
    for name in _names(part) if part else ():
        beating.failed(engine, name, f"{reason}: {message}")


def caught_up(
    incident: Incident, event: Event, answers: Sequence[tuple[MicroAgent, Outcome]]
) -> Sequence[tuple[MicroAgent, Outcome]]:
    """The answers of a hop, with what it makes good of the incident's list; they are untouched where nothing waited."""
    if not incident.missing or not answers:
        return answers
    name, last = answers[-1]
    if incident.over and isinstance(event.data, ev.InvestigationRequested):  # nobody will look again
        gone = Revise("missing", lambda known: missing.evidence(known, ()))
        return (*answers[:-1], (name, replace(last, changes=(gone, *last.changes))))
    waited = missing.waits_for(incident.missing, event.id)
    if waited is None:
        return answers
    change = Revise("missing", lambda known: missing.relieve(known, event.id))
    why = f"{last.reason} (waited for {waited.name} since {waited.since:%d %b %H:%M} UTC)"
    return (*answers[:-1], (name, replace(last, reason=why, changes=(change, *last.changes))))


def _diverted(event: Event, incident: Incident, settings: Settings, now: datetime) -> tuple[Emit, ...]:
    """The card for other channels, once, when every channel it was for has been away for too long."""
    data = event.data
    if not isinstance(data, ev.NotificationRequested):
        return ()
    meant = notices.channels_for(data.notice.kind, settings)
    away = {m.name: m for m in incident.missing if m.kind is PartKind.CHANNEL}
    patience = timedelta(seconds=settings.notify.fallback_after_s)
    own = away.get(data.channel)
    if own is None or event.id in own.diverted or meant[:1] != (data.channel,):
        return ()  # the first of them speaks for all; each channel has an event of its own for the same card
    if not all(name in away and now - away[name].since >= patience for name in meant):
        return ()
    why = Fact("Instead of", f"{', '.join(meant)}, which cannot be reached")
    notice = replace(data.notice, facts=(*data.notice.facts, why))
    others = [name for name in notices.fallback(settings) if name not in meant and name not in away]
    return tuple(Emit(ev.NotificationRequested(name, notice)) for name in others)


def _write(
    engine: Engine, event: Event, name: MicroAgent, answer: Callable[[Incident], Outcome | None], now: datetime
) -> None:
    """Commit what is said about an event beside its own hop, unless that hop has been done meanwhile."""
    store = engine.ports.store
    for _ in range(MAX_TRIES):
        loaded = incidents.load(store, event.subject)
        if loaded is None or store.get(Table.INCIDENTS, event.subject, incidents.INBOX + event.id) is not None:
            return
        outcome = answer(loaded.incident)
        if outcome is None:
            return
        loaded = incidents.marked(store, loaded, now)
        entry = journal.write(loaded.incident, event, [(name, outcome)], now, conductor.judge)
        # What follows from the hop itself, when it succeeds at last, must not be taken for this.
        events = [replace(out, id=derive_id(out.id, outcome.what)) for out in entry.events]
        operations: list[Operation] = [
            Replace(incidents.INCIDENT, incidents.values_of(entry.incident, loaded.marked_at), loaded.etag),
            *entry.rows,
            *(incidents.outbox_row(out, now) for out in events),
        ]
        if store.get(Table.INCIDENTS, event.subject, incidents.OUTBOX + event.id) is not None:
            operations.append(Delete(incidents.OUTBOX + event.id, None))
        try:
            store.transact(Table.INCIDENTS, event.subject, operations)
        except Conflict:
            continue
        engine.recent.forget(event.subject)
        show(name, outcome.what, outcome.reason, event.subject, str(entry.incident.state))
        _send(engine, entry.incident, events)
        return
    raise TransientError("the incident is changed by too many at once", Reason.CONFLICT)


def _send(engine: Engine, incident: Incident, events: Sequence[Event]) -> None:
    try:
        for event in events:
            letters.send(engine.ports.store, engine.ports.bus, event)
        index.put_incident(engine.ports.store, incident)
    except ArgusError as error:
        log.warning("left to the sweep: %s", error)
