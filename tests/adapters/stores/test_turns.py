"""Writers that wait are written for by the one whose turn it is; each gets its own result."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from shared.adapters.stores.sqlite import SqliteStore
from shared.adapters.stores.turns import MOST, Piece, Turns
from shared.model.errors import TransientError
from shared.ports.store import Conflict, ConflictKind, Delete, Insert, Operation, Replace, Table

T = Table.PAYLOADS
PATIENCE_S = 30.0


class Gate:
    """Work of which the first turn waits until it is let go, so that others come together behind it."""

    def __init__(self) -> None:
        self.turns: list[list[int]] = []
        self.begun, self.go = threading.Event(), threading.Event()

    def take(self, turn: Sequence[Piece[int, int]]) -> None:
        self.turns.append([piece.work for piece in turn])
        if len(self.turns) == 1:
            self.begun.set()
            assert self.go.wait(PATIENCE_S)
        for piece in turn:
            if piece.work < 0:
                piece.failure = ValueError(str(piece.work))
            else:
                piece.result = piece.work * 2
            piece.done = True


def all_wait(turns: Turns[int, int], count: int) -> None:
    """Until so many pieces wait for their turn."""
    done = threading.Event()
    for _ in range(int(PATIENCE_S / 0.005)):
        if len(turns._waiting) == count:
            return
        done.wait(0.005)
    raise AssertionError(f"{len(turns._waiting)} of {count} wait")


def behind_the_first(gate: Gate, others: Sequence[int]) -> list[Callable[[], int | None]]:
    turns: Turns[int, int] = Turns(gate.take)
    pool = ThreadPoolExecutor(len(others) + 1)
    first = pool.submit(turns.do, 1, PATIENCE_S)
    assert gate.begun.wait(PATIENCE_S)
    rest = [pool.submit(turns.do, work, PATIENCE_S) for work in others]
    all_wait(turns, len(others))
    gate.go.set()
    pool.shutdown(wait=True)
    return [future.result for future in (first, *rest)]


def test_those_that_wait_are_done_in_one_turn_and_each_gets_its_own() -> None:
    gate = Gate()
    results = behind_the_first(gate, [10, -20, 30, 40])
    assert sorted(map(len, gate.turns)) == [1, 4]
    assert results[0]() == 2
    assert [results[1](), results[3](), results[4]()] == [20, 60, 80]
    with pytest.raises(ValueError, match="-20"):
        results[2]()


def test_a_turn_is_not_longer_than_its_most() -> None:
    gate = Gate()
    results = behind_the_first(gate, range(10, 10 + MOST + 5))
    assert [len(turn) for turn in gate.turns] == [1, MOST, 5]
    assert [result() for result in results[1:]] == [2 * work for work in range(10, 10 + MOST + 5)]


def test_who_waits_too_long_gives_up_and_its_work_is_not_done() -> None:
    gate, turns = Gate(), None
    turns = Turns(gate.take)
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(turns.do, 1, PATIENCE_S)
        assert gate.begun.wait(PATIENCE_S)
        assert turns.do(7, 0.01) is None
        gate.go.set()
        assert first.result() == 2
    assert turns.do(8, PATIENCE_S) == 16
    assert gate.turns == [[1], [8]]


def test_a_fault_in_a_turn_reaches_everyone_and_the_next_turn_works() -> None:
    calls: list[int] = []

    def take(turn: Sequence[Piece[int, int]]) -> None:
        calls.append(len(turn))
        if len(calls) == 1:
            raise ZeroDivisionError
        for piece in turn:
            piece.result, piece.done = 1, True

    turns: Turns[int, int] = Turns(take)
    with pytest.raises(ZeroDivisionError):
        turns.do(1, PATIENCE_S)
    assert turns.do(2, PATIENCE_S) == 1


def written_together(store: SqliteStore, path: Path, work: Sequence[Sequence[Operation]]) -> list[object]:
    """What came of each, when all had to wait for another process."""
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")

    def write(operations: Sequence[Operation]) -> object:
        try:
            return store.transact(T, "p", operations)
        except (Conflict, TransientError) as error:
            return error

    with ThreadPoolExecutor(len(work)) as pool:
        running = [pool.submit(write, operations) for operations in work]
        for _ in range(int(PATIENCE_S / 0.005)):
            if len(store._turns._waiting) == len(work) - 1:
                break
            threading.Event().wait(0.005)
        else:
            raise AssertionError("they do not wait for each other")
        other.execute("ROLLBACK")
        other.close()
        return [future.result() for future in running]


def test_a_transaction_that_breaks_off_halfway_leaves_nothing_and_costs_no_other(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    store = SqliteStore(path, busy_s=PATIENCE_S)
    store.write(T, "p", Insert("there", {"n": 0}))
    good = [[Insert(f"a{n}", {"n": n}), Insert(f"b{n}", {"n": n})] for n in range(4)]
    halfway = [Insert("half", {"n": 1}), Insert("there", {"n": 1})]
    at_once = [Replace("missing", {"n": 1}, None), Insert("never", {"n": 1})]
    results = written_together(store, path, [*good[:2], halfway, at_once, *good[2:]])
    broken, refused = results[2], results[3]
    assert isinstance(broken, Conflict)
    assert (broken.row_key, broken.kind) == ("there", ConflictKind.EXISTS)
    assert isinstance(refused, Conflict)
    assert (refused.row_key, refused.kind) == ("missing", ConflictKind.MISSING)
    kept = {row.key: row.etag for row in store.query(T, "p").rows}
    assert set(kept) == {"there", *(f"{side}{n}" for side in "ab" for n in range(4))}
    for n, etags in zip(range(4), (*results[:2], *results[4:]), strict=True):
        assert etags == [kept[f"a{n}"], kept[f"b{n}"]]


def test_single_writes_of_many_threads_all_arrive_and_meet_their_own_conflicts(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "store.db", busy_s=PATIENCE_S)

    met: list[tuple[str, str]] = []

    def work(n: int) -> list[str]:
        seen = []
        for key in range(40):
            try:
                store.write(T, "p", Insert(f"{key}", {"by": n}))
                seen.append(f"{key}")
            except Conflict as conflict:
                met.append((conflict.row_key, f"{key}"))
        return seen

    with ThreadPoolExecutor(8) as pool:
        won = [key for mine in pool.map(work, range(8)) for key in mine]
    assert sorted(won) == sorted(map(str, range(40))), "each key has one winner"
    assert all(named == tried for named, tried in met)
    assert len(met) == 7 * 40
    for row in store.query(T, "p").rows:
        store.write(T, "p", Delete(row.key, row.etag))
    assert not store.query(T, "p").rows
