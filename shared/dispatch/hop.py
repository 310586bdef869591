"""One message of an incident queue, from its bytes to its commit (PROTOCOL, rules H1 to H10).

In: a message body. Out: one committed transaction and sent events, a retry, a held event, or a quarantine row.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from functools import partial

from shared.agents import conductor
from shared.dispatch import braking, ending, lacking
from shared.dispatch.at_once import BUDGET, Following
from shared.dispatch.commit import Done, commit, commit_all, create, drain
from shared.dispatch.engine import Engine, Worker
from shared.dispatch.failures import BACK_OFF_MOST, quarantine_body, watched
from shared.model.errors import ArgusError, PermanentError, Reason, TransientError
from shared.model.event import ClosingRequested, Event, GroupChanged, GroupChangeKind, IncidentRequested, VoteCast
from shared.model.outcome import Go, Outcome, Ruling
from shared.model.pipeline import DESTINATION, STAGES, MicroAgent, Queue
from shared.ports.store import Store, Table
from shared.ports.telemetry import Ending
from shared.records import evidence, incidents, intents, journal, letters
from shared.records.remembering import Remembering

log = logging.getLogger("argus.dispatch")


def hop(engine: Engine, queue: Queue, body: bytes) -> None:
    """Work off one message of an incident queue.

    Returns normally when the message may be completed: done, done before, scheduled again, held, or quarantined.

    Raises:
        TransientError: bus or store themselves failed; the host must abandon the message (rule H10).
    """
    event = read(engine, queue, body)
    if event is not None:
        alone(engine, lambda own: watched(own, queue, event, partial(run, own, queue, event)))


def alone(engine: Engine, work: Callable[[Engine], None]) -> None:
    """Do the work of an invocation that has one incident only, then what follows from it at once (rule H7).

    Whatever happens to what follows, the work itself is done: it comes again by its own means, if only by the sweep.
    """
    most = engine.ports.settings.policy.brake.new_incidents_per_minute
    if engine.following is not None or not engine.brake.quiet(engine.clock(), most):
        work(engine)  # the invocation goes on with it when the rest of it is done; in a storm the queues do
        return
    lease = timedelta(seconds=engine.ports.settings.host.function_timeout_s)
    following = Following(engine.at_once, engine.ports.settings, engine.invocation(), engine.clock(), lease)
    own = replace(engine, following=following)
    try:
        work(own)
        while following.waiting:
            _follow(own, following, following.waiting.popleft())
    finally:
        following.end()


def _follow(engine: Engine, following: Following, event: Event) -> None:
    queue, began = DESTINATION[type(event.data)], engine.clock()
    try:
        if began - following.began > BUDGET:
            if following.owns(event):
                intents.give_back(engine.ports.store, event, following.owner, True, began)
            letters.send(engine.ports.store, engine.ports.bus, event)
            return
        watched(engine, queue, event, partial(run, engine, queue, event))
    except ArgusError as error:
        log.warning("left to the sweep: %s", error)
    now = engine.clock()
    following.process.took(queue, now - began, now)


def read(engine: Engine, queue: Queue, body: bytes) -> Event | None:
    """The event of a message; ``None`` for what is no event of this queue, which goes to quarantine."""
    try:
        event = letters.read(engine.ports.store, body)
        if DESTINATION[type(event.data)] is not queue:
            raise PermanentError(f"{event.type} does not belong on {queue}", Reason.BAD_INPUT)
    except PermanentError as error:
        quarantine_body(engine, queue, body, error)
        return None
    return event


def run(engine: Engine, queue: Queue, event: Event) -> Ending:
    """Do what one event asks for; what it raises is for `watched`."""
    ports, stage = engine.ports, STAGES[queue]
    chain = [(name, engine.workers[name]) for name in stage.chain]
    loaded = None
    if not _opens(event):
        own = engine.following.incident_of(event, engine.clock()) if engine.following else None
        loaded = own or engine.recent.of(event, engine.clock()) or incidents.load(ports.store, event.subject)
    elif not _begin(engine, event, chain[0]):
        loaded = incidents.load(ports.store, event.subject)
    if loaded is None and not _opens(event):
        raise TransientError("there is no such incident yet", Reason.NOT_YET, timedelta(seconds=1))
    for _, worker in chain:
        if worker.always is not None:
            worker.always(event, ports)
    if loaded is None:
        return Ending.DONE
    try:
        return _judged(engine, queue, event, loaded, chain)
    except Exception:
        # Without effects only the commit tells that an event was worked off before, and a repeat may not get there.
        if not stage.effects and incidents.done(ports.store, event):
            return _before(engine, event)
        raise


def _judged(
    engine: Engine,
    queue: Queue,
    event: Event,
    loaded: incidents.Loaded,
    chain: Sequence[tuple[MicroAgent, Worker]],
) -> Ending:
    """Ask the policy, and do what it says (rule H1)."""
    ports, stage, incident = engine.ports, STAGES[queue], loaded.incident
    if incident.purged_before is not None and event.time < incident.purged_before:
        raise PermanentError("older than what the incident still remembers", Reason.TOO_OLD)
    now = engine.clock()
    ruling = conductor.rule(event.data, stage.chain, incident, ports.settings, now)
    if ruling.go is Go.HOLD:
        released = incidents.released_from(ports.store, event)
        ruling = conductor.rule(event.data, stage.chain, incident, ports.settings, now, released)
    if ruling.go is Go.GO:
        ruling = braking.admit(engine, event, incident)
    if ruling.go is Go.HOLD:
        if incidents.done(ports.store, event):
            return _before(engine, event)
        _hold(engine, event, ruling)
        return Ending.HELD
    if ruling.go is Go.SKIP and queue is Queue.ACTIONS and intents.begun(ports.store, event):
        ruling = conductor.GO  # it may have happened: the executor finds out before it refuses (rule D4)
    if ruling.go is not Go.GO:
        answers = [(chain[0][0], conductor.instead(ruling, event.data, incident, ports.settings))]
        if commit(engine, event, loaded, answers, ()) is Ending.BEFORE:
            return Ending.BEFORE
        return Ending.SKIPPED if ruling.go is Go.SKIP else Ending.ESCALATED
    return (_work_outside if stage.effects else _work)(engine, event, loaded, chain)


def _before(engine: Engine, event: Event) -> Ending:
    drain(engine, event.subject)
    return Ending.BEFORE


def _work_outside(
    engine: Engine, event: Event, loaded: incidents.Loaded, chain: Sequence[tuple[MicroAgent, Worker]]
) -> Ending:
    """Run micro-agents that touch the outside, under an intent (rules H2 and H3)."""
    owner, store = engine.invocation(), engine.ports.store
    lease = timedelta(seconds=engine.ports.settings.host.function_timeout_s)
    repeat: bool | None = False
    if engine.following and engine.following.owns(event):
        owner = engine.following.owner
    else:
        repeat = intents.claim(store, event, owner, lease, engine.clock())
    if repeat is None:
        return _before(engine, event)
    done: list[MicroAgent] = []
    try:
        return _work(replace(engine, ports=replace(engine.ports, repeat=repeat)), event, loaded, chain, done)
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
    done: list[MicroAgent] | None = None,
) -> Ending:
    """Call the micro-agents and commit what they answer; ``done`` collects those that have answered."""
    done = [] if done is None else done
    if event.data.TYPE == ClosingRequested.TYPE:  # the closer turns the claim before the commit (rule C2)
        loaded = incidents.marked(engine.ports.store, loaded, engine.clock())
    reads = tuple(name for _, worker in chain for name in worker.reads)
    while True:
        view, now = loaded.incident, engine.clock()
        memory = Remembering(engine.ports.store)
        several = len(chain) > 1 or isinstance(event.data, VoteCast)
        store: Store = memory if several else engine.ports.store
        if engine.following and engine.following.incident_of(event, now) is not None:
            memory.expect(Table.INCIDENTS, view.id, engine.following.evidence)
        answers: list[tuple[MicroAgent, Outcome]] = []
        for name, worker in chain:
            ports = replace(engine.ports, store=store, repeat=engine.ports.repeat or name in done)
            with engine.telemetry.work(name, view.id):
                outcome = worker.handle(event, view, now, ports)
            done.append(name)
            answers.append((name, outcome))
            memory.expect(Table.INCIDENTS, view.id, evidence.rows_of_texts(outcome.texts))
            view = journal.apply(view, outcome.changes)
        work = ending.with_decision(engine, Done(event, answers), view, now, store)
        stale = commit_all(engine, work, loaded, reads)
        if stale is Ending.BEFORE and len(work) > 1:  # one of the two was done before: each by itself
            stale = commit(engine, event, loaded, answers, reads)
        if isinstance(stale, Ending):
            if stale is Ending.DONE:
                lacking.reached(engine, event, loaded.incident, view)
            return stale
        loaded = stale  # a field it had read changed meanwhile: decide again (rule H6)


def _opens(event: Event) -> bool:
    """Whether it makes an incident; anything else waits until somebody has (rule S3)."""
    data = event.data
    return isinstance(data, IncidentRequested) or (isinstance(data, GroupChanged) and data.kind is GroupChangeKind.OPEN)


def _begin(engine: Engine, event: Event, first: tuple[MicroAgent, Worker]) -> bool:
    """Create an incident without looking, which is right but for a repeat; False when it is there already."""
    name, worker = first
    if worker.create is None:
        raise TransientError("nobody creates incidents here", Reason.NOT_YET, timedelta(seconds=1))
    now = engine.clock()
    ruling = conductor.rule(event.data, (name,), None, engine.ports.settings, now)
    if ruling.go is Go.HOLD:
        if incidents.load(engine.ports.store, event.subject) is not None:
            return False
        raise TransientError(ruling.reason, Reason.NOT_YET, timedelta(seconds=engine.ports.settings.policy.hold_s))
    with engine.telemetry.work(name, event.subject):
        incident, outcome = worker.create(event, now, engine.ports)
    return create(engine, event, incident, [(name, outcome)])


def _hold(engine: Engine, event: Event, ruling: Ruling) -> None:
    """Keep the event until a time or a person releases it (rule H9)."""
    until = ruling.until or engine.clock() + BACK_OFF_MOST
    journal.hold(engine.ports.store, event, ruling, until, engine.clock())
    engine.recent.forget(event.subject)
