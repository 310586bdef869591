"""An incident whose action has begun does not close before its result is known: it would be written down without it."""

from __future__ import annotations

from datetime import timedelta

import pytest

from shared.adapters.stores.sqlite import SqliteStore
from shared.model.approval import Choice
from shared.model.event import ActionApproved, ClosingKind, ClosingRequested
from shared.model.pipeline import Queue
from tests.pipeline.world import World


@pytest.fixture
def acting(store: SqliteStore) -> World:
    """A world whose process died after the action had run and before anybody noted so."""
    world = World(store)
    world.fires()
    world.settle()
    world.vote()
    world.run_until(lambda: any(e.queue is Queue.ACTIONS for e in world.bus.entries))
    world.points.named = "after run action"
    world.run_until(lambda: bool(world.crashes))
    return world


def test_D4_the_result_of_an_action_that_began_comes_before_the_end(acting: World) -> None:
    acting.resolves()
    acting.run_until(lambda: acting.incident().over, timedelta(hours=1))
    assert [(result.state, len(acting.workload.runs)) for result in acting.incident().actions] == [("done", 1)]
    acting.settle()
    told = " ".join(acting.story())
    assert "waits for the result of an action" in told
    assert "does not apply" not in told
    assert {document.kind for document in acting.incident().documents} == {"review", "runbook"}


def test_C3_a_person_closes_whatever_is_still_running(acting: World) -> None:
    acting.say(ClosingRequested(ClosingKind.MANUAL, "olga", "I know better"), acting.ids()[0])
    acting.pass_time(timedelta(seconds=5))
    assert acting.incident().over
    assert not acting.incident().actions


def test_C3_an_action_that_has_not_begun_does_not_hold_up_the_end(store: SqliteStore) -> None:
    world = World(store)
    world.configure(execution={"kill_switch": True})
    world.fires()
    world.settle()
    world.vote(choice=Choice.APPROVE)
    world.run_until(lambda: bool(world.sent(ActionApproved)))
    world.resolves()
    world.pass_time(timedelta(minutes=2))
    assert world.incident().over
    assert not world.workload.runs
