"""Rules C1 to C3: an incident closes when it is over, its group is freed later, and a repeat in between reopens it."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from shared import dispatch
from shared.model import codec
from shared.model.event import (
    ClosingKind,
    ClosingRequested,
    Event,
    IncidentClosed,
    IncidentRequested,
    InvestigationRequested,
    NotificationRequested,
    TicketUpdateRequested,
    UpdateKind,
)
from shared.model.lifecycle import State
from shared.model.pipeline import Queue
from shared.model.signal import Severity
from shared.records import counters, groups, incidents
from tests.pipeline.world import GROUP, World

SETTLE = timedelta(seconds=20)
RULES = {"errors": {"kind": "threshold", "metric": "error_ratio", "above": 0.1, "severity": "sev2"}}


def claim(world: World) -> groups.GroupState:
    group = groups.state_of(world.inner, GROUP)
    assert group is not None
    return group


def close(world: World, kind: ClosingKind = ClosingKind.MANUAL, by: str = "olga") -> Event:
    event = world.say(ClosingRequested(kind, by, "seen enough" if by else ""), world.ids()[0])
    world.run_until(lambda: not any(e.message.message_id == event.message_id for e in world.bus.entries))
    return event


def measure(world: World, value: float, times: int = 1, every: timedelta = timedelta(seconds=10)) -> None:
    for _ in range(times):
        world.measures("error_ratio", value)
        world.pass_time(every)


@pytest.fixture
def measured(world: World) -> World:
    """An incident whose alert is of a source, and a rule of ours that measures the same service."""
    world.configure(rules=RULES)
    world.fires()
    world.settle()
    measure(world, 0.5, 1)
    return world


def run_action(world: World) -> None:
    """Until the action is done and the closer has looked once."""
    world.run_until(lambda: "measured shop" in " ".join(world.story()), timedelta(minutes=5))


# C1


def test_C1_the_claim_is_closing_when_the_incident_closes_and_closed_20_s_later(opened: World) -> None:
    opened.resolves()
    opened.run_until(lambda: opened.incident().over)
    assert claim(opened).state is groups.Claim.CLOSING
    closed_at = opened.incident().closed_at
    assert closed_at is not None
    opened.pass_time(closed_at + SETTLE - timedelta(milliseconds=50) - opened.now)
    assert claim(opened).state is groups.Claim.CLOSING
    opened.pass_time(timedelta(seconds=1))
    assert claim(opened).state is groups.Claim.CLOSED
    assert opened.incident().over


def test_C1_settling_too_early_waits(opened: World) -> None:
    """A settling of an earlier closing, or of a host whose clock is ahead, frees nothing before its time."""
    close(opened)
    early = Event("e1", "/x", opened.ids()[0], opened.now, ClosingRequested(ClosingKind.SETTLE))
    dispatch.hop(opened.engine, Queue.CLOSING, codec.encode_event(early))
    assert claim(opened).state is groups.Claim.CLOSING
    [again] = [e for e in opened.bus.entries if e.message.message_id == "e1.1"]
    closed_at = opened.incident().closed_at
    assert closed_at is not None
    assert again.visible_at >= closed_at + SETTLE - timedelta(seconds=0.1)
    opened.settle()
    assert claim(opened).state is groups.Claim.CLOSED


def repeat(world: World, after: timedelta) -> None:
    """A process that had not read the claim as closing folds a repeat, and writes its count a little later."""
    closing_at = claim(world).closing_at
    assert closing_at is not None
    where, name = counters.address(GROUP), counters.entry(GROUP, 1)
    seen = counters.Repeats(1, closing_at + after, closing_at + after)
    counters.write(world.inner, "another process", where, {name: seen}, world.now)


def test_C1_a_repeat_seen_while_closing_reopens(opened: World) -> None:
    opened.vote()
    opened.settle()
    opened.resolves()
    opened.run_until(lambda: opened.incident().over)
    repeat(opened, timedelta(seconds=8))
    opened.settle()
    incident = opened.incident()
    assert not incident.over
    assert (incident.closed_at, incident.resolved_at, incident.recovery, incident.resolution) == (None, None, None, "")
    assert claim(opened).state is groups.Claim.OPEN
    assert opened.desk.state["key-INC0000001"] == "open"
    assert "reopened" in [kind for kind, _ in opened.chat.said()]
    assert len(opened.sent(InvestigationRequested)) == 2


def test_C1_a_repeat_from_before_the_closing_does_not(opened: World) -> None:
    opened.resolves()
    opened.run_until(lambda: opened.incident().over)
    repeat(opened, -timedelta(seconds=3))
    opened.settle()
    assert opened.incident().over
    assert claim(opened).state is groups.Claim.CLOSED


def test_C1_a_reopened_incident_is_investigated_and_closes_again(opened: World) -> None:
    close(opened)
    repeat(opened, timedelta(seconds=1))
    opened.settle()
    assert opened.incident().state in (State.INVESTIGATING, State.AWAITING_APPROVAL)
    opened.resolves()
    opened.settle()
    assert opened.incident().over
    assert claim(opened).state is groups.Claim.CLOSED
    assert opened.desk.state["key-INC0000001"] == "resolved"
    assert len(opened.sent(IncidentClosed)) == 2
    assert opened.story().count(f"closed: {opened.incident().title}") == 2
    assert not opened.audit_problem()


def test_C1_settling_an_incident_that_was_reopened_meanwhile_does_nothing(opened: World) -> None:
    close(opened)
    repeat(opened, timedelta(seconds=1))
    opened.settle()
    said = len(opened.chat.posts)
    opened.say(ClosingRequested(ClosingKind.SETTLE), opened.ids()[0])
    opened.settle()
    assert opened.timeline()[-1].what == "nothing to settle"
    assert len(opened.chat.posts) == said
    assert claim(opened).state is groups.Claim.OPEN


def test_C1_settling_twice_frees_the_group_once(opened: World) -> None:
    close(opened)
    opened.settle()
    opened.fires("Again", starts_at=opened.now)
    opened.settle()
    assert len(opened.ids()) == 2
    opened.say(ClosingRequested(ClosingKind.SETTLE), opened.ids()[0])
    opened.settle()
    assert claim(opened).generation == 2
    assert claim(opened).state is groups.Claim.OPEN


def test_C1_an_update_of_the_ticket_that_was_overtaken_does_not_have_the_last_word(opened: World) -> None:
    late = TicketUpdateRequested(UpdateKind.RESOLVE, "Closed: late")
    opened.say(late, opened.ids()[0])
    opened.settle()
    assert opened.desk.state["key-INC0000001"] == "open"
    close(opened)
    opened.settle()
    opened.say(TicketUpdateRequested(UpdateKind.REOPEN, "Reopened: late"), opened.ids()[0])
    opened.settle()
    assert opened.desk.state["key-INC0000001"] == "resolved"
    assert opened.story()[-1] == "ticket INC0000001 left as it is"


# C2


def test_C2_a_firing_that_meets_closing_opens_the_next_generation_afterwards(opened: World) -> None:
    close(opened)
    opened.fires("Latency", starts_at=opened.now)
    opened.settle()
    assert len(opened.ids()) == 2
    assert opened.incident(1).title == "Latency of the shop"
    assert claim(opened).generation == 2


def test_C2_a_join_that_finds_its_incident_closed_goes_back_to_the_signals(opened: World) -> None:
    opened.fires("Latency")
    opened.run_until(lambda: any(e.queue is Queue.INCIDENTS for e in opened.bus.entries))
    [join] = [e for e in opened.bus.entries if e.queue is Queue.INCIDENTS]
    join.visible_at = opened.now + timedelta(seconds=3)
    close(opened)
    opened.settle()
    assert "Latency back to the signals" in opened.story()
    assert [opened.incident(1).alerts[0].name, opened.incident(1).generation] == ["Latency", 2]


# C3


def test_C3_an_incident_closes_when_all_members_are_resolved(opened: World) -> None:
    opened.fires("Latency")
    opened.settle()
    opened.resolves("Latency")
    opened.settle()
    assert not opened.incident().over
    opened.resolves()
    opened.settle()
    assert opened.incident().resolution == "every alert resolved at its source"


def test_C3_a_resolve_that_the_group_has_not_yet_noted_counts(opened: World) -> None:
    """The router sends before it writes (rule S5) and dies in between; the incident knows more than the group."""
    opened.points.after = {opened.points.count + 1}  # the join is sent, the member is not written
    opened.resolves()
    opened.run_until(lambda: bool(opened.crashes))
    assert groups.unresolved(opened.inner, GROUP)
    opened.bus.entries = [e for e in opened.bus.entries if e.queue is not Queue.SIGNALS]
    opened.settle()
    assert opened.incident().over


def test_C3_it_closes_when_the_measurement_was_good_for_the_whole_window(measured: World) -> None:
    measured.vote()
    run_action(measured)
    measure(measured, 0.5, 3)
    assert not measured.incident().over
    recovery = measured.incident().recovery
    assert recovery is not None
    assert recovery.good_since is None
    good = measured.now
    measure(measured, 0.0, 5)
    assert not measured.incident().over
    measure(measured, 0.0, 6)
    incident = measured.incident()
    assert incident.over
    assert incident.resolution.startswith("good for ")
    assert incident.closed_at is not None
    assert incident.closed_at - good >= timedelta(seconds=60)


def test_C3_one_bad_reading_begins_the_window_anew(measured: World) -> None:
    measured.vote()
    run_action(measured)
    measure(measured, 0.0, 5)
    measure(measured, 0.9, 2)
    began = measured.now
    measure(measured, 0.0, 6)
    assert not measured.incident().over
    measure(measured, 0.0, 4)
    closed_at = measured.incident().closed_at
    assert closed_at is not None
    assert closed_at - began >= timedelta(seconds=60)


def test_C3_what_stopped_measuring_is_unknown_and_does_not_close(measured: World) -> None:
    measured.vote()
    run_action(measured)
    measured.pass_time(timedelta(minutes=20))
    assert not measured.incident().over
    assert measured.story()[-1] == "measured shop: unknown"


def test_C3_what_cannot_be_measured_waits_for_a_resolve_or_a_person(opened: World) -> None:
    opened.vote()
    opened.settle()
    [done] = [line for line in opened.timeline() if line.what.startswith("done: ")]
    assert "Nothing here measures shop" in done.why
    assert "Nothing here measures shop" in opened.desk.notes[-1][1]
    opened.pass_time(timedelta(minutes=30))
    assert opened.incident().state is State.VERIFYING
    close(opened)
    assert opened.incident().over


def test_C3_several_reasons_to_look_measure_in_one_chain(measured: World) -> None:
    measured.vote()
    run_action(measured)
    for _ in range(3):
        measured.say(ClosingRequested(ClosingKind.AFTER_ACTION), measured.ids()[0])
        measured.pass_time(timedelta(seconds=1))
    before = measured.story().count("measured shop: bad")
    for _ in range(4):
        measure(measured, 0.5)
    after = measured.story().count("measured shop: bad")
    rechecks = [e for e in measured.bus.entries if e.queue is Queue.CLOSING]
    assert len(rechecks) == 1
    assert after - before <= 4


def test_C3_measuring_ends_when_nothing_has_happened_for_long(measured: World) -> None:
    measured.configure(closing={"give_up_s": 600, "check_every_s": 60, "stale_s": 300, "recovery_s": 60})
    measured.pass_time(timedelta(minutes=15))
    measured.vote()
    run_action(measured)
    assert "stopped measuring" not in measured.story()
    measured.pass_time(timedelta(minutes=13))
    assert measured.story()[-2] == "stopped measuring"
    assert not [e for e in measured.bus.entries if e.queue is Queue.CLOSING]


# By hand


def test_an_action_that_did_not_help_starts_a_new_investigation_once(measured: World) -> None:
    measured.vote()
    run_action(measured)
    before = len(measured.sent(InvestigationRequested))
    measure(measured, 0.5, 28)
    assert len(measured.sent(InvestigationRequested)) == before, "it has its time: 300 s"
    measure(measured, 0.5, 6)
    assert len(measured.sent(InvestigationRequested)) == before + 1
    assert measured.incident().state is not State.VERIFYING
    told = [event.data.notice.title for event in measured.sent(NotificationRequested)]  # type: ignore[union-attr]
    assert sum(title.startswith("Still bad after") for title in told) == 1


def test_a_person_closes_and_the_reason_is_kept(opened: World) -> None:
    close(opened)
    incident = opened.incident()
    assert (incident.resolution, incident.over) == ("olga: seen enough", True)
    [entry] = [entry for entry in opened.timeline() if entry.what.startswith("closed")]
    assert entry.person == "olga"


def test_closing_twice_is_recorded_and_changes_nothing(opened: World) -> None:
    close(opened)
    closed_at = opened.incident().closed_at
    close(opened, by="sam")
    assert opened.incident().closed_at == closed_at
    assert [e.what for e in opened.timeline() if e.person == "sam"] == ["closed already"]


def test_a_closing_ends_a_pending_approval_and_the_timeline_shows_it(opened: World) -> None:
    close(opened)
    opened.pass_time(timedelta(minutes=2))
    waiting = opened.incident().approval
    assert waiting is not None
    assert (waiting.verdict, waiting.decided_by) == ("cancelled", ("policy",))
    [entry] = [e for e in opened.timeline() if e.what.startswith("cancelled: ")]
    assert "the incident ended before anybody decided" in entry.why
    assert not opened.workload.runs
    assert opened.incident().over


def test_a_vote_after_the_end_cannot_start_an_action(opened: World) -> None:
    close(opened)
    opened.vote()
    opened.pass_time(timedelta(minutes=5))
    assert not opened.workload.runs
    assert opened.incident().over


def test_an_action_that_was_approved_before_the_end_is_skipped(opened: World) -> None:
    opened.vote()
    opened.run_until(lambda: any(e.queue is Queue.ACTIONS for e in opened.bus.entries))
    [action] = [e for e in opened.bus.entries if e.queue is Queue.ACTIONS]
    action.visible_at = opened.now + timedelta(seconds=2)
    close(opened)
    opened.settle()
    assert "skipped argus.action.approved.v1" in opened.story()
    assert not opened.workload.runs


def test_an_incident_without_a_group_closes_and_has_nothing_to_settle(world: World) -> None:
    world.say(IncidentRequested("olga", "by hand", "shop", Severity.SEV2), "by-hand")
    world.settle()
    close(world)
    world.settle()
    assert world.incident().over
    assert world.story()[-1] == "nothing to settle"


def test_a_closed_incident_leaves_nothing_behind(opened: World) -> None:
    close(opened)
    opened.pass_time(timedelta(minutes=10))
    assert not opened.rows(incidents.OUTBOX)
    assert not list(incidents.pending(opened.inner))
    assert not opened.bus.entries
    assert replace(claim(opened), state=groups.Claim.CLOSED) == claim(opened)
