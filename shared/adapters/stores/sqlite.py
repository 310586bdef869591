"""Rows in one SQLite file that several threads and processes share.

In: the operations of the store port. Out: rows; what was returned as written survives `kill -9`.
"""

from __future__ import annotations

import base64
import json
import math
import sqlite3
import threading
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
from pydantic import Field

from shared.adapters.registry import Adapter, Surroundings
from shared.adapters.stores import limits
from shared.adapters.stores.turns import Piece, Turns
from shared.config.schema import Section
from shared.model.errors import PermanentError, Reason, TransientError
from shared.ports.store import (
    Conflict,
    ConflictKind,
    Delete,
    Insert,
    Operation,
    Page,
    Properties,
    Replace,
    Row,
    Store,
    Table,
    Value,
)

_Work = Sequence[tuple[tuple[str, bytes, bytes], Operation, bytes]]  # place, operation and document
_Piece = Piece[_Work, list[str]]

BUSY_S = 2.5  # below the 3 s after which the edge gives up on the store (ARCHITECTURE, section 7)

# Keys are UTF-16-BE, because their byte order is the order Azure sorts keys in; UTF-8's differs beyond the BMP.
_SCHEMA = (
    "CREATE TABLE IF NOT EXISTS rows (tbl TEXT NOT NULL, part BLOB NOT NULL, key BLOB NOT NULL, etag TEXT NOT NULL,"
    " doc BLOB NOT NULL, PRIMARY KEY (tbl, part, key)) WITHOUT ROWID"
)
_UPSERT = (
    "INSERT INTO rows (tbl, part, key, etag, doc) VALUES (?, ?, ?, ?, ?)"
    " ON CONFLICT (tbl, part, key) DO UPDATE SET etag = excluded.etag, doc = excluded.doc"
)
_INSERT = "INSERT OR IGNORE INTO rows (tbl, part, key, etag, doc) VALUES (?, ?, ?, ?, ?)"
_SEEN = "SELECT 1 FROM rows WHERE tbl = ? AND part = ? AND key = ?"
_UPDATE = "UPDATE rows SET etag = ?, doc = ? WHERE tbl = ? AND part = ? AND key = ?"
_UPDATE_SAME = _UPDATE + " AND etag = ?"
_DELETE = "DELETE FROM rows WHERE tbl = ? AND part = ? AND key = ?"
_DELETE_SAME = _DELETE + " AND etag = ?"
# Hops from one partition to the next through the primary key instead of reading every row.
_PARTITIONS = (
    "WITH RECURSIVE p (part) AS (SELECT min(part) FROM rows WHERE tbl = ?1 UNION ALL"
    " SELECT (SELECT min(part) FROM rows WHERE tbl = ?1 AND part > p.part) FROM p WHERE p.part IS NOT NULL)"
    " SELECT part FROM p WHERE part IS NOT NULL"
)


class Config(Section):
    """Settings of the SQLite store."""

    path: str = Field(default=".argus/store.db", description="Database file, relative to the application.")
    busy_s: float = Field(default=BUSY_S, gt=0, le=60, description="How long to wait for another writer, in seconds.")


