"""What every store promises, held against each one that is registered."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from shared.adapters.stores import STORES
from shared.model.errors import PermanentError
from shared.ports.store import (
    Conflict,
    ConflictKind,
    Delete,
    Insert,
    Operation,
    Replace,
    Row,
    Store,
    Table,
    Upsert,
)
from tests.adapters.stores import places

T = Table.INCIDENTS


@pytest.fixture(params=sorted(places.VARIANTS))
def opener(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[[], Store]]:
    """Opens the same store again and again, as several processes would."""
    opened: list[Store] = []
    with places.place(request.param, tmp_path) as settings:

        def open_one() -> Store:
            opened.append(places.opened(request.param, settings))
            return opened[-1]

        yield open_one
        for one in opened:
            places.close(one)


@pytest.fixture
def rows(opener: Callable[[], Store]) -> Store:
    return opener()


def existing(rows: Store, partition: str, key: str) -> Row:
    found = rows.get(T, partition, key)
    assert found is not None
    return found


def keys(rows: Store, partition: str, **bounds: Any) -> list[str]:
    found: list[str] = []
    start: str | None = bounds.pop("start", "")
    while start is not None:
        page = rows.query(T, partition, start=start, **bounds)
        found += [row.key for row in page.rows]
        start = page.next_key
    return found


def test_every_registered_store_is_held_to_the_contract() -> None:
    assert set(STORES) == set(places.KNOWN)


def test_a_row_comes_back_with_every_type_it_was_written_with(rows: Store) -> None:
    local = datetime(2026, 3, 1, 12, 0, 0, 123456, tzinfo=timezone(timedelta(hours=5, minutes=30)))
    values = {
        "text": 'Zürich "日本" 🔥\n',
        "empty": "",
        "whole": 2**63 - 1,
        "least": -(2**63),
        "one": 1,
        "one_point": 1.0,
        "tiny": 5e-324,
        "endless": float("inf"),
        "yes": True,
        "raw": bytes(range(256)),
        "at": local,
    }
    etag = rows.write(T, "p", Insert("k", values))
    found = existing(rows, "p", "k")
    assert found == Row("p", "k", etag, values)
    assert {name: type(value) for name, value in found.values.items()} == {n: type(v) for n, v in values.items()}
    assert isinstance(found.values["at"], datetime)
    assert found.values["at"].tzinfo is not None


def test_nothing_is_found_before_it_is_written(rows: Store) -> None:
    assert rows.get(T, "p", "k") is None
    assert rows.query(T, "p").rows == ()
    assert rows.query(T, "p").next_key is None
    assert rows.partitions(T) == ()


def test_tables_and_partitions_are_apart(rows: Store) -> None:
    rows.write(T, "p", Insert("k", {"n": 1}))
    rows.write(T, "q", Insert("k", {"n": 2}))
    rows.write(Table.GROUPS, "p", Insert("k", {"n": 3}))
    assert existing(rows, "p", "k").values == {"n": 1}
    assert rows.partitions(T) == ("p", "q")
    assert rows.partitions(Table.GROUPS) == ("p",)
    rows.write(T, "p", Delete("k", None))
    assert rows.partitions(T) == ("q",)


def test_keys_differ_by_case_and_are_never_normalised(rows: Store) -> None:
    names = ["Ab", "ab", "é", "e\u0301", " ", "'", 'a"b', "a%20b", "a+b", "a|b"]
    for name in names:
        rows.write(T, "p", Insert(name, {"name": name}))
    assert {row.key: row.values["name"] for row in rows.query(T, "p").rows} == {name: name for name in names}


def test_every_write_has_an_etag_of_its_own(rows: Store) -> None:
    etags = [rows.write(T, "p", Insert("k", {"n": 1}))]
    etags += [rows.write(T, "p", Upsert("k", {"n": 1})) for _ in range(3)]
    etags.append(rows.write(T, "p", Replace("k", {"n": 1}, etags[-1])))
    assert rows.write(T, "p", Delete("k", etags[-1])) == ""
    etags.append(rows.write(T, "p", Insert("k", {"n": 1})))
    assert len(set(etags)) == len(etags)
    assert "" not in etags


def test_a_row_made_anew_is_not_mistaken_for_the_old_one(rows: Store) -> None:
    old = rows.write(T, "p", Insert("k", {"n": 1}))
    rows.write(T, "p", Delete("k", None))
    rows.write(T, "p", Insert("k", {"n": 1}))
    with pytest.raises(Conflict) as refused:
        rows.write(T, "p", Replace("k", {"n": 2}, old))
    assert refused.value.kind is ConflictKind.CHANGED


@pytest.mark.parametrize(
    ("operation", "kind"),
    [
        pytest.param(Insert("there", {}), ConflictKind.EXISTS, id="insert-never-overwrites"),
        pytest.param(Replace("there", {}, "no such etag"), ConflictKind.CHANGED, id="replace-needs-the-etag"),
        pytest.param(Delete("there", "no such etag"), ConflictKind.CHANGED, id="delete-needs-the-etag"),
        pytest.param(Replace("gone", {}, None), ConflictKind.MISSING, id="replace-never-creates"),
        pytest.param(Replace("gone", {}, "x"), ConflictKind.MISSING, id="missing-comes-before-changed"),
        pytest.param(Delete("gone", None), ConflictKind.MISSING, id="delete-needs-a-row"),
    ],
)
def test_a_refused_write_says_which_row_and_why(rows: Store, operation: Operation, kind: ConflictKind) -> None:
    rows.write(T, "p", Insert("there", {"n": 1}))
    for attempt in (
        lambda: rows.write(T, "p", operation),
        lambda: rows.transact(T, "p", [Insert("fine", {}), operation]),
    ):
        with pytest.raises(Conflict) as refused:
            attempt()
        assert (refused.value.row_key, refused.value.kind) == (operation.key, kind)
    assert keys(rows, "p") == ["there"]
    assert existing(rows, "p", "there").values == {"n": 1}


def test_no_etag_means_whatever_is_there(rows: Store) -> None:
    rows.write(T, "p", Insert("k", {"n": 1, "old": True}))
    rows.write(T, "p", Replace("k", {"n": 2}, None))
    assert existing(rows, "p", "k").values == {"n": 2}
    rows.write(T, "p", Delete("k", None))
    assert rows.get(T, "p", "k") is None


def test_a_hundred_rows_change_together_or_not_at_all(rows: Store) -> None:
    rows.transact(T, "p", [Insert(f"{n:03}", {"n": n}) for n in range(100)])
    moved: list[Operation] = [Upsert(f"{n:03}", {"n": -1}) for n in range(98)]
    with pytest.raises(Conflict) as refused:
        rows.transact(T, "p", [*moved, Insert("099", {}), Delete("nowhere", None)])
    assert (refused.value.row_key, refused.value.kind) == ("099", ConflictKind.EXISTS)
    assert [row.values["n"] for row in rows.query(T, "p").rows] == list(range(100))


@pytest.mark.parametrize(
    "operations",
    [
        pytest.param([], id="none"),
        pytest.param([Upsert(str(n), {}) for n in range(101)], id="more-than-100"),
        pytest.param([Upsert("k", {}), Upsert("other", {}), Delete("k", None)], id="a-row-twice"),
        pytest.param([Upsert(str(n), {"a": "x" * 30_000}) for n in range(99)], id="more-than-4-MiB"),
        pytest.param([Upsert(str(n), {"a": "ä" * 30_000}) for n in range(30)], id="more-than-4-MiB-as-JSON"),
        pytest.param([Upsert(str(n), {"a": b"x" * 65_000}) for n in range(50)], id="more-than-4-MiB-as-base64"),
    ],
)
def test_a_transaction_no_store_can_do_is_refused_whole(rows: Store, operations: list[Operation]) -> None:
    with pytest.raises(PermanentError):
        rows.transact(T, "p", operations)
    assert rows.query(T, "p").rows == ()


@pytest.mark.parametrize(
    ("text", "count"),
    [
        pytest.param("x" * 32_000, 60, id="ascii"),
        pytest.param("ä" * 32_000, 20, id="accents"),
        pytest.param("\n" * 32_000, 60, id="line-feeds"),
        pytest.param("😀" * 16_000, 20, id="emoji"),
        pytest.param(b"x" * 65_000, 45, id="bytes"),
    ],
)
def test_a_transaction_just_below_the_limit_is_taken_whatever_is_in_it(
    rows: Store, text: str | bytes, count: int
) -> None:
    rows.transact(T, "p", [Upsert(f"'{n}", {"a": text}) for n in range(count)])
    assert len(rows.query(T, "p", limit=count).rows) == count


@pytest.mark.parametrize(
    "key", ["a/b", "a\\b", "a#b", "a?b", "a\tb", "\x00", "\x7f", "\x85", "x" * 513, "😀" * 257, "\ud800"]
)
def test_keys_that_tables_refuse_are_refused(rows: Store, key: str) -> None:
    for attempt in (
        lambda: rows.write(T, "p", Insert(key, {})),
        lambda: rows.write(T, key, Insert("k", {})),
        lambda: rows.get(T, "p", key),
        lambda: rows.get(T, key, "k"),
        lambda: rows.query(T, key),
        lambda: rows.write(T, "p", Delete(key, None)),
    ):
        with pytest.raises(PermanentError):
            attempt()


@pytest.mark.parametrize("key", ["x" * 512, "😀" * 256, "timeline|00000001", "incident"])
def test_keys_of_the_full_length_are_taken(rows: Store, key: str) -> None:
    rows.write(T, key, Insert(key, {"n": 1}))
    assert existing(rows, key, key).values == {"n": 1}


@pytest.mark.parametrize(
    "values",
    [
        pytest.param({"a": "x" * 32_769}, id="text-over-64-KiB"),
        pytest.param({"a": "😀" * 16_385}, id="astral-text-over-64-KiB"),
        pytest.param({"a": b"x" * 65_537}, id="bytes-over-64-KiB"),
        pytest.param({f"a{n}": 1 for n in range(253)}, id="253-properties"),
        pytest.param({f"a{n}": "x" * 32_000 for n in range(17)}, id="over-1-MiB"),
        pytest.param({"a": 2**63}, id="more-than-64-bits"),
        pytest.param({"a": datetime(2026, 1, 1)}, id="a-time-without-zone"),  # noqa: DTZ001
        pytest.param({"a": datetime(1, 1, 1, tzinfo=UTC)}, id="a-time-before-1601"),
        pytest.param({"a": None}, id="null"),
        pytest.param({"a": ["x"]}, id="a-list"),
        pytest.param({"a": "\ud83d"}, id="half-a-character"),
        pytest.param({"a-b": 1}, id="a-name-with-a-dash"),
        pytest.param({"RowKey": "x"}, id="a-reserved-name"),
    ],
)
def test_values_that_tables_refuse_are_refused(rows: Store, values: dict[str, Any]) -> None:
    for operation in (Insert("k", values), Upsert("k", values)):
        with pytest.raises(PermanentError):
            rows.write(T, "p", operation)
    assert rows.get(T, "p", "k") is None


@pytest.mark.parametrize(
    "values",
    [
        pytest.param({"a": "x" * 32_768}, id="text-of-64-KiB"),
        pytest.param({"a": "😀" * 16_384}, id="astral-text-of-64-KiB"),
        pytest.param({"a": b"x" * 65_536}, id="bytes-of-64-KiB"),
        pytest.param({f"a{n}": n for n in range(252)}, id="252-properties"),
        pytest.param({f"a{n}": "x" * 32_000 for n in range(16)}, id="almost-1-MiB"),
        pytest.param({}, id="none"),
    ],
)
def test_values_up_to_the_limits_are_taken(rows: Store, values: dict[str, Any]) -> None:
    rows.write(T, "p", Insert("k", values))
    assert existing(rows, "p", "k").values == values


def test_pages_follow_each_other_without_gap_or_repeat(rows: Store) -> None:
    for begin in range(0, 1100, 100):
        rows.transact(T, "p", [Insert(f"{n:05}", {"n": n}) for n in range(begin, begin + 100)])
    everything = [f"{n:05}" for n in range(1100)]
    assert keys(rows, "p") == everything
    assert keys(rows, "p", limit=7) == everything
    assert keys(rows, "p", start="00010", below="00020", limit=3) == everything[10:20]
    assert len(rows.query(T, "p").rows) <= 1000
    assert len(rows.query(T, "p", limit=7).rows) <= 7


def test_a_prefix_is_a_range(rows: Store) -> None:
    for key in ("incident", "outbox|a", "outbox|b", "outboxes", "timeline|1"):
        rows.write(T, "p", Insert(key, {}))
    assert keys(rows, "p", start="outbox|", below="outbox}") == ["outbox|a", "outbox|b"]
    assert keys(rows, "p", start="x", below="a") == []


def test_rows_are_ordered_by_utf16_units(rows: Store) -> None:
    names = ["A", "a", "ä", "\u4e00", "😀", "\ue000", "\ufffe"]
    for name in reversed(names):
        rows.write(T, "p", Insert(name, {}))
    assert keys(rows, "p", limit=2) == names


@pytest.mark.parametrize("limit", [0, -1, 1001])
def test_a_page_size_no_store_has_is_refused(rows: Store, limit: int) -> None:
    with pytest.raises(PermanentError):
        rows.query(T, "p", limit=limit)


def test_a_deleted_row_between_two_pages_does_no_harm(rows: Store) -> None:
    rows.transact(T, "p", [Insert(str(n), {}) for n in range(6)])
    first = rows.query(T, "p", limit=3)
    assert first.next_key is not None
    rows.write(T, "p", Delete(first.next_key, None))
    assert [row.key for row in rows.query(T, "p", start=first.next_key).rows] == ["4", "5"]


def test_one_of_many_threads_creates_and_none_loses_a_count(opener: Callable[[], Store]) -> None:
    stores = [opener(), opener()]
    begin = threading.Barrier(8)
    created: list[int] = []

    def work(number: int) -> None:
        rows = stores[number % 2]
        begin.wait()
        with suppress(Conflict):
            rows.write(T, "p", Insert("counter", {"n": 0}))
            created.append(number)
        for _ in range(25):
            add_one(rows)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))
    assert len(created) == 1
    assert existing(stores[0], "p", "counter").values["n"] == 200


def add_one(rows: Store, table: Table = T) -> None:
    while True:
        row = rows.get(table, "p", "counter")
        assert row is not None
        with suppress(Conflict):
            rows.write(table, "p", Replace("counter", {"n": int(str(row.values["n"])) + 1}, row.etag))
            return


def test_nobody_sees_half_a_transaction(opener: Callable[[], Store]) -> None:
    writer, reader = opener(), opener()
    names = [f"{n:02}" for n in range(20)]
    done = threading.Event()

    def write() -> None:
        for turn in range(60):
            writer.transact(T, "p", [Upsert(name, {"turn": turn}) for name in names])
        done.set()

    with ThreadPoolExecutor(1) as pool:
        finished = pool.submit(write)
        while not done.is_set() and not finished.done():
            assert len({row.values["turn"] for row in reader.query(T, "p").rows}) <= 1
        finished.result()
