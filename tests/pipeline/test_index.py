"""Rule P1: lists carry the incident's version and never go back in time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from benchmarks.load.counting import CountingStore
from shared.adapters.stores.sqlite import SqliteStore
from shared.model.incident import Incident
from shared.model.lifecycle import State
from shared.ports.store import Operation, Store, Table
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
    assert (line.state, line.ticket) == (now.state, "INC0000001")
    assert index.seen(line) == index.seen(index.line_of(now))
    assert line.version <= now.version, "a commit that changes nothing of the line leaves it as it is"
    assert line.awaiting == opened.request().id
    assert len(opened.inner.partitions(Table.INCIDENT_INDEX)) == 1


class Busy(CountingStore):
    """Lets another process write right before a write."""

    meddle: Callable[[], None] | None = None

    def write(self, table: Table, partition: str, operation: Operation) -> str:
        self._meddle()
        return super().write(table, partition, operation)

    def transact(self, table: Table, partition: str, operations: Sequence[Operation]) -> Sequence[str]:
        self._meddle()
        return super().transact(table, partition, operations)

    def _meddle(self) -> None:
        meddle, self.meddle = self.meddle, None
        if meddle is not None:
            meddle()


def put(store: Store, shown: index.Shown, *versions: Incident) -> None:
    before = None
    for version in versions:
        shown.put(store, before, version)
        before = version


def test_P1_a_line_this_process_wrote_costs_one_write_more_and_an_unchanged_one_nothing(store: SqliteStore) -> None:
    counting, first = CountingStore(store), incident(version=1)
    put(counting, index.Shown(), first, *(replace(first, version=2 + i, title=f"title {i}") for i in range(3)))
    assert counting.total == 4
    known = index.Shown()
    known.put(counting, first, replace(first, version=9, title="of a process that does not know the line"))
    assert counting.calls["get incidentindex"] == 1, "it looks once"
    known.put(counting, first, replace(first, version=10, title="now it knows"))
    assert counting.calls["get incidentindex"] == 1
    before = counting.total
    known.put(counting, first, replace(first, version=11, entries=7, audit_head="x"))
    assert counting.total == before


@pytest.mark.parametrize(("version", "title"), [(4, "theirs"), (2, "ours")], ids=["they-are-newer", "they-are-older"])
def test_P1_a_line_that_another_process_wrote_meanwhile_is_never_taken_back(
    store: SqliteStore, version: int, title: str
) -> None:
    busy, shown, first = Busy(store), index.Shown(), incident(version=1)
    put(busy, shown, first)
    busy.meddle = lambda: index.put_incident(store, replace(first, version=version, title="theirs"))
    ours = replace(first, version=3, title="ours")
    shown.put(busy, first, ours)
    assert [line.title for line in index.incidents(store)] == [title]
    shown.put(busy, ours, replace(first, version=5, title="later"))
    assert [line.title for line in index.incidents(store)] == ["later"]


def test_P1_two_threads_show_the_newer_one_whichever_writes_last(store: SqliteStore) -> None:
    busy, shown, first = Busy(store), index.Shown(), incident(version=1)
    put(busy, shown, first)
    newer = replace(first, version=3, title="newer")
    busy.meddle = lambda: shown.put(store, first, newer)
    shown.put(busy, first, replace(first, version=2, title="older"))
    assert [line.title for line in index.incidents(store)] == ["newer"]
    shown.put(busy, newer, replace(first, version=4, title="newest"))
    assert [line.title for line in index.incidents(store)] == ["newest"]


def test_P1_the_sweep_writes_only_lines_that_are_wrong(store: SqliteStore) -> None:
    counting, shown = CountingStore(store), incident(version=1)
    index.put_missing(counting, shown)
    assert [line.version for line in index.incidents(store)] == [1]
    before = counting.total
    index.put_missing(counting, replace(shown, version=2))
    assert counting.total == before + 1, "one read"
    index.put_missing(counting, replace(shown, version=3, title="changed"))
    assert [line.title for line in index.incidents(store)] == ["changed"]
