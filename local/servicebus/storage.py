"""Messages, message ids and sequence numbers in one SQLite file; one broker per file.

In: ``Journal`` writes of the queues. Out: one commit per turn, and everything back at the next start.
"""

import fcntl
import sqlite3
from pathlib import Path
from typing import IO

from local.servicebus.entry import Entry
from local.servicebus.sections import Message, parse_message

SCHEMA_VERSION = 2
_SCHEMA = """
CREATE TABLE messages (
    queue TEXT NOT NULL, seq INTEGER NOT NULL, first_seq INTEGER NOT NULL, dead INTEGER NOT NULL,
    enqueued_ms INTEGER NOT NULL, ttl_ms INTEGER, due_ms INTEGER, delivery_count INTEGER NOT NULL,
    body BLOB NOT NULL, deferred INTEGER NOT NULL DEFAULT 0, PRIMARY KEY (queue, seq)
) WITHOUT ROWID;
CREATE TABLE message_ids (
    queue TEXT NOT NULL, key BLOB NOT NULL, seq INTEGER NOT NULL, until_ms INTEGER NOT NULL,
    PRIMARY KEY (queue, key)
) WITHOUT ROWID;
CREATE TABLE sequences (queue TEXT NOT NULL PRIMARY KEY, last INTEGER NOT NULL) WITHOUT ROWID;
"""
# From each older version to the next one.
_MIGRATIONS = {1: "ALTER TABLE messages ADD COLUMN deferred INTEGER NOT NULL DEFAULT 0;"}


class StoreInUse(RuntimeError):
    """Another broker has this file."""


class Store:
    """The journal of all queues.

    Writes collect in one transaction until ``commit``. WAL with synchronous=NORMAL survives the end of the
    process at any moment; after a power cut the last commits may be missing.

    Args:
        path: the SQLite file; made, with its folder, when missing.

    Raises:
        StoreInUse: another broker runs on the same file.
        ValueError: the file was written by a newer version; an older one is brought up to date.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._lock = _lock_file(path)
        self._db = sqlite3.connect(path, isolation_level=None)
        self._open = False
        self._last: dict[str, int] = {}
        try:
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute("PRAGMA synchronous=NORMAL")
            version = int(self._db.execute("PRAGMA user_version").fetchone()[0])
            if version == 0:
                self._db.executescript(f"BEGIN; {_SCHEMA} PRAGMA user_version={SCHEMA_VERSION}; COMMIT;")
            elif version > SCHEMA_VERSION or version < min(_MIGRATIONS):
                raise ValueError(f"{path.name} has broker schema {version}, this broker reads {SCHEMA_VERSION}")
            for older in range(version or SCHEMA_VERSION, SCHEMA_VERSION):
                step = f"{_MIGRATIONS[older]} PRAGMA user_version={older + 1};"
                self._db.executescript(f"BEGIN IMMEDIATE; {step} COMMIT;")
        except BaseException:
            self._db.close()
            self._lock.close()
            raise

    def load(self, queue: str) -> tuple[list[Entry], list[tuple[bytes, int, int]], int]:
        """Everything kept for a queue: messages, message ids (key, seq, until_ms), last sequence number.

        The messages themselves stay where they are until ``read``.
        """
        rows = self._db.execute(
            "SELECT seq, first_seq, enqueued_ms, ttl_ms, delivery_count, due_ms, dead, deferred"
            " FROM messages WHERE queue = ? ORDER BY seq",
            (queue,),
        )
        entries = [
            Entry(seq, first, None, enqueued, ttl, count, due, bool(dead), bool(deferred))
            for seq, first, enqueued, ttl, count, due, dead, deferred in rows
        ]
        ids = self._db.execute("SELECT key, seq, until_ms FROM message_ids WHERE queue = ?", (queue,)).fetchall()
        last = self._db.execute("SELECT last FROM sequences WHERE queue = ?", (queue,)).fetchone()
        return entries, ids, int(last[0]) if last else 0

    def put(self, queue: str, entry: Entry) -> None:
        """Insert or replace the message with this sequence number."""
        values = (queue, entry.seq, entry.first_seq, entry.dead, entry.enqueued_ms, entry.ttl_ms, entry.due_ms)
        self._write(
            "INSERT OR REPLACE INTO messages"
            " (queue, seq, first_seq, dead, enqueued_ms, ttl_ms, due_ms, delivery_count, body, deferred)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (*values, entry.delivery_count, entry.message.encode(), entry.deferred),
        )

    def drop(self, queue: str, seq: int) -> None:
        """Delete a message."""
        self._write("DELETE FROM messages WHERE queue = ? AND seq = ?", (queue, seq))

    def read(self, queue: str, seq: int) -> Message:
        """A message that was put, committed or not."""
        row = self._db.execute("SELECT body FROM messages WHERE queue = ? AND seq = ?", (queue, seq)).fetchone()
        return parse_message(row[0])

    def remember(self, queue: str, key: bytes, seq: int, until_ms: int) -> None:
        """Insert or replace a message id for duplicate detection."""
        self._write("INSERT OR REPLACE INTO message_ids VALUES (?, ?, ?, ?)", (queue, key, seq, until_ms))

    def forget(self, queue: str, key: bytes) -> None:
        """Delete a message id."""
        self._write("DELETE FROM message_ids WHERE queue = ? AND key = ?", (queue, key))

    def sequence(self, queue: str, last: int) -> None:
        """The highest sequence number given out so far; written with the next commit."""
        self._last[queue] = last

    def commit(self) -> None:
        """Make everything since the last commit survive the end of the process."""
        for queue, last in self._last.items():
            self._write("INSERT OR REPLACE INTO sequences VALUES (?, ?)", (queue, last))
        self._last.clear()
        if self._open:
            self._db.execute("COMMIT")
            self._open = False

    def close(self) -> None:
        """Close without committing what is still open, and free the file."""
        self._db.close()
        self._lock.close()

    def _write(self, statement: str, values: tuple[object, ...]) -> None:
        if not self._open:
            self._db.execute("BEGIN IMMEDIATE")
            self._open = True
        self._db.execute(statement, values)


def _lock_file(path: Path) -> IO[bytes]:
    # A lock of the operating system ends with the process, even after kill -9; a file with a pid would not.
    file = path.with_name(path.name + ".lock").open("ab")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as exc:
        file.close()
        raise StoreInUse(f"another broker already uses {path}") from exc
    return file
