"""The hop: every message of every queue goes through here, and nothing else commits.

In: a message body from a queue. Out: one committed transaction and sent events, a retry, or a quarantine row
(PROTOCOL, rules M1 to M5, H1 to H12, S1).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial
from typing import Protocol

from shared.agents import conductor, sweep
from shared.agents.sentinel import alert_router, collector, evaluator
from shared.model import codec
from shared.model.errors import ArgusError, PermanentError, Reason, TransientError
from shared.model.event import Event, GroupChanged, GroupChangeKind, IncidentRequested, SignalsReceived, derive_id
from shared.model.incident import Incident
from shared.model.outcome import Go, Outcome, Ruling
from shared.model.pipeline import DESTINATION, STAGES, MicroAgent, Queue
from shared.model.signal import Signal
from shared.ports import Ports
from shared.ports.anchor import Anchor
from shared.ports.bus import Message
from shared.ports.store import Conflict, Delete, Insert, Operation, Replace, Table
from shared.records import incidents, index, intents, journal, letters, payloads, rows

log = logging.getLogger("argus.dispatch")

MAX_COMMIT_TRIES = 50
MAX_BUGS = 3
BACK_OFF_FIRST = timedelta(seconds=2)  # half of it is jitter, so nothing comes back within a second
BACK_OFF_MOST = timedelta(minutes=15)


class Handle(Protocol):
    """A micro-agent (rule H4)."""

    def __call__(self, event: Event, incident: Incident, now: datetime, ports: Ports) -> Outcome:
        """Decide, and touch the outside only through ports."""
        ...


class Create(Protocol):
    """The one micro-agent that begins an incident."""

    def __call__(self, event: Event, now: datetime, ports: Ports) -> tuple[Incident, Outcome]:
        """The new incident and what follows from it."""
        ...


@dataclass(frozen=True, slots=True)
class Worker:
    """A micro-agent as dispatch runs it.

    Attributes:
        reads: incident fields whose change between load and commit makes the answer stale (rule H6).
        always: runs on every delivery once the incident is there, also when the inbox says done (rule S4).
    """

    handle: Handle
    reads: tuple[str, ...] = ()
    create: Create | None = None
    always: Callable[[Event, Ports], None] | None = None


@dataclass(frozen=True, slots=True)
class Engine:
    """What a hop needs beside the message.

    Attributes:
        clock: aware UTC now.
        jitter: a number in [0, 1) for the back-off.
        invocation: owner of intents; unique per process and call.
        memory: repeats of alerts, shared by the threads of this process.
    """

    ports: Ports
    workers: Mapping[MicroAgent, Worker]
    clock: Callable[[], datetime]
    jitter: Callable[[], float]
    invocation: Callable[[], str]
    memory: alert_router.FoldMemory = field(default_factory=alert_router.FoldMemory)


def hop(engine: Engine, queue: Queue, body: bytes) -> None:
    """Work off one message of an incident queue.

    Returns normally when the message may be completed: done, done before, scheduled again, held, or quarantined.

    Raises:
        TransientError: bus or store themselves failed; the host must abandon the message (rule H10).
    """
    try:
        event = letters.read(engine.ports.store, body)
        if DESTINATION[type(event.data)] is not queue:
            raise PermanentError(f"{event.type} does not belong on {queue}", Reason.BAD_INPUT)
    except PermanentError as error:
        _quarantine_body(engine, queue, body, error)
        return
    _guarded(engine, queue, event, partial(_run, engine, queue, event))


def _guarded(engine: Engine, queue: Queue, event: Event, work: Callable[[], None]) -> None:
    """Do the work; what it raises becomes another attempt or a quarantine row (rule H10)."""
    try:
        work()
    except PermanentError as error:
        _quarantine(engine, queue, event, error.reason, str(error))
    except TransientError as error:
        _again(engine, queue, event, error)
    except Exception as error:
        log.exception("%s failed on %s", event.type, queue)
        if payloads.strike(engine.ports.store, event.id, engine.clock()) > MAX_BUGS:
            _quarantine(engine, queue, event, Reason.BUG, f"{type(error).__name__} in the code; see the log")
        else:
            _again(engine, queue, event, TransientError(type(error).__name__, Reason.BUG, sent=None))


def receive(engine: Engine, name: str, raw: bytes, headers: Mapping[str, str]) -> collector.Received:
    """Take in one webhook call; see `collector.receive` for what it raises."""
    try:
        received = collector.receive(name, raw, headers, engine.clock(), engine.ports)
    except ArgusError:
        raise
    except Exception:  # the sender would say the same again until it gives up, and nobody would hear of it
        log.exception("source %s cannot read what it was sent", name)
        received = collector.receive(name, raw, headers, engine.clock(), engine.ports, blind=True)
    why = f"webhook of {len(raw)} bytes" + ("" if received.recognised else " in a shape nobody knows")
    _show(MicroAgent.COLLECTOR, f"{received.signals} signal(s) from {name}", why, "")
    return received


def poll(engine: Engine, timer: str, due: datetime) -> None:
    """Ask every target that does not speak by itself."""
    count = collector.poll(timer, due, engine.clock(), engine.ports)
    log.debug("%d samples polled", count)


def tidy(engine: Engine, anchor: Anchor) -> None:
    """The conductor's round: what a crash left undone is done or sent again, and said when there was anything."""
    now = engine.clock()
    if sweep.note_configuration(engine.ports, now):
        _show(MicroAgent.CONDUCTOR, "configuration noted", "it is not the one the audit trail knew", "")
    done = sweep.run(engine.ports, anchor, now)
    if done.worth_telling:
        _show(MicroAgent.CONDUCTOR, f"swept up: {done.worth_telling}", "something was left undone", "")


