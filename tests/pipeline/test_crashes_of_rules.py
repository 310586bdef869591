"""The stories the main loop does not tell, with a process that dies at every point of them.

In: for each rule that has steps of its own, a story that takes them. Out: what the undisturbed story leaves.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

import hypothesis
import pytest

from shared.adapters.stores.sqlite import SqliteStore
from shared.agents.sentinel.alerts import alert_of
from shared.config.schema import Settings
from shared.model.approval import Verdict
from shared.model.errors import PermanentError, TransientError
from shared.model.event import (
    ApprovalRequested,
    ClosingKind,
    ClosingRequested,
    IncidentAcknowledged,
    TicketUpdateRequested,
    UpdateKind,
)
from shared.model.lifecycle import State
from shared.model.pipeline import Queue
from shared.model.recommendation import Parameter
from shared.records import groups, incidents, journal, letters
from tests.agents.remediator.test_solicitor import plan, request
from tests.pipeline.faults import Points
from tests.pipeline.world import GROUP, START, World, settings
from tests.properties.ending import assert_one_live_incident_per_group, end_of

REPEATED = ("write pending", "write incidentindex", "write alertindex", "write incidents evidence")
AT_MOST = 14  # about so many crashes of a story in an ordinary run, spread evenly; a deep one takes every point
Act = Callable[[World], object]


@dataclass(frozen=True)
class Story:
    """A beginning that is not disturbed, and the steps that are.

    Attributes:
        holds: what must be so in the end, beside everything that the undisturbed run left.
    """

    begins: Act
    goes_on: Act
    holds: Act = lambda world: None
    chosen: Callable[[], Settings] = settings


def noted(world: World) -> int:
    return [text for _, text in world.desk.notes].count("hello")


def opened(world: World) -> None:
    world.fires()
    world.settle()


def note(world: World) -> None:
    world.say(TicketUpdateRequested(UpdateKind.NOTE, "hello"), world.ids()[0])


def held_and_released_by_the_timer(world: World) -> None:
    world.configure(policy={"hold": ["ticket_updater"], "hold_s": 60})
    note(world)
    world.pass_time(timedelta(seconds=50))
    world.configure(policy={})
    world.pass_time(timedelta(minutes=8))


def held_and_released_by_a_person(world: World) -> None:
    world.configure(policy={"hold": ["ticket_updater"], "hold_s": 3600})
    note(world)
    world.pass_time(timedelta(seconds=50))

    def release() -> None:
        for held in incidents.held(world.store, world.ids()[0]):
            event = journal.release(world.store, held, "olga", world.now)
            if event is not None:
                letters.send(world.store, world.bus, event)

    for _ in range(2):  # a person whose command line died asks again
        world._alive(release)
        world.pass_time(timedelta(minutes=3))


def noted_once(world: World) -> None:
    assert noted(world) == 1


def fails_twice_and_then_works(world: World) -> None:
    world.desk.failures = [TransientError("busy", sent=False), TransientError("busy", sent=None)]
    note(world)
    world.pass_time(timedelta(minutes=5))


def refused_for_ever(world: World) -> None:
    world.desk.failures = [PermanentError("no")] * 2
    note(world)
    world.pass_time(timedelta(seconds=1))
    world.desk.failures = []
    world.pass_time(timedelta(minutes=5))


def quarantined_or_done(world: World) -> None:
    """A process that died after the refusal was read finds the far side in a better mood, and does it."""
    assert (len({m.message_id for m in world.bus.quarantined}), noted(world)) in ((1, 0), (0, 1), (1, 1))


def swept_after_the_bus_was_away(world: World) -> None:
    world.bus.kept.add(Queue.INCIDENTS)
    world.say(IncidentAcknowledged("olga"), world.ids()[0])
    entry = world.bus.entries[0]
    world.bus.down = True
    world._alive(lambda: world.invoke(entry))
    world.bus.down = False
    world.bus.kept.clear()
    world.pass_time(timedelta(minutes=5))


def a_large_event(world: World) -> None:
    world.bus.kept.add(Queue.TICKET_UPDATES)
    note(world)
    message = world.bus.entries.pop().message
    event = letters.read(world.inner, message.body)
    event = replace(event, id="large", data=TicketUpdateRequested(UpdateKind.NOTE, "x" * 60_000))
    world.bus.kept.clear()
    for _ in range(2):  # whoever sends it sends it again when it died
        world._alive(lambda: letters.send(world.store, world.bus, event))
    world.pass_time(timedelta(minutes=4))


def noted_at_length(world: World) -> None:
    assert [len(text) for _, text in world.desk.notes].count(60_000) == 1


def repeats_while_it_closes(world: World) -> None:
    world.say(ClosingRequested(ClosingKind.MANUAL, "olga", "seen"), world.ids()[0])
    world.run_until(lambda: world.incident().state is State.CLOSED)
    group = groups.state_of(world.inner, GROUP)
    assert group is not None
    signal = world.signal()
    world.engine.memory.count(GROUP, group.generation, alert_of(signal), world.now)
    world.engine.memory.flush(world.inner, world.now, force=True)
    world.pass_time(timedelta(minutes=4))
    world.resolves()
    world.pass_time(timedelta(minutes=8))


def fires_again_while_it_closes(world: World) -> None:
    world.resolves()
    world.run_until(lambda: world.incident().state is State.CLOSED)
    began = START + timedelta(seconds=20)
    world.fires(starts_at=began, at=began)
    world.pass_time(timedelta(minutes=12))


def bounces_off_the_end(world: World) -> None:
    world.bus.kept.add(Queue.INCIDENTS)
    world.fires("Latency", starts_at=world.now)
    world.pass_time(timedelta(seconds=3))
    joins = [entry for entry in world.bus.entries if entry.queue is Queue.INCIDENTS]
    world.bus.entries = [entry for entry in world.bus.entries if entry.queue is not Queue.INCIDENTS]
    world.bus.kept.clear()
    world.say(ClosingRequested(ClosingKind.MANUAL, "olga", "seen"), world.ids()[0])
    world.run_until(lambda: world.incident().state is State.CLOSED)
    world.bus.entries += joins
    world.pass_time(timedelta(minutes=12))


def in_the_next(world: World) -> None:
    assert_one_live_incident_per_group(world)
    assert [world.incident(n).generation for n in range(len(world.ids()))] == [1, 2]


def brief() -> Settings:
    """People have five minutes."""
    return settings(approvals={"expires_s": 300, "poll_s": 60})


def five_minutes_of_silence(world: World) -> None:
    world.pass_time(timedelta(minutes=12))


def nobody_said_yes(world: World) -> None:
    assert world.incident().approval.verdict is Verdict.EXPIRED  # type: ignore[union-attr]
    assert not world.workload.runs


def told_in_vain(world: World) -> None:
    world.waits.lossy = True
    world.vote(told=False)
    world.run_until(lambda: bool(world.incident().actions))
    world.pass_time(timedelta(minutes=10))


def done_once(world: World) -> None:
    assert len(world.workload.runs) == 1


def without_a_plan(world: World) -> None:
    world.investigator.evidence = ()
    opened(world)


def allowed_to_run_by_itself(world: World) -> None:
    of = plan(
        incident_id=world.ids()[0],
        automatic=True,
        parameters=(Parameter("to", "2.4.0", "config", True),),
        preconditions={},
    )
    world.say(ApprovalRequested(request(of=of)), world.ids()[0])
    world.pass_time(timedelta(minutes=8))


def ruled() -> Settings:
    rules = {"slow": {"kind": "threshold", "metric": "latency_ms", "above": 500}}
    return settings(rules=rules)


def measured_bad_and_then_good(world: World) -> None:
    for value in (900, 950, 100, 90, 80, 80, 80, 80, 80, 80):
        world.measures("latency_ms", value)
        world.pass_time(timedelta(seconds=20))
    world.pass_time(timedelta(minutes=6))


STORIES = {
    "H9-timer": Story(opened, held_and_released_by_the_timer, noted_once),
    "H9-person": Story(opened, held_and_released_by_a_person, noted_once),
    "H3-H10-transient": Story(opened, fails_twice_and_then_works, noted_once),
    "H10-permanent": Story(opened, refused_for_ever, quarantined_or_done),
    "H7-H8-sweep": Story(opened, swept_after_the_bus_was_away),
    "M5-reference": Story(opened, a_large_event, noted_at_length),
    "C1-reopened": Story(without_a_plan, repeats_while_it_closes),
    "C2-next-generation": Story(without_a_plan, fires_again_while_it_closes, in_the_next),
    "C2-bounced": Story(without_a_plan, bounces_off_the_end, in_the_next),
    "D1-expiry": Story(opened, five_minutes_of_silence, nobody_said_yes, brief),
    "D2-lost-vote": Story(opened, told_in_vain, done_once),
    "D3-automatic": Story(without_a_plan, allowed_to_run_by_itself, done_once),
    "S2-C3-measured": Story(lambda world: None, measured_bad_and_then_good, chosen=ruled),
}
MAY_DIFFER = {
    "H10-permanent": ("quarantined", "notes", "cards"),  # see `quarantined_or_done`
    "C1-reopened": ("incidents", "cards", "notes"),  # a crash may make the repeat meet another moment of the closing
    # Nobody waits for a ticket that comes minutes late to write the diagnosis into it.
    "C2-next-generation": ("notes",),
    "C2-bounced": ("notes",),
    # A sample that comes back after younger ones is late, and late samples do not turn a rule back (rule S2).
    "S2-C3-measured": ("cards", "notes", "incidents", "alerts", "members"),
}


def tell(story: Story, folder: Path, name: str, points: Points) -> tuple[World, int]:
    """Run a story; the points of its beginning do not count."""
    store = SqliteStore(folder / f"{name}.db")
    world = World(store, story.chosen(), Points())
    story.begins(world)
    world.points.before, world.points.after = points.before, points.after
    world.points.count = 0
    world.points.trace.clear()
    story.goes_on(world)
    passed = world.points.count
    return world, passed


def whole(world: World) -> None:
    """No effect twice, no link broken, nothing left over."""
    assert not world.chat.twice()
    assert not world.desk.twice()
    assert len(set(world.workload.runs)) == len(world.workload.runs)
    assert not world.bus.entries
    for number in range(len(world.ids())):
        assert not world.audit_problem(number)
        assert not world.rows(incidents.OUTBOX, number)
        assert not world.rows(incidents.HELD, number)
    assert_one_live_incident_per_group(world)


def crash_everywhere(name: str, tmp_path: Path) -> None:
    """Tell a story once in peace, and then once for each point of it with a process that dies there."""
    story = STORIES[name]
    but = MAY_DIFFER.get(name, ())
    calm, points = tell(story, tmp_path, "calm", Points())
    names = list(calm.points.trace)
    whole(calm)
    story.holds(calm)
    expected = end_of(calm, but=but)
    chosen = [n for n in range(1, points + 1) if not names[n - 1].startswith(REPEATED)]
    deep = hypothesis.settings.get_current_profile_name() == "deep"
    for number in chosen[:: 1 if deep else max(1, len(chosen) // AT_MOST)]:
        world, _ = tell(story, tmp_path, str(number), Points(before={number}))
        where = f"before {number} ({names[number - 1]})"
        assert world.crashes, where
        whole(world)
        story.holds(world)
        assert end_of(world, but=but) == expected, where


@pytest.mark.parametrize("story", ["H9-timer", "H9-person"])
def test_H9_a_crash_at_any_point_of_holding_and_releasing(story: str, tmp_path: Path) -> None:
    crash_everywhere(story, tmp_path)


def test_H3_H10_a_crash_at_any_point_of_a_retry(tmp_path: Path) -> None:
    crash_everywhere("H3-H10-transient", tmp_path)


def test_H10_a_crash_at_any_point_of_a_quarantine(tmp_path: Path) -> None:
    crash_everywhere("H10-permanent", tmp_path)


def test_H7_H8_a_crash_at_any_point_of_what_the_sweep_makes_good(tmp_path: Path) -> None:
    crash_everywhere("H7-H8-sweep", tmp_path)


def test_M5_a_crash_at_any_point_of_an_event_that_travels_as_a_reference(tmp_path: Path) -> None:
    crash_everywhere("M5-reference", tmp_path)


def test_C1_a_crash_at_any_point_of_a_reopening(tmp_path: Path) -> None:
    crash_everywhere("C1-reopened", tmp_path)


@pytest.mark.parametrize("story", ["C2-next-generation", "C2-bounced"])
def test_C2_a_crash_at_any_point_on_the_way_to_the_next_generation(story: str, tmp_path: Path) -> None:
    crash_everywhere(story, tmp_path)


def test_D1_a_crash_at_any_point_of_an_expiry(tmp_path: Path) -> None:
    crash_everywhere("D1-expiry", tmp_path)


def test_D2_a_crash_at_any_point_after_a_vote_nobody_was_told_of(tmp_path: Path) -> None:
    crash_everywhere("D2-lost-vote", tmp_path)


def test_D3_a_crash_at_any_point_of_an_automatic_rung(tmp_path: Path) -> None:
    crash_everywhere("D3-automatic", tmp_path)


def test_S2_C3_a_crash_at_any_point_from_bad_samples_to_a_measured_end(tmp_path: Path) -> None:
    crash_everywhere("S2-C3-measured", tmp_path)


def test_the_stories_begin_when_they_should(tmp_path: Path) -> None:
    world, points = tell(STORIES["H9-timer"], tmp_path, "one", Points())
    assert points == world.points.count
    assert world.now > START
