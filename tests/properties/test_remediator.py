"""The remediator's micro-agents: any order and any doubling of their messages ends in the same state and effects."""

from __future__ import annotations

from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from shared.config.schema import Settings
from shared.model.approval import Choice, Vote
from shared.model.errors import TransientError
from shared.model.event import ClosingKind, ClosingRequested, VoteCast
from shared.model.lifecycle import State
from shared.model.pipeline import Queue
from tests.pipeline.world import settings
from tests.properties.depth import examples
from tests.properties.hosts import Hosts, Schedule, schedules
from tests.properties.stories import calm, worked_off


def two_needed() -> Settings:
    """Two people must agree."""
    return settings(approvals={"needed": 2, "expires_s": 3 * 86_400, "poll_s": 60})


def voted(world: Hosts) -> None:
    """Two votes that are stored, an attempt that was refused, and the question once more."""
    world.bus.kept.discard(Queue.DECISIONS)
    world.fires()
    world.settle()
    world.bus.kept.add(Queue.DECISIONS)
    request = world.request()
    world.vote("olga")
    world.vote("ben", at=world.now + timedelta(seconds=1))
    refused = Vote("mallory", Choice.APPROVE, world.now, request.plan_hash)
    world.say(VoteCast(request.id, refused, "not of the group"), request.incident_id)


@given(schedules(3))
@examples(10)
def test_solicitor(schedule: Schedule) -> None:
    """What was stored before the deadline decides, in whatever order it is told (rules D1 and D2)."""
    found = worked_off(voted, Queue.DECISIONS, schedule, two_needed())
    assert found == calm(voted, Queue.DECISIONS, two_needed)
    assert found["runs"] == 1


def asked(world: Hosts) -> None:
    """The question is on its way."""
    world.fires()
    world.settle()


@given(schedules(1))
@examples(8)
def test_solicitor_asks_once(schedule: Schedule) -> None:
    found = worked_off(asked, Queue.APPROVALS, schedule)
    assert found == calm(asked, Queue.APPROVALS)
    assert found["cards"].count("approval") == 1


def approved(world: Hosts) -> None:
    """A plan was approved, and the executor is about to act."""
    world.fires()
    world.settle()
    world.vote()
    world.settle()


@given(schedules(1), st.sampled_from((None, False)))
@examples(12)
def test_executor(schedule: Schedule, lost: bool | None) -> None:
    """One execution, whatever is delivered again, and whether the far side refuses first or its answer gets lost."""

    def trouble(world: Hosts) -> None:
        approved(world)
        world.workload.failures = [TransientError("now and then", sent=lost)]

    found = worked_off(trouble, Queue.ACTIONS, schedule)
    assert found == calm(approved, Queue.ACTIONS)
    assert found["runs"] == 1


def told_the_ticket(world: Hosts) -> None:
    """A whole story whose notes nobody has written yet, up to its end."""
    approved(world)
    world.resolves()
    world.run_until(lambda: world.incident().state is State.CLOSED)


@given(schedules(3))
@examples(8)
def test_ticket_updater(schedule: Schedule) -> None:
    """Every note once, and the ticket's last state is the incident's, whichever update comes last."""
    found = worked_off(told_the_ticket, Queue.TICKET_UPDATES, schedule)
    assert found == calm(told_the_ticket, Queue.TICKET_UPDATES)
    assert [state for _, state in found["tickets"]] == ["resolved"]


def over(world: Hosts) -> None:
    """Everything that can make the closer look, at once: a resolve, the action, a person, a settling out of turn."""
    approved(world)
    world.resolves()
    world.pass_time(timedelta(seconds=5))
    for kind in (ClosingKind.MANUAL, ClosingKind.SETTLE):
        world.say(ClosingRequested(kind, "olga", "seen"), world.ids()[0])


@given(schedules(4))
@examples(10)
def test_closer(schedule: Schedule) -> None:
    """It ends once, the group is free afterwards, and people hear of it once (rules C1 to C3)."""
    found = worked_off(over, Queue.CLOSING, schedule)
    assert found == calm(over, Queue.CLOSING)
    assert (found["claim"], found["cards"].count("closed")) == ("closed", 1)
