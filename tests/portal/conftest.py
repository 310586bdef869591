"""A portal of its own for every test."""

from __future__ import annotations

import pytest

from shared.adapters.stores.sqlite import SqliteStore
from tests.portal.world import World, world


@pytest.fixture
def site(store: SqliteStore) -> World:
    """A portal over an empty store; only signed-in people and the key may read."""
    return world(store)
