"""Rules D1 to D3: votes are counted once, silence is no consent, and a lost wake-up costs only the poll."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from shared.adapters.stores.sqlite import SqliteStore
from shared.agents.remediator import solicitor
from shared.model.approval import ApprovalRequest, Choice, Decision, Verdict, Vote
from shared.model.errors import PermanentError
from shared.model.event import ActionApproved, ApprovalDecided, ApprovalRequested, VoteCast
from shared.model.lifecycle import State
from shared.model.recommendation import Parameter, Plan
from shared.ports.waits import Enact, Look, Looked, Sleep
from shared.records import approvals, incidents
from tests.pipeline.world import START, World

MINUTE = timedelta(minutes=1)
POLL = timedelta(seconds=60)


def plan(**changes: object) -> Plan:
    values = {
        "incident_id": "i1",
        "runbook": "roll-back",
        "title": "Roll back",
        "action": "deploy_hook",
        "target": "shop",
        "parameters": (Parameter("to", "2.4.0", "config", True),),
        "preconditions": {"version": "2.4.1"},
        "blast_radius": "shop",
        "risk": "",
        "rollback": "",
        "proposed_at": START,
        "expires_at": START + timedelta(hours=1),
        "proposed_by": "recommender",
        **changes,
    }
    return Plan(**values)  # type: ignore[arg-type]


def request(needed: int = 1, of: Plan | None = None, **changes: object) -> ApprovalRequest:
    of = of or plan()
    digest = approvals.plan_hash(of)
    values = {
        "id": approvals.approval_id(of.incident_id, digest),
        "incident_id": of.incident_id,
        "plan": of,
        "plan_hash": digest,
        "group": "oncall",
        "needed": needed,
        "requested_at": START,
        "deadline": START + timedelta(hours=1),
        **changes,
    }
    return ApprovalRequest(**values)  # type: ignore[arg-type]


def vote(user: str, choice: Choice = Choice.APPROVE, minutes: float = 1, digest: str = "") -> Vote:
    return Vote(user, choice, START + timedelta(minutes=minutes), digest or request().plan_hash)


def verdict(needed: int, votes: list[Vote], over: bool = False, minutes: float = 30) -> str:
    decision = solicitor.tally(request(needed), tuple(votes), over, START + timedelta(minutes=minutes))
    return str(decision.verdict) if decision else "open"


@pytest.mark.parametrize(
    ("needed", "votes", "over", "minutes", "expected"),
    [
        pytest.param(1, [], False, 30, "open", id="nobody-has-said-anything"),
        pytest.param(1, [], False, 60, "expired", id="silence-is-not-consent"),
        pytest.param(1, [vote("olga")], False, 30, "approved", id="one-of-one"),
        pytest.param(2, [vote("olga")], False, 30, "open", id="one-of-two"),
        pytest.param(2, [vote("olga")], False, 61, "expired", id="one-of-two-is-silence"),
        pytest.param(2, [vote("olga"), vote("sam")], False, 30, "approved", id="two-of-two"),
        pytest.param(1, [vote("olga", Choice.REJECT)], False, 30, "rejected", id="one-rejection-ends-it"),
        pytest.param(1, [vote("a"), vote("b", Choice.REJECT, 2)], False, 30, "rejected", id="a-rejection-wins"),
        pytest.param(1, [vote("olga", minutes=60)], False, 90, "approved", id="voted-in-time-counted-late"),
        pytest.param(1, [vote("olga", minutes=60.01)], False, 90, "expired", id="voted-too-late"),
        pytest.param(1, [vote("o", Choice.REJECT, 61)], False, 90, "expired", id="rejected-too-late"),
        pytest.param(1, [vote("olga", digest="another")], False, 30, "open", id="voted-for-another-plan"),
        pytest.param(1, [vote("olga")], True, 30, "cancelled", id="the-incident-is-over"),
        pytest.param(1, [vote("olga", Choice.REJECT)], True, 30, "rejected", id="rejected-and-over"),
    ],
)
def test_D1_the_tally(needed: int, votes: list[Vote], over: bool, minutes: float, expected: str) -> None:
    assert verdict(needed, votes, over, minutes) == expected


@given(
    votes=st.lists(
        st.tuples(st.sampled_from("abcdef"), st.sampled_from(Choice), st.floats(0, 120), st.booleans()), max_size=8
    ),
    needed=st.integers(1, 5),
    minutes=st.floats(0, 200),
)
@hypothesis_settings(max_examples=150, deadline=None, derandomize=True)
def test_D1_never_approved_without_enough_valid_votes(
    votes: list[tuple[str, Choice, float, bool]], needed: int, minutes: float
) -> None:
    cast = {user: vote(user, choice, at, "" if same else "other") for user, choice, at, same in votes}
    valid = [v for v in cast.values() if v.at <= request().deadline and v.plan_hash == request().plan_hash]
    said = verdict(needed, list(cast.values()), False, minutes)
    if said == "approved":
        assert len([v for v in valid if v.choice is Choice.APPROVE]) >= needed
        assert not [v for v in valid if v.choice is Choice.REJECT]
    if said == "expired":
        assert minutes >= 60


def test_D1_the_decision_is_created_once_under_two_orchestrations(store: SqliteStore) -> None:
    approvals.create(store, request())
    approvals.vote(store, request().id, vote("olga"))
    assert solicitor.look(store, request().id, POLL, START + 2 * MINUTE) == Looked(True, START + 2 * MINUTE)
    approvals.vote(store, request().id, vote("sam", Choice.REJECT, 3))
    assert solicitor.look(store, request().id, POLL, START + 5 * MINUTE).decided
    decision = approvals.decision_of(store, request().id)
    assert decision is not None
    assert (decision.verdict, decision.by, decision.at) == (Verdict.APPROVED, ("olga",), START + 2 * MINUTE)
    late = Decision(request().id, Verdict.EXPIRED, START, ("deadline",), request().plan_hash, "")
    assert not approvals.decide(store, late)


def test_D1_each_person_has_one_vote(store: SqliteStore) -> None:
    assert approvals.vote(store, "a1", vote("olga", Choice.REJECT))
    assert not approvals.vote(store, "a1", vote("olga", Choice.APPROVE, 2))
    assert [v.choice for v in approvals.votes_of(store, "a1")] == [Choice.REJECT]


def test_D1_expiry_is_the_same_create(store: SqliteStore) -> None:
    approvals.create(store, request())
    assert solicitor.look(store, request().id, POLL, START) == Looked(False, START + POLL)
    near = START + timedelta(minutes=59, seconds=30)
    assert solicitor.look(store, request().id, POLL, near).wake_at == request().deadline
    assert solicitor.look(store, request().id, POLL, request().deadline).decided
    approvals.vote(store, request().id, vote("olga", minutes=59))
    decision = approvals.decision_of(store, request().id)
    assert decision is not None
    assert decision.verdict is Verdict.EXPIRED


def test_D2_the_wait_looks_first_after_every_wake_up_and_ends_with_the_hop() -> None:
    steps = solicitor.wait()
    assert next(steps) == Look()
    assert steps.send(Looked(False, START)) == Sleep(START)
    assert steps.send(None) == Look()
    assert steps.send(Looked(True, START)) == Enact()
    with pytest.raises(StopIteration):
        steps.send(None)


def test_D2_a_look_at_an_approval_nobody_knows_is_permanent(store: SqliteStore) -> None:
    with pytest.raises(PermanentError):
        solicitor.look(store, "unknown", POLL, START)


# In the whole


def test_D1_the_page_writes_votes_only(opened: World) -> None:
    opened.vote(told=False)
    assert approvals.decision_of(opened.inner, opened.request().id) is None


def test_D2_a_lost_vote_event_costs_only_the_poll(opened: World) -> None:
    opened.vote(told=False)
    opened.pass_time(timedelta(seconds=62))
    assert opened.workload.version == "2.4.0"


def test_D2_a_lost_wake_up_costs_only_the_poll(opened: World) -> None:
    opened.waits.lossy = True
    opened.vote()
    opened.settle()
    assert not opened.workload.runs
    opened.pass_time(timedelta(seconds=62))
    assert opened.workload.version == "2.4.0"


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
    assert opened.timeline()[-1].what == "quarantined"


def test_D2_a_wait_whose_activity_dies_goes_on(opened: World) -> None:
    opened.points.before = {opened.points.count + 4, opened.points.count + 7, opened.points.count + 9}
    opened.vote()
    opened.settle()
    assert len(opened.crashes) == 3
    opened.settle()
    assert opened.workload.version == "2.4.0"
    assert len(opened.workload.runs) == 1
    assert not opened.rows(incidents.HELD)
