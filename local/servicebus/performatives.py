"""The AMQP performatives and SASL bodies as typed values.

In: described lists as decoded. Out: dataclasses, or ``AmqpError(decode-error)``; and back to bytes.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple, Self

from local.servicebus.encode import described_list
from local.servicebus.errors import AmqpError, Condition
from local.servicebus.types import Described, Symbol, UByte, UInt, ULong, UShort, Value


class Field(NamedTuple):
    """How one field of a performative travels: accepted types, wire type, default when absent, needed or not."""

    accepts: tuple[type, ...]
    wire: Callable[[Any], Value]
    default: Value = None
    mandatory: bool = False


def _same(value: Value) -> Value:
    return value


def _unsigned(wire: type) -> Callable[..., Field]:
    def make(default: Value = None, mandatory: bool = False) -> Field:
        return Field((wire,), wire, default, mandatory)

    return make


_uint, _ubyte, _ulong, _ushort = _unsigned(UInt), _unsigned(UByte), _unsigned(ULong), _unsigned(UShort)
_STRING = Field((str,), str)
_NAME = Field((str,), str, mandatory=True)
_BOOL = Field((bool,), bool, False)
_ANY = Field((object,), _same)
_MAP = Field((dict,), _same)
_DESCRIBED = Field((Described,), _same)


class Performative:
    """A described list with fixed fields; subclasses are dataclasses with fields in wire order."""

    CODE: ClassVar[int]
    FIELDS: ClassVar[tuple[Field, ...]]
    __slots__: tuple[str, ...] = ()

    @classmethod
    def parse(cls, values: list[Value]) -> Self:
        """Build from the fields of a decoded list.

        Raises:
            AmqpError: a field is missing or of a wrong type.
        """
        if len(values) > len(cls.FIELDS):
            raise AmqpError(Condition.DECODE_ERROR, f"{cls.__name__.lower()} has too many fields")
        fields: list[Value] = []
        for index, field in enumerate(cls.FIELDS):
            value = values[index] if index < len(values) else None
            if value is None:
                if field.mandatory:
                    raise AmqpError(Condition.DECODE_ERROR, f"{cls.__name__.lower()} lacks field {index}")
                value = field.default
            elif not isinstance(value, field.accepts):
                raise AmqpError(Condition.DECODE_ERROR, f"{cls.__name__.lower()} has a wrong type in field {index}")
            fields.append(value)
        return cls(*fields)

    def encode(self) -> bytes:
        """The performative as it stands at the front of a frame body."""
        values: list[Value] = []
        for name, field in zip(self.__slots__, self.FIELDS, strict=True):
            value = getattr(self, name)
            values.append(None if value is None else field.wire(value))
        return described_list(self.CODE, values)


@dataclass(frozen=True, slots=True)
class Open(Performative):
    """Both sides introduce themselves."""

    CODE: ClassVar[int] = 0x10
    FIELDS: ClassVar[tuple[Field, ...]] = (
        *(_NAME, _STRING, _uint(UInt(0xFFFFFFFF), False), _ushort(UShort(0xFFFF), False), _uint(None, False)),
        *(_ANY, _ANY, _ANY, _ANY, _ANY),
    )
    container_id: str
    hostname: str | None = None
    max_frame_size: int = 0xFFFFFFFF
    channel_max: int = 0xFFFF
    idle_time_out: int | None = None
    outgoing_locales: Value = None
    incoming_locales: Value = None
    offered_capabilities: Value = None
    desired_capabilities: Value = None
    properties: Value = None


@dataclass(frozen=True, slots=True)
class Begin(Performative):
    """A session starts."""

    CODE: ClassVar[int] = 0x11
    FIELDS: ClassVar[tuple[Field, ...]] = (
        *(_ushort(None, False), _uint(None, True), _uint(None, True), _uint(None, True)),
        *(_uint(UInt(0xFFFFFFFF), False), _ANY, _ANY, _ANY),
    )
    remote_channel: int | None
    next_outgoing_id: int
    incoming_window: int
    outgoing_window: int
    handle_max: int = 0xFFFFFFFF
    offered_capabilities: Value = None
    desired_capabilities: Value = None
    properties: Value = None


@dataclass(frozen=True, slots=True)
class Attach(Performative):
    """A link starts; ``role`` is true when the sender of this frame receives messages."""

    CODE: ClassVar[int] = 0x12
    FIELDS: ClassVar[tuple[Field, ...]] = (
        *(_NAME, _uint(None, True), Field((bool,), bool, mandatory=True)),
        *(_ubyte(UByte(2), False), _ubyte(UByte(0), False)),
        *(_DESCRIBED, _DESCRIBED, _ANY, _BOOL, _uint(None, False), _ulong(None, False), _ANY, _ANY, _MAP),
    )
    name: str
    handle: int
    role: bool
    snd_settle_mode: int = 2
    rcv_settle_mode: int = 0
    source: Described | None = None
    target: Described | None = None
    unsettled: Value = None
    incomplete_unsettled: bool = False
    initial_delivery_count: int | None = None
    max_message_size: int | None = None
    offered_capabilities: Value = None
    desired_capabilities: Value = None
    properties: dict[Value, Value] | None = None


@dataclass(frozen=True, slots=True)
class Flow(Performative):
    """Session windows and, with a handle, a link's credit."""

    CODE: ClassVar[int] = 0x13
    FIELDS: ClassVar[tuple[Field, ...]] = (
        *(_uint(None, False), _uint(None, True), _uint(None, True), _uint(None, True), _uint(None, False)),
        *(_uint(None, False), _uint(None, False), _uint(None, False), _BOOL, _BOOL, _ANY),
    )
    next_incoming_id: int | None
    incoming_window: int
    next_outgoing_id: int
    outgoing_window: int
    handle: int | None = None
    delivery_count: int | None = None
    link_credit: int | None = None
    available: int | None = None
    drain: bool = False
    echo: bool = False
    properties: Value = None


