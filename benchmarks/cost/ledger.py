"""What is written down about each execution of a function while an incident is played.

In: beginnings and ends of executions, and what the store, the bus, the log and the outside see meanwhile.
Out: one entry for each execution, in order.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime

from benchmarks.load.counting import CountingStore
from shared.adapters.telemetry.json_log import JsonFormatter
from shared.model.pipeline import Queue
from shared.ports.bus import Message
from shared.ports.store import Delete, Operation, Properties, Table

HTTP, DURABLE, TIMER = "http", "durable", "timer"


@dataclass
class Execution:
    """One execution of a function.

    Attributes:
        scaling: what Flex Consumption scales it with: `HTTP`, `DURABLE`, or the function itself.
        label: the message, page or step it was for.
        at: virtual time when it was played.
        cause: position of the execution that sent its message; ``None`` when people, monitoring or time began it.
        calls: store calls by kind and table, such as ``get incidents``.
        rows: rows that Table Storage bills; a transaction is billed for each row in it.
        sent: queue and bytes of each message.
        effects: calls of the outside that change something.
    """

    scaling: str
    label: str
    at: datetime
    cause: int | None
    calls: Counter[str] = field(default_factory=Counter)
    rows: int = 0
    stored_bytes: int = 0
    sent: list[tuple[Queue, int]] = field(default_factory=list)
    log_bytes: int = 0
    effects: int = 0

    @property
    def store_calls(self) -> int:
        """A transaction is one."""
        return self.calls.total()


class BilledStore(CountingStore):
    """Counts what is billed beside the calls: rows, and bytes written."""

    rows = 0
    stored_bytes = 0

    def write(self, table: Table, partition: str, operation: Operation) -> str:
        """See the port."""
        self._bill([operation])
        return super().write(table, partition, operation)

    def transact(self, table: Table, partition: str, operations: Sequence[Operation]) -> Sequence[str]:
        """See the port."""
        self._bill(operations)
        return super().transact(table, partition, operations)

    def _bill(self, operations: Sequence[Operation]) -> None:
        self.rows += len(operations)
        self.stored_bytes += sum(_size(one.values) for one in operations if not isinstance(one, Delete))

    @property
    def billed(self) -> int:
        """Rows written, and one for each call that reads."""
        return self.rows + sum(times for name, times in self.calls.items() if name.split()[0] in ("get", "query"))


class LogMeter(logging.Handler):
    """Counts the bytes of ARGUS' own log records, as JSON lines."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.setFormatter(JsonFormatter())
        self.bytes = 0

    def emit(self, record: logging.LogRecord) -> None:
        """Count one record and its line end."""
        self.bytes += len(self.format(record).encode()) + 1


@dataclass
class Ledger:
    """Entries of one play.

    Attributes:
        accepted: messages the bus accepted, in order; it grows while executions send.
    """

    store: BilledStore
    accepted: Sequence[tuple[Queue, Message]]
    log: LogMeter = field(default_factory=LogMeter)
    executions: list[Execution] = field(default_factory=list)
    effects: int = 0
    _senders: dict[tuple[Queue, str], int] = field(default_factory=dict)

    @property
    def position(self) -> int:
        """Of the execution that is under way, or of the next one."""
        return len(self.executions)

    def sender(self, queue: Queue, message_id: str) -> int | None:
        """Which execution sent a message."""
        return self._senders.get((queue, message_id))

    @contextmanager
    def execution(self, scaling: str, label: str, at: datetime, cause: int | None) -> Iterator[None]:
        """Around one execution; see `Execution` for the arguments."""
        entry = Execution(scaling, label, at, cause)
        calls, billed, stored = Counter(self.store.calls), self.store.billed, self.store.stored_bytes
        accepted, logged, effects = len(self.accepted), self.log.bytes, self.effects
        try:
            yield
        finally:
            entry.calls = self.store.calls - calls
            entry.rows = self.store.billed - billed
            entry.stored_bytes = self.store.stored_bytes - stored
            entry.log_bytes = self.log.bytes - logged
            entry.effects = self.effects - effects
            entry.sent = [(queue, len(one.body)) for queue, one in self.accepted[accepted:]]
            for queue, one in self.accepted[accepted:]:
                self._senders[queue, one.message_id] = len(self.executions)
            self.executions.append(entry)

    @contextmanager
    def logging(self) -> Iterator[None]:
        """Hear what ARGUS logs, and nothing of anybody else."""
        own = logging.getLogger("argus")
        level = own.level
        own.setLevel(logging.INFO)
        own.addHandler(self.log)
        try:
            yield
        finally:
            own.removeHandler(self.log)
            own.setLevel(level)


def _size(values: Properties) -> int:
    return sum(len(name) + (len(value) if isinstance(value, (str, bytes)) else 8) for name, value in values.items())
