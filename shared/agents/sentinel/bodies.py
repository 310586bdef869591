"""JSON as senders really write it.

In: a webhook body. Out: its value, with what no strict reader takes made harmless.
"""

from __future__ import annotations

import json
import math
import re

import orjson

from shared.model.errors import PermanentError, Reason

_BOM = b"\xef\xbb\xbf"
_HALVES = re.compile("[\ud800-\udfff]")
_MAX_WHOLE_DIGITS = 18  # longer ones may not fit 64 bits; they become what the strict reader makes of them


def read(raw: bytes) -> object:
    """The value of a JSON body.

    A byte order mark is skipped, half characters (a text that was cut between two) become U+FFFD, and numbers that
    are none (``NaN``, ``1e400``) become null.

    Raises:
        PermanentError: it is not JSON all the same, not UTF-8, or nested too deeply (reason ``bad_input``).
    """
    raw = raw.removeprefix(_BOM)
    try:
        return orjson.loads(raw)
    except orjson.JSONDecodeError:
        return _tolerant(raw)


def _tolerant(raw: bytes) -> object:
    try:
        words = raw.decode()
        value = json.loads(words, parse_float=_finite, parse_int=_whole, parse_constant=_nothing)
        whole = _HALVES.sub("\ufffd", json.dumps(value, ensure_ascii=False))
    except UnicodeDecodeError as error:
        raise _bad(f"byte {error.start + 1} is not UTF-8") from None
    except json.JSONDecodeError as error:
        raise _bad(f"{error.msg} at line {error.lineno}, column {error.colno}") from None
    except RecursionError:
        raise _bad("it is nested too deeply") from None
    try:
        return orjson.loads(whole)
    except orjson.JSONDecodeError:  # what was written a moment ago can only be too deep
        raise _bad("it is nested too deeply") from None


def _nothing(_constant: str) -> None:
    return None


def _finite(number: str) -> float | None:
    found = float(number)
    return found if math.isfinite(found) else None


def _whole(number: str) -> int | float | None:
    return int(number) if len(number) <= _MAX_WHOLE_DIGITS else _finite(number)


def _bad(what: str) -> PermanentError:
    return PermanentError(f"the body is not JSON: {what}", Reason.BAD_INPUT)
