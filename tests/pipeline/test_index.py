"""Rule P1: lists carry the incident's version and never go back in time."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from shared.adapters.stores.sqlite import SqliteStore
from shared.model.lifecycle import State
from shared.ports.store import Table
from shared.records import index
from tests.agents.cases import incident
from tests.pipeline.world import World


def test_P1_an_older_version_never_overwrites_a_newer_one(store: SqliteStore) -> None:
    new, old = incident(version=7, state=State.CLOSED), incident(version=6, title="old")
    index.put_incident(store, new)
    index.put_incident(store, old)
    [line] = index.incidents(store)
    assert (line.version, line.state, line.title) == (7, State.CLOSED, new.title)


@given(order=st.permutations(range(1, 7)))
@hypothesis_settings(
    max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], derandomize=True
)
def test_P1_in_any_order_the_newest_version_stands(store: SqliteStore, order: list[int]) -> None:
    number = hash(tuple(order)) % 10**6
    for version in order:
        index.put_incident(store, incident(number, version=version, title=f"version {version}"))
    [line] = [line for line in index.incidents(store) if line.id == incident(number).id]
    assert line.title == "version 6"


def test_P1_the_list_has_the_newest_first_and_a_row_per_incident(store: SqliteStore) -> None:
    for i in range(40):
        opened = incident(i, opened_at=incident().opened_at + timedelta(seconds=i), version=1)
        index.put_incident(store, opened)
        index.put_incident(store, replace(opened, version=2))
    lines = index.incidents(store, limit=25)
    assert len(lines) == 25
    assert [line.id for line in lines] == [incident(i).id for i in range(39, 14, -1)]


def test_P1_the_list_shows_what_the_incident_is(opened: World) -> None:
    [line] = index.incidents(opened.inner)
    now = opened.incident()
    assert (line.version, line.state, line.ticket) == (now.version, now.state, "INC0000001")
    assert line.awaiting == opened.request().id
    assert len(opened.inner.partitions(Table.INCIDENT_INDEX)) == 1
