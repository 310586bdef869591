"""The AMQP 1.0 types that Python lacks, so that a value keeps its wire type through decode and encode.

In: plain Python values. Out: thin subclasses; ``int`` itself stands for AMQP long, ``float`` for double.
"""

from dataclasses import dataclass
from typing import TypeAlias

Value: TypeAlias = object


class UByte(int):
    """AMQP ubyte, 0 to 2**8 - 1."""


class UShort(int):
    """AMQP ushort, 0 to 2**16 - 1."""


class UInt(int):
    """AMQP uint, 0 to 2**32 - 1."""


class ULong(int):
    """AMQP ulong, 0 to 2**64 - 1."""


class Byte(int):
    """AMQP byte, -2**7 to 2**7 - 1."""


class Short(int):
    """AMQP short, -2**15 to 2**15 - 1."""


class Int(int):
    """AMQP int, -2**31 to 2**31 - 1."""


class Timestamp(int):
    """AMQP timestamp: milliseconds since the Unix epoch."""


class Float32(float):
    """AMQP float: four bytes on the wire."""


class Char(str):
    """AMQP char: one Unicode code point."""


class Symbol(str):
    """AMQP symbol: ASCII text."""


@dataclass(frozen=True, slots=True)
class RawDecimal:
    """A decimal32/64/128, kept as its bytes because the broker never calculates with one."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Described:
    """A value with a descriptor; the broker knows numeric and symbolic descriptors."""

    descriptor: Value
    value: Value


@dataclass(frozen=True, slots=True)
class Array:
    """An AMQP array: every item has the constructor ``code`` (the widest form of its type)."""

    code: int
    items: tuple[Value, ...]


# Constructors used for the arrays the broker itself sends.
ARRAY_SYMBOL = 0xB3
ARRAY_LONG = 0x81
ARRAY_TIMESTAMP = 0x83
ARRAY_UUID = 0x98
