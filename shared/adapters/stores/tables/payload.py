"""Between rows of the port and the JSON of the Table service.

In: property maps, or parsed answers. Out: the other one, with exactly the same values.

Source: learn.microsoft.com/rest/api/storageservices/payload-format-for-table-service-operations, read 2026-11-21.
"""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

import orjson

from shared.model.errors import PermanentError, Reason
from shared.ports.store import Properties, Row, Value

_OWN = frozenset({"PartitionKey", "RowKey", "Timestamp"})
_TYPE = "@odata.type"


def body_of(partition: str, key: str, values: Properties) -> bytes:
    """The JSON of a row. Every whole number is sent as a 64-bit one, whatever its size, so that it stays one.

    Raises:
        PermanentError: a time that no longer fits the calendar in UTC.
    """
    entity: dict[str, object] = {"PartitionKey": partition, "RowKey": key}
    for name, value in values.items():
        kind = type(value)
        if kind is str or kind is bool:
            entity[name] = value
            continue
        told, entity[name] = _sent(key, name, value)
        if told:
            entity[name + _TYPE] = told
    body = orjson.dumps(entity)
    # Parts of a transaction have no character set of their own; ASCII reads the same in all of them.
    return body if body.isascii() else json.dumps(entity, separators=(",", ":")).encode()


def row_of(table: str, entity: Mapping[str, Any], etag: str) -> Row:
    """The row of an entity.

    Args:
        entity: as JSON with minimal metadata has it.

    Raises:
        PermanentError: a property has a type that ARGUS never writes.
        ValueError, TypeError, LookupError: this is no entity.
    """
    partition, key = entity["PartitionKey"], entity["RowKey"]
    if type(partition) is not str or type(key) is not str:
        raise TypeError
    values: dict[str, Value] = {}
    for name, value in entity.items():
        if name in _OWN or "." in name:  # a dot is in metadata only
            continue
        told = entity.get(name + _TYPE)
        read = _READ.get(told)
        if read is None or value is None or type(value) in (list, dict):
            # Without the value: it could be what nobody may read.
            raise PermanentError(f"the row {table}/{partition}/{key} is damaged", Reason.BAD_INPUT)
        values[name] = read(value)
    return Row(partition, key, etag, values)


def _sent(key: str, name: str, value: Value) -> tuple[str, object]:
    """Type and value as they are sent; the type is empty where JSON says it."""
    if isinstance(value, str):
        return "", str(value)
    if isinstance(value, bool):
        return "", value
    if isinstance(value, int):
        return "Edm.Int64", str(int(value))
    if isinstance(value, float):
        return "Edm.Double", _double(value)
    if isinstance(value, datetime):
        try:
            moment = value.astimezone(UTC)
        except OverflowError:
            raise PermanentError(
                f"row {key!r}, property {name} is a time after the year 9999", Reason.BAD_INPUT
            ) from None
        return "Edm.DateTime", f"{moment.replace(tzinfo=None).isoformat(timespec='microseconds')}Z"
    return "Edm.Binary", base64.b64encode(value).decode()


def _double(value: float) -> object:
    if math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def _plain(value: Any) -> Value:
    if type(value) in (str, bool, int, float):
        return value  # type: ignore[no-any-return]
    raise TypeError


def _moment(value: str) -> datetime:
    if value[-1:] != "Z":
        raise ValueError
    return datetime.fromisoformat(value)  # drops the seventh digit, which no row of ours has


_READ: Mapping[object, Callable[[Any], Value]] = {
    None: _plain,
    "Edm.String": _plain,
    "Edm.Boolean": _plain,
    "Edm.Int32": _plain,
    "Edm.Int64": int,
    "Edm.Double": float,
    "Edm.DateTime": _moment,
    "Edm.Binary": lambda text: base64.b64decode(text, validate=True),
}
