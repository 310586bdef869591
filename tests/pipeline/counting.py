"""A store that counts its calls: what an incident costs in calls is as much a promise as what it does.

In: a store. Out: the same store, and how often it was called, by kind of call and table.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from shared.ports.store import Operation, Page, Row, Store, Table


@dataclass
class CountingStore:
    """Counts every call; a transaction is one.

    Attributes:
        on: counts at this moment.
        calls: by kind and table, such as ``get incidents``.
        keys: kind, table and row key (or the start of a query) of each call, in order; ``*`` for a transaction.
    """

    inner: Store
    on: bool = True
    calls: Counter[str] = field(default_factory=Counter)
    keys: list[tuple[str, str, str]] = field(default_factory=list)

    @property
    def total(self) -> int:
        return sum(self.calls.values())

    def get(self, table: Table, partition: str, key: str) -> Row | None:
        self._count("get", table, key)
        return self.inner.get(table, partition, key)

    def write(self, table: Table, partition: str, operation: Operation) -> str:
        self._count("write", table, operation.key)
        return self.inner.write(table, partition, operation)

    def transact(self, table: Table, partition: str, operations: Sequence[Operation]) -> Sequence[str]:
        self._count("transact", table, "*")
        return self.inner.transact(table, partition, operations)

    def query(self, table: Table, partition: str, start: str = "", below: str = "\uffff", limit: int = 1000) -> Page:
        self._count("query", table, start)
        return self.inner.query(table, partition, start, below, limit)

    def partitions(self, table: Table) -> tuple[str, ...]:
        self._count("partitions", table, "")
        return self.inner.partitions(table)

    def _count(self, kind: str, table: Table, key: str) -> None:
        if self.on:
            self.calls[f"{kind} {table}"] += 1
            self.keys.append((kind, str(table), key))
