"""The host, with its store calls counted: ``python -m benchmarks.load.counting`` takes what the host takes.

In: the host's own arguments; the unchanged function_app.py. Out: the host, and every second a file with its counts.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from local.host import __main__ as host
from shared import wiring
from shared.ports.store import Operation, Page, Row, Store, Table

FILE = "counts.json"  # beside the host's settings
EVERY_S = 1.0


class CountingStore:
    """A store that counts its calls; a transaction is one.

    Args:
        keep_keys: also keep what was asked for, which a storm has no room for.

    Attributes:
        on: counts at this moment.
        calls: by kind and table, such as ``get incidents``.
        keys: kind, table and row key (or the start of a query) of each call, in order; ``*`` for a transaction.
    """

    def __init__(self, inner: Store, keep_keys: bool = False) -> None:
        self.inner = inner
        self.on = True
        self.calls: Counter[str] = Counter()
        self.keys: list[tuple[str, str, str]] = []
        self._keep_keys = keep_keys

    @property
    def total(self) -> int:
        """All calls."""
        return self.calls.total()

    def get(self, table: Table, partition: str, key: str) -> Row | None:
        """See the port."""
        self._count("get", table, key)
        return self.inner.get(table, partition, key)

    def write(self, table: Table, partition: str, operation: Operation) -> str:
        """See the port."""
        self._count("write", table, operation.key)
        return self.inner.write(table, partition, operation)

    def transact(self, table: Table, partition: str, operations: Sequence[Operation]) -> Sequence[str]:
        """See the port."""
        self._count("transact", table, "*")
        return self.inner.transact(table, partition, operations)

    def query(self, table: Table, partition: str, start: str = "", below: str = "\uffff", limit: int = 1000) -> Page:
        """See the port."""
        self._count("query", table, start)
        return self.inner.query(table, partition, start, below, limit)

    def partitions(self, table: Table) -> tuple[str, ...]:
        """See the port."""
        self._count("partitions", table, "")
        return self.inner.partitions(table)

    def _count(self, kind: str, table: Table, key: str) -> None:
        if self.on:
            self.calls[f"{kind} {table}"] += 1
            if self._keep_keys:
                self.keys.append((kind, str(table), key))


def count(path: Path) -> None:
    """Count what the function app will do with its store; called before it is imported."""
    original = wiring.check

    def check(*given: Any, **more: Any) -> wiring.Checked:
        checked = original(*given, **more)
        counting = CountingStore(checked.store)

        def keep_writing() -> None:
            while True:
                partial = path.with_suffix(".partial")
                partial.write_text(json.dumps(dict(counting.calls)), encoding="utf-8")
                partial.replace(path)
                time.sleep(EVERY_S)

        threading.Thread(target=keep_writing, daemon=True).start()
        fields = {name: getattr(checked, name) for name in checked.__slots__}
        return wiring.Checked(**{**fields, "store": counting})

    vars(wiring)["check"] = check


if __name__ == "__main__":
    count(Path(sys.argv[sys.argv.index("--settings") + 1]).with_name(FILE))
    sys.exit(host.main(sys.argv[1:]))
