"""Write AMQP 1.0 values as bytes.

In: Python values, typed by ``types``. Out: their shortest encoding.
"""

import struct
from collections.abc import Callable, Sequence
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

_DECIMAL_CODES = {4: 0x74, 8: 0x84, 16: 0x94}


class EncodeError(ValueError):
    """The value has no AMQP encoding."""


def encode(value: Value) -> bytes:
    """The AMQP encoding of a value.

    Raises:
        EncodeError: the type is unknown or the number does not fit its type.

    Source: AMQP 1.0 part 1, "Types".
    """
    out = bytearray()
    try:
        _write(out, value)
    except (struct.error, OverflowError, UnicodeEncodeError) as exc:
        raise EncodeError(f"cannot encode a {type(value).__name__}: {exc}") from exc
    return bytes(out)


def encode_map_raw(count: int, items: bytes) -> bytes:
    """A map of ``count`` encoded items (keys and values, so an even number) given as bytes."""
    return struct.pack(">BII", 0xD1, len(items) + 4, count) + items


def described_list(code: int, fields: Sequence[Value]) -> bytes:
    """A described list with a small numeric descriptor; trailing nulls are left out."""
    end = len(fields)
    while end and fields[end - 1] is None:
        end -= 1
    out = bytearray((0x00, 0x53, code))
    try:
        _write_list(out, fields[:end])
    except (struct.error, OverflowError, UnicodeEncodeError) as exc:
        raise EncodeError(f"cannot encode a field of performative {code:#x}: {exc}") from exc
    return bytes(out)


def section(code: int, body: bytes) -> bytes:
    """A message section: the descriptor ``code`` before an already encoded body."""
    return bytes((0x00, 0x53, code)) + body


def _write(out: bytearray, value: Any) -> None:
    writer = _WRITERS.get(type(value))
    if writer is None:
        raise EncodeError(f"no AMQP type for {type(value).__name__}")
    writer(out, value)


def _write_variable(out: bytearray, small: int, data: bytes) -> None:
    if len(data) < 256:
        out += bytes((small, len(data)))
    else:
        out += struct.pack(">BI", small | 0x10, len(data))
    out += data


def _write_list(out: bytearray, items: Sequence[Value]) -> None:
    if not items:
        out.append(0x45)
        return
    body = bytearray()
    for item in items:
        _write(body, item)
    _write_compound(out, 0xC0, len(items), body)


def _write_map(out: bytearray, value: dict[Value, Value]) -> None:
    body = bytearray()
    for key, item in value.items():
        _write(body, key)
        _write(body, item)
    _write_compound(out, 0xC1, 2 * len(value), body)


def _write_compound(out: bytearray, small: int, count: int, body: bytearray) -> None:
    if len(body) < 255 and count < 256:
        out += bytes((small, len(body) + 1, count))
    else:
        out += struct.pack(">BII", small | 0x10, len(body) + 4, count)
    out += body


def _write_array(out: bytearray, value: Array) -> None:
    writer = _ARRAY_BODIES.get(value.code)
    if writer is None:
        raise EncodeError(f"no arrays of constructor {value.code:#x}")
    body = bytearray((value.code,))
    for item in value.items:
        writer(body, item)
    out += struct.pack(">BII", 0xF0, len(body) + 4, len(value.items))
    out += body


def _write_described(out: bytearray, value: Described) -> None:
    out.append(0x00)
    _write(out, value.descriptor)
    _write(out, value.value)


def _write_decimal(out: bytearray, value: RawDecimal) -> None:
    code = _DECIMAL_CODES.get(len(value.data))
    if code is None:
        raise EncodeError("a decimal has 4, 8 or 16 bytes")
    out.append(code)
    out += value.data


def _write_uint(out: bytearray, value: int) -> None:
    if value == 0:
        out.append(0x43)
    elif 0 < value < 256:
        out += bytes((0x52, value))
    else:
        out += struct.pack(">BI", 0x70, value)


def _write_ulong(out: bytearray, value: int) -> None:
    if value == 0:
        out.append(0x44)
    elif 0 < value < 256:
        out += bytes((0x53, value))
    else:
        out += struct.pack(">BQ", 0x80, value)


def _write_int(out: bytearray, value: int) -> None:
    if -128 <= value < 128:
        out += struct.pack(">Bb", 0x54, value)
    else:
        out += struct.pack(">Bi", 0x71, value)


def _write_long(out: bytearray, value: int) -> None:
    if -128 <= value < 128:
        out += struct.pack(">Bb", 0x55, value)
    else:
        out += struct.pack(">Bq", 0x81, value)


def _packed(code: int, form: str) -> Callable[[bytearray, Any], None]:
    packer = struct.Struct(">B" + form)

    def write(out: bytearray, value: Any) -> None:
        out += packer.pack(code, value)

    return write


def _write_char(out: bytearray, value: str) -> None:
    out += struct.pack(">BI", 0x73, ord(value))


_WRITERS: dict[type, Callable[[bytearray, Any], None]] = {
    type(None): lambda out, _value: out.append(0x40),
    bool: lambda out, value: out.append(0x41 if value else 0x42),
    UByte: _packed(0x50, "B"),
    UShort: _packed(0x60, "H"),
    UInt: _write_uint,
    ULong: _write_ulong,
    Byte: _packed(0x51, "b"),
    Short: _packed(0x61, "h"),
    Int: _write_int,
    int: _write_long,
    Timestamp: _packed(0x83, "q"),
    Float32: _packed(0x72, "f"),
    float: _packed(0x82, "d"),
    Char: _write_char,
    RawDecimal: _write_decimal,
    UUID: lambda out, value: out.extend(b"\x98" + value.bytes),
    bytes: lambda out, value: _write_variable(out, 0xA0, value),
    str: lambda out, value: _write_variable(out, 0xA1, value.encode("utf-8")),
    Symbol: lambda out, value: _write_variable(out, 0xA3, value.encode("ascii")),
    list: _write_list,
    dict: _write_map,
    Array: _write_array,
    Described: _write_described,
}


def _body(form: str) -> Callable[[bytearray, Any], None]:
    packer = struct.Struct(">" + form)

    def write(out: bytearray, value: Any) -> None:
        out += packer.pack(value)

    return write


def _variable_body(encoding: str | None) -> Callable[[bytearray, Any], None]:
    def write(out: bytearray, value: Any) -> None:
        data = value if encoding is None else value.encode(encoding)
        out += struct.pack(">I", len(data)) + data

    return write


_ARRAY_BODIES: dict[int, Callable[[bytearray, Any], None]] = {
    0x50: _body("B"),
    0x51: _body("b"),
    0x56: _body("B"),
    0x60: _body("H"),
    0x61: _body("h"),
    0x70: _body("I"),
    0x71: _body("i"),
    0x72: _body("f"),
    0x80: _body("Q"),
    0x81: _body("q"),
    0x82: _body("d"),
    0x83: _body("q"),
    0x98: lambda out, value: out.extend(value.bytes),
    0xB0: _variable_body(None),
    0xB1: _variable_body("utf-8"),
    0xB3: _variable_body("ascii"),
}
