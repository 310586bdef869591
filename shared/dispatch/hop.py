"""One message of an incident queue, from its bytes to its commit (PROTOCOL, rules H1 to H10).

In: a message body. Out: one committed transaction and sent events, a retry, a held event, or a quarantine row.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from functools import partial

from shared.agents import conductor
from shared.dispatch.commit import commit, drain
from shared.dispatch.engine import Engine, Worker
from shared.dispatch.failures import BACK_OFF_MOST, quarantine_body, watched
from shared.model.errors import PermanentError, Reason, TransientError
from shared.model.event import Event, GroupChanged, GroupChangeKind, IncidentRequested
from shared.model.outcome import Go, Outcome, Ruling
from shared.model.pipeline import DESTINATION, STAGES, MicroAgent, Queue
from shared.ports.store import Table
from shared.ports.telemetry import Ending
from shared.records import incidents, intents, journal, letters


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
        quarantine_body(engine, queue, body, error)
        return
    watched(engine, queue, event, partial(_run, engine, queue, event))


def _run(engine: Engine, queue: Queue, event: Event) -> Ending:
    ports, stage = engine.ports, STAGES[queue]
    chain = [(name, engine.workers[name]) for name in stage.chain]
    loaded = incidents.load(ports.store, event.subject)
    if loaded is None:
        _begin(engine, event, chain[0])
    for _, worker in chain:
        if worker.always is not None:
            worker.always(event, ports)
    if loaded is None:
        return Ending.DONE
    incident = loaded.incident
    if incident.purged_before is not None and event.time < incident.purged_before:
        raise PermanentError("older than what the incident still remembers", Reason.TOO_OLD)
    if ports.store.get(Table.INCIDENTS, incident.id, incidents.INBOX + event.id) is not None:
        drain(engine, incident.id)
        return Ending.BEFORE
    now = engine.clock()
    ruling = conductor.rule(event.data, stage.chain, incident, ports.settings, now)
    if ruling.go is Go.HOLD:
        released = incidents.released_from(ports.store, event)
        ruling = conductor.rule(event.data, stage.chain, incident, ports.settings, now, released)
    if ruling.go is Go.HOLD:
        _hold(engine, event, ruling)
        return Ending.HELD
    if ruling.go is Go.SKIP and queue is Queue.ACTIONS and intents.begun(ports.store, event):
        ruling = conductor.GO  # it may have happened: the executor finds out before it refuses (rule D4)
    if ruling.go is not Go.GO:
        answers = [(chain[0][0], conductor.instead(ruling, event.data, incident, ports.settings))]
        commit(engine, event, loaded, answers, ())
        return Ending.SKIPPED if ruling.go is Go.SKIP else Ending.ESCALATED
    if stage.effects:
        _work_outside(engine, event, loaded, chain)
    else:
        _work(engine, event, loaded, chain, [])
    return Ending.DONE


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
            ports = replace(engine.ports, repeat=engine.ports.repeat or name in done)
            with engine.telemetry.work(name, view.id):
                outcome = worker.handle(event, view, now, ports)
            done.append(name)
            answers.append((name, outcome))
            view = journal.apply(view, outcome.changes)
        stale = commit(engine, event, loaded, answers, reads)
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
    with engine.telemetry.work(name, event.subject):
        incident, outcome = worker.create(event, now, engine.ports)
    commit(engine, event, incidents.Loaded(incident, ""), [(name, outcome)], ())


def _hold(engine: Engine, event: Event, ruling: Ruling) -> None:
    """Keep the event until a time or a person releases it (rule H9)."""
    until = ruling.until or engine.clock() + BACK_OFF_MOST
    journal.hold(engine.ports.store, event, ruling, until, engine.clock())
