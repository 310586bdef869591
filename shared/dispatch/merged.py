"""Messages of several incidents at once: those of one incident are worked off in one hop and one commit.

In: message bodies of the incidents queue. Out: what `hop` does with each, in fewer commits; each incident fails alone.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

from shared.agents import conductor
from shared.agents.sentinel import incident_creator, joining
from shared.dispatch.collected import Collected
from shared.dispatch.commit import Done, Existing, commit_all, drain
from shared.dispatch.engine import Engine
from shared.dispatch.failures import watched
from shared.dispatch.hop import alone, read, run
from shared.model.errors import ArgusError
from shared.model.event import Event, GroupChanged, GroupChangeKind
from shared.model.outcome import Go
from shared.model.pipeline import MicroAgent, Queue
from shared.ports.telemetry import Ending
from shared.records import incidents, journal

log = logging.getLogger("argus.dispatch")

MAX_MERGED = 12  # events of one commit: a transaction takes 100 rows, and each event brings up to six
MAX_BYTES = 1024 * 1024  # of the messages that are read together; what is read takes ten times as much
MAX_TRIES = 10
SENT_TOGETHER = 8  # incidents whose messages are sent by one call; on a bus far away that is most of their time


def hop_many(engine: Engine, queue: Queue, bodies: Sequence[bytes]) -> None:
    """Work off messages of an incident queue, in the order of each incident.

    Returns normally when all messages may be completed, as `hop` does.

    Raises:
        TransientError: bus or store themselves failed; the host must abandon them all, and what was done is recognised.
    """
    together: list[bytes] = []
    size = 0
    for body in bodies:
        if together and size + len(body) > MAX_BYTES:
            _work_off(engine, queue, together)
            together, size = [], 0
        together.append(body)
        size += len(body)
    _work_off(engine, queue, together)


def _work_off(engine: Engine, queue: Queue, bodies: Sequence[bytes]) -> None:
    by_incident: dict[str, list[Event]] = {}
    for body in bodies:
        event = read(engine, queue, body)
        for part in joining.apart(event) if event is not None else ():
            by_incident.setdefault(part.subject, []).append(part)
    if len(by_incident) == 1:
        alone(engine, lambda own: _one_by_one(own, queue, by_incident))
    else:
        _one_by_one(replace(engine, following=None), queue, by_incident)


def _one_by_one(engine: Engine, queue: Queue, by_incident: Mapping[str, list[Event]]) -> None:
    for events in by_incident.values():
        events.sort(key=lambda event: not _opens(event))  # a join that overtook its creation need not wait for it
    # What people have not been told of comes before what they may look up.
    order = sorted(by_incident.values(), key=lambda events: not _opens(events[0]))
    for begin in range(0, len(order), SENT_TOGETHER):
        together = order[begin : begin + SENT_TOGETHER]
        bus = Collected(engine.ports.bus) if len(together) > 1 else None
        own = replace(engine, ports=replace(engine.ports, bus=bus)) if bus else engine
        for events in together:
            _each(own, queue, events)
        if bus:
            bus.send_all()


def _each(engine: Engine, queue: Queue, events: Sequence[Event]) -> None:
    """Work off what is there for one incident."""
    left = events
    while left:
        changes = _changes(left)
        done = _together(engine, changes) if changes else 0
        if done == 0:
            watched(engine, queue, left[0], partial(run, engine, queue, left[0]))
            done = 1
        left = left[done:]


def _opens(event: Event) -> bool:
    return isinstance(event.data, GroupChanged) and event.data.kind is GroupChangeKind.OPEN


def _changes(events: Sequence[Event]) -> list[Event]:
    """The group changes that come before anything else."""
    found: list[Event] = []
    for event in events[:MAX_MERGED]:
        if not isinstance(event.data, GroupChanged):
            break
        found.append(event)
    return found


def _together(engine: Engine, events: Sequence[Event]) -> int:
    """Commit what the first of these events mean for their incident.

    Returns:
        How many are done; 0 when the first must be worked off by itself, with all that may come of it.
    """
    try:
        with engine.telemetry.hop(Queue.INCIDENTS, events[0]) as seen:
            done = _attempt(engine, events)
            if done:
                seen.end(Ending.DONE)
            else:
                seen.end(Ending.AGAIN, "looked at by itself")
    except ArgusError as error:
        log.info("incident %s: %d messages are worked off one by one: %s", events[0].subject, len(events), error)
        return 0
    except Exception:  # whichever of them it is, it fails by itself, and the others do not
        log.exception("incident %s: %d messages are worked off one by one", events[0].subject, len(events))
        return 0
    for event in events[1:done]:
        with engine.telemetry.hop(Queue.INCIDENTS, event) as seen:
            seen.end(Ending.DONE)
    return done


def _attempt(engine: Engine, events: Sequence[Event]) -> int:
    name, ports = MicroAgent.INCIDENT_CREATOR, engine.ports
    worker = engine.workers[name]
    subject = events[0].subject
    loaded: incidents.Loaded | None = None
    if not _opens(events[0]):
        loaded = incidents.load(ports.store, subject)
        if loaded is None:
            return 0
    for _ in range(MAX_TRIES):
        plan = _decided(engine, events, loaded)
        if plan.done == 0:
            return 0
        if plan.work and plan.base is not None:
            try:
                ended = commit_all(engine, plan.work, plan.base, worker.reads)
            except Existing:
                ended = incidents.load(ports.store, subject) or Ending.BEFORE
            if isinstance(ended, incidents.Loaded):
                loaded = ended
                continue
            if ended is Ending.BEFORE:
                return 0
        if plan.said_before:
            drain(engine, subject)
        for event in events[: plan.done]:
            if worker.always is not None:
                worker.always(event, ports)
        return plan.done
    return 0


@dataclass(slots=True)
class _Plan:
    """What some events do to an incident.

    Attributes:
        base: the incident that is committed upon; without an ETag when it is new.
        work: answers to be committed, each given in view of those before it.
        done: how many of the events are decided, from the first.
        said_before: one of them says only what the incident has heard.
    """

    base: incidents.Loaded | None
    work: list[Done] = field(default_factory=list)
    done: int = 0
    said_before: bool = False


def _decided(engine: Engine, events: Sequence[Event], loaded: incidents.Loaded | None) -> _Plan:
    """Ask the policy and the micro-agent about each, up to the first that is not simply let through."""
    name, ports, now = MicroAgent.INCIDENT_CREATOR, engine.ports, engine.clock()
    worker = engine.workers[name]
    plan, view = _Plan(loaded), loaded.incident if loaded else None
    for event in events:
        change = event.data
        late = view is not None and view.purged_before is not None and event.time < view.purged_before
        ruling = conductor.rule(change, (name,), view, ports.settings, now)
        if late or ruling.go is not Go.GO or not isinstance(change, GroupChanged) or worker.create is None:
            return plan
        if view is None:
            with engine.telemetry.work(name, event.subject):
                view, outcome = worker.create(event, now, ports)
            plan.base = incidents.Loaded(view, "")
            plan.work.append(Done(event, [(name, outcome)]))
        elif incident_creator.known(change, view):
            plan.said_before = True
        else:
            with engine.telemetry.work(name, event.subject):
                outcome = worker.handle(event, view, now, ports)
            plan.work.append(Done(event, [(name, outcome)]))
            view = journal.apply(view, outcome.changes)
        plan.done += 1
    return plan
