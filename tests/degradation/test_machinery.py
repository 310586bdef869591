"""Store slow, store down, bus down, Durable down for an hour: nothing is lost, nothing happens twice."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest

from shared import dispatch
from shared.adapters.registry import Surroundings
from shared.adapters.sources import SOURCES
from shared.adapters.stores.sqlite import SqliteStore
from shared.model.errors import TransientError
from shared.model.lifecycle import State
from shared.model.missing import PartKind
from shared.wiring import ROOT
from tests.degradation.outage import HOUR, SlowStore, Unplugged, assert_nothing_lost_or_doubled, cards
from tests.pipeline.broker import Broker
from tests.pipeline.faults import FragileStore
from tests.pipeline.waits import Instance


def finish(world: Unplugged, usual: tuple[str, ...]) -> None:
    """Go on to the end, and look at everything."""
    world.until_asked()
    world.approve()
    world.end()
    assert_nothing_lost_or_doubled(world)
    assert sorted(cards(world.chat)) == sorted(usual)


def test_the_store_is_slow(store: SqliteStore, usual: tuple[str, ...]) -> None:
    """Every call takes a second, for an hour; a hop takes half a minute then, and that is all."""
    world = Unplugged(store)
    slow = SlowStore(world.store.inner, world.clock, timedelta(seconds=1))
    world.store.inner = slow
    world.fires()
    world.until_asked()
    world.pass_time(HOUR)
    slow.takes = timedelta(0)
    finish(world, usual)


def on_the_queue(world: Unplugged) -> None:
    world.fires()


def being_opened(world: Unplugged) -> None:
    world.fires()
    world.run_until(lambda: bool(world.ids()))


def asked(world: Unplugged) -> None:
    world.fires()
    world.until_asked()
    world.settle()


STAGES: dict[str, Callable[[Unplugged], None]] = {
    "a-first-alert-is-on-the-queue": on_the_queue,
    "an-incident-is-being-opened": being_opened,
    "people-have-been-asked": asked,
}


@pytest.mark.parametrize("stage", STAGES)
def test_the_store_is_down_for_an_hour(world: Unplugged, stage: str, usual: tuple[str, ...]) -> None:
    STAGES[stage](world)
    world.store.down = True
    end = world.now + HOUR
    while world.now < end:
        world.pass_time(timedelta(minutes=1))
    world.store.down = False
    world.pass_time(timedelta(minutes=20))
    finish(world, usual)


@pytest.mark.parametrize("stage", STAGES)
def test_the_bus_is_down_for_an_hour(world: Unplugged, stage: str, usual: tuple[str, ...]) -> None:
    STAGES[stage](world)
    world.bus.down = True
    world.pass_time(HOUR)
    world.bus.down = False
    world.pass_time(timedelta(minutes=2))
    finish(world, usual)


@pytest.mark.parametrize("part", ["store", "bus"])
def test_a_sender_hears_that_its_alert_was_not_taken_and_sends_it_again(world: Unplugged, part: str) -> None:
    """The edge answers 503 then; what the sender says again an hour later opens one incident."""
    near = Surroundings(ROOT, "http://127.0.0.1:7071", world.settings.services)
    source = SOURCES["alertmanager"].build("alertmanager", SOURCES["alertmanager"].config(), near)
    world.engine = dispatch.Engine(
        world.with_sources({"alertmanager": source}), world.engine.workers, world.engine.clock, lambda: 0.5,
        world.engine.invocation,
    )  # fmt: skip
    broken: FragileStore | Broker = world.store if part == "store" else world.bus
    body = (
        b'{"version": "4", "groupKey": "g", "status": "firing", "receiver": "argus", "groupLabels": {},'
        b' "commonLabels": {}, "commonAnnotations": {}, "externalURL": "", "truncatedAlerts": 0, "alerts": [{'
        b'"status": "firing", "labels": {"alertname": "HighErrorRatio", "service": "shop", "severity": "critical"},'
        b'"annotations": {"summary": "too many errors"}, "startsAt": "2026-11-20T02:00:00Z",'
        b'"endsAt": "0001-01-01T00:00:00Z", "generatorURL": "", "fingerprint": "fp-1"}]}'
    )
    broken.down = True
    for _ in range(3):
        with pytest.raises(TransientError):
            dispatch.receive(world.engine, "alertmanager", body, {})
        world.pass_time(timedelta(minutes=20))
    broken.down = False
    for _ in range(2):
        dispatch.receive(world.engine, "alertmanager", body, {})
    world.run_until(lambda: bool(world.ids()))
    world.settle()
    assert len(world.ids()) == 1
    assert len(world.desk.tickets) == 1


def test_durable_is_down_for_an_hour(world: Unplugged, usual: tuple[str, ...]) -> None:
    """The question cannot be asked: the incident says so, and it is asked once when the wait can start."""
    world.waits.down = True
    world.fires()
    world.pass_time(timedelta(minutes=5))
    assert world.incident().state is State.INVESTIGATING
    assert [m.kind for m in world.missing()] == [PartKind.WAITS]
    assert world.says()[0].startswith("the wait for people cannot be reached since")
    assert "approval" not in cards(world.chat), "nobody is asked what nobody would hear"
    world.pass_time(HOUR - timedelta(minutes=5))
    world.waits.down = False
    finish(world, usual)
    assert len(world.waits.instances) == 1


def test_a_wait_that_durable_lost_is_started_again(world: Unplugged, usual: tuple[str, ...]) -> None:
    world.fires()
    world.until_asked()
    world.settle()
    lost: dict[str, Instance] = dict(world.waits.instances)
    world.waits.instances.clear()
    world.pass_time(timedelta(minutes=3))
    assert set(world.waits.instances) == set(lost)
    finish(world, usual)
