"""Alert router: gives every alert to the one incident of its group, opens that incident, or lists the alert.

In: alerts. Out: messages for the incident creator, rows of the groups, lines in the alert list (S3, S5 to S8, C2).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from shared.agents.sentinel.fold_memory import FoldMemory
from shared.agents.sentinel.grouping import group_key, listing_of
from shared.agents.sentinel.joining import (
    CROWD,
    CROWD_EVERY,
    JOIN_EVERY,
    creation_messages,
    creation_of,
    join_messages,
    next_round,
    round_messages,
)
from shared.agents.sentinel.routing import Join, Step, decide
from shared.model.alert import Alert
from shared.model.errors import Reason, TransientError
from shared.model.event import GroupChanged
from shared.model.pipeline import DESTINATION
from shared.model.signal import Status
from shared.ports import Ports
from shared.ports.bus import Message
from shared.ports.store import Store
from shared.records import groups, index
from shared.records.groups import Claim, GroupState, Held, Member, Rows

__all__ = ["FOLDED", "Arrival", "FoldMemory", "Routed", "Settled", "route", "route_all"]

FOLDED = "folded"
MAX_TRIES = 40
CLOSING_AGAIN = timedelta(seconds=5)
CROWDED_AGAIN = timedelta(seconds=1)
MAX_MEMBERS = 4_000  # of all groups that are in hand together; 200 large ones would take fifty megabytes
STORM_REST = timedelta(seconds=5)  # at least so long joins wait in a storm: that everybody is told of comes first


@dataclass(frozen=True, slots=True)
class Arrival:
    """An alert that has to be routed.

    Attributes:
        received: when ARGUS was told; just now when it is not given.
        traceparent: of the message it came in.
    """

    alert: Alert
    received: datetime | None = None
    traceparent: str = ""


@dataclass(frozen=True, slots=True)
class Routed:
    """What became of an alert; ``incident_id`` is empty when no incident has it."""

    what: str
    reason: str
    incident_id: str


Settled = Routed | TransientError | None  # what became of an arrival; an error when it must come again


def route(alert: Alert, ports: Ports, now: datetime, memory: FoldMemory, received: datetime | None = None) -> Routed:
    """Route one alert; everything is sent and written when this returns, and doing it again changes nothing.

    Args:
        memory: of this process; the caller flushes it.
        received: when ARGUS was told; just now when it is not given.

    Raises:
        TransientError: the group is closing (rule C2) or crowded, or bus or store cannot be reached; route it again.
    """
    settled: list[Settled] = [None]
    route_all([Arrival(alert, received)], ports, now, memory, settled)
    (only,) = settled
    if not isinstance(only, Routed):
        raise only or TransientError(f"{alert.name} was not routed", Reason.CONFLICT, CROWDED_AGAIN)
    return only


def route_all(
    arrivals: Sequence[Arrival],
    ports: Ports,
    now: datetime,
    memory: FoldMemory,
    settled: list[Settled],
    opened: int = 0,
) -> None:
    """Route alerts, all of a group by one look at it; the same as one after the other, in any division.

    Claims are written first, then everything is sent in one go, then the members of each group are written in one
    transaction, then the alert list (rule S5). A group that somebody else changed meanwhile is done again, alone.

    In a storm joins wait for some seconds unless they end something: that every service is told of comes first.

    Args:
        opened: incidents that this process has opened within a minute; with those of this batch they make a storm when
            they are more than put the storm brake on.
        settled: one place for each arrival, filled with what became of it. What is there already is left alone, and
            what was settled before an error is raised stays.

    Raises:
        TransientError: bus or store cannot be reached; what is not settled must be routed again.
        PermanentError: something can be neither sent nor written; route one by one to find out what.
    """
    batch = _Batch(arrivals, ports, now, memory, settled)
    waiting: dict[str, list[int]] = {}
    for number, arrival in enumerate(arrivals):
        if settled[number] is None:
            waiting.setdefault(group_key(arrival.alert, ports.settings.routing), []).append(number)
    for _ in range(MAX_TRIES):
        waiting = _routed(batch, waiting, opened)
        if not waiting:
            return
    for key, numbers in waiting.items():
        for number in numbers:
            batch.wait(number, f"group {key!r} is changed by too many at once", Reason.CONFLICT, CROWDED_AGAIN)


@dataclass(frozen=True, slots=True)
class _Batch:
    """What `route_all` was given."""

    arrivals: Sequence[Arrival]
    ports: Ports
    now: datetime
    memory: FoldMemory
    settled: list[Settled]

    def wait(self, number: int, why: str, reason: Reason, after: timedelta) -> None:
        """The alert must be routed again."""
        self.settled[number] = TransientError(why, reason, after)


def _routed(batch: _Batch, waiting: Mapping[str, Sequence[int]], opened: int) -> dict[str, list[int]]:
    """Route group after group, with so many members in memory at a time; returns what must be done again."""
    crowded: dict[str, list[int]] = {}
    plans: list[_Plan] = []
    members = 0
    for left, (key, numbers) in enumerate(waiting.items(), 1 - len(waiting)):
        plan = _planned(batch, key, numbers)
        if plan is not None:
            plans.append(plan)
            opened += plan.create
            members += len(plan.rows.members) + len(plan.changed)
        if plans and (left == 0 or members >= MAX_MEMBERS):
            storm = opened > batch.ports.settings.policy.brake.new_incidents_per_minute
            crowded.update(_carried_out(batch, plans, storm))
            plans, members = [], 0
    return crowded


def _carried_out(batch: _Batch, plans: Sequence[_Plan], storm: bool) -> dict[str, list[int]]:
    """Send and write; returns the alerts of groups that somebody else changed meanwhile."""
    ports, now, memory = batch.ports, batch.now, batch.memory
    created = [plan.group for plan in plans if plan.create and plan.group is not None]
    created = [group for group in created if not memory.offered(group.incident_id, now)]
    messages = [*creation_messages(created, now, ports.store)]
    messages += _joins(plans, now, storm, ports.store)  # after the creations (rule S5)
    if messages:
        ports.bus.send(DESTINATION[GroupChanged], messages)
        memory.offer((group.incident_id for group in created), now)
    crowded: dict[str, list[int]] = {}
    written: list[_Plan] = []
    for plan in plans:
        if not plan.changed or groups.put_members(ports.store, plan.key, plan.rows, plan.changed, now):
            written.append(plan)
        else:  # what was sent is recognised when it is sent again
            crowded[plan.key] = [number for number, _ in plan.steps]
    index.put_alerts(ports.store, [line for plan in written for line in plan.lines()])
    for plan in written:
        plan.settle(batch)
    return crowded


@dataclass(slots=True)
class _Plan:
    """What some alerts mean for their group, decided in the order in which they arrived.

    Attributes:
        begun: the group's incident begins with one of them.
        changed: new states of members.
        steps: number of the arrival, and what it means.
    """

    key: str
    rows: Rows
    begun: bool = False
    create: bool = False
    traceparent: str = ""
    joins: list[Join] = field(default_factory=list)
    changed: dict[str, Member] = field(default_factory=dict)
    steps: list[tuple[int, Step]] = field(default_factory=list)

    @property
    def group(self) -> GroupState | None:
        return self.rows.group

    def known(self, fingerprint: str) -> Member | None:
        return self.changed.get(fingerprint) or self.rows.members.get(fingerprint)

    def take(self, number: int, step: Step, traceparent: str) -> None:
        self.steps.append((number, step))
        self.create |= step.create
        self.begun |= step.create and step.join is None and step.member is not None
        self.traceparent = self.traceparent or traceparent
        if step.join is not None:
            self.joins.append(step.join)
        if step.member is not None:
            self.changed[step.member.fingerprint] = step.member

    def incident_of(self, step: Step) -> str:
        group = self.group
        told = step.member is not None and group is not None and step.member.generation == group.generation
        return group.incident_id if group is not None and (step.inside or told) else ""

    def lines(self) -> Iterable[index.AlertLine]:
        for _, step in self.steps:
            if step.line is not None:
                yield index.AlertLine(step.line, self.incident_of(step), step.reason, step.line.starts_at)

    def due(self, now: datetime, storm: bool) -> datetime | None:
        """When joins of this group are heard; ``None`` when at once."""
        if self.urgent(storm):
            return None
        crowded = storm or len(self.rows.members) >= CROWD
        begin = now + STORM_REST if storm else now
        return next_round(begin, CROWD_EVERY if crowded else JOIN_EVERY, self.key)

    def urgent(self, storm: bool) -> bool:
        """Whether the joins must be heard at once: a resolve, and but for a storm something worse or the beginning."""
        if any(join.settles or join.alert.status is Status.RESOLVED for join in self.joins) or self.group is None:
            return True
        if storm or self.begun:
            return not storm
        generation = self.group.generation
        before = [m.severity.value for m in self.rows.members.values() if m.generation == generation]
        worst = min([self.group.creator.severity.value, *before])
        return any(join.alert.severity.value < worst for join in self.joins)

    def settle(self, batch: _Batch) -> None:
        for number, step in self.steps:
            alert = batch.arrivals[number].alert
            batch.settled[number] = Routed(step.what, step.reason, self.incident_of(step))
            if self.group is not None:
                _remember(alert, step, self.group, self.known(alert.fingerprint), batch.memory, batch.now)


def _joins(plans: Sequence[_Plan], now: datetime, storm: bool, store: Store) -> Iterator[Message]:
    """Joins that are heard at once, then the others, those that are due together in one message (rule S5)."""
    rounds: dict[datetime, list[tuple[_Plan, GroupState]]] = {}
    for plan in plans:
        if plan.group is None or not plan.joins:
            continue
        due = plan.due(now, storm)
        if due is None:
            yield from join_messages(plan.group, plan.joins, now, plan.traceparent, store)
        else:
            rounds.setdefault(due, []).append((plan, plan.group))
    for due, together in sorted(rounds.items(), key=lambda one: one[0]):
        joins = [(group, plan.joins) for plan, group in together]
        yield from round_messages(joins, due, now, together[0][0].traceparent, store)


def _planned(batch: _Batch, key: str, numbers: Sequence[int]) -> _Plan | None:
    """Decide about the alerts of one group; ``None`` when there is nothing left to do for any of them.

    Repeats are folded unless an alert before them in the batch may change what they mean.
    """
    looked_at: set[str] = set()
    left: list[int] = []
    for number in numbers:
        alert = batch.arrivals[number].alert
        folded_into = "" if alert.fingerprint in looked_at else batch.memory.fold(key, alert, batch.now)
        if folded_into:
            batch.settled[number] = Routed(FOLDED, "it repeats a firing that is known (rule S6)", folded_into)
        else:
            looked_at.add(alert.fingerprint)
            left.append(number)
    if not left:
        return None
    for _ in range(MAX_TRIES):
        plan = _Plan(key, groups.load(batch.ports.store, key))
        if _decided(batch, plan, left):
            return plan if plan.steps else None
    for number in left:
        batch.wait(number, f"group {key!r} is changed by too many at once", Reason.CONFLICT, CROWDED_AGAIN)
    return None


def _decided(batch: _Batch, plan: _Plan, numbers: Sequence[int]) -> bool:
    """Take every alert into the plan; False when somebody else claimed the group first."""
    ports, now = batch.ports, batch.now
    for number in numbers:
        arrival = batch.arrivals[number]
        alert = arrival.alert
        listed = listing_of(alert, ports.settings.routing, now)
        known, received = plan.known(alert.fingerprint), arrival.received or now
        step = decide(alert, plan.group, known, listed, now, received)
        if step.claim:
            claim = _new_claim(arrival, plan.key, plan.rows.held, now)
            if not groups.claim(ports.store, claim, plan.rows.held):
                return False
            plan.rows = replace(plan.rows, held=Held(claim, ""))
            step = decide(alert, claim, known, listed, now, received)
        if step.wait:
            batch.wait(number, f"{alert.name}: {step.reason}", Reason.NOT_YET, CLOSING_AGAIN)
        else:
            plan.take(number, step, arrival.traceparent)
    return True


def _new_claim(arrival: Arrival, key: str, held: Held | None, now: datetime) -> GroupState:
    """The claim of the next generation, with the one event that creates its incident (rules M2 and S3)."""
    generation = held.group.generation + 1 if held else 1
    incident_id = groups.incident_id_of(key, generation)
    creation = creation_of(key, generation, incident_id, arrival.alert, now, arrival.traceparent)
    ended_at = held.group.closing_at if held else None
    return GroupState(key, Claim.CLAIMING, generation, incident_id, creation, arrival.alert, now, ended_at=ended_at)


def _remember(
    alert: Alert, step: Step, group: GroupState, member: Member | None, memory: FoldMemory, now: datetime
) -> None:
    if step.repeat:
        memory.count(group.group_key, group.generation, alert, now)
    fires = member is not None and member.status is Status.FIRING and member.generation == group.generation
    if member is not None and fires and group.state is Claim.OPEN:
        memory.learn(group, member, now)
    else:
        memory.forget(group.group_key, alert.fingerprint)
