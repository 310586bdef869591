"""The chronicler's micro-agents: any order and any doubling of their messages ends in the same state and effects."""

from __future__ import annotations

from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from shared.model.errors import TransientError
from shared.model.lifecycle import State
from shared.model.pipeline import Queue
from tests.properties.depth import examples
from tests.properties.hosts import Hosts, Schedule, schedules
from tests.properties.stories import calm, worked_off


def closed(world: Hosts, number: int = 0) -> None:
    """An incident from its alert to its end; what it teaches is not written down yet."""
    world.fires(starts_at=world.now)
    world.settle()
    if world.incident(-1).state is State.AWAITING_APPROVAL:
        world.vote()
        world.settle()
    world.resolves(starts_at=world.now)
    world.settle()
    world.pass_time(timedelta(minutes=1))
    assert world.incident(number).state is State.CLOSED


def closed_twice(world: Hosts) -> None:
    """Two incidents of the same group, one after the other, that end before anything is written down."""
    closed(world)
    world.workload.version = "2.4.1"
    world.pass_time(timedelta(minutes=15))
    closed(world, 1)


@given(schedules(2))
@examples(8)
def test_aggregator(schedule: Schedule) -> None:
    """Each incident is one case, in whatever order they are told; which of them is called number 1 is not the point."""
    found = worked_off(closed_twice, Queue.KNOWLEDGE, schedule)
    expected = calm(closed_twice, Queue.KNOWLEDGE)
    assert found["cases"] == expected["cases"]
    assert len(found["cases"]) == 2


@given(schedules(2))
@examples(8)
def test_doc_writer(schedule: Schedule) -> None:
    """Each incident has its review, and what both teach is one runbook that names both."""
    found = worked_off(closed_twice, Queue.KNOWLEDGE, schedule)
    expected = calm(closed_twice, Queue.KNOWLEDGE)
    assert (found["pages"], found["learned"]) == (expected["pages"], expected["learned"])


@given(schedules(1), st.lists(st.sampled_from((None, False)), max_size=2))
@examples(10)
def test_publisher(schedule: Schedule, troubles: list[bool | None]) -> None:
    """Every page once, told once, also when the destination is away now and then or its answer gets lost."""

    def away(world: Hosts) -> None:
        closed(world)
        world.wiki.failures = [TransientError("away", sent=sent) for sent in troubles]

    found = worked_off(away, Queue.KNOWLEDGE, schedule)
    assert found == calm(closed, Queue.KNOWLEDGE)
    assert found["cards"].count("published") == 1
