"""The SQLite store on rows that something else has damaged."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from shared.adapters.stores.sqlite import SqliteStore
from shared.model.errors import PermanentError, Reason
from shared.ports.store import Table, Upsert

DAMAGED = (
    b'{"a": "hunter2',
    b"\xff\xfe\xfd\xfc",
    b'["hunter2"]',
    b'{"a": {"hunter2": 1}}',
    b'{"a": {"bytes": "hunter2"}}',
    b'{"a": {"time": "hunter2"}}',
    b'{"a": {"time": 5}}',
    b'{"a": ["hunter2"]}',
    b"[" * 100_000,
    5,
)


@pytest.mark.parametrize("doc", DAMAGED, ids=lambda doc: str(doc)[:20])
def test_a_damaged_row_is_named_and_not_shown(tmp_path: Path, doc: bytes | int) -> None:
    path = tmp_path / "store.db"
    store = SqliteStore(path)
    store.write(Table.INCIDENTS, "p", Upsert("k", {"a": 1}))
    with sqlite3.connect(path) as db:
        db.execute("UPDATE rows SET doc = ?", (doc,))
    db.close()
    for look in (lambda: store.get(Table.INCIDENTS, "p", "k"), lambda: store.query(Table.INCIDENTS, "p")):
        with pytest.raises(PermanentError, match=r"^the row incidents/p/k is damaged$") as refused:
            look()
        assert refused.value.reason is Reason.BAD_INPUT
        assert refused.value.__cause__ is None
    store.close()
