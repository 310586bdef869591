"""Dataclasses to JSON and back, strictly.

In: frozen dataclasses of `shared.model`. Out: JSON-ready values; unknown or missing fields are refused.
"""

from __future__ import annotations

import dataclasses
import json
import types
import typing
from collections.abc import Callable, Mapping
from datetime import datetime
from enum import Enum
from functools import lru_cache
from typing import Any, TypeVar, Union, cast, get_args, get_origin

from shared.model import compiled, versions
from shared.model import event as ev
from shared.model.errors import PermanentError, Reason

T = TypeVar("T")
SPEC_VERSION = "1.0"


@dataclasses.dataclass(frozen=True, slots=True)
class Quick:
    """A JSON library that is quicker than Python's own, which has the last word on what the quick one refuses.

    Attributes:
        loads: raises a ``ValueError`` for what it cannot read.
        dumps: UTF-8 of data from `compiled.write_plainly`, keys sorted or not; raises a ``TypeError`` for what it
            cannot write.
    """

    loads: Callable[[str | bytes], Any]
    dumps: Callable[[object, bool], bytes]


def _none(value: object, in_order: bool) -> bytes:
    raise TypeError


_quick = Quick(json.loads, _none)


def use(quick: Quick) -> None:
    """Read and write with this library from now on; what is read and written stays the same to the byte."""
    global _quick
    _quick = quick


_PAYLOADS: Mapping[str, type[ev.Payload]] = {cls.TYPE: cls for cls in get_args(ev.Payload)}


def to_json(value: object) -> Any:
    """Turn a model value into what ``json.dumps`` takes.

    Args:
        value: dataclass, enum, aware datetime, mapping, sequence or plain value.

    Raises:
        TypeError: something else, or a naive datetime.
    """
    return compiled.write(value)


def canonical(value: object) -> str:
    """The one JSON text of a model value: sorted keys, no spaces. Hashes are over this."""
    try:
        return _quick.dumps(compiled.write_plainly(value), True).decode()
    except (compiled.Unusual, TypeError):  # what other libraries write otherwise than we always did, or cannot write
        return json.dumps(to_json(value), sort_keys=True, ensure_ascii=False, separators=(",", ":"))


def from_text(cls: type[T], text: str) -> T:
    """Build a model value of class ``cls`` from its JSON text.

    Raises:
        PermanentError: as `from_json`.
        ValueError: it is not JSON.
    """
    try:
        return cast(T, compiled.reader(cls)(_quick.loads(text)))
    except (compiled.Unusual, ValueError):
        return from_json(cls, json.loads(text))


def from_json(cls: type[T], data: object) -> T:
    """Build a model value of class ``cls``.

    Raises:
        PermanentError: a field is unknown, missing or of the wrong type (reason ``bad_input``).
    """
    return cast(T, _read(cls, data, cls.__name__))


def _read(kind: Any, data: object, where: str) -> object:
    """The quick way, and where it cannot go on the slow one, which tells what is wrong."""
    try:
        return compiled.reader(kind)(data)
    except compiled.Unusual:
        return _build(kind, data, where)


@lru_cache(maxsize=256)
def _hints(cls: type) -> dict[str, Any]:
    return typing.get_type_hints(cls)


def _bad(where: str, problem: str) -> PermanentError:
    return PermanentError(f"{where}: {problem}", Reason.BAD_INPUT)


def _build(kind: Any, data: object, where: str) -> object:
    origin = get_origin(kind)
    if origin in (Union, types.UnionType):
        return _build_union(kind, data, where)
    if origin is tuple:
        if not isinstance(data, list):
            raise _bad(where, "a list was expected")
        item = get_args(kind)[0]
        return tuple(_build(item, entry, f"{where}[{i}]") for i, entry in enumerate(data))
    if origin is not None and issubclass(origin, Mapping):
        if not isinstance(data, dict):
            raise _bad(where, "an object was expected")
        value_kind = get_args(kind)[1]
        return {str(k): _build(value_kind, v, f"{where}.{k}") for k, v in data.items()}
    if dataclasses.is_dataclass(kind):
        return _build_dataclass(kind, data, where)
    return _build_plain(kind, data, where)


def _build_union(kind: Any, data: object, where: str) -> object:
    options = [option for option in get_args(kind) if option is not type(None)]
    if data is None:
        if len(options) == len(get_args(kind)):
            raise _bad(where, "null is not allowed")
        return None
    if len(options) != 1:
        raise _bad(where, "an untagged union cannot be read")
    return _build(options[0], data, where)


def _build_dataclass(kind: Any, data: object, where: str) -> object:
    if not isinstance(data, dict):
        raise _bad(where, "an object was expected")
    hints = _hints(kind)
    fields = {f.name: f for f in dataclasses.fields(kind)}
    unknown = sorted(set(data) - set(fields))
    if unknown:
        raise _bad(where, f"unknown field {unknown[0]}")
    values: dict[str, object] = {}
    for name, field in fields.items():
        if name in data:
            values[name] = _build(hints[name], data[name], f"{where}.{name}")
        elif field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            raise _bad(where, f"field {name} is missing")
    return kind(**values)


