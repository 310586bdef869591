"""Foreign JSON, read without trusting any of it.

In: whatever a monitoring system sent, of any type. Out: text, numbers and times that fit the model, or nothing.
"""

from __future__ import annotations

import html
import json
import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta, timezone
from functools import lru_cache
from typing import Any

MAX_TITLE_CHARS = 200
MAX_DESCRIPTION_CHARS = 4000
MAX_LINK_CHARS = 4000
MAX_LABELS = 64
MAX_LABEL_CHARS = 300
MAX_DEPTH = 12  # no known body nests deeper than 9
MAX_AHEAD = timedelta(minutes=10)  # clocks differ by less; more is a wrong zone, or no time at all
HIDDEN = "[redacted]"

# The plainest of what `shared.records.redaction` takes out of raw bodies.
_SECRET_NAME = re.compile(r"(password|passwd|secret|token|api[_-]?key|authorization|sig)$", re.IGNORECASE)
_SECRET_QUERY = re.compile(r"([?&](?:sig|code|token|key|secret)=)[^&\"\s]+", re.IGNORECASE)
_WRAPS = frozenset('{["' + " \t\r\n\x0b\x0c")  # a text that begins with one of these may hold JSON
_SURROGATES = re.compile("[\ud800-\udfff]")
_CONTROLS = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
_TAG = re.compile(r"<[^<>]{0,2000}>")
_CLOCK = r"(\d{1,2}):(\d{2})(?::(\d{2})(?:[.,](\d{1,12}))?)?"
_ZONE = r"\s*(Z|UTC|GMT|[+-]\d{2}:?\d{2})?"
_ISO = re.compile(rf"(\d{{4}})-(\d{{1,2}})-(\d{{1,2}})(?:[T ]{_CLOCK})?{_ZONE}", re.IGNORECASE | re.ASCII)
_US = re.compile(rf"(\d{{1,2}})/(\d{{1,2}})/(\d{{4}})(?:,? {_CLOCK}(?:\s*([AP]M))?)?{_ZONE}", re.IGNORECASE | re.ASCII)
# What `datetime.fromisoformat` reads the same way, and quicker.
_USUAL = re.compile(r"\d{4}-\d\d-\d\dT(?:[01]\d|2[0-3]):\d\d:\d\d(?:\.\d{1,12})?(?:Z|[+-]\d\d:\d\d)?", re.ASCII)
MAX_TIME_CHARS = 100
_MILLISECONDS_FROM = 1e11  # as seconds this is the year 5138; as milliseconds it is 1973


def text(value: object, most: int = MAX_LABEL_CHARS) -> str:
    """Clean text of a plain value; empty for null, lists and objects.

    Args:
        value: any JSON value.
        most: longest result in characters; what is cut off leaves an ellipsis.
    """
    if not isinstance(value, str):
        return _plain_text(value)
    if not value.isprintable():  # most are, and that is quick to see
        if _SURROGATES.search(value):  # half characters would break every encoder further on
            value = value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        value = _CONTROLS.sub("", value)
    value = value.strip()
    return value if len(value) <= most else value[: most - 1].rstrip() + "…"


def _plain_text(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value) if value.bit_length() <= 128 else ""
    if isinstance(value, float):
        return f"{value:g}" if math.isfinite(value) else ""
    return ""


def plain(value: object, most: int = MAX_DESCRIPTION_CHARS) -> str:
    """Text without HTML and without secrets in addresses; tags become spaces."""
    words = _without_secrets(text(value, 4 * most))
    if "<" in words and ">" in words:
        words = " ".join(html.unescape(_TAG.sub(" ", words)).split())
    return text(words, most)