def signals(engine: Engine, bodies: Sequence[bytes]) -> None:
    """Work off a batch of the signals queue; each signal fails alone (rule S1)."""
    for body in bodies:
        try:
            event = letters.read(engine.ports.store, body)
            if not isinstance(event.data, SignalsReceived):
                raise PermanentError(f"{event.type} does not belong on {Queue.SIGNALS}", Reason.BAD_INPUT)
        except PermanentError as error:
            _quarantine_body(engine, Queue.SIGNALS, body, error)
            continue
        for signal in event.data.signals:
            alone = _split(event, signal, len(event.data.signals))
            _guarded(engine, Queue.SIGNALS, alone, partial(_one_signal, engine, signal))
    engine.memory.flush(engine.ports.store, engine.clock())


def _split(event: Event, signal: Signal, of: int) -> Event:
    """The signal as an event of its own, for its own retries; one that was split off before stays the same."""
    if of == 1 and event.attempt > 0:
        return event
    return replace(event, id=derive_id(event.id, signal.id), data=SignalsReceived((signal,)))


def _one_signal(engine: Engine, signal: Signal) -> None:
    while True:
        now = engine.clock()
        evaluation = evaluator.evaluate(signal, engine.ports, now)
        for alert in evaluation.alerts:
            routed = alert_router.route(alert, engine.ports, now, engine.memory)
            if routed.what != alert_router.FOLDED:  # a repeat that changes nothing is counted, not told
                judged = f"rule {alert.rule} is {alert.status}" if alert.rule else f"{alert.name} is {alert.status}"
                _show(MicroAgent.EVALUATOR, judged, evaluation.reason, routed.incident_id)
                _show(MicroAgent.ALERT_ROUTER, f"{alert.name} {routed.what}", routed.reason, routed.incident_id)
        if evaluator.save(evaluation, engine.ports.store):
            return


def _run(engine: Engine, queue: Queue, event: Event) -> None:
    ports, stage = engine.ports, STAGES[queue]
    chain = [(name, engine.workers[name]) for name in stage.chain]
    loaded = incidents.load(ports.store, event.subject)
    if loaded is None:
        _begin(engine, event, chain[0])
    for _, worker in chain:
        if worker.always is not None:
            worker.always(event, ports)
    if loaded is None:
        return
    incident = loaded.incident
    if incident.purged_before is not None and event.time < incident.purged_before:
        raise PermanentError("older than what the incident still remembers", Reason.TOO_OLD)
    if ports.store.get(Table.INCIDENTS, incident.id, incidents.INBOX + event.id) is not None:
        _drain(engine, incident.id)
        return
    now = engine.clock()
    ruling = conductor.rule(event.data, stage.chain, incident, ports.settings, now)
    if ruling.go is Go.HOLD:
        released = incidents.released_from(ports.store, event)
        ruling = conductor.rule(event.data, stage.chain, incident, ports.settings, now, released)
    if ruling.go is Go.HOLD:
        _hold(engine, event, ruling)
        return
    if ruling.go is Go.SKIP and queue is Queue.ACTIONS and intents.begun(ports.store, event):
        ruling = conductor.GO  # it may have happened: the executor finds out before it refuses (rule D4)
    if ruling.go is not Go.GO:
        answers = [(chain[0][0], conductor.instead(ruling, event.data, incident, ports.settings))]
        _commit(engine, event, loaded, answers, ())
    elif stage.effects:
        _work_outside(engine, event, loaded, chain)
    else:
        _work(engine, event, loaded, chain, [])


