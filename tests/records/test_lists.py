"""Lists by pages: all of them, each once, newest first, and few reads however much there is."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from benchmarks.load.counting import CountingStore
from shared.adapters.stores.sqlite import SqliteStore
from shared.model.incident import Incident
from shared.model.lifecycle import State
from shared.model.ticket import Ticket
from shared.ports.store import Delete, Store, Table
from shared.records import index, lists
from shared.records.lists import AlertFilter, Filter
from tests.agents.cases import T0, alert, incident


def _crowd(store: Store, opened: int, closed: int) -> list[Incident]:
    """Incidents a minute apart, the closed ones older."""
    made = [
        incident(
            number, opened_at=T0 + timedelta(minutes=number), service=f"svc-{number % 3}", version=1,
            state=State.CLOSED if number < closed else State.OPEN, title=f"case-{number}-end",
            ticket=Ticket("desk", str(number), f"INC{number:05d}", ""),
        )
        for number in range(opened + closed)
    ]  # fmt: skip
    index.put_new_incidents(store, made)
    return made


def _all(store: Store, wanted: Filter, size: int, most: int = lists.MOST_READ) -> list[str]:
    """Titles of every page."""
    titles, cursor = [], ""
    while True:
        page = lists.incidents(store, wanted, cursor, size, most)
        titles += [line.title for line in page.lines]
        cursor = page.next
        assert lists.is_cursor(cursor)
        if not cursor:
            return titles


@pytest.mark.parametrize("size", [1, 7, 50, 1000])
@pytest.mark.parametrize(("state", "opened", "closed"), [("open", 1, 0), ("closed", 0, 1), ("all", 1, 1)])
def test_pages_show_everything_once_newest_first(
    store: SqliteStore, state: str, opened: int, closed: int, size: int
) -> None:
    _crowd(store, 60, 40)
    newest_first = [f"case-{number}-end" for number in range(99, -1, -1)]
    assert _all(store, Filter(state), size) == newest_first[:60] * opened + newest_first[60:] * closed


@pytest.mark.parametrize("most", [1, 13, 64, 1000])
def test_a_search_that_stops_early_says_so_and_goes_on(store: SqliteStore, most: int) -> None:
    _crowd(store, 60, 40)
    page = lists.incidents(store, Filter("all", text="5-END"), size=50, most=most)
    assert page.early == (most < 100)
    assert page.read == min(most, 100)
    assert page.back_to == T0 + timedelta(minutes=100 - page.read)
    found = _all(store, Filter("all", text="5-END"), 50, most)
    assert found == [f"case-{number}5-end" for number in (9, 8, 7, 6, 5, 4, 3, 2, 1, "")]
    assert _all(store, Filter("closed", "SVC-2", "case"), 50, most) == [
        f"case-{number}-end" for number in range(38, 0, -3)
    ]


def test_a_slow_store_ends_a_search_not_a_list(store: SqliteStore) -> None:
    _crowd(store, 90, 0)
    page = lists.incidents(store, Filter(text="nothing"), late=lambda: True)
    assert (page.read, page.early) == (64, True)
    assert page.next
    assert len(lists.incidents(store, Filter(), size=90, late=lambda: True).lines) == 90


def test_open_incidents_cost_nothing_of_the_closed_ones(store: SqliteStore) -> None:
    _crowd(store, 60, 400)
    counting = CountingStore(store)
    assert len(lists.incidents(counting, Filter()).lines) == 50
    assert sum(counting.calls.values()) == 16
    counting.calls.clear()
    counted = lists.count_open(counting)
    assert (counted.total, counted.severities, counted.services) == (60, {"sev2": 60}, {"svc-0", "svc-1", "svc-2"})
    assert sum(counting.calls.values()) == 16


def test_names_are_found_whatever_their_age(store: SqliteStore) -> None:
    made = _crowd(store, 20, 40)
    counting = CountingStore(store)
    [line] = lists.lines_named(counting, "inc00007", 5)
    assert line.id == made[7].id
    assert sum(counting.calls.values()) == 17
    assert lists.named(store, made[3].id[:9].upper(), 5) == [(made[3].id, made[3].id)]
    assert len(lists.lines_named(store, "INC0000", 5)) == 5


def test_p1_an_incident_is_on_one_side_and_its_last_ticket_leads_to_it(store: SqliteStore) -> None:
    [made] = _crowd(store, 1, 0)
    shown = index.Shown()
    closed = replace(made, version=2, state=State.CLOSED)
    shown.put(store, made, closed)
    shown.put(store, made, replace(made, title="late and older"))
    assert [line.version for line in lists.incidents(store, Filter("all")).lines] == [2]
    assert lists.incidents(store, Filter("open")).lines == ()
    again = replace(closed, version=3, state=State.INVESTIGATING, ticket=Ticket("desk", "x", "OPS-7", ""))
    shown.put(store, closed, again)
    assert [line.version for line in lists.incidents(store, Filter("all")).lines] == [3]
    assert lists.incidents(store, Filter("closed")).lines == ()
    assert not lists.named(store, "INC00000", 5)
    assert lists.named(store, "ops-7", 5) == [("ops-7", made.id)]
    index.remove_incident(store, again)
    assert not [row for part in store.partitions(Table.INCIDENT_INDEX) for row in
                store.query(Table.INCIDENT_INDEX, part).rows]  # fmt: skip


@pytest.mark.parametrize("state", [State.OPEN, State.CLOSED])
def test_p1_rows_beside_a_line_that_are_gone_come_back(store: SqliteStore, state: State) -> None:
    [made] = _crowd(store, 1, 0)
    partition, key = index.place_of(made)
    for row in store.query(Table.INCIDENT_INDEX, partition).rows:
        if row.key != key:
            store.write(Table.INCIDENT_INDEX, partition, Delete(row.key, None))
    after = replace(made, version=2, state=state, ticket=None)
    index.put_incident(store, after)
    keys = {row.key for row in store.query(Table.INCIDENT_INDEX, partition).rows}
    assert keys == index.keys_of(after)


def test_alerts_by_pages_and_by_what_they_are(store: SqliteStore) -> None:
    index.put_alerts(
        store,
        [
            index.AlertLine(
                alert(f"Rule{n:03d}", starts_at=T0 + timedelta(seconds=n), service=f"svc-{n % 4}"), "", "", T0
            )
            for n in range(120)
        ],
    )
    names, cursor = [], ""
    for _ in range(3):
        page = lists.alerts(store, AlertFilter(), cursor)
        names += [line.alert.name for line in page.lines]
        cursor = page.next
    assert names == [f"Rule{n:03d}" for n in range(119, -1, -1)]
    assert not cursor
    found = lists.alerts(store, AlertFilter("firing", "svc-1", "rule11", "sev2"))
    assert [line.alert.name for line in found.lines] == ["Rule117", "Rule113"]
    assert not lists.alerts(store, AlertFilter("resolved")).lines


@pytest.mark.parametrize("cursor", ["x", "open:", "open:1|a", "0" * 15, f"{'0' * 15}|a/b", "²" * 15 + "|a"])
def test_what_is_no_place_in_a_list(cursor: str) -> None:
    assert not lists.is_cursor(cursor)
