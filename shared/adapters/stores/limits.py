"""The limits of Azure Table Storage, so that what one store takes fits every other.

In: keys, property maps and operations. Out: the same, or a `PermanentError` that says which limit was broken.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from urllib.parse import quote

from shared.model.errors import PermanentError, Reason
from shared.ports.store import Delete, Operation, Properties, Value

# learn.microsoft.com/rest/api/storageservices/understanding-the-table-service-data-model
MAX_KEY_BYTES = 1024
MAX_PROPERTY_BYTES = 64 * 1024
MAX_ENTITY_BYTES = 1024 * 1024
MAX_PROPERTIES = 252
MAX_NAME_CHARS = 255
MAX_OPERATIONS = 100
MAX_TRANSACTION_BYTES = 4 * 1024 * 1024
MAX_PAGE_ROWS = 1000
MOST_ESCAPED = 16  # a character of a key is 2 bytes in a row and up to 30 on the way there; see `_sent_bytes`
MAX_PART_BYTES = 1024  # headers of one operation within a transaction
EARLIEST = datetime(1601, 1, 1, tzinfo=UTC)

_FORBIDDEN = re.compile(r"[/\\#?\x00-\x1f\x7f-\x9f]")
_RESERVED = frozenset({"PartitionKey", "RowKey", "Timestamp"})


def check_key(what: str, key: str) -> None:
    """Refuse a key that a store cannot hold.

    Args:
        what: how to call the key in the error: ``partition key`` or ``row key``.

    Raises:
        PermanentError: it is too long, or has a character that keys cannot have.
    """
    found = _FORBIDDEN.search(key)
    if found:
        raise PermanentError(f"{what} {key[:80]!r} contains {found.group()!r}", Reason.BAD_INPUT)
    size = 2 * len(key) if key.isascii() else _utf16(what, key)
    if size > MAX_KEY_BYTES:
        raise PermanentError(f"{what} {key[:40]!r}… has {size} bytes, at most {MAX_KEY_BYTES} fit", Reason.TOO_LARGE)


def check_values(partition: str, key: str, values: Properties) -> int:
    """Refuse properties that a store cannot hold.

    Returns:
        Size of the entity in bytes, as Azure counts it.

    Raises:
        PermanentError: the first limit that is broken.
    """
    if len(values) > MAX_PROPERTIES:
        raise PermanentError(f"row {key!r} has {len(values)} properties, at most {MAX_PROPERTIES}", Reason.TOO_LARGE)
    size = 4 + 2 * (len(partition) + len(key))
    for name, value in values.items():
        if not name.isidentifier() or len(name) > MAX_NAME_CHARS or name in _RESERVED:
            raise PermanentError(f"row {key!r}: {name[:80]!r} cannot be a property name", Reason.BAD_INPUT)
        size += 8 + 2 * len(name) + _size(key, name, value)
    if size > MAX_ENTITY_BYTES:
        raise PermanentError(f"row {key!r} has {size} bytes, at most {MAX_ENTITY_BYTES} fit", Reason.TOO_LARGE)
    return size


def check_operations(partition: str, operations: Sequence[Operation]) -> None:
    """Refuse a transaction that a store cannot do.

    Raises:
        PermanentError: too few or too many operations, a row named twice, or a row that breaks a limit.
    """
    if not 1 <= len(operations) <= MAX_OPERATIONS:
        raise PermanentError(
            f"a transaction has 1 to {MAX_OPERATIONS} operations, not {len(operations)}", Reason.TOO_LARGE
        )
    check_key("partition key", partition)
    seen: set[str] = set()
    total = 0
    for operation in operations:
        check_key("row key", operation.key)
        if operation.key in seen:
            raise PermanentError(f"row {operation.key!r} appears twice in a transaction", Reason.BAD_INPUT)
        seen.add(operation.key)
        if not isinstance(operation, Delete):
            total += check_values(partition, operation.key, operation.values)
    if total * MOST_ESCAPED > MAX_TRANSACTION_BYTES:  # else it fits, whatever is in it
        total = max(total, sum(_sent_bytes(partition, operation) for operation in operations))
    if total > MAX_TRANSACTION_BYTES:
        raise PermanentError(
            f"the transaction has {total} bytes, at most {MAX_TRANSACTION_BYTES} fit", Reason.TOO_LARGE
        )


def check_limit(limit: int) -> None:
    """Refuse a page size no store has.

    Raises:
        PermanentError: the limit is not 1 to 1000.
    """
    if not 1 <= limit <= MAX_PAGE_ROWS:
        raise PermanentError(f"a page has 1 to {MAX_PAGE_ROWS} rows, not {limit}", Reason.BAD_INPUT)


def _sent_bytes(partition: str, operation: Operation) -> int:
    """Size of one operation of a transaction on its way to the Table service, at most.

    The service limits what is sent, not what is stored: JSON with escapes, base64, percent-encoded keys.
    """
    keys = (partition, operation.key)
    size = MAX_PART_BYTES + 2 * sum(len(quote(key, safe="")) + len(json.dumps(key)) for key in keys)
    for name, value in {} if isinstance(operation, Delete) else operation.values.items():
        size += 2 * len(json.dumps(name)) + 48  # the name, the name with its type, the type, commas and colons
        if isinstance(value, bytes):
            size += 4 * ((len(value) + 2) // 3)
        elif isinstance(value, str):
            size += len(json.dumps(value))
        else:
            size += 40
    return size


def _utf16(what: str, text: str) -> int:
    try:
        return len(text.encode("utf-16-le"))
    except UnicodeEncodeError:
        raise PermanentError(f"{what} contains half a character (a lone surrogate)", Reason.BAD_INPUT) from None


def _size(key: str, name: str, value: Value) -> int:
    if type(value) is str and len(value) * 2 <= MAX_PROPERTY_BYTES and value.isascii():
        return 4 + 2 * len(value)
    return _size_told(f"row {key!r}, property {name}", value)


def _size_told(what: str, value: Value) -> int:
    if isinstance(value, bool):
        return 1
    if isinstance(value, str | bytes):
        size = len(value) if isinstance(value, bytes) else _utf16(what, value)
        if size > MAX_PROPERTY_BYTES:
            raise PermanentError(f"{what} has {size} bytes, at most {MAX_PROPERTY_BYTES} fit", Reason.TOO_LARGE)
        return 4 + size
    if isinstance(value, int):
        if not -(2**63) <= value < 2**63:
            raise PermanentError(f"{what} is no 64-bit integer", Reason.BAD_INPUT)
        return 8
    if isinstance(value, float):
        return 8
    if isinstance(value, datetime):
        if value.tzinfo is None or value < EARLIEST:
            raise PermanentError(f"{what} needs a time with a zone, not before the year 1601", Reason.BAD_INPUT)
        return 8
    raise PermanentError(f"{what} is a {type(value).__name__}, which no store keeps", Reason.BAD_INPUT)
