"""Read AMQP 1.0 values from bytes, never trusting a length or a depth.

In: bytes from a peer. Out: values typed by ``types``, or ``DecodeError``; nothing else is raised.
"""

import struct
from collections.abc import Callable
from typing import Any
from uuid import UUID

from local.servicebus.types import (
    Array,
    Byte,
    Char,
    Described,
    Float32,
    Int,
    RawDecimal,
    Short,
    Symbol,
    Timestamp,
    UByte,
    UInt,
    ULong,
    UShort,
    Value,
)

MAX_DEPTH = 32
# An array of zero-width items needs no bytes, so its count is the only thing that limits it.
MAX_ITEMS = 65_536


class DecodeError(ValueError):
    """The bytes are not an AMQP value."""


def decode(data: bytes, pos: int = 0) -> tuple[Value, int]:
    """Read one value.

    Args:
        data: bytes holding at least one whole value from ``pos`` on.
        pos: where the value's constructor stands.

    Returns:
        The value and the position behind it.

    Raises:
        DecodeError: malformed, cut off, or nested deeper than ``MAX_DEPTH``.

    Source: AMQP 1.0 part 1, "Types".
    """
    try:
        return _read(data, pos, 0)
    except (struct.error, IndexError, UnicodeDecodeError, OverflowError, TypeError) as exc:
        raise DecodeError(f"malformed AMQP value near byte {pos}: {exc}") from exc


def decode_whole(data: bytes) -> Value:
    """Read one value that must fill ``data``; raises DecodeError otherwise."""
    value, end = decode(data)
    if end != len(data):
        raise DecodeError(f"{len(data) - end} bytes too many behind an AMQP value")
    return value


def skip(data: bytes, pos: int) -> int:
    """The position behind the value at ``pos``, without building it.

    Raises:
        DecodeError: the value is cut off or its constructor unknown.
    """
    try:
        code = data[pos]
        pos += 1
        for _ in range(MAX_DEPTH):
            if code != 0x00:
                break
            pos = skip(data, pos)
            code = data[pos]
            pos += 1
        width = code >> 4
        if code not in _CODES:
            raise DecodeError(f"unknown AMQP constructor {code:#04x}")
        if width in _FIXED_WIDTHS:
            end = pos + _FIXED_WIDTHS[width]
        elif width in (0xA, 0xC, 0xE):
            end = pos + 1 + data[pos]
        else:
            end = pos + 4 + int(_U32.unpack_from(data, pos)[0])
    except (struct.error, IndexError, RecursionError) as exc:
        raise DecodeError(f"AMQP value cut off near byte {pos}") from exc
    if end > len(data):
        raise DecodeError(f"AMQP value cut off: needs {end - len(data)} more bytes")
    return end


def compound(data: bytes, pos: int) -> tuple[int, int, int]:
    """Where the items of the list or map at ``pos`` stand.

    Returns:
        Number of items (a map counts keys and values), position of the first, position behind the last.

    Raises:
        DecodeError: it is neither list nor map, or cut off.
    """
    end = skip(data, pos)
    code = data[pos]
    if code == 0x45:
        return 0, end, end
    if code in (0xC0, 0xC1) and end >= pos + 3:
        return data[pos + 2], pos + 3, end
    if code in (0xD0, 0xD1) and end >= pos + 9:
        return int(_U32.unpack_from(data, pos + 5)[0]), pos + 9, end
    raise DecodeError(f"a list or map was expected, not constructor {code:#04x}")


def _read(data: bytes, pos: int, depth: int) -> tuple[Value, int]:
    code = data[pos]
    if code == 0x00:
        if depth >= MAX_DEPTH:
            raise DecodeError("AMQP value nested too deep")
        descriptor, pos = _read(data, pos + 1, depth + 1)
        value, pos = _read(data, pos, depth + 1)
        return Described(descriptor, value), pos
    return _read_body(data, pos + 1, code, depth)


def _read_body(data: bytes, pos: int, code: int, depth: int) -> tuple[Value, int]:
    fixed = _FIXED.get(code)
    if fixed is not None:
        unpacker, make = fixed
        return make(unpacker.unpack_from(data, pos)[0]), pos + unpacker.size
    if code in _CONSTANTS:
        return _CONSTANTS[code], pos
    if code in _VARIABLE:
        start, end = _extent(data, pos, code)
        return _VARIABLE[code](data[start:end]), end
    if code in (0x74, 0x84, 0x94, 0x98):
        end = pos + {0x74: 4, 0x84: 8}.get(code, 16)
        if end > len(data):
            raise DecodeError("AMQP value cut off")
        raw = data[pos:end]
        return (UUID(bytes=raw) if code == 0x98 else RawDecimal(raw)), end
    if code in (0xC0, 0xD0, 0xC1, 0xD1, 0xE0, 0xF0):
        if depth >= MAX_DEPTH:
            raise DecodeError("AMQP value nested too deep")
        return _read_compound(data, pos, code, depth + 1)
    if code == 0x45:
        return [], pos
    raise DecodeError(f"unknown AMQP constructor {code:#04x}")


