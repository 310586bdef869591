"""Readers and writers of model values, made once per class.

In: dataclasses of `shared.model`. Out: functions for `codec`: quick where a value is as it should be. A reader that
meets anything else raises `Unusual`, and `codec` reads again the slow way, which knows what to say.

Those of dataclasses are source text that is compiled, as the standard library makes their ``__init__``: an incident has
some five hundred values, and a call for each of them would be most of the work of reading and writing it.
"""

from __future__ import annotations

import dataclasses
import operator
import threading
import types
import typing
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from enum import Enum
from typing import Any, Union, get_args, get_origin

Read = Callable[[Any], Any]
Write = Callable[[Any], Any]


class Unusual(Exception):
    """Not what the quick way knows; it may still be right."""


def _made(name: str, lines: Iterable[str], names: Mapping[str, Any]) -> Any:
    """The function that the lines define; they hold field names of our own classes and nothing from outside."""
    space = dict(names)
    exec(compile("\n".join(lines), f"<{name}>", "exec"), space)  # noqa: S102  see the module
    return space["made"]


def _of(kind: type) -> Read:
    def read(data: Any) -> Any:
        if type(data) is kind:
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
    try:
        moment = datetime.fromisoformat(data)
    except (ValueError, TypeError):
        raise Unusual from None
    if moment.tzinfo is None:
        raise Unusual
    return moment


_PLAIN = (str, int, bool)
_READERS: dict[Any, Read] = {
    **{kind: _of(kind) for kind in _PLAIN},
    float: _number,
    datetime: _time,
}
_BEGUN: set[Any] = set()
_MAKING = threading.RLock()


def reader(kind: Any) -> Read:
    """What turns JSON data into a value of this kind.

    Raises:
        Unusual: by the returned function, for whatever it does not know.
    """
    known = _READERS.get(kind)
    if known is not None:
        return known
    with _MAKING:
        if kind in _BEGUN:  # a class may hold itself
            return lambda data: reader(kind)(data)
        if kind not in _READERS:
            _BEGUN.add(kind)
            try:
                _READERS[kind] = _reader(kind)
            finally:
                _BEGUN.discard(kind)
        return _READERS[kind]


def _reader(kind: Any) -> Read:
    origin = get_origin(kind)
    if origin in (Union, types.UnionType):
        inner = _optional(kind)
        return _never if inner is None else _or_none(reader(inner))
    if origin is tuple:
        return _tuple(reader(get_args(kind)[0]))
    if origin is not None and issubclass(origin, Mapping):
        value = get_args(kind)[1]
        return _texts if value is str else _mapping(reader(value))
    if dataclasses.is_dataclass(kind):
        return _reads_dataclass(kind)
    if isinstance(kind, type) and issubclass(kind, Enum):
        return _enum(kind)
    return _never


def _never(data: Any) -> Any:
    """A kind that is not known here, such as ``object``: what that holds differs from parser to parser."""
    raise Unusual


def _odd() -> typing.NoReturn:
    raise Unusual


def _optional(kind: Any) -> Any:
    """What a kind is when it is not ``None``; ``None`` for what is no such kind."""
    if get_origin(kind) not in (Union, types.UnionType):
        return None
    options = [option for option in get_args(kind) if option is not type(None)]
    return options[0] if len(options) == 1 and len(get_args(kind)) == 2 else None


def _or_none(inner: Read) -> Read:
    return lambda data: None if data is None else inner(data)


def _tuple(item: Read) -> Read:
    def read(data: Any) -> Any:
        if type(data) is not list:
            raise Unusual
        return tuple([item(entry) for entry in data])

    return read


def _texts(data: Any) -> Any:
    if type(data) is not dict:
        raise Unusual
    for entry in data.values():
        if type(entry) is not str:
            raise Unusual
    return data.copy()


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


