"""A message's sections: what the broker must know of it, and what it adds on delivery.

In: an encoded message. Out: ``Message``; its body, properties and footer stay the client's own bytes.
"""

import struct
from dataclasses import dataclass, replace
from typing import TypeAlias
from uuid import UUID

from local.servicebus.decode import DecodeError, compound, decode, decode_whole, skip
from local.servicebus.encode import described_list, encode, encode_map_raw, section
from local.servicebus.errors import AmqpError, Condition
from local.servicebus.limits import MAX_MESSAGE_BYTES, MAX_MESSAGE_ID_CHARS
from local.servicebus.types import Array, Described, Symbol, Timestamp, UByte, UInt, ULong, Value

BATCH_FORMAT = 0x80013700  # Service Bus: each data section of the body is one whole message

_HEADER, _DELIVERY, _ANNOTATIONS, _PROPERTIES = 0x70, 0x71, 0x72, 0x73
_APPLICATION, _DATA, _VALUE, _FOOTER = 0x74, 0x75, 0x77, 0x78
SCHEDULED_TIME = Symbol("x-opt-scheduled-enqueue-time")
# Why a message was dead-lettered, among its application properties.
REASON = "DeadLetterReason"
DESCRIPTION = "DeadLetterErrorDescription"
# The broker's own annotations; a client cannot set them.
_OWNED = frozenset(
    f"x-opt-{name}"
    for name in (
        *("sequence-number", "enqueued-time", "locked-until", "message-state", "enqueue-sequence-number"),
        *("deadletter-source", "lock-token"),
    )
)


# Application properties to add or replace, by name; a value is what AMQP allows there, so no list and no map.
Changes: TypeAlias = dict[str, Value]


@dataclass(frozen=True, slots=True)
class Message:
    """One message as a client sent it, taken apart only as far as the broker needs.

    ``annotations`` holds the client's annotations as raw map items; ``properties`` and ``application`` are the
    raw list and map of those sections (empty when absent); ``rest`` is body and footer with their descriptors.
    """

    durable: bool
    priority: int | None
    ttl_ms: int | None
    message_id: Value
    reply_to: str | None
    scheduled_ms: int | None
    annotation_count: int
    annotations: bytes
    properties: bytes
    application: bytes
    rest: bytes

    @property
    def size(self) -> int:
        """About how many bytes it takes in memory."""
        return len(self.rest) + len(self.application) + len(self.properties) + len(self.annotations)

    @property
    def dedup_key(self) -> bytes | None:
        """The message id in one canonical spelling, or None when there is none."""
        return None if self.message_id is None else encode(self.message_id)

    def encode(self) -> bytes:
        """The message as it is kept: without anything the broker adds on delivery."""
        head = described_list(_HEADER, [self.durable, self._priority(), _uint(self.ttl_ms)])
        return head + self._annotations({}) + self._bare()

    def deliver(
        self, delivery_count: int, annotations: dict[str, Value], lock_token: Value, ttl_ms: int | None
    ) -> bytes:
        """The message as a receiver gets it.

        Args:
            delivery_count: earlier failed deliveries, 0 on the first.
            annotations: the broker's message annotations by name.
            lock_token: a UUID for the delivery annotations, or None when nothing is locked.
            ttl_ms: the time to live in force, or None.
        """
        fields: list[Value] = [self.durable, self._priority(), _uint(ttl_ms), None, UInt(delivery_count)]
        token = b"" if lock_token is None else section(_DELIVERY, encode({Symbol("x-opt-lock-token"): lock_token}))
        head = described_list(_HEADER, fields) + token + self._annotations(annotations)
        return head + self._bare()

    def with_application_properties(self, extra: Changes) -> "Message":
        """The same message with application properties added; an existing key is replaced."""
        count, items = _without(self.application, frozenset(extra)) if self.application else (0, b"")
        added = b"".join(encode(key) + encode(value) for key, value in extra.items())
        raw = encode_map_raw(count + 2 * len(extra), items + added)
        return replace(self, application=raw)

    def with_message_id(self, message_id: str) -> "Message":
        """The same message with another id."""
        fields = _list(decode_whole(self.properties)) if self.properties else []
        return replace(self, message_id=message_id, properties=encode([message_id, *fields[1:]]))

    def _priority(self) -> UByte | None:
        return None if self.priority is None else UByte(self.priority)

    def _bare(self) -> bytes:
        properties = section(_PROPERTIES, self.properties) if self.properties else b""
        return properties + (section(_APPLICATION, self.application) if self.application else b"") + self.rest

    def _annotations(self, extra: dict[str, Value]) -> bytes:
        count = self.annotation_count + 2 * len(extra)
        if not count:
            return b""
        added = b"".join(encode(Symbol(key)) + encode(value) for key, value in extra.items())
        return section(_ANNOTATIONS, encode_map_raw(count, self.annotations + added))


