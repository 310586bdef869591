"""A store whose rows carry the schema version, so that no row is read as something it is not.

In: rows as the records write them. Out: the same rows with a version; on reading, older ones upgraded, newer refused.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import cast

from shared.model import versions
from shared.model.errors import PermanentError, Reason, TransientError
from shared.ports.store import Delete, Operation, Page, Properties, Replace, Row, Store, Table, Value
from shared.records.rows import document, pieces


def kind_of(table: Table, key: str) -> str:
    """The kind of a row, such as ``incidents/timeline``; what upgrades and fixtures are named by."""
    if table is Table.GROUPS:
        return f"{table}/{'members' if '|m|' in key else 'group'}"
    if table in (Table.INCIDENTS, Table.APPROVALS, Table.KNOWLEDGE):
        return f"{table}/{key.partition('|')[0]}"
    return str(table)


@dataclass(frozen=True, slots=True)
class Versioned:
    """A `Store` over another one; the version is on every row of the inner one and on none that comes out.

    Attributes:
        inner: the adapter; what reads and writes rows as they lie, such as a backup, uses it directly.
    """

    inner: Store
    steps: versions.Steps = field(default_factory=lambda: versions.ROWS)

    def get(self, table: Table, partition: str, key: str) -> Row | None:
        """See the port."""
        row = self.inner.get(table, partition, key)
        return None if row is None else self._read(table, row)

    def write(self, table: Table, partition: str, operation: Operation) -> str:
        """See the port."""
        return self.inner.write(table, partition, _stamped(operation))

    def transact(self, table: Table, partition: str, operations: Sequence[Operation]) -> Sequence[str]:
        """See the port."""
        return self.inner.transact(table, partition, [_stamped(operation) for operation in operations])

    def query(self, table: Table, partition: str, start: str = "", below: str = "\uffff", limit: int = 1000) -> Page:
        """See the port."""
        page = self.inner.query(table, partition, start, below, limit)
        return Page(tuple(self._read(table, row) for row in page.rows), page.next_key)

    def partitions(self, table: Table) -> tuple[str, ...]:
        """See the port."""
        return self.inner.partitions(table)

    def _read(self, table: Table, row: Row) -> Row:
        values = dict(row.values)
        said = values.pop(versions.ROW_PROPERTY, None)
        if said.__class__ is int and said == versions.CURRENT:
            return Row(row.partition, row.key, row.etag, values)
        try:
            version = versions.version_of(said, f"the row {table}/{row.key}")
        except versions.NewerSchema as newer:
            # Another host reads it: during a rolling deployment the event comes back until one of those gets it.
            raise TransientError(str(newer), Reason.NOT_YET) from None
        except ValueError as wrong:
            raise PermanentError(str(wrong), Reason.BAD_INPUT) from None
        kind = kind_of(table, row.key)
        if versions.changed(kind, version, self.steps):
            values = _closed(versions.upgrade(kind, _opened(values), version, self.steps))
        return replace(row, values=values)


def bare(store: Store) -> Store:
    """The store beneath, whose rows are as they lie."""
    return store.inner if isinstance(store, Versioned) else store


def _stamped(operation: Operation) -> Operation:
    if isinstance(operation, Delete):
        return operation
    values = {**operation.values, versions.ROW_PROPERTY: versions.CURRENT}
    if isinstance(operation, Replace):
        return Replace(operation.key, values, operation.etag)
    return type(operation)(operation.key, values)


def _opened(values: Properties) -> versions.Content:
    """Properties with the packed model value as objects, which is what an upgrade can work on."""
    text = document(values)
    rest: versions.Content = {name: value for name, value in values.items() if not name.startswith("doc")}
    return rest if not text else {**rest, "doc": json.loads(text)}


def _closed(content: versions.Content) -> dict[str, Value]:
    plain = cast(dict[str, Value], {name: value for name, value in content.items() if name != "doc"})
    if "doc" not in content:
        return plain
    return {**plain, **pieces(json.dumps(content["doc"], sort_keys=True, ensure_ascii=False, separators=(",", ":")))}