def _reads_dataclass(kind: Any) -> Read:
    """Reads an object that has every field, as we write it; for one that lacks some there is `_partly`."""
    hints = typing.get_type_hints(kind)
    fields = [field.name for field in dataclasses.fields(kind)]
    names: dict[str, Any] = {"odd": _odd, "partly": _partly(kind, hints), "kind": kind, "new": object.__new__}
    lines = ["def made(data):", " data.__class__ is dict or odd()"]
    lines += [f" if len(data) != {len(fields)}: return partly(data)", " try:", "  pass"]
    lines += [f"  v{at} = data[{name!r}]" for at, name in enumerate(fields)]
    lines += [" except KeyError:", "  return partly(data)"]
    for at, name in enumerate(fields):
        inner = _optional(hints[name])
        wanted = hints[name] if inner is None else inner
        unless_none = " " if inner is None else f" if v{at} is not None: "
        if wanted in _PLAIN:
            lines.append(f"{unless_none}v{at}.__class__ is {wanted.__name__} or odd()")
        else:
            names[f"r{at}"] = reader(wanted)
            lines.append(f"{unless_none}v{at} = r{at}(v{at})")
    if _just_holds(kind):
        names |= {f"s{at}": kind.__dict__[name].__set__ for at, name in enumerate(fields)}
        lines += [" value = new(kind)", *(f" s{at}(value, v{at})" for at in range(len(fields))), " return value"]
    else:
        lines.append(f" return kind({', '.join(f'{name}=v{at}' for at, name in enumerate(fields))})")
    return typing.cast(Read, _made(f"read {kind.__name__}", lines, names))


def _just_holds(kind: Any) -> bool:
    """Whether a class with slots does nothing but keep its fields, so that they can be put there: half the price."""
    slots = kind.__dict__.get("__slots__", ())
    plain = not hasattr(kind, "__post_init__") and all(field.init for field in dataclasses.fields(kind))
    return plain and set(slots) == {field.name for field in dataclasses.fields(kind)}


def _partly(kind: Any, hints: Mapping[str, Any]) -> Read:
    missing = dataclasses.MISSING
    needed = {
        field.name: field.default is missing and field.default_factory is missing for field in dataclasses.fields(kind)
    }

    def read(data: Any) -> Any:
        if not data.keys() <= needed.keys() or any(must and name not in data for name, must in needed.items()):
            raise Unusual
        return kind(**{name: reader(hints[name])(entry) for name, entry in data.items()})

    return read


class Writer:
    """Turns model values into what a JSON library takes.

    Args:
        number: what to do with a float, which may raise `Unusual`.
        moment: what to do with a datetime.
    """

    def __init__(self, number: Write, moment: Write) -> None:
        self._number = number
        self._moment = moment
        self._known = _Known(self._made)

    def __call__(self, value: Any) -> Any:
        """The value as JSON data.

        Raises:
            TypeError: it is no model value, or a naive datetime.
            Unusual: by ``number``.
        """
        return self._known[value.__class__](value)

    def _made(self, kind: type) -> Write:
        if issubclass(kind, Enum):
            return operator.attrgetter("_value_")  # what ``value`` gives, which is a property
        if issubclass(kind, float):
            return self._number
        if issubclass(kind, str | int | types.NoneType):
            return _as_is
        if issubclass(kind, datetime):
            return self._moment
        names = {"known": self._known, "same": _SAME}
        if dataclasses.is_dataclass(kind):
            entries = [f"{field.name!r}: {_ENTRY.format(f'value.{field.name}')}" for field in dataclasses.fields(kind)]
            body = f"{{{', '.join(entries)}}}"
        elif issubclass(kind, Mapping):
            body = f"{{k if k.__class__ is str else str(k): {_ENTRY.format('e')} for k, e in value.items()}}"
        elif issubclass(kind, list | tuple):
            body = f"[{_ENTRY.format('e')} for e in value]"
        else:
            raise TypeError(f"{kind.__name__} is no model value")
        return typing.cast(Write, _made(f"write {kind.__name__}", ["def made(value):", f" return {body}"], names))


class _Known(dict[type, Write]):
    """Writers by class, each made when it is first asked for."""

    def __init__(self, made: Callable[[type], Write]) -> None:
        super().__init__()
        self._of = made

    def __missing__(self, kind: type) -> Write:
        known = self[kind] = self._of(kind)
        return known


_SAME = frozenset({str, int, bool, type(None)})
_ENTRY = "v if (v := {}).__class__ in same else known[v.__class__](v)"


def _as_is(value: Any) -> Any:
    return value


def _moment(value: datetime) -> str:
    if value.tzinfo is None:
        raise TypeError("a datetime without a zone cannot be sent")
    return value.isoformat()


def _spelt_alike(value: float) -> float:
    """A number that all write alike; those with exponents, and what JSON does not have, they write differently."""
    if 1e-4 <= (value if value > 0 else -value) < 1e16 or value == 0:
        return value
    raise Unusual


def _moment_or_text(value: datetime) -> object:
    """A time of day in UTC as it is, which every quick library writes as we do; others as text."""
    return value if value.tzinfo is UTC and value.__class__ is datetime else _moment(value)


write = Writer(_as_is, _moment)
write_plainly = Writer(_spelt_alike, _moment_or_text)
