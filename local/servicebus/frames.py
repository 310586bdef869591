"""Cut the byte stream of a connection into protocol headers and frames, and build them (sans-I/O).

In: bytes as they arrive. Out: ``Header`` and ``Frame`` values, or ``AmqpError``.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum

from local.servicebus.decode import DecodeError, decode
from local.servicebus.errors import AmqpError, Condition
from local.servicebus.performatives import AMQP_BODIES, SASL_BODIES, Performative
from local.servicebus.types import Described, ULong

_FRAME_HEADER = struct.Struct(">IBBH")
EMPTY_FRAME = _FRAME_HEADER.pack(8, 2, 0, 0)


class Protocol(IntEnum):
    """The protocol id in a protocol header."""

    AMQP = 0
    SASL = 3


@dataclass(frozen=True, slots=True)
class Header:
    """The eight bytes a peer starts a protocol layer with."""

    protocol: int
    version: bytes

    def encode(self) -> bytes:
        """The header as bytes."""
        return b"AMQP" + bytes((self.protocol,)) + self.version


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame; ``body`` is None for an empty frame (heartbeat)."""

    sasl: bool
    channel: int
    body: Performative | None
    payload: bytes


class FrameReader:
    """Collects bytes and hands out what is complete."""

    def __init__(self, max_frame_bytes: int) -> None:
        self._buffer = bytearray()
        self._max_frame_bytes = max_frame_bytes
        self._header_next = True

    def expect_header(self) -> None:
        """The next eight bytes are a protocol header, as after a SASL outcome."""
        self._header_next = True

    def feed(self, data: bytes) -> None:
        """Add bytes from the peer."""
        self._buffer += data

    def read(self) -> Iterator[Header | Frame]:
        """Every complete header and frame so far.

        Raises:
            AmqpError: framing-error or decode-error; the stream cannot be read on.
        """
        while len(self._buffer) >= 8:
            if self._header_next:
                yield self._take_header()
                continue
            size, offset, kind, channel = _FRAME_HEADER.unpack_from(self._buffer)
            if size < 8 or size > self._max_frame_bytes or offset < 2 or offset * 4 > size or kind > 1:
                raise AmqpError(Condition.FRAMING_ERROR, "malformed or too large frame")
            if len(self._buffer) < size:
                return
            body = bytes(self._buffer[offset * 4 : size])
            del self._buffer[:size]
            yield _frame(kind == 1, channel, body)

    def _take_header(self) -> Header:
        head = bytes(self._buffer[:8])
        if head[:4] != b"AMQP":
            raise AmqpError(Condition.FRAMING_ERROR, "not an AMQP protocol header")
        del self._buffer[:8]
        self._header_next = False
        return Header(head[4], head[5:])


def frame_bytes(channel: int, body: bytes, payload: bytes = b"", *, sasl: bool = False) -> bytes:
    """One whole frame around an encoded performative."""
    return _FRAME_HEADER.pack(8 + len(body) + len(payload), 2, int(sasl), channel) + body + payload


def _frame(sasl: bool, channel: int, body: bytes) -> Frame:
    if not body:
        return Frame(sasl, channel, None, b"")
    try:
        value, end = decode(body)
    except DecodeError as exc:
        raise AmqpError(Condition.DECODE_ERROR, str(exc)) from exc
    kinds = SASL_BODIES if sasl else AMQP_BODIES
    if not (isinstance(value, Described) and isinstance(value.descriptor, ULong) and isinstance(value.value, list)):
        raise AmqpError(Condition.DECODE_ERROR, "a frame body must be a performative")
    kind = kinds.get(value.descriptor)
    if kind is None:
        raise AmqpError(Condition.DECODE_ERROR, f"unknown performative {int(value.descriptor):#x}")
    return Frame(sasl, channel, kind.parse(value.value), body[end:])