def number(value: object) -> float | None:
    """A finite number, also from text; ``None`` otherwise."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        found = float(value)
    except (ValueError, OverflowError):
        return None
    return found if math.isfinite(found) else None


def unwrapped(value: object) -> object:
    """The value itself, or the object or list that a text holds as JSON, however often it was wrapped."""
    for _ in range(3):
        if not isinstance(value, str) or value.lstrip()[:1] not in ("{", "[", '"'):
            return value
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            return value
    return value


def obj(value: object) -> Mapping[str, Any]:
    """An object, also one written as JSON inside a text; empty otherwise."""
    value = unwrapped(value)
    return value if isinstance(value, dict) else {}


def items(value: object) -> list[Any]:
    """A list, also one written as JSON inside a text; a single plain value becomes a list of it."""
    value = unwrapped(value)
    if isinstance(value, list):
        return value
    return [] if value is None or value == "" else [value]


def pick(source: Mapping[str, Any], *names: str) -> Any:
    """The first of these members that has a value, whatever the case of its name."""
    if not source:
        return None
    for name in names:
        if (value := source.get(name)) is not None and value != "":
            return value
    for key in _in_another_case(tuple(source), names) if len(source) <= MAX_LABELS else _found(tuple(source), names):
        if (value := source[key]) is not None and value != "":
            return value
    return None


def _found(keys: tuple[str, ...], names: tuple[str, ...]) -> tuple[str, ...]:
    """Members with one of these names in any case: by the order of the names, of equal ones the last first."""
    wanted = [name.lower() for name in names]
    alike = [(wanted.index(name), -place) for place, key in enumerate(keys) if (name := str(key).lower()) in wanted]
    return tuple(keys[-place] for _, place in sorted(alike))


_in_another_case = lru_cache(maxsize=4096)(_found)  # senders have few shapes, and most members asked for are not there


def moment(value: object) -> datetime | None:
    """A time in UTC.

    Args:
        value: ISO 8601 with any number of decimals, a US date such as ``3/22/2019 1:36:33 PM``, or seconds or
            milliseconds since 1970. Without a zone it is UTC.

    Returns:
        ``None`` for anything else, and for years before 1970 or after 9000, which stand for "none" and "never".
    """
    if isinstance(value, str):
        return _moment_of(value) if len(value) <= MAX_TIME_CHARS else None
    return _plausible(value)


@lru_cache(maxsize=4096)  # the same times stand in many places of a body, and are asked for more than once
def _moment_of(words: str) -> datetime | None:
    return _plausible(words)


def _plausible(value: object) -> datetime | None:
    try:
        found = _quickly(value) if isinstance(value, str) and _USUAL.fullmatch(value) else _moment(value)
    except (ValueError, OverflowError, OSError):
        return None
    return found if found and 1970 <= found.year <= 9000 else None


def _quickly(words: str) -> datetime:
    found = datetime.fromisoformat(words)
    return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)


def _moment(value: object) -> datetime | None:
    stamp = number(value)
    if stamp is not None:
        if stamp < 1e8:  # a year, a counter, a duration; no time anybody sends today
            return None
        return datetime.fromtimestamp(stamp / 1000 if stamp >= _MILLISECONDS_FROM else stamp, UTC)
    if not isinstance(value, str):
        return None
    iso = _ISO.fullmatch(value.strip())
    if iso:
        year, month, day, hour, minute, second, fraction, zone = iso.groups()
        return _assembled((year, month, day), int(hour or 0), minute, second, fraction, zone)
    us = _US.fullmatch(value.strip())
    if us:
        month, day, year, hour, minute, second, fraction, half, zone = us.groups()
        hours = int(hour or 0)
        if half:
            hours = hours % 12 + (12 if half.upper() == "PM" else 0)
        return _assembled((year, month, day), hours, minute, second, fraction, zone)
    return None


def _assembled(
    date: tuple[str, str, str],
    hour: int,
    minute: str | None,
    second: str | None,
    fraction: str | None,
    zone: str | None,
) -> datetime:
    offset = timedelta()
    if zone and zone[0] in "+-":
        offset = timedelta(hours=int(zone[1:3]), minutes=int(zone[-2:])) * (-1 if zone[0] == "-" else 1)
    micros = int(f"{fraction or '0':0<6}"[:6])
    year, month, day = (int(part) for part in date)
    local = datetime(year, month, day, hour, int(minute or 0), int(second or 0), micros, timezone(offset))
    return local.astimezone(UTC)


def not_ahead(at: datetime | None, now: datetime) -> datetime | None:
    """The time, or ``now`` when it lies so far ahead that it cannot be one.

    A state "from tomorrow" would outlive the resolve that really ended it (rule S7).
    """
    return now if at is not None and at - now > MAX_AHEAD else at


def link(*candidates: object) -> str:
    """The first candidate that is an http(s) address a person can open; empty when none is."""
    for candidate in candidates:
        address = text(candidate, MAX_LINK_CHARS + 1)
        if re.match(r"https?://[^\s/]", address, re.IGNORECASE) and len(address) <= MAX_LINK_CHARS:
            return address.replace(" ", "%20")
    return ""


def labels(*sources: Mapping[str, Any]) -> dict[str, str]:
    """Plain members of several objects as labels, secrets hidden; the first to name one wins, 64 at most."""
    found: dict[str, str] = {}
    for source in sources:
        for key, value in source.items():
            content = text(value)
            name, secret = _label(key) if len(key) <= MAX_LABEL_CHARS else _label.__wrapped__(key)
            content = HIDDEN if secret and content else _without_secrets(content)
            if name and content and name not in found and len(found) < MAX_LABELS:
                found[name] = content
    return found


@lru_cache(maxsize=4096)
def _label(key: str) -> tuple[str, bool]:
    """Name of a label, and whether it is a secret's."""
    name = text(key, 100)
    return name, _SECRET_NAME.search(name) is not None


def carries_time(body: object, names: frozenset[str], depth: int = 0) -> bool:
    """Whether one of these members, in lower case, holds a time."""
    body = unwrapped(body)
    if depth > MAX_DEPTH:
        return False
    if isinstance(body, list):
        return any(carries_time(content, names, depth + 1) for content in body)
    if not isinstance(body, dict):
        return False
    for name, content in body.items():
        if (name if name.islower() else name.lower()) in names and moment(content) is not None:
            return True
    return any(
        carries_time(content, names, depth + 1)
        for content in body.values()
        if isinstance(content, dict | list) or (isinstance(content, str) and content[:1] in _WRAPS)
    )


def raw(value: object) -> str:
    """Something as JSON text without secrets, for a person to look at."""
    try:
        shown = json.dumps(_hidden(value), ensure_ascii=False, default=str)
    except (ValueError, RecursionError):
        return ""
    return text(_without_secrets(shown), MAX_DESCRIPTION_CHARS)


def _hidden(value: object) -> object:
    if isinstance(value, dict):
        return {name: HIDDEN if _SECRET_NAME.search(str(name)) else _hidden(content) for name, content in value.items()}
    return [_hidden(one) for one in value] if isinstance(value, list) else value


def _without_secrets(words: str) -> str:
    return _SECRET_QUERY.sub(rf"\1{HIDDEN}", words) if "=" in words else words
