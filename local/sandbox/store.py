"""What the stand-ins remember, in one SQLite file.

In: entries of what was received, documents by kind, planned faults. Out: the same, also after a kill -9.
"""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

MAX_KEPT_BODY_CHARS = 200_000  # a page of this size still opens on a phone

SCHEMA = """
CREATE TABLE IF NOT EXISTS received (
  id INTEGER PRIMARY KEY AUTOINCREMENT, at TEXT NOT NULL, system TEXT NOT NULL, method TEXT NOT NULL,
  path TEXT NOT NULL, status INTEGER NOT NULL, verdict TEXT NOT NULL, reason TEXT NOT NULL,
  title TEXT NOT NULL, body TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS received_by_system ON received (system, id);
CREATE TABLE IF NOT EXISTS documents (
  seq INTEGER PRIMARY KEY AUTOINCREMENT, kind TEXT NOT NULL, id TEXT NOT NULL, doc TEXT NOT NULL, UNIQUE (kind, id));
CREATE TABLE IF NOT EXISTS sequences (name TEXT PRIMARY KEY, value INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS faults (
  id INTEGER PRIMARY KEY AUTOINCREMENT, system TEXT NOT NULL, plan TEXT NOT NULL, remaining INTEGER NOT NULL);
"""


@dataclass(frozen=True, slots=True)
class Entry:
    """One request a stand-in answered, and what it thought of it."""

    system: str
    method: str
    path: str
    status: int
    verdict: str
    reason: str = ""
    title: str = ""
    body: Any = None


class Store:
    """All state of the sandbox; every method may be called from any thread."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._lock = threading.RLock()
        self._depth = 0
        self._db = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        self._db.execute("PRAGMA journal_mode=WAL")
        # A killed process loses nothing with NORMAL; only a power cut could, which a stand-in may.
        self._db.execute("PRAGMA synchronous=NORMAL")
        self._db.executescript(SCHEMA)

    def close(self) -> None:
        """Close the file; the store cannot be used afterwards."""
        with self._lock:
            self._db.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Make everything written inside one commit; an exception undoes it all."""
        with self._lock:
            if self._depth == 0:
                self._db.execute("BEGIN IMMEDIATE")
            self._depth += 1
            try:
                yield
            except BaseException:
                self._depth -= 1
                if self._depth == 0:
                    self._db.execute("ROLLBACK")
                raise
            self._depth -= 1
            if self._depth == 0:
                self._db.execute("COMMIT")

    def record(self, entry: Entry, at: datetime) -> None:
        """Append one entry to what was received."""
        body = json.dumps(entry.body, ensure_ascii=False)
        if len(body) > MAX_KEPT_BODY_CHARS:
            body = json.dumps({"cut": f"{len(body)} characters", "start": body[:2000]}, ensure_ascii=False)
        row = (at.isoformat(), entry.system, entry.method, entry.path, entry.status, entry.verdict, entry.reason)
        with self._lock:
            self._db.execute(
                "INSERT INTO received (at, system, method, path, status, verdict, reason, title, body) "
                "VALUES (?,?,?,?,?,?,?,?,?)",
                (*row, entry.title, body),
            )

    def received(self, system: str, limit: int) -> list[dict[str, Any]]:
        """The newest ``limit`` entries of a system, newest first."""
        with self._lock:
            rows = self._db.execute(
                "SELECT id, at, method, path, status, verdict, reason, title, body FROM received "
                "WHERE system = ? ORDER BY id DESC LIMIT ?",
                (system, limit),
            ).fetchall()
        names = ("id", "at", "method", "path", "status", "verdict", "reason", "title")
        return [{**dict(zip(names, row[:8], strict=True)), "body": json.loads(row[8])} for row in rows]

    def next_number(self, name: str, start: int = 1) -> int:
        """The next value of a sequence, counting up from ``start`` and never repeated."""
        with self._lock:
            row = self._db.execute(
                "INSERT INTO sequences (name, value) VALUES (?, ?) "
                "ON CONFLICT (name) DO UPDATE SET value = value + 1 RETURNING value",
                (name, start),
            ).fetchone()
        return int(row[0])

    def put(self, kind: str, doc_id: str, doc: dict[str, Any]) -> None:
        """Create or replace a document; its place in the order of creation stays."""
        with self._lock:
            self._db.execute(
                "INSERT INTO documents (kind, id, doc) VALUES (?,?,?) "
                "ON CONFLICT (kind, id) DO UPDATE SET doc = excluded.doc",
                (kind, doc_id, json.dumps(doc, ensure_ascii=False)),
            )

    def get(self, kind: str, doc_id: str) -> dict[str, Any] | None:
        """A document, or None."""
        with self._lock:
            row = self._db.execute("SELECT doc FROM documents WHERE kind = ? AND id = ?", (kind, doc_id)).fetchone()
        return _document(row[0]) if row else None

    def all(self, kind: str) -> list[dict[str, Any]]:
        """All documents of a kind, oldest first."""
        with self._lock:
            rows = self._db.execute("SELECT doc FROM documents WHERE kind = ? ORDER BY seq", (kind,)).fetchall()
        return [_document(row[0]) for row in rows]

    def delete(self, kind: str, doc_id: str) -> None:
        """Forget a document; nothing happens when there is none."""
        with self._lock:
            self._db.execute("DELETE FROM documents WHERE kind = ? AND id = ?", (kind, doc_id))

    def add_fault(self, system: str, plan: dict[str, Any], count: int) -> None:
        """Plan a fault for the next ``count`` requests to a system."""
        with self._lock:
            self._db.execute(
                "INSERT INTO faults (system, plan, remaining) VALUES (?,?,?)", (system, json.dumps(plan), count)
            )

    def take_fault(self, system: str) -> dict[str, Any] | None:
        """Use up one planned fault of a system, oldest plan first; None when nothing is planned."""
        with self.transaction():
            row = self._db.execute(
                "SELECT id, plan FROM faults WHERE system = ? AND remaining > 0 ORDER BY id LIMIT 1", (system,)
            ).fetchone()
            if row is None:
                return None
            self._db.execute("UPDATE faults SET remaining = remaining - 1 WHERE id = ?", (row[0],))
        return _document(row[1])

    def clear(self) -> None:
        """Forget everything, as if the file were new."""
        with self.transaction():
            for table in ("received", "documents", "sequences", "faults"):
                self._db.execute(f"DELETE FROM {table}")  # noqa: S608 - fixed table names


def _document(text: str) -> dict[str, Any]:
    doc: dict[str, Any] = json.loads(text)
    return doc
