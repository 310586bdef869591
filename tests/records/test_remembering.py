"""What one micro-agent of a chain has read, the next does not read again, and never past a write of its own."""

from __future__ import annotations

import pytest

from benchmarks.load.counting import CountingStore
from shared.adapters.stores.sqlite import SqliteStore
from shared.ports.store import Conflict, Delete, Insert, Replace, Table, Upsert
from shared.records.remembering import Remembering

T = Table.KNOWLEDGE


@pytest.fixture
def counting(store: SqliteStore) -> CountingStore:
    store.write(T, "p", Insert("a", {"n": 1}))
    return CountingStore(store)


def test_a_second_read_costs_nothing(counting: CountingStore) -> None:
    store = Remembering(counting)
    for _ in range(2):
        assert store.get(T, "p", "a") is not None
        assert store.get(T, "p", "none") is None
        assert len(store.query(T, "p", "a", "z").rows) == 1
        assert len(store.query(T, "p", "b", "z").rows) == 0
    assert counting.calls == {"get knowledge": 2, "query knowledge": 2}


def test_a_write_is_seen_by_every_read_after_it(counting: CountingStore) -> None:
    store = Remembering(counting)
    first = store.get(T, "p", "a")
    assert first is not None
    assert len(store.query(T, "p").rows) == 1
    store.write(T, "p", Insert("b", {"n": 2}))
    assert len(store.query(T, "p").rows) == 2
    store.transact(T, "p", (Replace("a", {"n": 3}, first.etag), Delete("b", None)))
    assert len(store.query(T, "p").rows) == 1
    again = store.get(T, "p", "a")
    assert again is not None
    assert again.values == {"n": 3}
    assert store.get(T, "p", "b") is None
    store.write(T, "p", Replace("a", {"n": 4}, again.etag))


def test_what_could_not_be_written_is_read_again(counting: CountingStore) -> None:
    store = Remembering(counting)
    assert store.get(T, "p", "new") is None
    counting.inner.write(T, "p", Insert("new", {"n": 5}))
    with pytest.raises(Conflict):
        store.write(T, "p", Insert("new", {"n": 6}))
    found = store.get(T, "p", "new")
    assert found is not None
    assert found.values == {"n": 5}


def test_rows_of_the_commit_to_come_are_answered(counting: CountingStore) -> None:
    store = Remembering(counting)
    store.expect(T, "p", (Upsert("text", {"t": "x"}),))
    found = store.get(T, "p", "text")
    assert found is not None
    assert found.values == {"t": "x"}
    assert counting.inner.get(T, "p", "text") is None


def test_a_new_row_takes_its_place_among_what_was_read(counting: CountingStore) -> None:
    store = Remembering(counting)
    assert [row.key for row in store.query(T, "p").rows] == ["a"]
    assert store.query(T, "p", "x", "z").rows == ()
    store.write(T, "p", Insert("0", {"n": 0}))
    store.write(T, "p", Insert("b", {"n": 2}))
    assert [row.key for row in store.query(T, "p").rows] == ["0", "a", "b"]
    assert store.query(T, "p", "x", "z").rows == ()
    assert counting.calls["query knowledge"] == 2


def test_a_whole_range_that_was_read_says_what_is_not_there(counting: CountingStore) -> None:
    store = Remembering(counting)
    store.query(T, "p", "a", "c")
    assert store.get(T, "p", "b") is None
    found = store.get(T, "p", "a")
    assert found is not None
    assert counting.calls == {"query knowledge": 1}
    assert store.get(T, "p", "c") is None, "outside of the range nothing is known"
    assert counting.calls["get knowledge"] == 1


def test_a_range_that_was_cut_says_nothing_of_what_comes_after_the_cut(counting: CountingStore) -> None:
    counting.inner.write(T, "p", Insert("b", {"n": 2}))
    store = Remembering(counting)
    assert store.query(T, "p", "a", "z", 1).next_key == "b"
    found = store.get(T, "p", "b")
    assert found is not None
    store.write(T, "p", Insert("c", {"n": 3}))
    assert [row.key for row in store.query(T, "p", "a", "z", 1).rows] == ["a"]
