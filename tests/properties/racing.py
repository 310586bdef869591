"""How two hosts race: what they work on, and what must hold in every order.

In: a scene and two pieces of work. Out: silence, or the order that breaks it.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta

from shared.agents import sweep
from shared.model.errors import TransientError
from shared.model.pipeline import Queue
from shared.records import groups
from tests.pipeline.world import GROUP
from tests.properties.ending import assert_whole, incidents_of
from tests.properties.hosts import Hosts
from tests.properties.interleaving import Work, explore, scene

Check = Callable[[Hosts], None]
A, B = 0, 1


def delivery(queue: Queue, number: int = 0, host: int = A) -> Work:
    """One of the messages that a scene kept back, on one host."""
    return lambda world: world.take(queue, world.stash[queue][number], host, ())


def sweeping(host: int) -> Work:
    """The conductor's round of one host."""

    def work(world: Hosts) -> None:
        with suppress(TransientError):  # the next round looks again
            sweep.run(world.engine.ports, world.anchor, world.now)

    return work


def race(prepare: Work, one: Work, two: Work, check: Check) -> None:
    """Explore every order."""
    with scene(prepare) as prepared:
        assert explore(prepared, one, two, check) >= 2


def opened(world: Hosts) -> None:
    """One incident that waits for an approval."""
    world.fires()
    world.settle()


def said(world: Hosts, *payloads: object, queue: Queue) -> None:
    """Messages for the incident that nobody has taken yet."""
    world.bus.kept.add(queue)
    for payload in payloads:
        world.say(payload, world.ids()[0])  # type: ignore[arg-type]


def everything_is_in_one_live_incident(*names: str) -> Check:
    def check(world: Hosts) -> None:
        world.settle()
        world.pass_time(timedelta(minutes=3))
        assert_whole(world)
        live = [incident for incident in incidents_of(world) if not incident.over]
        assert [sorted(alert.name for alert in incident.firing) for incident in live] == [sorted(names)]
        assert groups.state_of(world.inner, GROUP).state is groups.Claim.OPEN  # type: ignore[union-attr]

    return check
