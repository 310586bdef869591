"""One look at everything the watch judges.

In: ports. Out: what was seen; what cannot be seen right now is named, and stops nothing else.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta

from shared.agents.watch.judging import BUS, STORE, Seen, Tried
from shared.agents.watch.pulse import Pulse
from shared.model.errors import ArgusError
from shared.model.pipeline import Queue
from shared.ports import Ports
from shared.ports.queue_watch import QueueState
from shared.ports.store import Store
from shared.records import approvals, heartbeats, incidents, quarantine
from shared.records.heartbeats import WaitingApproval, WaitingHold

log = logging.getLogger("argus.watch")

MOST_DEAD = 100
MAX_QUEUES_AT_ONCE = 13  # a first look opens a link to each, which takes a second and no work


def look(ports: Ports, pulse: Pulse, clock: Callable[[], datetime]) -> Seen:
    """Look at store, bus, queues, held events and approvals."""
    began = clock()
    pulse.started_at = pulse.started_at or began
    known, why = None, ""
    try:
        known = heartbeats.read(ports.store)
    except ArgusError as error:
        why = str(error)
    took = (clock() - began).total_seconds()
    if not why and took > ports.settings.self_monitoring.slow_s:
        why = f"it took {took:.1f} s to answer one question"
    tried = {STORE: Tried(*pulse.try_again(STORE, why, clock()))}
    why = ""
    try:
        ports.queue_watch.reach()
    except ArgusError as error:
        why = str(error)
    tried[BUS] = Tried(*pulse.try_again(BUS, why, clock()))
    unknown: list[str] = []
    queues = () if why else _queues(ports, unknown)
    now = clock()
    if known is None:
        return Seen(None, tried, pulse.started_at, queues, unknown=tuple(unknown))
    held: tuple[WaitingHold, ...] = ()
    asked: tuple[WaitingApproval, ...] = ()
    dead = 0
    try:
        marked = [name for name, *_ in incidents.pending(ports.store)]
        held, asked, dead = _held(ports.store, marked), _asked(ports.store, marked), _dead(ports.store, now)
    except ArgusError as error:
        unknown.append("what waits for people")
        log.warning("the watch cannot see everything: %s", error)
    return Seen(known, tried, pulse.started_at, queues, held, asked, dead, tuple(unknown))


def _queues(ports: Ports, unknown: list[str]) -> tuple[QueueState, ...]:
    def one(queue: Queue) -> QueueState | None:
        try:
            return ports.queue_watch.look(queue)
        except ArgusError as error:
            log.warning("the watch cannot see a queue: %s", error)
            return None

    with ThreadPoolExecutor(MAX_QUEUES_AT_ONCE, "look") as pool:
        found = list(pool.map(one, Queue))
    unknown += [f"queue {queue}" for queue, state in zip(Queue, found, strict=True) if state is None]
    return tuple(state for state in found if state is not None)


def _held(store: Store, marked: Sequence[str]) -> tuple[WaitingHold, ...]:
    return tuple(
        WaitingHold(incident_id, held.reason, held.until, held.event.time)
        for incident_id in marked
        for held in incidents.held(store, incident_id)
    )


def _asked(store: Store, marked: Sequence[str]) -> tuple[WaitingApproval, ...]:
    """Open approvals; an incident keeps its marker as long as it waits for people."""
    found = []
    for incident_id in marked:
        loaded = incidents.load(store, incident_id)
        waiting = loaded.incident.approval if loaded is not None and not loaded.incident.over else None
        if waiting is None or waiting.verdict is not None:
            continue
        known = approvals.read(store, waiting.id)
        if known.request is not None and known.decision is None:
            title, deadline = known.request.plan.title, known.request.deadline
            found.append(WaitingApproval(waiting.id, incident_id, title, deadline, len(known.votes)))
    return tuple(sorted(found, key=lambda approval: approval.deadline))


def _dead(store: Store, now: datetime) -> int:
    wanted = quarantine.Wanted(standings=quarantine.OPEN, reason=quarantine.DEAD_LETTER)
    return len(quarantine.listed(store, now, wanted, MOST_DEAD))


def expiring(asked: tuple[WaitingApproval, ...], within: timedelta, now: datetime) -> tuple[WaitingApproval, ...]:
    """Approvals without a vote whose deadline is near."""
    return tuple(a for a in asked if not a.votes and timedelta(0) < a.deadline - now <= within)
