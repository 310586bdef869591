"""Between rows of the port and entities of the SDK.

In: property maps, or entities as the SDK gives them. Out: the other one, with exactly the same values.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from shared.model.errors import PermanentError, Reason
from shared.ports.store import Properties, Row, Value

_KEYS = ("PartitionKey", "RowKey")


def to_entity(partition: str, key: str, values: Properties) -> dict[str, Any]:
    """The entity of a row. Every whole number becomes a 64-bit one, whatever its size, so that it stays one."""
    from azure.data.tables import EdmType

    entity: dict[str, Any] = {"PartitionKey": partition, "RowKey": key}
    for name, value in values.items():
        whole = isinstance(value, int) and not isinstance(value, bool)
        # The SDK writes years before 1000 without their zeros on some systems; 1601 is the earliest that gets here.
        entity[name] = (value, EdmType.INT64) if whole else value
    return entity


def to_row(table: str, entity: Mapping[str, Any], etag: str) -> Row:
    """The row of an entity.

    Raises:
        PermanentError: a property has a type that ARGUS never writes.
    """
    partition, key = str(entity["PartitionKey"]), str(entity["RowKey"])
    try:
        values = {name: _value(value) for name, value in entity.items() if name not in _KEYS}
    except TypeError:
        # Not from the error: its text could repeat what the row holds.
        raise PermanentError(f"the row {table}/{partition}/{key} is damaged", Reason.BAD_INPUT) from None
    return Row(partition, key, etag, values)


def _value(value: Any) -> Value:
    if isinstance(value, tuple):  # a 64-bit number, and its type
        value = value[0]
    if isinstance(value, datetime):  # a subclass that also remembers the text it came from
        return datetime(
            value.year, value.month, value.day, value.hour, value.minute, value.second, value.microsecond, tzinfo=UTC
        )
    if isinstance(value, str | bytes | bool | int | float):
        return value
    raise TypeError
