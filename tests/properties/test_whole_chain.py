"""The whole loop on two hosts: any order, any doubling, and everything once more when it is long over."""

from __future__ import annotations

import random
from datetime import timedelta
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from shared.model.pipeline import Queue
from shared.ports.bus import Message
from tests.pipeline.broker import DEDUP_WINDOW
from tests.properties.depth import examples
from tests.properties.ending import assert_whole, end_of
from tests.properties.hosts import Hosts, again, hosts

ALERTS = ("HighErrorRatio", "Latency", "Saturation")


def play(world: Hosts) -> None:
    """Alerts and repeats, an approval, its action, the resolves; people wait for what they answer to."""
    for name in (*ALERTS, ALERTS[0], ALERTS[1]):
        world.fires(name)
    world.settle()
    world.vote()
    world.settle()
    for name in ALERTS:
        world.resolves(name)
    world.settle()
    world.pass_time(timedelta(minutes=12))


def reference(story: Any = play) -> dict[str, Any]:
    with hosts() as world:
        story(world)
        assert_whole(world)
        return end_of(world)


CALM = reference()


def test_the_undisturbed_story_is_worth_comparing_with() -> None:
    (incident,) = CALM["incidents"]
    assert (incident["state"], incident["actions"][0][2], CALM["claim"]) == ("closed", "done", "closed")
    assert set(CALM["cards"]) >= {"opened", "approval", "executed", "closed", "published"}


@given(st.integers(0, 2**32))
@examples(8)
def test_any_order_and_any_doubling_on_two_hosts_end_the_same(seed: int) -> None:
    with hosts(seed=seed) as world:
        play(world)
        assert_whole(world)
        assert end_of(world) == CALM


@given(st.integers(0, 2**32), st.integers(1, 3))
@examples(6)
def test_everything_once_more_when_it_is_long_over_changes_nothing(seed: int, attempts: int) -> None:
    """Beyond duplicate detection, as it was sent and some attempts higher, in any order."""
    with hosts() as world:
        play(world)
        world.pass_time(DEDUP_WINDOW)
        sent: list[tuple[Queue, Message]] = list(world.bus.sent)
        chance = random.Random(seed)
        chance.shuffle(sent)
        for queue, message in sent:
            world.take(queue, again(message, attempts if chance.random() < 0.3 else 0), chance.randint(0, 1), ())
        world.bus.kept.clear()
        world.settle()
        world.pass_time(timedelta(minutes=12))
        assert_whole(world)
        assert end_of(world) == CALM