class SqliteStore:
    """A `Store` in one file, in WAL mode.

    Connections are opened when needed and kept for the next caller, so the constructor never fails and a thread pool
    does not open one per call. Writers of one process queue in memory; only those of other processes meet in SQLite,
    whose waiting is by polling and unfair.
    """

    def __init__(self, path: str | Path, busy_s: float = BUSY_S) -> None:
        self._path = Path(path)
        self._busy_s = busy_s
        self._idle: list[sqlite3.Connection] = []
        self._pool = threading.Lock()
        self._turns: Turns[_Work, list[str]] = Turns(self._take_turn)

    def close(self) -> None:
        """Close the idle connections; the next call opens new ones."""
        with self._pool:
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()

    def get(self, table: Table, partition: str, key: str) -> Row | None:
        """See the port."""
        limits.check_key("partition key", partition)
        limits.check_key("row key", key)
        with self._connection() as db:
            found = db.execute(
                "SELECT etag, doc FROM rows WHERE tbl = ? AND part = ? AND key = ?",
                (table.value, _blob(partition), _blob(key)),
            ).fetchone()
        return None if found is None else Row(partition, key, found[0], _decode(found[1], table, partition, key))

    def write(self, table: Table, partition: str, operation: Operation) -> str:
        """See the port."""
        return self._commit(table, partition, (operation,))[0]

    def transact(self, table: Table, partition: str, operations: Sequence[Operation]) -> Sequence[str]:
        """See the port."""
        return self._commit(table, partition, operations)

    def query(self, table: Table, partition: str, start: str = "", below: str = "\uffff", limit: int = 1000) -> Page:
        """See the port."""
        limits.check_key("partition key", partition)
        limits.check_limit(limit)
        with self._connection() as db:
            found = db.execute(
                "SELECT key, etag, doc FROM rows WHERE tbl = ? AND part = ? AND key >= ? AND key < ?"
                " ORDER BY key LIMIT ?",
                (table.value, _blob(partition), _blob(start), _blob(below), limit + 1),
            ).fetchall()
        named = ((_text(key), etag, doc) for key, etag, doc in found[:limit])
        rows = tuple(Row(partition, key, etag, _decode(doc, table, partition, key)) for key, etag, doc in named)
        return Page(rows, _text(found[limit][0]) if len(found) > limit else None)

    def partitions(self, table: Table) -> tuple[str, ...]:
        """See the port."""
        with self._connection() as db:
            found = db.execute(_PARTITIONS, (table.value,)).fetchall()
        return tuple(sorted(_text(part) for (part,) in found))

    def _commit(self, table: Table, partition: str, operations: Sequence[Operation]) -> list[str]:
        limits.check_operations(partition, operations)
        # Encoded before its turn comes: large rows must not make other writers wait.
        docs = [b"" if isinstance(operation, Delete) else _encode(operation.values) for operation in operations]
        part = _blob(partition)
        work = [
            ((table.value, part, _blob(operation.key)), operation, doc)
            for operation, doc in zip(operations, docs, strict=True)
        ]
        etags = self._turns.do(work, self._busy_s)
        if etags is None:
            raise TransientError(f"{self._path.name}: other writers took too long", Reason.TIMEOUT)
        return etags

    def _take_turn(self, turn: Sequence[_Piece]) -> None:
        """Write what some threads want written, in one transaction where it can be.

        Where one of several operations meets a conflict after others have been done, they all are taken back, and
        each thread's work gets a transaction of its own.
        """
        alone = [turn] if self._all_in_one(turn) else [[piece] for piece in turn]
        for pieces in alone:
            if not pieces[0].done:
                self._all_in_one(pieces)

    def _all_in_one(self, turn: Sequence[_Piece]) -> bool:
        """One transaction; False when nothing was written because a piece that is not alone broke off halfway."""
        left_s = max(0.0, min(piece.until for piece in turn) - time.monotonic())
        outcomes: list[list[str] | Conflict] = []
        try:
            with self._connection(left_s) as db:
                db.execute("BEGIN IMMEDIATE")
                try:
                    for piece in turn:
                        outcome, halfway = _written(db, piece.work)
                        if halfway and len(turn) > 1:
                            return False
                        outcomes.append(outcome)
                    if any(not isinstance(outcome, Conflict) for outcome in outcomes):
                        self._end(db)
                finally:
                    if db.in_transaction:
                        db.execute("ROLLBACK")
        except TransientError as error:
            for piece in turn:  # an error of its own for each thread: they are raised, and changed by that
                piece.failure = TransientError(str(error), error.reason, sent=error.sent)
                piece.failure.__cause__ = error.__cause__
                piece.done = True
            return True
        for piece, outcome in zip(turn, outcomes, strict=True):
            if isinstance(outcome, Conflict):
                piece.failure = outcome
            else:
                piece.result = outcome
            piece.done = True
        return True

    def _end(self, db: sqlite3.Connection) -> None:
        try:
            db.execute("COMMIT")
        except sqlite3.Error as exc:
            raise self._failure(exc, sent=None) from exc  # what reached the disk, only the disk knows

    @contextmanager
    def _connection(self, wait_s: float | None = None) -> Iterator[sqlite3.Connection]:
        """Lend a connection; SQLite's errors become transient ones, and cost the connection."""
        with self._pool:
            db = self._idle.pop() if self._idle else None
        try:
            db = db or self._open()
            if wait_s is None or wait_s >= self._busy_s / 2:
                yield db  # a writer that had to wait for others here does not wait all of it again
            else:
                db.execute(f"PRAGMA busy_timeout = {int(1000 * wait_s)}")
                yield db
                db.execute(f"PRAGMA busy_timeout = {int(1000 * self._busy_s)}")
        except sqlite3.Error as exc:
            if db is not None:
                db.close()
            raise self._failure(exc, sent=False) from exc
        except OSError as exc:
            raise TransientError(f"{self._path.name}: {exc.strerror}", Reason.UNAVAILABLE) from exc
        except BaseException:
            self._keep(db)
            raise
        self._keep(db)

    def _failure(self, exc: sqlite3.Error, sent: bool | None) -> TransientError:
        locked = getattr(exc, "sqlite_errorcode", 0) & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
        reason = Reason.TIMEOUT if locked else Reason.UNAVAILABLE
        return TransientError(f"{self._path.name}: {exc}", reason, sent=False if locked else sent)

    def _keep(self, db: sqlite3.Connection | None) -> None:
        if db is not None:
            with self._pool:
                self._idle.append(db)

    def _open(self) -> sqlite3.Connection:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        db = sqlite3.connect(self._path, timeout=self._busy_s, isolation_level=None, check_same_thread=False)
        deadline = time.monotonic() + self._busy_s
        while True:
            try:
                # SQLite does not wait when two processes turn a new file to WAL at once, it refuses one of them.
                db.execute("PRAGMA journal_mode = WAL")
                db.execute("PRAGMA synchronous = NORMAL")
                db.execute("PRAGMA wal_autocheckpoint = 8000")  # 32 MB: pages of a storm are copied once, not often
                db.execute("PRAGMA cache_size = -512")  # KiB of each thread; what another one writes empties it anyway
                db.execute(_SCHEMA)
                return db
            except sqlite3.OperationalError as exc:
                if exc.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                    db.close()
                    raise
                time.sleep(0.01)
            except sqlite3.Error:
                db.close()
                raise