def parse_message(data: bytes) -> Message:
    """Take one encoded message apart.

    Raises:
        AmqpError: decode-error when it is malformed, argument-error when its id is too long.
    """
    try:
        return _parse(data)
    except (DecodeError, struct.error, IndexError) as exc:
        raise AmqpError(Condition.DECODE_ERROR, f"malformed message: {exc}") from exc


def read_changes(value: Value) -> Changes:
    """Application properties to modify as a peer names them, None for none.

    Raises:
        AmqpError: argument-error, when it is no map of strings to simple values.
    """
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise AmqpError(Condition.ARGUMENT_ERROR, "the properties to modify must be a map")
    for key, item in value.items():
        if not isinstance(key, str) or isinstance(item, dict | list | Array | Described):
            raise AmqpError(Condition.ARGUMENT_ERROR, "properties to modify have text for names and simple values")
    return {str(key): item for key, item in value.items()}


def check_size(size: int) -> None:
    """Raises AmqpError(message-size-exceeded) when a message of so many bytes is above Azure's limit."""
    if size > MAX_MESSAGE_BYTES:
        what = f"the message of {size} bytes exceeds the limit of {MAX_MESSAGE_BYTES} bytes"
        raise AmqpError(Condition.MESSAGE_SIZE, what)


def split_batch(data: bytes) -> list[Message]:
    """The messages inside a message of format ``BATCH_FORMAT``; raises AmqpError when one is malformed."""
    try:
        parts = _sections(data)
        bodies = [decode_whole(body) for code, _, body in parts if code == _DATA]
    except DecodeError as exc:
        raise AmqpError(Condition.DECODE_ERROR, f"malformed batch: {exc}") from exc
    if not bodies:
        raise AmqpError(Condition.DECODE_ERROR, "a batch without messages")
    return [parse_message(_binary(body)) for body in bodies]


def message_value(data: bytes) -> tuple[dict[Value, Value], Value]:
    """Application properties and the value in the body of a request message.

    Raises:
        AmqpError: decode-error.
    """
    application: Value = {}
    body: Value = None
    try:
        for code, _, raw in _sections(data):
            if code == _APPLICATION:
                application = decode_whole(raw)
            elif code == _VALUE:
                body = decode_whole(raw)
    except DecodeError as exc:
        raise AmqpError(Condition.DECODE_ERROR, f"malformed request: {exc}") from exc
    if not isinstance(application, dict):
        raise AmqpError(Condition.DECODE_ERROR, "application-properties must be a map")
    return application, body


def reply(correlation_id: Value, application: dict[Value, Value], body: Value) -> bytes:
    """A response message with a value body."""
    properties = described_list(_PROPERTIES, [None, None, None, None, None, correlation_id])
    return properties + section(_APPLICATION, encode(application)) + section(_VALUE, encode(body))


