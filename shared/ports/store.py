"""Role: keep rows. The semantics are Azure Table Storage's, no more and no less.

In: entities of one partition at a time. Out: rows with ETags, or one of three refusals.

Contract (every adapter is held to it by `tests/contracts/test_store.py`):

* A row is found by table, partition key and row key; both are strings of at most 1 KiB (UTF-16) without
  ``/ \\ # ?`` and control characters.
* Property values are ``str`` and ``bytes`` of at most 64 KiB (UTF-16 for text), ``bool``, 64-bit ``int``, ``float`` or
  aware ``datetime`` with microseconds; an entity has at most 252 properties and 1 MiB.
* ``transact`` takes at most 100 operations on distinct rows of one partition; all happen or none.
* Every write changes the row's ETag. ``etag=None`` on replace and delete means "whatever is there".
* A failure to reach the store is a ``TransientError``; input that breaks a limit is a ``PermanentError``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Protocol

Value = str | int | float | bool | bytes | datetime
Properties = Mapping[str, Value]


class Table(StrEnum):
    """The tables of ARCHITECTURE, section 4."""

    INCIDENTS = "incidents"
    GROUPS = "groups"
    WINDOWS = "windows"
    COUNTERS = "counters"
    PENDING = "pending"
    INCIDENT_INDEX = "incidentindex"
    ALERT_INDEX = "alertindex"
    APPROVALS = "approvals"
    LEASES = "leases"
    KNOWLEDGE = "knowledge"
    PAYLOADS = "payloads"
    QUARANTINE = "quarantine"
    HEARTBEATS = "heartbeats"


class ConflictKind(StrEnum):
    """Why a write was refused."""

    EXISTS = "exists"
    CHANGED = "changed"
    MISSING = "missing"


class Conflict(Exception):
    """A write met another one; nothing of the transaction happened.

    Attributes:
        row_key: the row that refused (rule H6).
        kind: it exists already, its ETag differs, or it is gone.
    """

    def __init__(self, row_key: str, kind: ConflictKind) -> None:
        super().__init__(f"{row_key}: {kind}")
        self.row_key = row_key
        self.kind = kind


@dataclass(frozen=True, slots=True)
class Row:
    """A stored entity."""

    partition: str
    key: str
    etag: str
    values: Properties


@dataclass(frozen=True, slots=True)
class Insert:
    """Create a row; ``Conflict(EXISTS)`` when it is there."""

    key: str
    values: Properties


@dataclass(frozen=True, slots=True)
class Replace:
    """Overwrite a row; ``Conflict(MISSING)`` when absent, ``Conflict(CHANGED)`` on another ETag."""

    key: str
    values: Properties
    etag: str | None


@dataclass(frozen=True, slots=True)
class Upsert:
    """Create or overwrite a row, whatever is there."""

    key: str
    values: Properties


@dataclass(frozen=True, slots=True)
class Delete:
    """Remove a row; ``Conflict(MISSING)`` when absent, ``Conflict(CHANGED)`` on another ETag."""

    key: str
    etag: str | None


Operation = Insert | Replace | Upsert | Delete


@dataclass(frozen=True, slots=True)
class Page:
    """Rows in row-key order; ``next_key`` continues, ``None`` at the end."""

    rows: tuple[Row, ...]
    next_key: str | None


class Store(Protocol):
    """Keeps rows."""

    def get(self, table: Table, partition: str, key: str) -> Row | None:
        """The row, or ``None``."""
        ...

    def write(self, table: Table, partition: str, operation: Operation) -> str:
        """Do one operation.

        Returns:
            The new ETag; empty after a delete.

        Raises:
            Conflict: see the operations.
        """
        ...

    def transact(self, table: Table, partition: str, operations: Sequence[Operation]) -> Sequence[str]:
        """Do all operations or none, 1 to 100 of them, on distinct rows.

        Returns:
            The new ETags in the order of the operations, empty after a delete.

        Raises:
            Conflict: the first operation, in order, that was refused.
        """
        ...

    def query(self, table: Table, partition: str, start: str = "", below: str = "\uffff", limit: int = 1000) -> Page:
        """Rows of one partition with ``start <= row key < below``, in row-key order.

        Args:
            limit: most rows in one page, 1 to 1000.
        """
        ...

    def partitions(self, table: Table) -> tuple[str, ...]:
        """Every partition key of a table, sorted. A full scan: for audits, purges, and a table that is small."""
        ...