def _work_outside(
    engine: Engine, event: Event, loaded: incidents.Loaded, chain: Sequence[tuple[MicroAgent, Worker]]
) -> None:
    """Run micro-agents that touch the outside, under an intent (rules H2 and H3)."""
    owner, store = engine.invocation(), engine.ports.store
    lease = timedelta(seconds=engine.ports.settings.host.function_timeout_s)
    repeat = intents.claim(store, event, owner, lease, engine.clock())
    done: list[MicroAgent] = []
    try:
        _work(replace(engine, ports=replace(engine.ports, repeat=repeat)), event, loaded, chain, done)
    except Exception as error:
        # Nothing was sent only when this attempt says so, no one before it in the chain did, and no attempt before it.
        nothing = isinstance(error, TransientError) and error.sent is False and not done and not repeat
        intents.give_back(store, event, owner, nothing, engine.clock())
        raise


def _work(
    engine: Engine,
    event: Event,
    loaded: incidents.Loaded,
    chain: Sequence[tuple[MicroAgent, Worker]],
    done: list[MicroAgent],
) -> None:
    """Call the micro-agents and commit what they answer; ``done`` collects those that have answered."""
    reads = tuple(name for _, worker in chain for name in worker.reads)
    while True:
        view, now = loaded.incident, engine.clock()
        answers: list[tuple[MicroAgent, Outcome]] = []
        for name, worker in chain:
            outcome = worker.handle(event, view, now, replace(engine.ports, repeat=engine.ports.repeat or name in done))
            done.append(name)
            answers.append((name, outcome))
            view = journal.apply(view, outcome.changes)
        stale = _commit(engine, event, loaded, answers, reads)
        if stale is None:
            return
        loaded = stale  # a field it had read changed meanwhile: decide again (rule H6)


def _begin(engine: Engine, event: Event, first: tuple[MicroAgent, Worker]) -> None:
    """Create an incident, or wait until somebody has (rule S3)."""
    name, worker = first
    opens = isinstance(event.data, IncidentRequested) or (
        isinstance(event.data, GroupChanged) and event.data.kind is GroupChangeKind.OPEN
    )
    if not opens or worker.create is None:
        raise TransientError("there is no such incident yet", Reason.NOT_YET, timedelta(seconds=1))
    now = engine.clock()
    ruling = conductor.rule(event.data, (name,), None, engine.ports.settings, now)
    if ruling.go is Go.HOLD:
        raise TransientError(ruling.reason, Reason.NOT_YET, timedelta(seconds=engine.ports.settings.policy.hold_s))
    incident, outcome = worker.create(event, now, engine.ports)
    _commit(engine, event, incidents.Loaded(incident, ""), [(name, outcome)], ())


def _commit(
    engine: Engine,
    event: Event,
    loaded: incidents.Loaded,
    answers: list[tuple[MicroAgent, Outcome]],
    reads: tuple[str, ...],
) -> incidents.Loaded | None:
    """One transaction on the incident's partition (rules H5 and H6).

    Returns:
        ``None`` when it is done, or was done before; the incident as it is now when a read field changed.
    """
    store, base = engine.ports.store, loaded.incident
    for _ in range(MAX_COMMIT_TRIES):
        now = engine.clock()
        entry = journal.write(loaded.incident, event, answers, now, conductor.judge)
        operations: list[Operation] = [
            Insert(incidents.INCIDENT, rows.pack(entry.incident))
            if not loaded.etag
            else Replace(incidents.INCIDENT, rows.pack(entry.incident), loaded.etag),
            *entry.rows,
            incidents.inbox_row(event, now),
            *(incidents.outbox_row(out, now) for out in entry.events),
        ]
        if store.get(Table.INCIDENTS, event.subject, incidents.OUTBOX + event.id) is not None:
            operations.append(Delete(incidents.OUTBOX + event.id, None))
        incidents.mark_pending(store, event.subject, now)
        try:
            store.transact(Table.INCIDENTS, event.subject, operations)
        except Conflict as conflict:
            if conflict.row_key == incidents.INBOX + event.id:
                _drain(engine, event.subject)
                return None
            current = incidents.load(store, event.subject)
            if current is None:
                continue
            if not loaded.etag:
                raise TransientError("somebody else created the incident", Reason.CONFLICT, timedelta(0)) from None
            loaded = current
            if any(getattr(base, name) != getattr(current.incident, name) for name in reads):
                return current
            continue
        _after(engine, entry.incident, entry.events, answers)
        return None
    raise TransientError("the incident is changed by too many at once", Reason.CONFLICT)


