"""How a property about one micro-agent runs: what comes before, its messages under a schedule, and the end.

In: a story that leaves messages in a queue. Out: the end of the world, with nothing broken on the way.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

from shared.config.schema import Settings
from shared.model.pipeline import Queue
from tests.properties.ending import assert_whole, end_of
from tests.properties.hosts import Hosts, Schedule, Turn, hosts, in_order

Story = Callable[[Hosts], object]


def worked_off(prepare: Story, queue: Queue, schedule: Schedule, chosen: Settings | None = None) -> dict[str, Any]:
    """The end after the messages that ``prepare`` left in ``queue`` came as scheduled, and everything they led to."""
    with hosts(chosen) as world:
        world.bus.kept.add(queue)
        prepare(world)
        messages = world.waiting(queue)
        assert messages, "there is nothing to deliver"
        world.deliver_all(messages, fitting(schedule, len(messages)))
        assert_whole(world)
        return end_of(world)


def fitting(schedule: Schedule, messages: int) -> Schedule:
    """The schedule for as many messages as there are: those it does not name come last, others are left out."""
    turns = [turn for turn in schedule.turns if turn.message < messages]
    named = {turn.message for turn in turns}
    turns += [Turn(number) for number in range(messages) if number not in named]
    return Schedule(tuple(turns), tuple(turn for turn in schedule.late if turn.message < messages))


@lru_cache
def calm(prepare: Story, queue: Queue, chosen: Callable[[], Settings] | None = None) -> dict[str, Any]:
    """The end when each message comes once, in order."""
    return worked_off(prepare, queue, in_order(0), chosen() if chosen else None)


__all__ = ["Schedule", "Story", "Turn", "calm", "worked_off"]
