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
_NO_SINGLE_VALUE = 'settings were expected, as "name: value" lines below it'
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
_OF_SETTING = re.compile(r"(?:the )?(?P<name>\w+)(?:'s)?(?P<colon>:)? ")
_ADDRESS = "url"  # what an adapter calls "the address"
_QUOTED = re.compile(r"'([^']*)'")


def sentence(detail: ErrorDetails, model: type[BaseModel]) -> tuple[Place, str]:
    """Say one error.

    Args:
        detail: of pydantic, with its input.
        model: what was validated.

    Returns:
        The place within the validated data, and what is wrong there.
    """
    kind, context, given = detail["type"], detail.get("ctx", {}), detail.get("input")
    place, known, section = _walk(detail["loc"], model)
    if kind.startswith("union_tag"):
        return (*place, "kind"), _choice(_PLAIN.get(kind, ""), _kinds(section), str(context.get("tag", "")))
    if kind == "extra_forbidden":
        return place, f"unknown setting{suggestion(str(place[-1]), known)}"
    if kind in ("enum", "literal_error"):
        return place, _choice("", _QUOTED.findall(str(context["expected"])) or [str(context["expected"])], str(given))
    if given is None and kind != "missing":
        wanted = _PLAIN.get(kind, "a value was expected")
        return place, f"nothing stands here; {wanted}"
    if kind == "string_type" and isinstance(given, bool | int | float):
        return place, f"{_PLAIN[kind]}; put it in quotes"
    if kind in _BOUNDS:
        return place, _BOUNDS[kind].format_map(context)
    if kind == "value_error":
        return _of_setting(place, section, str(context.get("error", "")))
    text = _PLAIN.get(kind, "")
    return place, text or detail["msg"][:1].lower() + detail["msg"][1:]


def _choice(before: str, choices: list[str], given: str) -> str:
    wanted = f"one of {', '.join(choices)} was expected" if len(choices) > 1 else f"{choices[0]} was expected"
    close = difflib.get_close_matches(given.lower(), choices, n=1, cutoff=0.8)
    text = f"{before}; {wanted}" if before else wanted
    return f'{text}; did you mean "{close[0]}"?' if close else text


def _of_setting(place: Place, section: Any, text: str) -> tuple[Place, str]:
    """A complaint of a whole section, at the one setting it begins with: the line people have to change."""
    found = _OF_SETTING.match(text)
    if found is None or not (isinstance(section, type) and issubclass(section, BaseModel)):
        return place, text
    name = _ADDRESS if found["name"] == "address" else found["name"]
    if name not in section.model_fields:
        return place, text
    plain = text.startswith("the ")
    return (*place, name), text if plain else text[found.end() :]


def suggestion(given: str, known: Iterable[str]) -> str:
    """The end of a sentence about a name nobody knows: the closest known one, or all of them.

    The name itself is not repeated: a secret may have slipped into the wrong place.
    """
    names = sorted(known)
    close = difflib.get_close_matches(given, names, n=1)
    if close:
        return f'; did you mean "{close[0]}"?'
    return f"; known here: {', '.join(names)}" if names else "; none is known here"


def _walk(loc: Place, model: type[BaseModel]) -> tuple[Place, list[str], Any]:
    """The place in the file that pydantic means, the settings known around it, and what was expected at it.

    Pydantic's own place also names the member of a union and says ``[key]``; the file has neither.
    """
    place: list[str | int] = []
    section: Any = model
    known: list[str] = sorted(model.model_fields)
    for part in loc:
        if part == "[key]":
            continue
        tagged = _tagged(section, str(part))
        if tagged is not None:
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
    return tuple(place), known, section


def _tagged(annotation: Any, tag: str) -> type[BaseModel] | None:
    """The member of a tagged union whose ``kind`` is this tag."""
    return next((member for member in _members(annotation) if tag in _kind_of(member)), None)


def _kinds(annotation: Any) -> list[str]:
    """Every ``kind`` of a tagged union."""
    return [kind for member in _members(annotation) for kind in _kind_of(member)]


def _members(annotation: Any) -> list[type[BaseModel]]:
    arguments = getattr(annotation, "__args__", ())
    return [member for member in arguments if isinstance(member, type) and issubclass(member, BaseModel)]


def _kind_of(member: type[BaseModel]) -> tuple[str, ...]:
    kind = member.model_fields.get("kind")
    return () if kind is None else tuple(getattr(kind.annotation, "__args__", ()))


def _values(annotation: Any) -> Any:
    """The type of a mapping's or list's values."""
    arguments: tuple[Any, ...] = getattr(annotation, "__args__", ())
    return arguments[-1] if getattr(annotation, "__origin__", None) is dict else next(iter(arguments), None)


def _bare(annotation: Any) -> Any:
    """A type without its ``Annotated``."""
    return annotation.__origin__ if hasattr(annotation, "__metadata__") else annotation
