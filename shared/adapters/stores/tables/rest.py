"""The Table service without a library for it: the calls that are made most, at a quarter of the processor time.

In: checked keys, values and conditions. Out: rows and ETags, or the errors of `answers`. What it costs, and why it is
here: docs/adr/0015-thin-client-for-tables.md.
"""

from __future__ import annotations

import math
import re
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NoReturn, TypeVar
from urllib.parse import quote

import orjson

from shared.adapters import http
from shared.adapters.stores.tables import answers, changeset
from shared.adapters.stores.tables.access import account_of
from shared.adapters.stores.tables.payload import body_of, row_of
from shared.adapters.stores.tables.sdk import SdkService
from shared.adapters.stores.tables.service import Token, known
from shared.adapters.stores.tables.settings import Config
from shared.adapters.stores.tables.wire import Answer, Line
from shared.model.errors import TransientError
from shared.ports.store import Delete, Insert, Operation, Replace, Row

T = TypeVar("T")

VERSION = "2019-02-02"  # the one that azure-data-tables asks for
_ALWAYS = {
    "x-ms-version": VERSION,
    "DataServiceVersion": "3.0",
    "Accept": "application/json;odata=minimalmetadata",
    "Accept-Encoding": "identity",
    "User-Agent": "argus",
}
_BATCH = {"Accept": "application/json", "MaxDataServiceVersion": "3.0;NetFx"}
_PART = f"x-ms-version: {VERSION}\r\nDataServiceVersion: 3.0\r\nAccept: application/json;odata=minimalmetadata\r\n"
_JSON = "application/json"
_QUIET = "return-no-content"
_NEXT = {"PartitionKey": "NextPartitionKey", "RowKey": "NextRowKey"}
_INDEX = re.compile(r"\s*(\d{1,3}):")


