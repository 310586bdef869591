"""Rules D1 to D3 in the whole: a lost vote or wake-up costs only the poll, and a decision is carried on once."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from shared.agents.remediator import solicitor
from shared.model.approval import Choice, Verdict
from shared.model.event import ActionApproved, ApprovalDecided, ApprovalRequested, VoteCast
from shared.model.lifecycle import State
from shared.model.recommendation import Parameter
from shared.ports.store import Replace, Table
from shared.records import approvals, incidents
from shared.records.rows import pack
from tests.agents.remediator.test_solicitor import POLL, plan, request, vote
from tests.pipeline.world import World


def test_D1_the_page_writes_votes_only(opened: World) -> None:
    opened.vote(told=False)
    assert approvals.decision_of(opened.inner, opened.request().id) is None


def test_D2_a_lost_vote_event_costs_only_the_poll(opened: World) -> None:
    opened.vote(told=False)
    opened.pass_time(timedelta(seconds=62))
    assert opened.workload.version == "2.4.0"


def test_D2_a_lost_wake_up_costs_nothing_and_the_wait_ends_by_its_own_timer(opened: World) -> None:
    opened.waits.lossy = True
    opened.vote()
    opened.settle()
    assert opened.workload.version == "2.4.0"
    [wait] = opened.waits.instances.values()
    assert wait.step is not None
    opened.pass_time(timedelta(seconds=62))
    assert wait.step is None
    assert len(opened.workload.runs) == 1
    assert sum(line.startswith("approved: ") for line in opened.story()) == 1


def test_D2_the_wait_sleeps_first_and_looks_no_more_once_a_vote_decided(opened: World) -> None:
    """Its hop has written the question itself, and that of the vote has written the end of it."""
    [wait] = opened.waits.instances.values()
    opened.vote()
    opened.settle()
    assert (wait.looks, wait.step) == (0, None)
    assert opened.story().count("olga voted to approve") == 1


def test_D3_the_end_of_the_wait_is_in_the_commit_of_the_vote_that_decides_it(opened: World) -> None:
    opened.vote()
    entry = opened.bus.take()
    assert entry is not None
    opened.invoke(entry)
    decided = approvals.decided_id(opened.request().id, opened.ids()[0])
    assert f"{incidents.INBOX}{decided}" in opened.rows(incidents.INBOX)
    assert not opened.sent(ApprovalDecided)
    vote_line, end_line = opened.timeline()[-2:]
    assert (vote_line.what, end_line.event_id) == ("olga voted to approve", decided)
    assert end_line.what.startswith("approved: ")


def test_D1_D3_a_vote_after_the_wait_has_ended_by_itself_changes_nothing(opened: World) -> None:
    """The wait saw the vote on its own; the message that tells of it comes afterwards."""
    opened.vote(told=False)
    opened.pass_time(timedelta(seconds=62))
    cast = VoteCast(opened.request().id, approvals.votes_of(opened.inner, opened.request().id)[0])
    opened.say(cast, opened.ids()[0])
    opened.settle()
    assert len(opened.workload.runs) == 1
    assert sum(line.startswith("approved: ") for line in opened.story()) == 1
    assert not opened.sent(ApprovalDecided)


def test_D1_a_vote_that_does_not_decide_leaves_it_to_the_wait(opened: World) -> None:
    two = replace(opened.request(), needed=2)
    row = opened.inner.get(Table.APPROVALS, two.id, approvals.REQUEST)
    assert row is not None
    opened.inner.write(Table.APPROVALS, two.id, Replace(approvals.REQUEST, pack(two), row.etag))
    opened.vote()
    opened.settle()
    assert approvals.decision_of(opened.inner, two.id) is None
    [wait] = opened.waits.instances.values()
    assert (wait.looks, wait.step is None) == (0, False)
    opened.vote("sam")
    opened.settle()
    assert opened.workload.version == "2.4.0"
    assert len(opened.workload.runs) == 1


def test_D2_waking_a_finished_or_missing_wait_is_no_error(opened: World) -> None:
    opened.vote()
    opened.settle()
    done = opened.request().id
    for approval in (done, "never-started"):
        opened.say(VoteCast(approval, vote("sam")), opened.ids()[0])
    opened.settle()
    assert not opened.bus.quarantined
    assert opened.story().count("sam voted to approve") == 2
    assert len(opened.workload.runs) == 1


def test_D1_a_refused_attempt_is_in_the_timeline_and_counts_for_nothing(opened: World) -> None:
    refused = VoteCast(opened.request().id, vote("vera"), "Only members of oncall decide this.")
    opened.say(refused, opened.ids()[0])
    opened.settle()
    entry = opened.timeline()[-1]
    assert (entry.what, entry.person) == ("vera may not approve", "vera")
    opened.pass_time(timedelta(minutes=2))
    assert not opened.workload.runs


def test_D1_silence_ends_without_an_action(world: World) -> None:
    world.configure(approvals={"expires_s": 600, "poll_s": 60})
    world.fires()
    world.settle()
    world.pass_time(timedelta(minutes=9))
    assert world.incident().state is State.AWAITING_APPROVAL
    world.pass_time(timedelta(minutes=2))
    assert world.incident().state is State.INVESTIGATING
    assert "expired: Roll back a bad release: shop from 2.4.1 to 2.4.0" in world.story()
    assert not world.workload.runs


def test_D3_the_decision_is_a_hop_whose_cause_is_the_approval(opened: World) -> None:
    opened.vote()
    opened.settle()
    [action] = opened.sent(ActionApproved)
    assert action.data == ActionApproved(opened.request().id)
    [entry] = [e for e in opened.timeline() if e.what.startswith("approved: ")]
    assert entry.event_id == approvals.decided_id(opened.request().id, opened.ids()[0])
    assert entry.person == "olga"


@pytest.mark.parametrize("trusted", [True, False])
def test_D3_an_automatic_rung_writes_request_and_decision_by_policy(world: World, trusted: bool) -> None:
    world.investigator.evidence = ()
    world.fires()
    world.settle()
    parameters = (Parameter("to", "2.4.0", "config", trusted),)
    of = plan(incident_id=world.ids()[0], automatic=True, parameters=parameters)
    asked = request(of=of)
    world.say(ApprovalRequested(asked), world.ids()[0])
    world.settle()
    decision = approvals.decision_of(world.inner, asked.id)
    assert approvals.request_of(world.inner, asked.id) == asked
    if not trusted:
        assert decision is None
        assert world.incident().state is State.AWAITING_APPROVAL
        return
    assert decision is not None
    assert (decision.verdict, decision.by) == (Verdict.APPROVED, ("policy",))
    assert world.workload.version == "2.4.0"
    assert [e.id for e in world.sent(ApprovalDecided)] == [approvals.decided_id(asked.id, world.ids()[0])]


def test_D3_an_automatic_rung_whose_hop_is_late_is_not_carried_on_twice(world: World) -> None:
    """The sweep meets a decision without its hop, and says the very event that is on its way."""
    world.investigator.evidence = ()
    world.fires()
    world.settle()
    of = plan(incident_id=world.ids()[0], automatic=True, preconditions={})
    world.say(ApprovalRequested(request(of=of)), world.ids()[0])
    world.run_until(lambda: bool(world.sent(ApprovalDecided)))
    [entry] = [e for e in world.bus.entries if "decided" in str(e.message.body)]
    entry.visible_at = world.now + timedelta(minutes=15)  # longer than duplicate detection remembers
    world.pass_time(timedelta(minutes=30))
    assert len(world.workload.runs) == 1
    assert len(world.sent(ActionApproved)) == 1


def test_D2_asked_again_after_the_wait_has_ended_takes_the_decision_over(opened: World) -> None:
    """The hop that asked died before its commit, and came again when the deadline was over."""
    asked = opened.request()
    late = replace(asked, id="late", deadline=opened.now)
    approvals.create(opened.inner, late)
    solicitor.look(opened.inner, "late", POLL, opened.now)
    opened.say(ApprovalRequested(late), opened.ids()[0])
    opened.settle()
    waiting = opened.incident().approval
    assert waiting is not None
    assert (waiting.id, waiting.verdict) == ("late", Verdict.EXPIRED)
    assert opened.timeline()[-1].what.startswith("not asked again")


def test_D1_what_arrives_after_its_deadline_is_not_asked(opened: World) -> None:
    late = replace(opened.request(), id="late", deadline=opened.now)
    before = opened.incident().approval
    opened.say(ApprovalRequested(late), opened.ids()[0])
    opened.settle()
    assert opened.incident().approval == before
    assert [what for what in opened.story() if what.startswith("too late to ask")]
    assert "late" not in opened.waits.instances
    assert "escalated" in [kind for kind, _ in opened.chat.said()]


def test_D4_a_plan_with_another_hash_is_not_even_asked(opened: World) -> None:
    forged = replace(opened.request(), plan=replace(opened.request().plan, target="billing"))
    opened.say(ApprovalRequested(forged), opened.ids()[0])
    opened.settle()
    assert "quarantined" in opened.story()


def test_D2_a_wait_whose_activity_dies_goes_on(opened: World) -> None:
    opened.points.before = {opened.points.count + 4, opened.points.count + 7, opened.points.count + 9}
    opened.vote()
    opened.settle()
    assert len(opened.crashes) == 3
    opened.settle()
    assert opened.workload.version == "2.4.0"
    assert len(opened.workload.runs) == 1
    assert not opened.rows(incidents.HELD)


def test_D2_a_wait_whose_timer_got_lost_is_woken_when_its_time_is_over(world: World) -> None:
    world.configure(approvals={"expires_s": 600, "poll_s": 60})
    world.fires()
    world.settle()
    [instance] = world.waits.instances.values()
    instance.due += timedelta(days=365)
    world.pass_time(timedelta(minutes=9))
    assert world.incident().state is State.AWAITING_APPROVAL
    world.pass_time(timedelta(minutes=5))
    assert world.incident().state is State.INVESTIGATING
    assert [entry.what for entry in world.timeline() if entry.what.startswith("expired: ")] == [
        "expired: Roll back a bad release: shop from 2.4.1 to 2.4.0"
    ]
    assert not world.workload.runs


def test_D1_whatever_happens_to_the_waits_the_stored_votes_decide_once(opened: World) -> None:
    """The hub is lost, found, doubled and woken at random moments; the vote was in time, its event never came."""
    asked = opened.request().id
    opened.vote(told=False)
    opened.vote("sam", Choice.REJECT, told=False, at=opened.request().deadline + timedelta(seconds=1))
    for _ in range(3):
        opened.waits.instances.clear()
        opened.waits.wake(asked)
        opened.sweep()
        opened.waits.wake(asked)
    opened.pass_time(timedelta(minutes=5))
    opened.waits.instances.clear()
    opened.waits.start(asked)
    opened.settle()
    decision = approvals.decision_of(opened.inner, asked)
    assert decision is not None
    assert (decision.verdict, decision.by) == (Verdict.APPROVED, ("olga",))
    assert len(opened.sent(ActionApproved)) == len(opened.workload.runs) == 1
