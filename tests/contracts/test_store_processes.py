"""Several processes on one store, and one that is killed in the middle of writing."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sqlite3
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from shared.adapters.stores.sqlite import SqliteStore
from shared.model.errors import Reason, TransientError
from shared.ports.store import Conflict, Insert, Replace, Table, Upsert
from tests.contracts.test_store import add_one

T = Table.INCIDENTS
_SPAWN = multiprocessing.get_context("spawn")


def count(path: Path, times: int) -> None:
    rows = SqliteStore(path, busy_s=20)
    with suppress(Conflict):  # the other process was first
        rows.write(T, "p", Insert("counter", {"n": 0}))
    for _ in range(times):
        add_one(rows)


def write_for_ever(path: Path, says: Connection) -> None:
    rows = SqliteStore(path)
    turn = 0
    while True:
        turn += 1
        rows.transact(T, "p", [Upsert(f"{n:02}", {"turn": turn, "bulk": "x" * 2000}) for n in range(50)])
        says.send(turn)


def test_two_processes_that_begin_together_share_a_new_file(tmp_path: Path) -> None:
    path = tmp_path / "new" / "store.db"
    workers = [_SPAWN.Process(target=count, args=(path, 100)) for _ in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert [worker.exitcode for worker in workers] == [0, 0]
    rows = SqliteStore(path)
    found = rows.get(T, "p", "counter")
    assert found is not None
    assert found.values == {"n": 200}
    rows.close()


def test_what_was_said_to_be_written_survives_kill_9(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    hears, says = _SPAWN.Pipe(duplex=False)
    worker = _SPAWN.Process(target=write_for_ever, args=(path, says))
    worker.start()
    says.close()
    said = 0
    while said < 20:
        said = hears.recv()
    assert worker.pid is not None
    os.kill(worker.pid, signal.SIGKILL)
    worker.join(30)
    while hears.poll():
        try:
            said = hears.recv()
        except EOFError:
            break
    rows = SqliteStore(path)
    turns = {row.values["turn"] for row in rows.query(T, "p").rows}
    assert len(turns) == 1
    assert int(str(turns.pop())) >= said
    rows.write(T, "p", Replace("00", {"turn": 0}, None))
    rows.close()


def test_a_file_somebody_else_holds_is_a_transient_error(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    rows = SqliteStore(path, busy_s=0.05)
    rows.write(T, "p", Insert("k", {}))
    holder = sqlite3.connect(path, isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    with pytest.raises(TransientError) as refused:
        rows.write(T, "p", Upsert("k", {}))
    assert refused.value.reason is Reason.TIMEOUT
    assert refused.value.sent is False
    assert rows.get(T, "p", "k") is not None  # readers do not wait for writers
    holder.execute("ROLLBACK")
    holder.close()
    rows.write(T, "p", Upsert("k", {}))
    rows.close()


def test_a_store_that_cannot_be_reached_is_a_transient_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    (tmp_path / "odd.db").write_bytes(b"this is no database, " * 50)
    for path in (tmp_path / "file" / "store.db", tmp_path / "odd.db"):
        with pytest.raises(TransientError):
            SqliteStore(path, busy_s=0.05).get(T, "p", "k")
