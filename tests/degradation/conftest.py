"""What an undisturbed run tells people, to compare with."""

from __future__ import annotations

import pytest

from shared.adapters.stores.sqlite import SqliteStore
from tests.degradation.outage import Unplugged, assert_nothing_lost_or_doubled, cards


@pytest.fixture
def world(store: SqliteStore) -> Unplugged:
    """A world with nothing unplugged yet."""
    return Unplugged(store)


@pytest.fixture(scope="session")
def usual(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, ...]:
    """Kinds of the cards of an undisturbed run, in order."""
    store = SqliteStore(tmp_path_factory.mktemp("calm") / "store.db")
    calm = Unplugged(store)
    calm.fires()
    calm.until_asked()
    calm.approve()
    calm.end()
    assert_nothing_lost_or_doubled(calm)
    assert not calm.pager.posts
    assert not calm.times("cannot be reached")
    told = tuple(cards(calm.chat))
    assert {"opened", "approval", "executed", "closed", "published"} <= set(told)
    store.close()
    return told