@dataclass(frozen=True, slots=True)
class Transfer(Performative):
    """A message or a part of one; its bytes follow as the frame's payload."""

    CODE: ClassVar[int] = 0x14
    FIELDS: ClassVar[tuple[Field, ...]] = (
        *(_uint(None, True), _uint(None, False), Field((bytes,), bytes), _uint(None, False)),
        *(Field((bool,), bool), _BOOL, _ubyte(None, False), _ANY, _BOOL, _BOOL, _BOOL),
    )
    handle: int
    delivery_id: int | None = None
    delivery_tag: bytes | None = None
    message_format: int | None = None
    settled: bool | None = None
    more: bool = False
    rcv_settle_mode: int | None = None
    state: Value = None
    resume: bool = False
    aborted: bool = False
    batchable: bool = False


@dataclass(frozen=True, slots=True)
class Disposition(Performative):
    """Deliveries change state; ``role`` is true when the receiver of the messages speaks."""

    CODE: ClassVar[int] = 0x15
    FIELDS: ClassVar[tuple[Field, ...]] = (
        *(Field((bool,), bool, mandatory=True), _uint(None, True), _uint(None, False)),
        *(_BOOL, _ANY, _BOOL),
    )
    role: bool
    first: int
    last: int | None = None
    settled: bool = False
    state: Value = None
    batchable: bool = False


@dataclass(frozen=True, slots=True)
class Detach(Performative):
    """A link ends."""

    CODE: ClassVar[int] = 0x16
    FIELDS: ClassVar[tuple[Field, ...]] = (_uint(None, True), _BOOL, _DESCRIBED)
    handle: int
    closed: bool = False
    error: Described | None = None


@dataclass(frozen=True, slots=True)
class End(Performative):
    """A session ends."""

    CODE: ClassVar[int] = 0x17
    FIELDS: ClassVar[tuple[Field, ...]] = (_DESCRIBED,)
    error: Described | None = None


@dataclass(frozen=True, slots=True)
class Close(Performative):
    """The connection ends."""

    CODE: ClassVar[int] = 0x18
    FIELDS: ClassVar[tuple[Field, ...]] = (_DESCRIBED,)
    error: Described | None = None


@dataclass(frozen=True, slots=True)
class SaslMechanisms(Performative):
    """What the broker accepts, as an array of symbols."""

    CODE: ClassVar[int] = 0x40
    FIELDS: ClassVar[tuple[Field, ...]] = (_ANY,)
    mechanisms: Value


@dataclass(frozen=True, slots=True)
class SaslInit(Performative):
    """The client's choice; its response is not looked at, ``$cbs`` checks the key."""

    CODE: ClassVar[int] = 0x41
    FIELDS: ClassVar[tuple[Field, ...]] = (Field((Symbol,), Symbol, mandatory=True), _ANY, _STRING)
    mechanism: str
    initial_response: Value = None
    hostname: str | None = None


@dataclass(frozen=True, slots=True)
class SaslOutcome(Performative):
    """The end of SASL; code 0 is success, 1 is failure."""

    CODE: ClassVar[int] = 0x44
    FIELDS: ClassVar[tuple[Field, ...]] = (_ubyte(None, True), _ANY)
    code: int
    additional_data: Value = None


AMQP_BODIES: dict[int, type[Performative]] = {
    kind.CODE: kind for kind in (Open, Begin, Attach, Flow, Transfer, Disposition, Detach, End, Close)
}
SASL_BODIES: dict[int, type[Performative]] = {kind.CODE: kind for kind in (SaslMechanisms, SaslInit, SaslOutcome)}
