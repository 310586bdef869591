"""A store for one invocation of several micro-agents: what one of them has read, the next does not read again.

In: the calls of the store port. Out: the same answers, some of them from memory.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from shared.ports.store import Delete, Insert, Operation, Page, Row, Store, Table, Upsert

_Place = tuple[Table, str]
_Range = tuple[str, str, int]


class Remembering:
    """A `Store` over another one that remembers its reads.

    A new row is put into its place among them; any other write makes it forget the partition. It lives as long as one
    call of a chain, which works on the incident as it was at its beginning anyway; never give it to who must see what
    others write meanwhile.
    """

    def __init__(self, inner: Store) -> None:
        self._inner = inner
        self._rows: dict[_Place, dict[str, Row | None]] = {}
        self._pages: dict[_Place, dict[_Range, Page]] = {}

    def expect(self, table: Table, partition: str, rows: Iterable[Upsert]) -> None:
        """Answer with rows that a commit of this invocation has written a moment ago or will write."""
        for row in rows:
            self._rows.setdefault((table, partition), {})[row.key] = Row(partition, row.key, "", row.values)

    def holds(self, table: Table, partition: str, keys: Iterable[str]) -> bool:
        """Whether every one of these rows is there, and need not be read."""
        known = self._rows.get((table, partition), {})
        return all(known.get(key) is not None for key in keys)

    def get(self, table: Table, partition: str, key: str) -> Row | None:
        """See the port."""
        known = self._rows.setdefault((table, partition), {})
        if key not in known:
            seen = self._seen(table, partition, key)
            if seen is None:
                known[key] = self._inner.get(table, partition, key)
            else:
                known[key] = next((row for row in seen if row.key == key), None)
        return known[key]

    def _seen(self, table: Table, partition: str, key: str) -> Sequence[Row] | None:
        """The rows of a whole range that was read and must hold the key if there is such a row."""
        for (start, below, _), page in self._pages.get((table, partition), {}).items():
            if start <= key < below and (page.next_key is None or key < page.next_key):
                return page.rows
        return None

    def write(self, table: Table, partition: str, operation: Operation) -> str:
        """See the port."""
        pages = self._pages.get((table, partition), {})
        self._forget(table, partition)
        etag = self._inner.write(table, partition, operation)
        self._written(table, partition, operation, etag)
        if isinstance(operation, Insert):  # what was read before holds still, with this row in its place
            row = Row(partition, operation.key, etag, operation.values)
            self._pages[table, partition] = {asked: _with(page, asked, row) for asked, page in pages.items()}
        return etag

    def transact(self, table: Table, partition: str, operations: Sequence[Operation]) -> Sequence[str]:
        """See the port."""
        self._forget(table, partition)
        etags = self._inner.transact(table, partition, operations)
        for operation, etag in zip(operations, etags, strict=True):
            self._written(table, partition, operation, etag)
        return etags

    def query(self, table: Table, partition: str, start: str = "", below: str = "\uffff", limit: int = 1000) -> Page:
        """See the port."""
        known = self._pages.setdefault((table, partition), {})
        asked = (start, below, limit)
        if asked not in known:
            known[asked] = self._inner.query(table, partition, start, below, limit)
        return known[asked]

    def partitions(self, table: Table) -> tuple[str, ...]:
        """See the port."""
        return self._inner.partitions(table)

    def _forget(self, table: Table, partition: str) -> None:
        self._rows.pop((table, partition), None)
        self._pages.pop((table, partition), None)

    def _written(self, table: Table, partition: str, operation: Operation, etag: str) -> None:
        row = None if isinstance(operation, Delete) else Row(partition, operation.key, etag, operation.values)
        self._rows.setdefault((table, partition), {})[operation.key] = row


def _with(page: Page, asked: _Range, row: Row) -> Page:
    start, below, _ = asked
    if not start <= row.key < below or (page.next_key is not None and row.key >= page.next_key):
        return page
    return Page(tuple(sorted((*page.rows, row), key=lambda known: known.key)), page.next_key)