def _sections(data: bytes) -> list[tuple[int, int, bytes]]:
    """Code, position and body (behind the descriptor) of each section."""
    found: list[tuple[int, int, bytes]] = []
    pos = 0
    while pos < len(data):
        if data[pos] != 0x00:
            raise DecodeError("a message section must be a described value")
        descriptor, start = decode(data, pos + 1)
        if not isinstance(descriptor, ULong):
            raise DecodeError("a message section needs a numeric descriptor")
        end = skip(data, start)
        found.append((int(descriptor), pos, data[start:end]))
        pos = end
    return found


def _parse(data: bytes) -> Message:
    header: list[Value] = []
    count, annotations = 0, b""
    scheduled: Value = None
    properties = application = b""
    rest_start = len(data)
    for code, start, body in _sections(data):
        if code == _HEADER:
            header = _list(decode_whole(body))
        elif code == _ANNOTATIONS:
            count, annotations = _without(body, _OWNED)
            scheduled = _find(body, SCHEDULED_TIME)
        elif code == _PROPERTIES:
            properties = body
        elif code == _APPLICATION:
            _check_map(body)
            application = body
        elif _DATA <= code <= _FOOTER:
            rest_start = min(rest_start, start)
        elif code != _DELIVERY:
            raise DecodeError(f"unknown message section {code:#x}")
    fields = _list(decode_whole(properties)) if properties else []
    message_id = _at(fields, 0)
    if not isinstance(message_id, str | bytes | UUID | ULong | None):
        raise DecodeError("a message id is a string, binary, uuid or ulong")
    if isinstance(message_id, str) and len(message_id) > MAX_MESSAGE_ID_CHARS:
        raise AmqpError(Condition.ARGUMENT_ERROR, f"a message id has at most {MAX_MESSAGE_ID_CHARS} characters")
    reply_to, ttl, priority = _at(fields, 4), _at(header, 2), _at(header, 1)
    return Message(
        durable=_at(header, 0) is True,
        priority=int(priority) if isinstance(priority, UByte) else None,
        ttl_ms=int(ttl) if isinstance(ttl, UInt) else None,
        message_id=message_id,
        reply_to=str(reply_to) if isinstance(reply_to, str) else None,
        scheduled_ms=int(scheduled) if isinstance(scheduled, Timestamp) else None,
        annotation_count=count,
        annotations=annotations,
        properties=properties,
        application=application,
        rest=data[rest_start:],
    )


def _without(body: bytes, names: frozenset[str]) -> tuple[int, bytes]:
    """Number and bytes of a map's items, without those whose key is in ``names``."""
    count, pos, end = compound(body, 0)
    kept, items = 0, bytearray()
    for _ in range(count // 2):
        key, value_pos = decode(body, pos)
        after = skip(body, value_pos)
        if not (isinstance(key, str) and str(key) in names):
            kept += 2
            items += body[pos:after]
        pos = after
    if pos != end or count % 2:
        raise DecodeError("map of the wrong size")
    return kept, bytes(items)


def _check_map(body: bytes) -> None:
    # Read through now, so that to dead-letter the message later cannot fail.
    if body[:1] not in (b"\xc1", b"\xd1"):
        raise DecodeError("application-properties must be a map")
    _without(body, frozenset())


def _find(body: bytes, name: str) -> Value:
    count, pos, _ = compound(body, 0)
    for _ in range(count // 2):
        key, value_pos = decode(body, pos)
        if isinstance(key, str) and key == name:
            return decode(body, value_pos)[0]
        pos = skip(body, value_pos)
    return None


def _list(value: Value) -> list[Value]:
    if not isinstance(value, list):
        raise DecodeError("a list was expected")
    return value


def _binary(value: Value) -> bytes:
    if not isinstance(value, bytes):
        raise AmqpError(Condition.DECODE_ERROR, "a data section must hold binary")
    return value


def _at(fields: list[Value], index: int) -> Value:
    value = fields[index] if index < len(fields) else None
    return value.value if isinstance(value, Described) else value


def _uint(value: int | None) -> UInt | None:
    return None if value is None else UInt(min(value, 0xFFFFFFFF))
