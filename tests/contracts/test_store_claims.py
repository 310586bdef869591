"""Several processes race for rows of one store, for each store that is registered."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator
from contextlib import suppress
from multiprocessing.connection import Connection
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

import pytest

from shared.ports.store import Conflict, ConflictKind, Delete, Insert, Operation, Table, Upsert
from tests.adapters.stores import places
from tests.contracts.test_store import add_one

T = Table.GROUPS
_SPAWN = multiprocessing.get_context("spawn")
WORKERS = 4 if places.REAL_TABLES else 3  # without a service of its own it is part of every check
CLAIMS = 50 if places.REAL_TABLES else 8
ADDS = 50 if places.REAL_TABLES else 8
WAIT_S = 120


@pytest.fixture(params=sorted(places.VARIANTS))
def where(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    with places.place(request.param, tmp_path) as settings:
        yield request.param, settings


def race(number: int, name: str, settings: dict[str, Any], begin: Barrier, says: Connection) -> None:
    """Claim what everybody claims, alone and inside a transaction; then count together with everybody."""
    rows = places.opened(name, settings)
    alone: list[int] = []
    together: list[int] = []
    blamed: set[tuple[bool, ConflictKind]] = set()
    begin.wait(WAIT_S)
    for claim in range(CLAIMS):
        with suppress(Conflict):
            rows.write(T, "alone", Insert(f"{claim:03}", {"owner": number}))
            alone.append(claim)
        mine: list[Operation] = [Upsert(f"seen|{number}", {"last": claim}), Insert(f"{claim:03}", {"owner": number})]
        try:
            rows.transact(T, "together", mine)
            together.append(claim)
        except Conflict as refused:
            blamed.add((refused.row_key == f"{claim:03}", refused.kind))
    for _ in range(ADDS):
        add_one(rows, T)
    begin.wait(WAIT_S)  # a claim taken away too early could be won again
    taken = 0
    for claim in range(CLAIMS):
        with suppress(Conflict):
            rows.write(T, "alone", Delete(f"{claim:03}", None))
            taken += 1
    places.close(rows)
    says.send((alone, together, taken, blamed))


def test_exactly_one_process_wins_each_claim_and_no_count_is_lost(where: tuple[str, dict[str, Any]]) -> None:
    rows = places.opened(*where)
    rows.write(T, "p", Insert("counter", {"n": 0}))
    begin = _SPAWN.Barrier(WORKERS)
    pipes = [_SPAWN.Pipe(duplex=False) for _ in range(WORKERS)]
    workers = [_SPAWN.Process(target=race, args=(n, *where, begin, pipes[n][1])) for n in range(WORKERS)]
    for worker in workers:
        worker.start()
    for _, says in pipes:
        says.close()
    said = [hears.recv() if hears.poll(WAIT_S) else None for hears, _ in pipes]
    for worker in workers:
        worker.join(WAIT_S)
    assert [worker.exitcode for worker in workers] == [0] * WORKERS
    for kind, partition in ((0, "alone"), (1, "together")):
        won = sorted(claim for one in said for claim in one[kind])
        assert won == list(range(CLAIMS)), f"{partition}: each claim has one winner"
    owners = {row.key: row.values["owner"] for row in rows.query(T, "together", below="seen|").rows}
    assert owners == {f"{claim:03}": n for n, one in enumerate(said) for claim in one[1]}
    assert set().union(*(one[3] for one in said)) <= {(True, ConflictKind.EXISTS)}
    counter = rows.get(T, "p", "counter")
    assert counter is not None
    assert counter.values["n"] == WORKERS * ADDS
    assert sum(one[2] for one in said) == CLAIMS, "each row was taken away once"
    assert rows.query(T, "alone").rows == ()
    places.close(rows)
