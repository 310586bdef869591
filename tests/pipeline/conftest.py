"""A world for each test."""

from __future__ import annotations

import pytest

from shared.adapters.stores.sqlite import SqliteStore
from tests.pipeline.world import World


@pytest.fixture
def world(store: SqliteStore) -> World:
    """An undisturbed world over an empty store."""
    return World(store)


@pytest.fixture
def opened(world: World) -> World:
    """A world with one incident that waits for an approval; everything else is done."""
    world.fires()
    world.settle()
    return world