def _after(
    engine: Engine, incident: Incident, events: Sequence[Event], answers: list[tuple[MicroAgent, Outcome]]
) -> None:
    """Send and show what was committed; what fails here is made good by the sweep (rules H7 and H8)."""
    for name, outcome in answers:
        _show(name, outcome.what, outcome.reason, incident.id, str(incident.state))
    try:
        for event in events:
            letters.send(engine.ports.store, engine.ports.bus, event)
        index.put_incident(engine.ports.store, incident)
    except ArgusError as error:
        log.warning("left to the sweep: %s", error)


def _drain(engine: Engine, incident_id: str) -> None:
    """The hop was done before: send what may not have been sent, and finish (rule H6)."""
    for event, _, _ in incidents.outbox(engine.ports.store, incident_id):
        letters.send(engine.ports.store, engine.ports.bus, event)


def _hold(engine: Engine, event: Event, ruling: Ruling) -> None:
    """Keep the event until a time or a person releases it (rule H9)."""
    until = ruling.until or engine.clock() + BACK_OFF_MOST
    journal.hold(engine.ports.store, event, ruling, until, engine.clock())


def _again(engine: Engine, queue: Queue, event: Event, error: TransientError) -> None:
    """Schedule the same event again, or give up after a day (rule H10)."""
    now, store = engine.clock(), engine.ports.store
    if now - incidents.began(store, event) > timedelta(hours=engine.ports.settings.host.retry_hours):
        _quarantine(engine, queue, event, error.reason, f"gave up after {event.attempt} attempts: {error}")
        return
    back_off = min(BACK_OFF_FIRST * 2 ** min(event.attempt, 10), BACK_OFF_MOST) * (0.5 + engine.jitter() / 2)
    delay = max(error.retry_after or timedelta(0), back_off)
    _show(STAGES[queue].chain[0], f"again in {delay.total_seconds():.0f} s", str(error), event.subject)
    later = replace(event, attempt=event.attempt + 1, not_before=now + delay)
    letters.send(store, engine.ports.bus, later, queue)


def _quarantine(engine: Engine, queue: Queue, event: Event, reason: Reason, message: str) -> None:
    """Keep an event that cannot be worked off, with its reason, and say so in the timeline."""
    store, now = engine.ports.store, engine.clock()
    body, identity = codec.encode_event(event), event.message_id
    kept = payloads.quarantine(store, identity, str(queue), reason, message, event.subject, body, now, raw=False)
    log.error("quarantined %s from %s: %s (%s)", event.id, queue, message, reason)
    short = body if len(body) <= letters.MAX_SIGNALS_BYTES else codec.encode_reference(event, kept.payload)
    engine.ports.bus.send(Queue.QUARANTINE, (Message(f"q.{identity}", short, event.subject, event.traceparent),))
    if queue is Queue.SIGNALS:
        return
    try:
        journal.note(store, event, STAGES[queue].chain[0], "quarantined", f"{reason}: {message}", now)
    except PermanentError as error:
        log.error("the timeline of %s cannot say so: %s", event.subject, error)


def _quarantine_body(engine: Engine, queue: Queue, body: bytes, error: PermanentError) -> None:
    now = engine.clock()
    identity = derive_id("body", body.hex())
    payloads.quarantine(engine.ports.store, identity, str(queue), error.reason, str(error), "", body, now)
    log.error("quarantined a message from %s: %s", queue, error)
    engine.ports.bus.send(Queue.QUARANTINE, (Message(f"q.{identity}", body[: letters.MAX_SIGNALS_BYTES]),))


def _show(micro_agent: MicroAgent, what: str, why: str, incident_id: str, state: str = "") -> None:
    """One log record per hop, for people who watch live and for queries by field."""
    log.info(
        "hop",
        extra={"micro_agent": str(micro_agent), "what": what, "why": why, "incident": incident_id, "state": state},
    )
