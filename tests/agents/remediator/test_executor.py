"""Rule D4: nothing is executed that was not approved as it is, nothing twice, and nothing is guessed."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta

import pytest

from shared import dispatch
from shared.adapters.stores.sqlite import SqliteStore
from shared.model import codec
from shared.model.action import ActionResult
from shared.model.approval import Decision, Verdict
from shared.model.errors import PermanentError, Reason, TransientError
from shared.model.event import ActionApproved, ClosingKind, ClosingRequested, Event
from shared.model.lifecycle import State
from shared.model.pipeline import Queue
from shared.model.recommendation import Plan
from shared.ports.store import Delete, Replace, Table
from shared.records import approvals, incidents, journal, leases
from shared.records.rows import pack
from tests.pipeline.world import START, World

LOST = TransientError("the answer was lost", Reason.TIMEOUT, sent=None)
NOT_SENT = TransientError("connection refused", Reason.UNAVAILABLE, sent=False)


@pytest.fixture
def approved(store: SqliteStore) -> World:
    """A world in which the action is on its way."""
    world = World(store)
    world.fires()
    world.settle()
    world.vote()
    world.run_until(lambda: any(e.queue is Queue.ACTIONS for e in world.bus.entries))
    return world


def result(world: World) -> ActionResult:
    [one] = world.incident().actions
    return one


def tamper(world: World, **changes: object) -> None:
    """Change the stored plan behind the back of everybody, hash and all other rows as they were."""
    request = world.request()
    forged = replace(request, plan=replace(request.plan, **changes))  # type: ignore[arg-type]
    world.inner.write(Table.APPROVALS, request.id, Replace(approvals.REQUEST, pack(forged), None))


def redecide(world: World, **changes: object) -> None:
    decision = approvals.decision_of(world.inner, world.request().id)
    assert decision is not None
    forged = replace(decision, **changes)  # type: ignore[arg-type]
    world.inner.write(Table.APPROVALS, world.request().id, Replace(approvals.DECISION, pack(forged), None))


def die(world: World, where: str) -> None:
    """Let time pass until the process has died there."""
    world.points.named = where
    world.run_until(lambda: bool(world.crashes))


def undecide(world: World) -> None:
    world.inner.write(Table.APPROVALS, world.request().id, Delete(approvals.DECISION, None))


def elsewhere(world: World) -> None:
    forged = replace(world.request(), incident_id="another")
    world.inner.write(Table.APPROVALS, world.request().id, Replace(approvals.REQUEST, pack(forged), None))


def too_late(world: World) -> None:
    world.clock[0] += timedelta(days=3, minutes=2)


Moved = Callable[[World], None]
MOVED: dict[str, tuple[Moved, str]] = {
    "plan-tampered": (lambda w: tamper(w, target="billing"), "the plan is not the one that was approved"),
    "parameter-tampered": (lambda w: tamper(w, parameters=()), "the plan is not the one that was approved"),
    "decided-on-another-plan": (lambda w: redecide(w, plan_hash="f" * 64), "the plan is not the one that was approved"),
    "decision-is-a-no": (lambda w: redecide(w, verdict=Verdict.REJECTED), "it was rejected"),
    "decision-is-expired": (lambda w: redecide(w, verdict=Verdict.EXPIRED), "it was expired"),
    "no-decision": (undecide, "nobody has decided it"),
    "approval-of-another-incident": (elsewhere, "the approval belongs to another incident"),
    "live-version-changed": (lambda w: setattr(w.workload, "version", "9.9.9"), "version was '2.4.1' when it was"),
    "no-longer-allowed": (lambda w: setattr(w.workload, "refusal", "shop is frozen"), "shop is frozen"),
    "plan-expired": (too_late, "the plan expired at "),
}


@pytest.mark.parametrize("what", sorted(MOVED))
def test_D4_what_moved_since_the_approval_is_refused(approved: World, what: str) -> None:
    move, why = MOVED[what]
    move(approved)
    approved.settle()
    assert not approved.workload.runs
    assert result(approved).state == "refused"
    assert result(approved).message.startswith(why)
    assert approved.incident().state is State.INVESTIGATING
    assert "escalated" in [kind for kind, _ in approved.chat.said()]


def test_D4_the_kill_switch_stops_an_action_that_a_person_releases(approved: World) -> None:
    approved.configure(execution={"kill_switch": True})
    approved.settle()
    [held] = incidents.held(approved.inner, approved.ids()[0])
    journal.release(approved.inner, held, "olga", approved.now)
    approved.settle()
    assert (result(approved).state, result(approved).message) == ("refused", "the kill switch is on")
    assert not approved.workload.runs


def test_D4_an_action_nobody_configured_is_refused(approved: World) -> None:
    approved.engine = replace(approved.engine, ports=replace(approved.engine.ports, actions={}))
    approved.settle()
    assert result(approved).message == "no action 'deploy_hook' is configured here"


def test_D4_an_approval_nobody_stored_is_permanent(approved: World) -> None:
    approved.say(ActionApproved("unknown"), approved.ids()[0])
    approved.settle()
    assert len(approved.bus.quarantined) == 1
    assert len(approved.workload.runs) == 1


def test_D4_done_is_read_from_the_target(approved: World) -> None:
    approved.settle()
    assert (result(approved).state, result(approved).facts) == ("done", {"version": "2.4.0"})
    assert approved.incident().state is State.VERIFYING


# Settling


def test_D4_a_lost_answer_is_settled_by_reading_the_state(approved: World) -> None:
    approved.workload.failures = [LOST]
    approved.settle()
    assert len(approved.workload.runs) == 1
    assert result(approved).message == "done, though the answer was lost (the answer was lost)"


def test_D4_what_certainly_did_not_happen_is_done_on_the_next_attempt(approved: World) -> None:
    approved.workload.failures = [NOT_SENT, NOT_SENT]
    approved.settle()
    assert len(approved.workload.runs) == 1
    assert result(approved).state == "done"


def test_D4_what_cannot_be_told_goes_to_a_person_and_is_never_repeated(approved: World) -> None:
    approved.workload.failures = [LOST]
    approved.workload.forgetful = True
    approved.settle()
    assert len(approved.workload.runs) == 1
    assert result(approved).state == "unclear"
    assert ("escalated", f"Unclear: {approved.request().plan.title}") in approved.chat.said()
    assert approved.incident().state is State.INVESTIGATING


def test_D4_a_refusal_of_the_far_side_is_a_failure(approved: World) -> None:
    approved.workload.failures = [PermanentError("403", Reason.UNAUTHORIZED)]
    approved.settle()
    assert (result(approved).state, result(approved).message) == ("failed", "403")


@pytest.mark.parametrize(
    ("forgetful", "state", "runs"),
    [pytest.param(False, "done", 1, id="done"), pytest.param(True, "unclear", 1, id="unknown")],
)
def test_D4_a_crash_after_the_action_is_settled(approved: World, forgetful: bool, state: str, runs: int) -> None:
    die(approved, "after run action")
    approved.workload.forgetful = forgetful
    approved.settle()
    assert (result(approved).state, len(approved.workload.runs)) == (state, runs)


def test_D4_a_crash_before_the_action_looks_at_everything_again(approved: World) -> None:
    """It certainly did not happen; meanwhile somebody deployed."""
    die(approved, "before run action")
    approved.workload.version = "3.0.0"
    approved.settle()
    assert not approved.workload.runs
    assert result(approved).message.startswith("version was '2.4.1'")


@pytest.mark.parametrize("happened", [True, False])
def test_D4_an_action_that_began_is_settled_though_the_incident_is_over(approved: World, happened: bool) -> None:
    """A skip would leave open whether it happened; and when it did not, it does not happen any more."""
    die(approved, "after run action" if happened else "before run action")
    approved.say(ClosingRequested(ClosingKind.MANUAL, "olga"), approved.ids()[0])
    approved.settle()
    assert len(approved.workload.runs) == happened
    assert result(approved).state == ("done" if happened else "refused")
    assert approved.incident().over


def test_D4_settling_comes_before_every_refusal(approved: World) -> None:
    """A switch that was turned after the action began does not make it not have happened."""
    die(approved, "after run action")
    redecide(approved, verdict=Verdict.REJECTED)
    approved.settle()
    assert result(approved).state == "done"


# One execution for ever


def test_D4_H11_the_mark_of_an_execution_stays_for_ever(approved: World) -> None:
    approved.settle()
    [key] = approved.workload.runs
    assert approvals.executed(approved.inner, approved.request().id, key)
    assert approvals.mark_executed(approved.inner, approved.request().id, key) is approvals.Mark.AGAIN
    assert approvals.mark_executed(approved.inner, approved.request().id, "e2") is approvals.Mark.OTHER


def test_D4_a_redelivery_after_everything_was_purged_is_only_settled(approved: World) -> None:
    approved.settle()
    [key] = approved.workload.runs
    for prefix in (incidents.INBOX, incidents.INTENT):
        for row in approved.rows(prefix):
            approved.inner.write(Table.INCIDENTS, approved.ids()[0], Delete(row, None))
    event = Event(key, "/x", approved.ids()[0], approved.now, ActionApproved(approved.request().id))
    dispatch.hop(approved.engine, Queue.ACTIONS, codec.encode_event(event))
    assert approved.workload.runs == [key]
    assert [r.state for r in approved.incident().actions] == ["done", "done"]


def test_D4_one_approval_is_executed_by_one_event(approved: World) -> None:
    """Even where nothing of the target would tell, and the rest is over."""
    approved.settle()
    approved.workload.version = "2.4.1"
    approved.clock[0] += timedelta(minutes=5)
    approved.say(ActionApproved(approved.request().id), approved.ids()[0])
    approved.settle()
    assert len(approved.workload.runs) == 1
    assert approved.incident().actions[-1].message == "another event has executed this approval already"


# Leases


LIMITS = leases.Limits(timedelta(seconds=130), timedelta(seconds=30), 2, timedelta(hours=1))


def test_D4_a_held_target_is_waited_for(approved: World) -> None:
    leases.acquire(approved.inner, "shop", "another event", LIMITS, approved.now)
    approved.pass_time(timedelta(seconds=125))
    assert not approved.workload.runs
    approved.pass_time(timedelta(seconds=10))
    assert len(approved.workload.runs) == 1


def test_D4_a_target_rests_between_two_actions(approved: World) -> None:
    leases.acquire(approved.inner, "shop", "another event", LIMITS, approved.now)
    leases.release(approved.inner, "shop", "another event", LIMITS, approved.now)
    approved.pass_time(timedelta(seconds=25))
    assert not approved.workload.runs
    approved.pass_time(timedelta(seconds=10))
    assert len(approved.workload.runs) == 1


def test_D4_a_used_up_budget_is_refused(approved: World) -> None:
    for name, ago in (("e1", timedelta(minutes=30)), ("e2", timedelta(minutes=20))):
        leases.acquire(approved.inner, "shop", name, LIMITS, approved.now - ago)
        leases.release(approved.inner, "shop", name, LIMITS, approved.now - ago)
    approved.settle()
    assert result(approved).message == "2 actions on shop are used up; a person must look"
    assert not approved.workload.runs


def test_D4_lease_cooldown_and_budget_are_of_the_event_and_re_entered(store: SqliteStore) -> None:
    one = replace(LIMITS, max_attempts=1)
    assert leases.acquire(store, "shop", "e1", one, START).given
    assert leases.acquire(store, "shop", "e1", one, START).given
    assert not leases.acquire(store, "shop", "e2", one, START).given
    leases.release(store, "shop", "e2", one, START)
    assert leases.acquire(store, "shop", "e2", one, START).retry_at == START + one.lease
    leases.release(store, "shop", "e1", one, START)
    assert leases.acquire(store, "shop", "e2", one, START).retry_at == START + one.cooldown
    assert leases.acquire(store, "shop", "e1", one, START).given
    assert leases.acquire(store, "billing", "e2", one, START).given


def test_D4_two_events_at_once_and_one_has_the_target(store: SqliteStore) -> None:
    with ThreadPoolExecutor(8) as pool:
        given = list(pool.map(lambda i: leases.acquire(store, "shop", f"e{i}", LIMITS, START).given, range(8)))
    assert given.count(True) == 1


def test_D4_a_budget_is_of_its_window(store: SqliteStore) -> None:
    for i in range(4):
        at = START + i * timedelta(minutes=31)
        assert leases.acquire(store, "shop", f"e{i}", LIMITS, at).given, i
        leases.release(store, "shop", f"e{i}", LIMITS, at)


def test_D4_the_lease_ends_with_the_action_and_the_rest_begins(approved: World) -> None:
    approved.settle()
    soon = leases.acquire(approved.inner, "shop", "another", LIMITS, approved.now)
    assert not soon.given
    assert soon.retry_at is not None
    assert soon.retry_at - approved.now <= LIMITS.cooldown


def test_D4_a_refused_plan_gives_the_target_back(approved: World) -> None:
    approved.workload.version = "9.9.9"
    approved.settle()
    assert leases.acquire(approved.inner, "shop", "another", LIMITS, approved.now).given


def test_D4_the_plan_that_people_approve_is_its_hash(approved: World) -> None:
    plan: Plan = approved.request().plan
    assert approvals.plan_hash(plan) == approved.request().plan_hash
    assert approvals.plan_hash(replace(plan, target="x")) != approved.request().plan_hash
    decision = approvals.decision_of(approved.inner, approved.request().id)
    assert isinstance(decision, Decision)
    assert decision.plan_hash == approved.request().plan_hash
