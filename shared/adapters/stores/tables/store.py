"""Rows in Azure Table Storage, or in Azurite.

In: the operations of the store port. Out: rows; or a `Conflict` that names the first row that refused.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from shared.adapters.registry import Adapter, Surroundings
from shared.adapters.stores import limits
from shared.adapters.stores.tables import answers
from shared.adapters.stores.tables.answers import Refused
from shared.adapters.stores.tables.rest import RestService
from shared.adapters.stores.tables.sdk import SdkService
from shared.adapters.stores.tables.service import Service, Token
from shared.adapters.stores.tables.settings import Config
from shared.model.errors import Reason, TransientError
from shared.ports.store import Conflict, ConflictKind, Operation, Page, Row, Store, Table

T = TypeVar("T")
_END = "\uffff"  # the port's "no upper bound"


class TablesStore:
    """A `Store` in an Azure storage account.

    Every call is one attempt: what fails is tried again by the hop, which looks first (rules H4 and H6). A write whose
    answer got lost is therefore never sent a second time from here, and cannot meet itself as a conflict; it comes back
    as a `TransientError` whose ``sent`` is ``None``. Tables are created at the first write to them.

    Args:
        service: the calls of the Table service.
        prefix: goes before every table's name.
    """

    def __init__(self, service: Service, prefix: str = "") -> None:
        self._service = service
        self._prefix = prefix

    def close(self) -> None:
        """Close the connections; the next call opens new ones."""
        self._service.close()

    def get(self, table: Table, partition: str, key: str) -> Row | None:
        """See the port."""
        limits.check_key("partition key", partition)
        limits.check_key("row key", key)
        try:
            return self._service.get(self._name(table), partition, key)
        except Refused as refused:
            if refused.code in answers.GONE or refused.code == answers.TABLE_NOT_FOUND:
                return None
            raise _unexpected(refused) from None

    def write(self, table: Table, partition: str, operation: Operation) -> str:
        """See the port."""
        limits.check_operations(partition, (operation,))
        name = self._name(table)
        return self._change(name, (operation,), lambda: self._service.write(name, partition, operation))

    def transact(self, table: Table, partition: str, operations: Sequence[Operation]) -> Sequence[str]:
        """See the port."""
        limits.check_operations(partition, operations)
        name = self._name(table)
        return self._change(name, operations, lambda: self._service.transact(name, partition, operations))

    def query(self, table: Table, partition: str, start: str = "", below: str = _END, limit: int = 1000) -> Page:
        """See the port."""
        limits.check_key("partition key", partition)
        limits.check_limit(limit)
        # One row more than asked for: its key is where the next page begins; the service's own token hides that.
        rows = self._rows(self._name(table), _filter(partition, start, below), limit + 1)
        if below == _END:
            rows = [row for row in rows if not row.key.startswith(_END)]
        return Page(tuple(rows[:limit]), rows[limit].key if len(rows) > limit else None)

    def partitions(self, table: Table) -> tuple[str, ...]:
        """See the port."""
        found: set[str] = set()
        token: Token | None = None
        while True:
            try:
                rows, token = self._service.page(
                    self._name(table), "", limits.MAX_PAGE_ROWS, token, select="PartitionKey,RowKey"
                )
            except Refused as refused:
                if refused.code == answers.TABLE_NOT_FOUND:
                    return ()
                raise _unexpected(refused) from None
            found.update(row.partition for row in rows)
            if token is None:
                return tuple(sorted(found))

    def _rows(self, name: str, query: str, wanted: int) -> list[Row]:
        """Up to that many rows; a page of the service may be short, or empty, long before the end."""
        rows: list[Row] = []
        token: Token | None = None
        while len(rows) < wanted:
            most = min(wanted - len(rows), limits.MAX_PAGE_ROWS)
            try:
                more, token = self._service.page(name, query, most, token)
            except Refused as refused:
                if refused.code == answers.TABLE_NOT_FOUND:
                    break
                raise _unexpected(refused) from None
            rows += more
            if token is None:
                break
        return rows

    def _change(self, name: str, operations: Sequence[Operation], call: Callable[[], T]) -> T:
        try:
            return call()
        except Refused as refused:
            if refused.code != answers.TABLE_NOT_FOUND:
                raise _conflict(refused, operations) from None
        # Nothing was written, so doing it again is no retry.
        try:
            self._service.create(name)
            return call()
        except Refused as refused:
            raise _conflict(refused, operations) from None

    def _name(self, table: Table) -> str:
        return f"{self._prefix}{table.value}"


def _filter(partition: str, start: str, below: str) -> str:
    parts = [f"PartitionKey eq {_quoted(partition)}"]
    if start:
        parts.append(f"RowKey ge {_quoted(start)}")
    if below != _END:  # no key has it, and not every service can read it
        parts.append(f"RowKey lt {_quoted(below)}")
    return " and ".join(parts)


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _conflict(refused: Refused, operations: Sequence[Operation]) -> Conflict | TransientError:
    """Which operation met which conflict."""
    if refused.code in answers.EXISTS:
        kind = ConflictKind.EXISTS
    elif refused.code in answers.CHANGED:
        kind = ConflictKind.CHANGED
    elif refused.code in answers.GONE:
        kind = ConflictKind.MISSING
    else:
        return _unexpected(refused)
    index = 0 if len(operations) == 1 else refused.index
    if index is None or index >= len(operations):  # nothing happened; the hop reads anew and tries again
        return TransientError(f"{answers.SYSTEM} refused a transaction without saying which row", Reason.CONFLICT)
    return Conflict(operations[index].key, kind)


def _unexpected(refused: Refused) -> TransientError:
    return TransientError(f"{answers.SYSTEM} answered {refused.code}", Reason.UNAVAILABLE)


def _build(_name: str, config: Config, _surroundings: Surroundings) -> Store:
    service: Service = SdkService(config) if config.client == "sdk" else RestService(config)
    return TablesStore(service, config.table_prefix)


ADAPTER: Adapter[Store] = Adapter(config=Config, build=_build)
