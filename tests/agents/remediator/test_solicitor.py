"""Rules D1 and D2: votes are counted once, by the wait alone, and silence is no consent."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from shared.adapters.stores.sqlite import SqliteStore
from shared.agents.remediator import solicitor
from shared.model.approval import ApprovalRequest, Choice, Decision, Verdict, Vote
from shared.model.errors import PermanentError
from shared.model.event import DiagnosisMade
from shared.model.recommendation import Parameter, Plan
from shared.ports.waits import Enact, Look, Looked, Sleep
from shared.records import approvals
from tests.agents.cases import NOW, event, incident
from tests.fakes import ports
from tests.pipeline.world import START

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
    assert solicitor.look(store, request().id, POLL, START + 2 * MINUTE) == Looked(
        True, START + 2 * MINUTE, request().incident_id
    )
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
    assert solicitor.look(store, request().id, POLL, START) == Looked(False, START + POLL, request().incident_id)
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


def test_anything_else_is_permanent(store: SqliteStore) -> None:
    with pytest.raises(PermanentError):
        solicitor.handle(event(incident(), DiagnosisMade(1)), incident(), NOW, ports(store))
