"""A process that dies at a chosen point, and a store that knows when it is written to.

In: which points to die at. Out: `Crash`, raised before or after the n-th write, send or outside effect.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from shared.model.errors import Reason, TransientError
from shared.ports.store import Operation, Page, Row, Store, Table


class Crash(BaseException):
    """The process is gone; what it had written is all that is left."""


@dataclass
class Points:
    """Counts what reaches the outside of the process.

    Attributes:
        before: numbers of the points to die before; the first is 1.
        after: numbers of the points to die after.
        trace: names of the points that were passed or died at.
    """

    before: Collection[int] = ()
    after: Collection[int] = ()
    count: int = 0
    trace: list[str] = field(default_factory=list)

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        self.count += 1
        number = self.count
        self.trace.append(name)
        if number in self.before:
            raise Crash(f"before {number} ({name})")
        yield
        if number in self.after:
            raise Crash(f"after {number} ({name})")


@dataclass
class FragileStore:
    """A real store whose writes are points; ``down`` makes every call fail."""

    inner: Store
    points: Points
    down: bool = False

    def get(self, table: Table, partition: str, key: str) -> Row | None:
        self._reach()
        return self.inner.get(table, partition, key)

    def write(self, table: Table, partition: str, operation: Operation) -> str:
        self._reach()
        with self.points.step(f"write {table} {operation.key[:24]}"):
            return self.inner.write(table, partition, operation)

    def transact(self, table: Table, partition: str, operations: Sequence[Operation]) -> None:
        self._reach()
        with self.points.step(f"transact {table}"):
            self.inner.transact(table, partition, operations)

    def query(self, table: Table, partition: str, start: str = "", below: str = "\uffff", limit: int = 1000) -> Page:
        self._reach()
        return self.inner.query(table, partition, start, below, limit)

    def partitions(self, table: Table) -> tuple[str, ...]:
        self._reach()
        return self.inner.partitions(table)

    def _reach(self) -> None:
        if self.down:
            raise TransientError("the store cannot be reached", Reason.UNAVAILABLE)