def _build_plain(kind: Any, data: object, where: str) -> object:
    if kind is datetime:
        return _build_time(data, where)
    if isinstance(kind, type) and issubclass(kind, Enum):
        try:
            return kind(data)
        except ValueError:
            raise _bad(where, f"{data!r} is not one of {', '.join(str(m.value) for m in kind)}") from None
    if kind is float and isinstance(data, int | float) and not isinstance(data, bool):
        return float(data)
    if kind is object:
        return data
    if isinstance(kind, type) and isinstance(data, kind) and not (kind is int and isinstance(data, bool)):
        return data
    raise _bad(where, f"{getattr(kind, '__name__', kind)} was expected")


def _build_time(data: object, where: str) -> datetime:
    try:
        moment = datetime.fromisoformat(cast(str, data))
    except (TypeError, ValueError):
        raise _bad(where, "an ISO 8601 time was expected") from None
    if moment.tzinfo is None:
        raise _bad(where, "the time has no zone")
    return moment


def encode_event(event: ev.Event) -> bytes:
    """The CloudEvents JSON of an event (rule M1)."""
    return _encode(event, "data", event.data)


def encode_reference(event: ev.Event, reference: str) -> bytes:
    """The same envelope with a reference into ``payloads`` instead of the data (rule M5)."""
    return _encode(event, "dataref", reference)


def reference_of(body: bytes) -> str:
    """The reference of an envelope whose data is kept in ``payloads``; empty when it carries its data."""
    if b'"dataref":' not in body[:2048]:
        return ""
    envelope = json.loads(body)
    return str(envelope.get("dataref", "")) if isinstance(envelope, dict) and "data" not in envelope else ""


def attempt_of(body: bytes) -> int:
    """The attempt of an envelope that carries a reference."""
    return int(json.loads(body).get("attempt", 0))


def _encode(event: ev.Event, member: str, content: object) -> bytes:
    envelope = {
        "specversion": SPEC_VERSION,
        versions.MESSAGE_ATTRIBUTE: versions.CURRENT,
        "id": event.id,
        "source": event.source,
        "type": event.type,
        "subject": event.subject,
        "time": event.time,
        "datacontenttype": "application/json",
        "traceparent": event.traceparent,
        "attempt": event.attempt,
        member: content,
    }
    if event.not_before is not None:
        envelope["notbefore"] = event.not_before
    try:
        return _quick.dumps(compiled.write_plainly(envelope), False)
    except (compiled.Unusual, TypeError):  # see `canonical`
        return json.dumps(to_json(envelope), ensure_ascii=False, separators=(",", ":")).encode()


def decode_event(body: bytes) -> ev.Event:
    """Read an event.

    Raises:
        PermanentError: not JSON, not CloudEvents 1.0, written by a newer ARGUS, an unknown type, or a payload that does
            not fit it.
    """
    try:
        return _event_of(_quick.loads(body))
    except (PermanentError, ValueError):  # it may still be right, for a parser that knows larger numbers
        pass
    try:
        envelope = json.loads(body)
    except (ValueError, UnicodeDecodeError):
        raise PermanentError("the message is not JSON", Reason.BAD_INPUT) from None
    return _event_of(envelope)


def _event_of(envelope: object) -> ev.Event:
    if not isinstance(envelope, dict) or envelope.get("specversion") != SPEC_VERSION:
        raise PermanentError("the message is no CloudEvents 1.0 envelope", Reason.BAD_INPUT)
    version = _version(envelope)  # first: of a newer one nothing else may be expected to be known
    kind = _PAYLOADS.get(str(envelope.get("type")))
    if kind is None:
        raise PermanentError(f"nobody knows the event type {envelope.get('type')!r}", Reason.BAD_INPUT)
    not_before = envelope.get("notbefore")
    return ev.Event(
        id=cast(str, _build(str, envelope.get("id"), "id")),
        source=cast(str, _build(str, envelope.get("source"), "source")),
        subject=cast(str, _build(str, envelope.get("subject", ""), "subject")),
        time=_build_time(envelope.get("time"), "time"),
        data=cast(ev.Payload, _read(kind, _upgraded(kind.TYPE, envelope.get("data"), version), kind.__name__)),
        traceparent=cast(str, _build(str, envelope.get("traceparent", ""), "traceparent")),
        attempt=cast(int, _build(int, envelope.get("attempt", 0), "attempt")),
        not_before=None if not_before is None else _build_time(not_before, "notbefore"),
    )


def _version(envelope: Mapping[str, object]) -> int:
    try:
        return versions.version_of(envelope.get(versions.MESSAGE_ATTRIBUTE), "the message")
    except (versions.NewerSchema, ValueError) as wrong:
        raise PermanentError(str(wrong), Reason.BAD_INPUT) from None


def _upgraded(kind: str, data: object, version: int) -> object:
    return versions.upgrade(kind, data, version, versions.MESSAGES) if isinstance(data, dict) else data
