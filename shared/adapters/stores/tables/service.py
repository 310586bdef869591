"""The calls of the Table service that the store makes; each is one request.

In: checked keys, values and conditions. Out: rows and ETags, or the errors of `answers`. `rest` makes the calls itself,
`sdk` through azure-data-tables; both are held to the same tests.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Protocol

from shared.ports.store import Operation, Row

Token = Mapping[str, str]

_ETAG = re.compile(r"W/\"datetime'[0-9A-Za-z%:.\-]{1,80}'\"")
# The service answers 400 to an ETag that it cannot have given. This one it can read, and has never given.
_NO_ETAG = "W/\"datetime'1601-01-01T00%3A00%3A00.0000001Z'\""


class Service(Protocol):
    """Calls of the Table service. Threads share it; nothing is connected before the first call."""

    def close(self) -> None:
        """Close the connections; the next call opens new ones."""
        ...

    def create(self, table: str) -> None:
        """Create a table, unless it exists."""
        ...

    def get(self, table: str, partition: str, key: str) -> Row:
        """One row; `Refused` when there is none."""
        ...

    def write(self, table: str, partition: str, operation: Operation) -> str:
        """One operation; gives the new ETag, empty after a delete."""
        ...

    def transact(self, table: str, partition: str, operations: Sequence[Operation]) -> Sequence[str]:
        """All operations or none; gives the new ETags, empty after a delete."""
        ...

    def page(
        self, table: str, query: str, most: int, after: Token | None, select: str | None = None
    ) -> tuple[list[Row], Token | None]:
        """Some rows of a query, in key order, and where it goes on; the service may give fewer than there are.

        Args:
            query: OData filter; empty for all rows.
            most: 1 to 1000.
        """
        ...


def known(etag: str) -> str:
    """The ETag, or one that no row has when the service would not even read it."""
    return etag if _ETAG.fullmatch(etag) else _NO_ETAG
