"""The sentinel's micro-agents: any order and any doubling of what they are sent ends in the same state and effects."""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from shared.adapters.registry import Surroundings
from shared.adapters.sources import SOURCES
from shared.agents.sentinel import collector
from shared.config.schema import Settings
from shared.model.errors import TransientError
from shared.model.event import IncidentAcknowledged, IncidentAssigned, SignalsReceived
from shared.model.pipeline import Queue
from shared.model.signal import Severity
from shared.ports import Ports
from shared.ports.bus import Message
from shared.records import groups, windows
from tests import fakes
from tests.pipeline.world import GROUP, START, settings
from tests.properties.depth import examples
from tests.properties.ending import incidents_of
from tests.properties.hosts import Hosts, Schedule, hosts, in_order, schedules
from tests.properties.stories import calm, worked_off


@dataclass
class Flaky(fakes.FakeBus):
    """A bus that goes away before some of its sends, counted over its life."""

    away: frozenset[int] = frozenset()
    sends: itertools.count[int] = field(default_factory=lambda: itertools.count(1))

    def send(self, queue: Queue, messages: Sequence[Message]) -> None:
        if next(self.sends) in self.away:
            raise TransientError("the bus is away", sent=None)
        super().send(queue, messages)


def body(name: str, count: int) -> bytes:
    """What Alertmanager posts; only the first alert says when it began."""
    pad = "x" * 900
    alerts = [{"labels": {"alertname": f"{name}{n}", "service": "shop", "pad": pad}} for n in range(count)]
    return json.dumps([{**alerts[0], "startsAt": START.isoformat()}, *alerts[1:]]).encode()


BODIES = (body("Disk", 1), body("Cpu", 2), body("Many", 190))
NAMES = {f"Disk{n}" for n in range(1)} | {f"Cpu{n}" for n in range(2)} | {f"Many{n}" for n in range(190)}


@given(
    order=st.permutations((0, 1, 2)),
    again=st.lists(st.integers(0, 2), max_size=2),
    away=st.frozensets(st.integers(1, 6), max_size=3),
    steps=st.lists(st.sampled_from((0, 500_000, 1_000_000, 60_000_001)), min_size=8, max_size=8),
)
@examples(12)
def test_collector(order: list[int], again: list[int], away: frozenset[int], steps: list[int]) -> None:
    """Webhooks come in any order and again, and a sender that heard no answer sends until it does."""
    with hosts() as world:
        adapter = SOURCES["alertmanager"]
        sources = {"am": adapter.build("am", adapter.config(), Surroundings(Path()))}
        bus = Flaky(away=away)
        ports = fakes.ports(world.inner, bus=bus, sources=sources)
        now, beat = START, itertools.cycle(steps)
        for number in (*order, *again):
            answered = False
            while not answered:
                now += timedelta(microseconds=next(beat))
                answered = accepted(BODIES[number], now, ports)
        events = bus.delivered(Queue.SIGNALS)
    heard = [signal for event in events if isinstance(event.data, SignalsReceived) for signal in event.data.signals]
    assert {signal.name for signal in heard} == NAMES
    assert len({signal.id for signal in heard}) == len(NAMES)


def accepted(raw: bytes, now: datetime, ports: Ports) -> bool:
    """Whether the sender was told that it arrived."""
    try:
        collector.receive("am", raw, {}, now, ports)
    except TransientError:
        return False
    return True


def ruled() -> Settings:
    """One rule that fires at once, one that must breach for a while."""
    rules = {
        "slow": {"kind": "threshold", "metric": "latency_ms", "above": 500},
        "full": {"kind": "threshold", "metric": "disk_used", "above": 90, "for_s": 20, "resolve_s": 20},
    }
    return settings(rules=rules)


SERIES = (0, 0, 0, 0, 0, 1, 1, 1, 1, 1)


def samples(world: Hosts) -> None:
    """Two series that begin to breach and go on; what counts is their own time."""
    for step, (latency, disk) in enumerate(((100, 50), (900, 95), (900, 96), (950, 97), (990, 98))):
        for metric, value in (("latency_ms", latency), ("disk_used", disk)):
            world.measures(metric, value)
        world.clock[0] = START + timedelta(seconds=15 * (step + 1))
    world.bus.entries.sort(key=lambda entry: b"disk_used" in entry.message.body)


