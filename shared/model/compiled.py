"""Readers and writers of model values, made once per class.

In: dataclasses of `shared.model`. Out: functions for `codec`: quick where a value is as it should be. A reader that
meets anything else raises `Unusual`, and `codec` reads again the slow way, which knows what to say.
"""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Callable, Mapping
from datetime import datetime
from enum import Enum
from functools import lru_cache
from typing import Any, Union, get_args, get_origin

Read = Callable[[Any], Any]
Write = Callable[[Any], Any]


class Unusual(Exception):
    """Not what the quick way knows; it may still be right."""


def _as_is(data: Any) -> Any:
    return data


def _of(*kinds: type) -> Read:
    def read(data: Any) -> Any:
        if type(data) in kinds:
            return data
        raise Unusual

    return read


def _number(data: Any) -> float:
    kind = type(data)
    if kind is float:
        return data  # type: ignore[no-any-return]
    if kind is int:
        return float(data)
    raise Unusual


def _time(data: Any) -> datetime:
    if type(data) is not str:
        raise Unusual
    try:
        moment = datetime.fromisoformat(data)
    except ValueError:
        raise Unusual from None
    if moment.tzinfo is None:
        raise Unusual
    return moment


_PLAIN: Mapping[Any, Read] = {
    str: _of(str),
    int: _of(int),
    bool: _of(bool),
    float: _number,
    datetime: _time,
    object: _as_is,
}


@lru_cache(maxsize=512)
def reader(kind: Any) -> Read:
    """What turns JSON data into a value of this kind.

    Raises:
        Unusual: by the returned function, for whatever it does not know.
    """
    if kind in _PLAIN:
        return _PLAIN[kind]
    origin = get_origin(kind)
    if origin in (Union, types.UnionType):
        return _optional(kind)
    if origin is tuple:
        return _tuple(reader(get_args(kind)[0]))
    if origin is not None and issubclass(origin, Mapping):
        return _mapping(reader(get_args(kind)[1]))
    if dataclasses.is_dataclass(kind):
        return _dataclass(kind)
    if isinstance(kind, type) and issubclass(kind, Enum):
        return _enum(kind)
    return _never


def _never(data: Any) -> Any:
    raise Unusual


def _optional(kind: Any) -> Read:
    options = [option for option in get_args(kind) if option is not type(None)]
    if len(options) != 1 or len(options) == len(get_args(kind)):
        return _never
    inner = reader(options[0])
    return lambda data: None if data is None else inner(data)


def _tuple(item: Read) -> Read:
    def read(data: Any) -> Any:
        if type(data) is not list:
            raise Unusual
        return tuple([item(entry) for entry in data])

    return read


def _mapping(item: Read) -> Read:
    def read(data: Any) -> Any:
        if type(data) is not dict:
            raise Unusual
        return {name: item(entry) for name, entry in data.items()}

    return read


def _enum(kind: type[Enum]) -> Read:
    members = {member.value: member for member in kind}

    def read(data: Any) -> Any:
        if type(data) is str and data in members:
            return members[data]
        raise Unusual

    return read


def _dataclass(kind: Any) -> Read:
    # Made at the first use: a class may hold itself.
    fields: list[tuple[str, Read, bool]] = []

    def read(data: Any) -> Any:
        if type(data) is not dict:
            raise Unusual
        if not fields:
            fields.extend(_fields_of(kind))
        values = {}
        for name, inner, required in fields:
            if name in data:
                values[name] = inner(data[name])
            elif required:
                raise Unusual
        if len(values) != len(data):
            raise Unusual
        return kind(**values)

    return read


def _fields_of(kind: Any) -> list[tuple[str, Read, bool]]:
    hints = typing.get_type_hints(kind)
    missing = dataclasses.MISSING
    return [
        (field.name, reader(hints[field.name]), field.default is missing and field.default_factory is missing)
        for field in dataclasses.fields(kind)
    ]


_SAME = frozenset({str, int, float, bool, type(None)})


def write(value: Any) -> Any:
    """Turn a model value into what ``json.dumps`` takes.

    Raises:
        TypeError: it is no model value, or a naive datetime.
    """
    kind = type(value)
    if kind in _SAME:
        return value
    return _writers(kind)(value)


def _writers(kind: type) -> Write:
    known = _WRITERS.get(kind)
    if known is None:
        known = _WRITERS[kind] = _writer(kind)
    return known


_WRITERS: dict[type, Write] = {}


def _writer(kind: type) -> Write:
    if issubclass(kind, Enum):
        return lambda value: value.value
    if issubclass(kind, str | int | float):
        return _as_is
    if issubclass(kind, datetime):
        return _moment
    if dataclasses.is_dataclass(kind):
        return _writes_dataclass(tuple(field.name for field in dataclasses.fields(kind)))
    if issubclass(kind, Mapping):
        return lambda value: {str(name): write(entry) for name, entry in value.items()}
    if issubclass(kind, list | tuple):
        return lambda value: [write(entry) for entry in value]
    raise TypeError(f"{kind.__name__} is no model value")


def _moment(value: datetime) -> str:
    if value.tzinfo is None:
        raise TypeError("a datetime without a zone cannot be sent")
    return value.isoformat()


def _writes_dataclass(names: tuple[str, ...]) -> Write:
    def dump(value: Any) -> Any:
        data = {}
        for name in names:
            entry = getattr(value, name)
            kind = type(entry)
            data[name] = entry if kind in _SAME else _writers(kind)(entry)
        return data

    return dump
