"""Every row of a store as lines, and lines as rows of another store.

In: a store. Out: a header, and one JSON line per row, in an order in which what refers comes before what it refers to;
and back. What is written is the same for every adapter.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import groupby
from typing import Any

from shared.model import codec, versions
from shared.model.errors import PermanentError, Reason, TransientError
from shared.ports.store import Conflict, Insert, Operation, Properties, Row, Store, Table, Value
from shared.records import anchoring, incidents
from shared.records.retention import MOST_OPERATIONS, all_rows

NAME = "argus-backup"
FORMAT = 1
MAX_BATCH_BYTES = 3 * 1024 * 1024  # of JSON; a transaction takes 4 MiB of entities
READ_AGAIN = 5
# Claims first: one read too early says `claiming` and has the event that opens its incident in it, one read too late
# would say `open` of an incident that is not in the backup. Bodies last: what refers to them was read before.
ORDER = (
    Table.GROUPS, Table.INCIDENTS, Table.APPROVALS, Table.LEASES, Table.QUARANTINE, Table.KNOWLEDGE, Table.WINDOWS,
    Table.COUNTERS, Table.INCIDENT_INDEX, Table.ALERT_INDEX, Table.PENDING, Table.PAYLOADS,
)  # fmt: skip
LEFT_OUT = frozenset({Table.HEARTBEATS})  # of the processes that ran, not of what they worked on
# Where rows of a partition belong together, and a mixture of two states would be neither.
TOGETHER = frozenset({Table.INCIDENTS, Table.APPROVALS})


@dataclass(frozen=True, slots=True)
class Header:
    """The first line of a backup.

    Attributes:
        schema: of the code that wrote it; rows may be older.
        tables: number of rows of each.
        sha256: over the lines of the rows, line ends included.
    """

    format: str
    version: int
    schema: int
    at: datetime
    tables: Mapping[str, int]
    sha256: str


@dataclass(slots=True)
class Seal:
    """Counts and hashes lines as they pass."""

    tables: dict[str, int] = field(default_factory=lambda: {str(table): 0 for table in ORDER})
    digest: Any = field(default_factory=hashlib.sha256)

    def add(self, table: str, line: bytes) -> None:
        """One line."""
        self.tables[table] = self.tables.get(table, 0) + 1
        self.digest.update(line)

    def header(self, at: datetime) -> Header:
        """What was seen."""
        return Header(NAME, FORMAT, versions.CURRENT, at, self.tables, self.digest.hexdigest())


@dataclass(frozen=True, slots=True)
class Line:
    """One row of a backup."""

    table: Table
    partition: str
    key: str
    values: Properties
    size: int = 0


def lines(store: Store, seal: Seal) -> Iterator[bytes]:
    """Every row as a line. Hosts may run: each incident is read again until nobody wrote to it meanwhile.

    Args:
        store: as rows lie, see `versioned.bare`.
    """
    for table in ORDER:
        for partition in store.partitions(table):
            if (table, partition) == (Table.INCIDENTS, anchoring.NOTES):
                continue  # it speaks of an anchor that is not in the backup
            for row in _settled(store, table, partition):
                line = _written(table, row)
                seal.add(str(table), line)
                yield line


def _settled(store: Store, table: Table, partition: str) -> Iterable[Row]:
    if table is not Table.INCIDENTS:
        return all_rows(store, table, partition)
    rows: list[Row] = []
    for _ in range(READ_AGAIN):
        before = store.get(table, partition, incidents.INCIDENT)
        rows = list(all_rows(store, table, partition))
        after = store.get(table, partition, incidents.INCIDENT)
        if (before.etag if before else "") == (after.etag if after else ""):
            return rows
    raise TransientError(f"incident {partition} changes all the time", Reason.CONFLICT)


def _written(table: Table, row: Row) -> bytes:
    values = {name: _tagged(value) for name, value in sorted(row.values.items())}
    line = {"t": str(table), "p": row.partition, "k": row.key, "v": values}
    return json.dumps(line, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"


def header_line(header: Header) -> bytes:
    """The first line."""
    return json.dumps(codec.to_json(header), sort_keys=True).encode() + b"\n"


def read_header(line: bytes) -> Header:
    """The header of a backup.

    Raises:
        PermanentError: it is none, or of a version that this code does not know.
    """
    try:
        found = json.loads(line)
        named = isinstance(found, dict) and found.get("format") == NAME
        version = found.get("version") if named else None
    except (ValueError, RecursionError):
        named, version = False, None
    if not named:
        raise PermanentError("this is no backup of ARGUS", Reason.BAD_INPUT)
    if version != FORMAT:
        raise PermanentError(f"a backup of format {version}; this code reads {FORMAT}", Reason.BAD_INPUT)
    header = codec.from_json(Header, found)
    if header.schema > versions.CURRENT:
        told = f"the backup was written by a newer ARGUS (schema {header.schema}, this one reads {versions.CURRENT})"
        raise PermanentError(told, Reason.BAD_INPUT)
    return header


def read_line(line: bytes, number: int) -> Line:
    """One row.

    Raises:
        PermanentError: it is none.
    """
    try:
        found = json.loads(line)
        values = {str(name): _untagged(value) for name, value in found["v"].items()}
        return Line(Table(found["t"]), str(found["p"]), str(found["k"]), values, len(line))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise PermanentError(f"line {number} of the backup is no row", Reason.BAD_INPUT) from None


def check(header: Header, rows: Iterable[bytes]) -> None:
    """Read a whole backup before anything of it is written.

    Raises:
        PermanentError: it was cut or changed.
    """
    seal = Seal()
    for number, line in enumerate(rows, start=2):
        seal.add(str(read_line(line, number).table), line)
    found = seal.header(header.at)
    known = {name: count for name, count in header.tables.items() if count}
    if {name: count for name, count in found.tables.items() if count} != known:
        expected, there = sum(known.values()), sum(found.tables.values())
        raise PermanentError(f"the backup was cut: {expected} rows are announced, {there} are in it", Reason.BAD_INPUT)
    if found.sha256 != header.sha256:
        raise PermanentError("the backup was changed after it was written: its checksum differs", Reason.BAD_INPUT)


@dataclass(slots=True)
class Restored:
    """What a restore did.

    Attributes:
        written: rows by table.
        present: rows that were there already, the same or newer.
        differing: partitions of incidents or approvals that hold something else; nothing of them was touched.
    """

    written: dict[str, int] = field(default_factory=dict)
    present: int = 0
    differing: list[str] = field(default_factory=list)


def emptiness(store: Store) -> str:
    """What a store holds, in words; empty when it holds nothing."""
    held = [str(table) for table in ORDER if store.partitions(table)]
    return ", ".join(held)


def restore(store: Store, rows: Iterable[bytes], existing: bool) -> Iterator[Restored]:
    """Write rows, in transactions of one partition; the running count comes out after each partition.

    Args:
        store: as rows lie, see `versioned.bare`; no host works on it.
        existing: it is not empty. An incident or approval is then completed when all that is there of it is in the
            backup as well, and left alone when anything differs; of every other table the missing rows are written.

    Raises:
        PermanentError: a row breaks a limit of this store.
    """
    done = Restored()
    read = (read_line(line, number) for number, line in enumerate(rows, start=2))
    for (table, partition), found in groupby(read, key=lambda line: (line.table, line.partition)):
        if existing and table in TOGETHER:
            _complete(store, table, partition, list(found), done)
        else:
            for batch in _batches(found):
                _insert(store, table, partition, batch, existing, done)
        yield done


def _complete(store: Store, table: Table, partition: str, wanted: Sequence[Line], done: Restored) -> None:
    there = {row.key: row.values for row in all_rows(store, table, partition)}
    known = {line.key: line.values for line in wanted}
    if any(known.get(key) != values for key, values in there.items()):
        done.differing.append(f"{table}/{partition}")
        return
    done.present += len(there)
    for batch in _batches(line for line in wanted if line.key not in there):
        _insert(store, table, partition, batch, False, done)


def _insert(store: Store, table: Table, partition: str, batch: Sequence[Line], existing: bool, done: Restored) -> None:
    operations: list[Operation] = [Insert(line.key, line.values) for line in batch]
    try:
        store.transact(table, partition, operations)
    except Conflict:
        if not existing:
            raise PermanentError(f"{table}/{partition} is being written by somebody else", Reason.CONFLICT) from None
        if len(batch) == 1:
            done.present += 1
            return
        for line in batch:
            _insert(store, table, partition, [line], existing, done)
        return
    done.written[str(table)] = done.written.get(str(table), 0) + len(batch)


def _batches(found: Iterable[Line]) -> Iterator[list[Line]]:
    batch: list[Line] = []
    size = 0
    for line in found:
        if batch and (len(batch) == MOST_OPERATIONS or size + line.size > MAX_BATCH_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(line)
        size += line.size
    if batch:
        yield batch


def counts(store: Store) -> dict[str, int]:
    """Rows of every table that has any; a full scan."""
    found = {
        str(table): sum(1 for partition in store.partitions(table) for _ in all_rows(store, table, partition))
        for table in ORDER
    }
    return {name: count for name, count in found.items() if count}


def _tagged(value: Value) -> Any:
    if isinstance(value, bytes):
        return {"bytes": base64.b64encode(value).decode()}
    return {"time": value.isoformat()} if isinstance(value, datetime) else value


def _untagged(value: Any) -> Value:
    if isinstance(value, dict):
        return base64.b64decode(value["bytes"]) if "bytes" in value else datetime.fromisoformat(value["time"])
    if not isinstance(value, str | int | float):
        raise TypeError
    return value
