"""P1: a list that an older ARGUS wrote is made anew once, by the conductor's first round."""

from __future__ import annotations

from shared import dispatch
from shared.adapters.stores.sqlite import SqliteStore
from shared.ports.store import Delete, Table
from shared.records import index, lists
from tests.pipeline.world import World


def test_P1_incidents_of_an_older_list_are_shown_again(store: SqliteStore) -> None:
    world = World(store)
    world.fires()
    world.settle()
    line = index.place_of(world.incident())
    for key in index.keys_of(world.incident()):
        if (line[0], key) != line:  # the rows that were not there before lists were read through them
            world.inner.write(Table.INCIDENT_INDEX, line[0], Delete(key, None))
    assert not lists.incidents(world.inner, lists.Filter()).lines
    dispatch.tidy(world.engine, world.anchor)
    assert [found.id for found in lists.incidents(world.inner, lists.Filter()).lines] == world.ids()