def _extent(data: bytes, pos: int, code: int) -> tuple[int, int]:
    if code & 0x10:
        start = pos + 4
        end = start + int(_U32.unpack_from(data, pos)[0])
    else:
        start = pos + 1
        end = start + data[pos]
    if end > len(data):
        raise DecodeError("AMQP value cut off")
    return start, end


def _read_compound(data: bytes, pos: int, code: int, depth: int) -> tuple[Value, int]:
    start, end = _extent(data, pos, code)
    # The items may read no further than the size that was announced.
    data = data[:end] if end != len(data) else data
    if code & 0x10:
        count, start = int(_U32.unpack_from(data, start)[0]), start + 4
    else:
        count, start = data[start], start + 1
    if code in (0xE0, 0xF0):
        value: Value
        value, start = _read_array(data, start, count, depth)
    elif count > end - start:
        raise DecodeError("more AMQP items announced than bytes")
    elif code in (0xC0, 0xD0):
        items: list[Value] = []
        for _ in range(count):
            item, start = _read(data, start, depth)
            items.append(item)
        value = items
    else:
        value, start = _read_map(data, start, count, depth)
    if start != end:
        raise DecodeError("AMQP compound value of the wrong size")
    return value, end


def _read_map(data: bytes, pos: int, count: int, depth: int) -> tuple[dict[Value, Value], int]:
    if count % 2:
        raise DecodeError("AMQP map with an odd number of items")
    result: dict[Value, Value] = {}
    for _ in range(count // 2):
        key, pos = _read(data, pos, depth)
        result[key], pos = _read(data, pos, depth)
    return result, pos


def _read_array(data: bytes, pos: int, count: int, depth: int) -> tuple[Value, int]:
    code = data[pos]
    pos += 1
    if code == 0x00:
        raise DecodeError("arrays of described values are not read")
    if count > MAX_ITEMS:
        raise DecodeError("AMQP array too long")
    items: list[Value] = []
    for _ in range(count):
        item, pos = _read_body(data, pos, code, depth)
        items.append(item)
    return Array(_WIDEST.get(code, code), tuple(items)), pos


_U32 = struct.Struct(">I")


def _char(code_point: int) -> Char:
    try:
        return Char(chr(code_point))
    except (ValueError, OverflowError) as exc:
        raise DecodeError("not a Unicode code point") from exc


def _bool(byte: int) -> bool:
    if byte > 1:
        raise DecodeError("a boolean is 0 or 1")
    return byte == 1


_FIXED: dict[int, tuple[struct.Struct, Callable[[Any], Value]]] = {
    0x50: (struct.Struct(">B"), UByte),
    0x51: (struct.Struct(">b"), Byte),
    0x52: (struct.Struct(">B"), UInt),
    0x53: (struct.Struct(">B"), ULong),
    0x54: (struct.Struct(">b"), Int),
    0x55: (struct.Struct(">b"), int),
    0x56: (struct.Struct(">B"), _bool),
    0x60: (struct.Struct(">H"), UShort),
    0x61: (struct.Struct(">h"), Short),
    0x70: (_U32, UInt),
    0x71: (struct.Struct(">i"), Int),
    0x72: (struct.Struct(">f"), Float32),
    0x73: (_U32, _char),
    0x80: (struct.Struct(">Q"), ULong),
    0x81: (struct.Struct(">q"), int),
    0x82: (struct.Struct(">d"), float),
    0x83: (struct.Struct(">q"), Timestamp),
}
_CONSTANTS: dict[int, Value] = {0x40: None, 0x41: True, 0x42: False, 0x43: UInt(0), 0x44: ULong(0)}
_VARIABLE: dict[int, Callable[[bytes], Value]] = {
    0xA0: bytes,
    0xB0: bytes,
    0xA1: lambda raw: raw.decode("utf-8"),
    0xB1: lambda raw: raw.decode("utf-8"),
    0xA3: lambda raw: Symbol(raw.decode("ascii")),
    0xB3: lambda raw: Symbol(raw.decode("ascii")),
}
_WIDEST = {0x52: 0x70, 0x43: 0x70, 0x53: 0x80, 0x44: 0x80, 0x54: 0x71, 0x55: 0x81, 0xA0: 0xB0, 0xA1: 0xB1, 0xA3: 0xB3}
_WIDEST |= {0x41: 0x56, 0x42: 0x56}
_FIXED_WIDTHS = {0x4: 0, 0x5: 1, 0x6: 2, 0x7: 4, 0x8: 8, 0x9: 16}
_CODES = frozenset(_FIXED) | frozenset(_CONSTANTS) | frozenset(_VARIABLE)
_CODES |= {0x45, 0x74, 0x84, 0x94, 0x98, 0xC0, 0xC1, 0xD0, 0xD1, 0xE0, 0xF0}
