"""A process that dies at a chosen point, and a store that knows when it is written to.

In: which points to die at. Out: `Crash`, raised before or after the n-th write, send or outside effect.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
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
        named: a point to die at once, such as ``after run action``.
        trace: names of the points that were passed or died at.
    """

    before: Collection[int] = ()
    after: Collection[int] = ()
    named: str = ""
    count: int = 0
    trace: list[str] = field(default_factory=list)

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        self.count += 1
        number = self.count
        self.trace.append(name)
        self._die("before", number in self.before, name)
        yield
        self._die("after", number in self.after, name)

    def _die(self, when: str, chosen: bool, name: str) -> None:
        if self.named and f"{when} {name}".startswith(self.named):
            chosen, self.named = True, ""
        if chosen:
            raise Crash(f"{when} {self.count} ({name})")


@dataclass
class FragileStore:
    """A real store whose writes are points; ``down`` makes every call fail, ``poison`` may fail those of a key."""

    inner: Store
    points: Points
    down: bool = False
    poison: Callable[[Table, str], None] = lambda table, key: None

    def get(self, table: Table, partition: str, key: str) -> Row | None:
        self._reach()
        self.poison(table, key)
        return self.inner.get(table, partition, key)

    def write(self, table: Table, partition: str, operation: Operation) -> str:
        self._reach()
        with self.points.step(f"write {table} {operation.key[:24]}"):
            return self.inner.write(table, partition, operation)

    def transact(self, table: Table, partition: str, operations: Sequence[Operation]) -> Sequence[str]:
        self._reach()
        with self.points.step(f"transact {table}"):
            return self.inner.transact(table, partition, operations)

    def query(self, table: Table, partition: str, start: str = "", below: str = "\uffff", limit: int = 1000) -> Page:
        self._reach()
        self.poison(table, start)
        return self.inner.query(table, partition, start, below, limit)

    def partitions(self, table: Table) -> tuple[str, ...]:
        self._reach()
        return self.inner.partitions(table)

    def _reach(self) -> None:
        if self.down:
            raise TransientError("the store cannot be reached", Reason.UNAVAILABLE)