@given(schedules(len(SERIES), chains=SERIES))
@examples(8)
def test_evaluator(schedule: Schedule) -> None:
    """Series in any order among each other, samples again at any time (rule S2)."""
    assert worked_off(samples, Queue.SIGNALS, schedule, ruled()) == calm(samples, Queue.SIGNALS, ruled)


@given(schedules(5))
@examples(8)
def test_evaluator_late_samples_never_turn_a_rule_back(schedule: Schedule) -> None:
    """Within one series an older sample that comes late changes neither how the rule stands nor what is known of it."""

    def standing(given: Schedule) -> tuple[str, list[int]]:
        with hosts(ruled()) as world:
            world.bus.kept |= {Queue.SIGNALS, Queue.INCIDENTS}  # an incident that ends meanwhile makes firings wait
            for step, value in enumerate((900, 100, 900, 100, 900)):
                world.clock[0] = START + timedelta(seconds=10 * step)
                world.measures("latency_ms", value)
            world.deliver_turns(world.waiting(Queue.SIGNALS), given.turns)
            (window,) = windows.of_service(world.inner, world.settings, "shop")
            return str(window.standing.phase), [sample.ms for sample in window.tracks["latency_ms"].samples]

    assert standing(schedule) == standing(in_order(5))


def alerts(world: Hosts) -> None:
    """Two that fire, repeats, a worse severity, and one that fired and resolved before anybody heard of it."""
    world.fires("HighErrorRatio")
    world.fires("Latency")
    world.fires("HighErrorRatio", at=START + timedelta(seconds=30))
    world.fires("Latency", severity=Severity.SEV1, at=START + timedelta(seconds=40))
    world.fires("Blip")
    world.resolves("Blip", at=START + timedelta(seconds=20))


@given(schedules(6))
@examples(10)
def test_alert_router(schedule: Schedule) -> None:
    """By the sources' own times what fires is in one live incident, and what is over is over (rules S3 to S7)."""

    def told(given: Schedule) -> list[object]:
        with hosts() as world:
            world.bus.kept.add(Queue.SIGNALS)
            alerts(world)
            world.deliver_all(world.waiting(Queue.SIGNALS), given)
            (incident,) = incidents_of(world)
            known = {alert.fingerprint for alert in incident.firing}
            assert len(world.desk.tickets) == 1
            members = worked_members(world)
            return [known, incident.severity, members, [str(notice.kind) for _, notice, _ in world.chat.posts]]

    reference = told(in_order(6))
    found = told(schedule)
    assert found[:3] == reference[:3]
    assert set(found[3]) == set(reference[3])  # type: ignore[call-overload]


def worked_members(world: Hosts) -> list[tuple[str, str, datetime]]:
    """What the group knows of each alert."""
    return sorted((m.fingerprint, str(m.status), m.starts_at) for m in groups.everything_known(world.inner, GROUP))


def changes(world: Hosts) -> None:
    """An opening, joins, a resolve, and people's words at the same time."""
    for name in ("HighErrorRatio", "Latency", "Saturation"):
        world.fires(name)
        world.settle()
    world.resolves("Saturation")
    world.settle()
    incident = world.bus.entries[0].message.subject
    for number, user in enumerate(("olga", "ben")):
        when = world.now + timedelta(seconds=number)
        world.say(IncidentAcknowledged(user), incident, time=when)
        world.say(IncidentAssigned("olga", user), incident, time=when)


@given(schedules(8))
@examples(10)
def test_incident_creator(schedule: Schedule) -> None:
    """Openings, joins, resolves and people's words in any order; how many notes an overtaken word left may differ."""
    found = worked_off(changes, Queue.INCIDENTS, schedule)
    expected = calm(changes, Queue.INCIDENTS)
    assert {**found, "notes": 0} == {**expected, "notes": 0}


def cards(world: Hosts) -> None:
    """Everything people are told until they are asked."""
    world.fires()
    world.settle()


@given(schedules(2))
@examples(12)
def test_notifier(schedule: Schedule) -> None:
    """Each card once, or saying that it may be a repeat (rule H2)."""
    assert worked_off(cards, Queue.NOTIFICATIONS, schedule) == calm(cards, Queue.NOTIFICATIONS)


@given(schedules(1))
@examples(12)
def test_ticket_writer(schedule: Schedule) -> None:
    """One ticket, however often it is asked for, and with whatever happens to the incident meanwhile."""
    assert worked_off(cards, Queue.TICKETS, schedule) == calm(cards, Queue.TICKETS)