class RestService:
    """Calls of the Table service. Threads share it; nothing is connected before the first call."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._give_up = f"timeout={math.ceil(config.read_s)}"  # the service too, so that no late write surprises
        self._opening = threading.Lock()
        self._line: Line | None = None
        self._base = ""
        self._rare = SdkService(config)

    def close(self) -> None:
        """Close the connections; the next call opens new ones."""
        with self._opening:
            line, self._line = self._line, None
        if line is not None:
            line.close()
        self._rare.close()

    def create(self, table: str) -> None:
        """Create a table, unless it exists."""
        self._rare.create(table)

    def get(self, table: str, partition: str, key: str) -> Row:
        """One row; `Refused` when there is none."""
        found = self._call(False, "GET", f"/{_one(table, partition, key)}", self._give_up, {})
        _accept(found, (200,), False)

        def read() -> Row:
            entity = orjson.loads(found.body)
            return row_of(table, entity, _text(entity.get("odata.etag") or found.headers.get("ETag")))

        return _readable(read, False)

    def write(self, table: str, partition: str, operation: Operation) -> str:
        """One operation; gives the new ETag, empty after a delete."""
        method, path, headers, body = _request(table, partition, operation)
        found = self._call(True, method, f"/{path}", self._give_up, headers, body)
        _accept(found, (201, 204) if isinstance(operation, Insert) else (204,), True)
        return "" if isinstance(operation, Delete) else _readable(lambda: _text(found.headers["ETag"]), True)

    def transact(self, table: str, partition: str, operations: Sequence[Operation]) -> Sequence[str]:
        """All operations or none; gives the new ETags, empty after a delete."""
        line = self._connected()
        parts = []
        for operation in operations:
            method, path, headers, body = _request(table, partition, operation)
            lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
            parts.append((method, f"{self._base}/{path}", _PART + lines, body))
        kind, body = changeset.written(parts)
        found = line.send(True, "POST", "/$batch", "", {**_ALWAYS, **_BATCH, "Content-Type": kind}, body)
        _accept(found, (202,), True)
        singles = _readable(lambda: changeset.read(found.headers["Content-Type"], found.body), True)
        for single in singles:
            if not 200 <= single.status < 300:
                _refuse(Answer(single.status, found.headers, single.body), True)

        def etags() -> list[str]:
            pairs = zip(operations, singles, strict=True)
            return ["" if isinstance(operation, Delete) else _text(single.etag) for operation, single in pairs]

        return _readable(etags, True)

    def page(
        self, table: str, query: str, most: int, after: Token | None, select: str | None = None
    ) -> tuple[list[Row], Token | None]:
        """Some rows of a query, in key order, and where it goes on; the service may give fewer than there are.

        Args:
            query: OData filter; empty for all rows.
            most: 1 to 1000.
        """
        asked = [self._give_up, f"$top={most}"]
        asked += [f"$select={quote(select, safe=',')}"] if select else []
        asked += [f"$filter={quote(query, safe='')}"] if query else []
        asked += [f"{_NEXT[name]}={quote(value, safe='')}" for name, value in (after or {}).items()]
        found = self._call(False, "GET", f"/{table}()", "&".join(asked), {})
        _accept(found, (200,), False)

        def read() -> list[Row]:
            entities = orjson.loads(found.body)["value"]
            return [row_of(table, entity, "" if select else _text(entity["odata.etag"])) for entity in entities]

        given = {name: found.headers.get(f"x-ms-continuation-{header}") for name, header in _NEXT.items()}
        token = {name: value for name, value in given.items() if value}
        return _readable(read, False), token or None

    def _call(
        self, changes: bool, method: str, path: str, query: str, headers: Mapping[str, str], body: bytes = b""
    ) -> Answer:
        return self._connected().send(changes, method, path, query, {**_ALWAYS, **headers}, body)

    def _connected(self) -> Line:
        line = self._line
        if line is None:
            with self._opening:
                if self._line is None:
                    account = account_of(self._config)
                    self._base = f"{account.scheme}://{account.netloc}{account.path}"
                    self._line = Line(self._config, account)
                line = self._line
        return line


def _one(table: str, partition: str, key: str) -> str:
    """The path of a row; quotes are doubled, and everything that is not plain is percent-encoded."""
    return f"{table}(PartitionKey='{_quoted(partition)}',RowKey='{_quoted(key)}')"


def _quoted(key: str) -> str:
    return quote(key.replace("'", "''"), safe="")


def _request(table: str, partition: str, operation: Operation) -> tuple[str, str, dict[str, str], bytes]:
    """Method, path, headers and body of one operation."""
    if isinstance(operation, Delete):
        return "DELETE", _one(table, partition, operation.key), {"If-Match": _match(operation.etag)}, b""
    body = body_of(partition, operation.key, operation.values)
    if isinstance(operation, Insert):
        return "POST", table, {"Content-Type": _JSON, "Prefer": _QUIET}, body
    headers = {"Content-Type": _JSON}
    if isinstance(operation, Replace):  # without a condition it would create the row too
        headers["If-Match"] = _match(operation.etag)
    return "PUT", _one(table, partition, operation.key), headers, body


def _match(etag: str | None) -> str:
    return "*" if etag is None else known(etag)


def _accept(found: Answer, wanted: tuple[int, ...], changes: bool) -> None:
    if found.status not in wanted:
        _refuse(found, changes)


def _refuse(found: Answer, changes: bool) -> NoReturn:
    """Raise what an answer means that is not the expected yes."""
    if 200 <= found.status < 300:
        _unreadable(changes)
    code, message = answers.said(found.body)
    index = _INDEX.match(message)
    failure = answers.refusal(
        found.status,
        code or found.headers.get("x-ms-error-code") or "",
        http.retry_after(found.headers),
        int(index[1]) if index else None,
    )
    if isinstance(failure, TransientError) and not changes:
        failure.sent = False
    raise failure


def _readable(read: Callable[[], T], changes: bool) -> T:
    try:
        return read()
    except (ValueError, TypeError, LookupError, AttributeError):
        pass
    _unreadable(changes)  # outside of the handler, as its text could repeat the answer


def _unreadable(changes: bool) -> NoReturn:
    failure = http.unreadable(answers.SYSTEM)
    if not changes:
        failure.sent = False
    raise failure


def _text(value: Any) -> str:
    """An ETag that must be there."""
    if not isinstance(value, str) or not value:
        raise ValueError
    return value
