"""A world for each test of retention."""

from __future__ import annotations

from datetime import timedelta

import pytest

from shared.adapters.stores.sqlite import SqliteStore
from shared.model.lifecycle import State
from tests.pipeline.world import World, settings
from tests.records.stage import RULE


@pytest.fixture
def world(store: SqliteStore) -> World:
    return World(store, settings(rules={"slow": RULE}), at_once=0)


@pytest.fixture
def closed(world: World) -> World:
    """One incident that is over, by a person's approval; everything is settled."""
    world.measures("latency_ms", 120.0)
    world.fires()
    world.settle()
    world.vote()
    world.settle()
    world.resolves()
    world.settle()
    world.pass_time(timedelta(minutes=5))
    assert world.incident().state is State.CLOSED
    return world
