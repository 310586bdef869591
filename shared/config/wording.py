"""What pydantic found wrong, in the words of the person who wrote the file.

In: one of pydantic's error details. Out: where it is in the file, and a sentence that never repeats a value.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import BaseModel
from pydantic_core import ErrorDetails

Place = tuple[str | int, ...]
_NO_SINGLE_VALUE = 'settings were expected here, as "name: value" lines below it'
_PLAIN: Mapping[str, str] = {
    "missing": "this setting is missing",
    "union_tag_not_found": "this setting is missing",
    "string_type": "a text was expected",
    "bool_type": "true or false was expected",
    "bool_parsing": "true or false was expected",
    "int_type": "a whole number was expected",
    "int_parsing": "a whole number was expected",
    "int_parsing_size": "a whole number was expected",
    "int_from_float": "a whole number was expected",
    "float_type": "a number was expected",
    "float_parsing": "a number was expected",
    "finite_number": "a finite number was expected",
    "list_type": "a list was expected",
    "tuple_type": "a list was expected",
    "dict_type": _NO_SINGLE_VALUE,
    "model_type": _NO_SINGLE_VALUE,
    "model_attributes_type": _NO_SINGLE_VALUE,
}
_BOUNDS: Mapping[str, str] = {
    "greater_than": "must be more than {gt:g}",
    "greater_than_equal": "must be at least {ge:g}",
    "less_than": "must be less than {lt:g}",
    "less_than_equal": "must be at most {le:g}",
    "string_too_short": "must have at least {min_length} character(s)",
    "string_too_long": "must have at most {max_length} characters",
    "too_short": "must have at least {min_length} entries",
    "too_long": "must have at most {max_length} entries",
    "string_pattern_mismatch": "must match {pattern}",
}
_CHOICES = ("enum", "literal_error", "union_tag_invalid", "union_tag_not_found")
_QUOTED = re.compile(r"'([^']*)'")


def sentence(detail: ErrorDetails, model: type[BaseModel], data: object) -> tuple[Place, str]:
    """Say one error.

    Args:
        detail: of pydantic, with its input.
        model: what ``data`` was validated against.

    Returns:
        The place within ``data`` and what is wrong there.
    """
    kind, context, given = detail["type"], detail.get("ctx", {}), detail.get("input")
    place, known = _walk(detail["loc"], model, data)
    if kind.startswith("union_tag"):
        place = (*place, str(context.get("discriminator", "")).strip("'"))
        given = None if kind == "union_tag_not_found" else str(context.get("tag", ""))
    if kind == "extra_forbidden":
        return place, f"unknown setting{suggestion(str(place[-1]), known)}"
    if given is None and kind != "missing" and kind not in _CHOICES:
        wanted = _PLAIN.get(kind, "a value was expected")
        return place, f"nothing stands here; {wanted}"
    text = _PLAIN.get(kind, "")
    if kind in _CHOICES:
        choices = _QUOTED.findall(str(context.get("expected") or context.get("expected_tags") or ""))
        wanted = f"one of {', '.join(choices)} was expected" if len(choices) > 1 else f"{context.get('expected')} was expected"
        close = difflib.get_close_matches(str(given).lower(), choices, n=1)
        text = f"{text}; {wanted}" if text else wanted
        return place, f'{text}; did you mean "{close[0]}"?' if close else text
    if kind == "string_type" and isinstance(given, bool | int | float):
        return place, f"{text}; put it in quotes"
    if kind in _BOUNDS:
        return place, _BOUNDS[kind].format_map(context)
    if kind == "value_error":
        return place, str(context.get("error", "")) or "this value cannot be used"
    return place, text or detail["msg"][:1].lower() + detail["msg"][1:]


def suggestion(given: str, known: Iterable[str]) -> str:
    """The end of a sentence about a name nobody knows: the closest known one, or all of them.

    The name itself is not repeated: a secret may have slipped into the wrong place.
    """
    names = sorted(known)
    close = difflib.get_close_matches(given, names, n=1)
    if close:
        return f'; did you mean "{close[0]}"?'
    return f"; known here: {', '.join(names)}" if names else "; none is known here"


def _walk(loc: Place, model: type[BaseModel], data: object) -> tuple[Place, list[str]]:
    """The place in the file that pydantic means, and the settings known in the section around it.

    Pydantic's own place also names the member of a union and says ``[key]``; the file has neither.
    """
    place: list[str | int] = []
    section: Any = model
    known: list[str] = sorted(model.model_fields)
    for i, part in enumerate(loc):
        if part == "[key]":
            continue
        inside = isinstance(data, Mapping) and part in data
        tagged = _tagged(section, str(part))
        if tagged is not None and not inside:
            section = tagged
            known = sorted(tagged.model_fields)
            continue
        place.append(part)
        if isinstance(section, type) and issubclass(section, BaseModel):
            known = sorted(section.model_fields)
            field = section.model_fields.get(str(part))
            section = None if field is None else field.annotation
        else:
            section = _values(section)
        section = _bare(section)
        if i + 1 < len(loc):
            data = _inner(data, part)
    return tuple(place), known


def _inner(data: object, part: str | int) -> object:
    if isinstance(data, Mapping):
        return data.get(part)
    if isinstance(data, list) and isinstance(part, int) and part < len(data):
        return data[part]
    return None


def _tagged(annotation: Any, tag: str) -> type[BaseModel] | None:
    """The member of a tagged union whose ``kind`` is this tag."""
    for member in getattr(annotation, "__args__", ()):
        if isinstance(member, type) and issubclass(member, BaseModel):
            kind = member.model_fields.get("kind")
            if kind is not None and tag in getattr(kind.annotation, "__args__", ()):
                return member
    return None


def _values(annotation: Any) -> Any:
    """The type of a mapping's or list's values."""
    arguments: tuple[Any, ...] = getattr(annotation, "__args__", ())
    return arguments[-1] if getattr(annotation, "__origin__", None) is dict else next(iter(arguments), None)


def _bare(annotation: Any) -> Any:
    """A type without its ``Annotated``."""
    return annotation.__origin__ if hasattr(annotation, "__metadata__") else annotation
