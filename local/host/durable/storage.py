"""The Durable hub in one SQLite file, owned by one host at a time.

In: instances, their inboxes. Out: the same after any kill -9; `HubOwnedElsewhere` when another host has the file.
"""

from __future__ import annotations

import fcntl
import json
import os
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from local.host.durable.history import Event, iso
from local.host.durable.instance import UNFINISHED, Instance, Status

_SCHEMA = """
CREATE TABLE IF NOT EXISTS instances (
    id TEXT PRIMARY KEY, name TEXT NOT NULL, status TEXT NOT NULL, execution INTEGER NOT NULL, input TEXT,
    output TEXT, custom_status TEXT, created TEXT NOT NULL, updated TEXT NOT NULL, state TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS instances_by_status ON instances (status);
CREATE TABLE IF NOT EXISTS history (
    id TEXT NOT NULL, number INTEGER NOT NULL, event TEXT NOT NULL, PRIMARY KEY (id, number)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS inbox (
    number INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL, execution INTEGER, event TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS inbox_by_instance ON inbox (id, number);
"""
_UNFINISHED = f"status IN ({','.join(repr(str(status)) for status in UNFINISHED)})"
_COLUMNS = "id, name, status, execution, input, output, custom_status, created, updated, state"


class HubOwnedElsewhere(Exception):
    """Another process holds the hub's lock."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """An event on its way to an instance.

    Attributes:
        instance_id: addressee.
        execution: the execution it answers, None for external events, which any execution may take.
        event: the history event.
        number: its place in the inbox, 0 before it is there.
    """

    instance_id: str
    execution: int | None
    event: Event
    number: int = 0


@dataclass(frozen=True, slots=True)
class Filter:
    """Which instances a list or purge means; empty fields mean all. Moments are ISO texts as in the table.

    Attributes:
        after: creation and id of the last instance of the page before this one.
    """

    created_from: str = ""
    created_to: str = ""
    statuses: frozenset[str] = frozenset()
    prefix: str = ""
    after: tuple[str, str] = ("", "")


class HubStore:
    """Reads and writes the hub; not for concurrent threads.

    Args:
        path: SQLite file, created when absent; `<path>.lock` beside it holds the lock.

    Raises:
        HubOwnedElsewhere: another process has it.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._lock = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as exc:
            os.close(self._lock)
            raise HubOwnedElsewhere(str(path)) from exc
        try:
            self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute("PRAGMA synchronous=NORMAL")
            self._db.executescript(_SCHEMA)
        except sqlite3.Error:
            os.close(self._lock)  # else this very process would be the other one that has it
            raise

    def close(self) -> None:
        """Gives the hub up."""
        self._db.close()
        os.close(self._lock)

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")

    def create(self, instance: Instance, *, replace_finished: bool = False) -> bool:
        """Stores a new instance; False when the id is taken by one that runs, or by any that must not be replaced."""
        with self._transaction():
            row = self._db.execute("SELECT status FROM instances WHERE id=?", (instance.instance_id,)).fetchone()
            if row is not None:
                if not (replace_finished and Status(row[0]).finished):
                    return False
                self._delete([(instance.instance_id,)])
            self._write(instance)
        return True

    def put(self, instance: Instance) -> None:
        """Writes an instance that was loaded without its history, which stays as it is."""
        with self._transaction():
            self._write(instance)

    def rewound(self, instance: Instance, inbox: Iterable[Delivery], now: datetime) -> None:
        """Replaces an instance, its history and its inbox in one transaction."""
        instance.updated = iso(now)
        with self._transaction():
            self._delete([(instance.instance_id,)])
            self._write(instance)
            for delivery in inbox:
                self._insert(delivery)
        instance.stored = len(instance.history)

    def _delete(self, ids: list[tuple[str]]) -> None:
        for table in ("instances", "history", "inbox"):
            self._db.executemany(f"DELETE FROM {table} WHERE id=?", ids)  # noqa: S608 - fixed names only

    def load(self, instance_id: str, *, history: bool = True) -> Instance | None:
        """The instance, with its history unless the caller has no use for it."""
        query = f"SELECT {_COLUMNS} FROM instances WHERE id=?"  # noqa: S608 - fixed
        row = self._db.execute(query, (instance_id,)).fetchone()
        if row is None:
            return None
        instance = self._from_row(row)
        if history:
            events = self._db.execute("SELECT event FROM history WHERE id=? ORDER BY number", (instance_id,))
            instance.history = [json.loads(text) for (text,) in events]
            instance.stored = len(instance.history)
        return instance

    def _from_row(self, row: tuple[str, str, str, int, str, str, str, str, str, str]) -> Instance:
        instance = Instance(row[0], row[1], row[4], row[7], row[8], Status(row[2]), row[5], row[6])
        instance.execution = row[3]
        instance.load_state(row[9])
        return instance

    def inbox(self, instance_id: str) -> list[Delivery]:
        """What waits for the instance, oldest first."""
        rows = self._db.execute(
            "SELECT number, execution, event FROM inbox WHERE id=? ORDER BY number", (instance_id,)
        ).fetchall()
        return [Delivery(instance_id, execution, json.loads(text), number) for number, execution, text in rows]

    def post(self, delivery: Delivery) -> None:
        """Puts an event into an inbox; without effect when the instance is missing or finished."""
        with self._transaction():
            self._insert(delivery)

    def _insert(self, delivery: Delivery) -> None:
        self._db.execute(
            f"INSERT INTO inbox (id, execution, event) SELECT id, ?, ? FROM instances WHERE id=? AND {_UNFINISHED}",  # noqa: S608
            (delivery.execution, json.dumps(delivery.event), delivery.instance_id),
        )

    def commit(self, instance: Instance, taken: Iterable[Delivery], now: datetime, to: Delivery | None = None) -> None:
        """Ends an episode in one transaction.

        Args:
            instance: new state; its new history events are appended.
            taken: inbox rows that are done with.
            now: becomes the last update.
            to: the parent's notice when a child finished.
        """
        instance.updated = iso(now)
        with self._transaction():
            if instance.stored == 0:
                self._db.execute("DELETE FROM history WHERE id=?", (instance.instance_id,))
            self._write(instance)
            self._db.executemany("DELETE FROM inbox WHERE number=?", [(one.number,) for one in taken])
            if instance.status.finished and instance.before is None:  # a rewind delivers what is left
                self._db.execute("DELETE FROM inbox WHERE id=?", (instance.instance_id,))
            if to is not None:
                self._insert(to)
        instance.stored = len(instance.history)

    def _write(self, instance: Instance) -> None:
        self._db.execute(
            "INSERT OR REPLACE INTO instances VALUES (?,?,?,?,?,?,?,?,?,?)",
            (
                instance.instance_id,
                instance.name,
                str(instance.status),
                instance.execution,
                instance.input,
                instance.output,
                instance.custom_status,
                instance.created,
                instance.updated,
                instance.state_json(),
            ),
        )
        new = list(enumerate(instance.history))[instance.stored :]
        self._db.executemany(
            "INSERT INTO history VALUES (?,?,?)", [(instance.instance_id, n, json.dumps(one)) for n, one in new]
        )

    def unfinished(self) -> list[str]:
        """Ids of all instances that still have something to do."""
        rows = self._db.execute(f"SELECT id FROM instances WHERE {_UNFINISHED} ORDER BY created")  # noqa: S608 - fixed
        return [row[0] for row in rows]

    def select(self, chosen: Filter, limit: int = 1000) -> list[Instance]:
        """Instances without their histories, newest first."""
        where, values = self._where(chosen)
        query = f"SELECT {_COLUMNS} FROM instances WHERE {where} ORDER BY created DESC, id LIMIT ?"  # noqa: S608 - fixed
        rows = self._db.execute(query, [*values, limit]).fetchall()
        return [self._from_row(row) for row in rows]

    def purge(self, chosen: Filter) -> int:
        """Deletes finished instances; returns how many."""
        where, values = self._where(chosen)
        finished = [status for status in Status if status.finished]
        marks = ",".join("?" * len(finished))
        with self._transaction():
            ids = self._db.execute(
                f"SELECT id FROM instances WHERE {where} AND status IN ({marks})",  # noqa: S608 - fixed fragments only
                [*values, *finished],
            ).fetchall()
            self._delete(ids)
        return len(ids)

    def purge_one(self, instance_id: str) -> int:
        """Deletes one finished instance; 0 when there is none."""
        with self._transaction():
            row = self._db.execute("SELECT status FROM instances WHERE id=?", (instance_id,)).fetchone()
            if row is None or not Status(row[0]).finished:
                return 0
            self._delete([(instance_id,)])
        return 1

    def _where(self, chosen: Filter) -> tuple[str, list[str]]:
        parts, values = ["1=1"], []
        if chosen.created_from:
            parts.append("created>=?")
            values.append(chosen.created_from)
        if chosen.created_to:
            parts.append("created<=?")
            values.append(chosen.created_to)
        if chosen.prefix:
            parts.append("substr(id,1,?)=?")
            values += [str(len(chosen.prefix)), chosen.prefix]
        if chosen.after != ("", ""):
            parts.append("(created<? OR (created=? AND id>?))")
            values += [chosen.after[0], *chosen.after]
        if chosen.statuses:
            parts.append(f"status IN ({','.join('?' * len(chosen.statuses))})")
            values += sorted(chosen.statuses)
        return " AND ".join(parts), values