def _written(db: sqlite3.Connection, work: _Work) -> tuple[list[str] | Conflict, bool]:
    """Do the operations of one thread.

    Returns:
        The ETags or the conflict it met, and whether something was done before that.
    """
    etags: list[str] = []
    try:
        for where, operation, doc in work:
            etags.append(_apply(db, where, operation, doc))
    except Conflict as conflict:
        return conflict, bool(etags)
    return etags, False


def _apply(db: sqlite3.Connection, where: tuple[str, bytes, bytes], operation: Operation, doc: bytes) -> str:
    """Do one operation inside the open transaction, or raise the `Conflict` it meets."""
    etag = "" if isinstance(operation, Delete) else uuid.uuid4().hex
    match operation:
        case Insert():
            if not db.execute(_INSERT, (*where, etag, doc)).rowcount:
                raise Conflict(operation.key, ConflictKind.EXISTS)
        case Replace(etag=None):
            if not db.execute(_UPDATE, (etag, doc, *where)).rowcount:
                raise Conflict(operation.key, ConflictKind.MISSING)
        case Replace(etag=str(expected)):
            if not db.execute(_UPDATE_SAME, (etag, doc, *where, expected)).rowcount:
                raise Conflict(operation.key, _why_not(db, where))
        case Delete(etag=None):
            if not db.execute(_DELETE, where).rowcount:
                raise Conflict(operation.key, ConflictKind.MISSING)
        case Delete(etag=str(expected)):
            if not db.execute(_DELETE_SAME, (*where, expected)).rowcount:
                raise Conflict(operation.key, _why_not(db, where))
        case _:
            db.execute(_UPSERT, (*where, etag, doc))
    return etag


def _why_not(db: sqlite3.Connection, where: tuple[str, bytes, bytes]) -> ConflictKind:
    return ConflictKind.MISSING if db.execute(_SEEN, where).fetchone() is None else ConflictKind.CHANGED


def _blob(key: str) -> bytes:
    return key.encode("utf-16-be", "surrogatepass")


def _text(key: bytes) -> str:
    return key.decode("utf-16-be", "surrogatepass")


_PLAIN: frozenset[Any] = frozenset({str, int, float, bool})


def _encode(values: Properties) -> bytes:
    tagged = {name: value if value.__class__ in _PLAIN else _tagged(value) for name, value in values.items()}
    for value in tagged.values():
        if value.__class__ is float and not math.isfinite(value):
            return json.dumps(tagged, ensure_ascii=False).encode()  # orjson would write null
    return orjson.dumps(tagged)


def _tagged(value: Value) -> Any:
    """JSON keeps text, numbers and truth apart by itself; the two other types become a one-entry object."""
    if isinstance(value, bytes):
        return {"bytes": base64.b64encode(value).decode()}
    if isinstance(value, datetime):
        return {"time": value.astimezone(UTC).isoformat()}
    return value


def _decode(doc: bytes, table: Table, partition: str, key: str) -> dict[str, Value]:
    try:
        found = _parsed(doc)
        return {name: value if value.__class__ in _PLAIN else _untagged(value) for name, value in found.items()}
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        # Not from the error: its text could repeat what the row holds.
        raise PermanentError(f"the row {table.value}/{partition}/{key} is damaged", Reason.BAD_INPUT) from None


def _parsed(doc: bytes) -> Any:
    try:
        return orjson.loads(doc)
    except orjson.JSONDecodeError:
        return json.loads(doc)  # numbers that are none, which JSON does not have, are read by the one that wrote them


def _untagged(value: Any) -> Value:
    if isinstance(value, dict):
        return base64.b64decode(value["bytes"]) if "bytes" in value else datetime.fromisoformat(value["time"])
    if not isinstance(value, str | int | float):
        raise TypeError
    return value


def _build(_name: str, config: Config, surroundings: Surroundings) -> Store:
    return SqliteStore(surroundings.root / config.path, config.busy_s)


ADAPTER: Adapter[Store] = Adapter(config=Config, build=_build)
