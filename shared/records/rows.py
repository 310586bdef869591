"""Model values as row properties, and keys that every store takes.

In: dataclasses of `shared.model`. Out: properties, with the JSON cut into pieces a store accepts.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from datetime import datetime
from typing import TypeVar

import orjson

from shared.model import codec
from shared.model.errors import PermanentError, Reason
from shared.ports.store import Properties, Value

T = TypeVar("T")

PIECE_CHARS = 16_000  # a property holds 64 KiB of UTF-16; a character outside the BMP takes 4 bytes, so this is safe
MAX_PIECES = 28  # with 1 MiB an entity and up to 32 KB a piece, this leaves room for the other properties
_PIECE = re.compile(r"doc\d\d")
_FORBIDDEN = re.compile(r"[/\\#?\x00-\x1f\x7f-\x9f%+]")


def _dumps(value: object, in_order: bool) -> bytes:
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS if in_order else None)


codec.use(
    codec.Quick(orjson.loads, _dumps)
)  # here, for nobody gets at a row or a message without; the model has no SDK


def pack(value: object, **also: Value) -> dict[str, Value]:
    """Properties that hold a model value as JSON, and plain ones beside it.

    Args:
        value: a dataclass of the model.
        also: further properties, kept as they are.

    Raises:
        PermanentError: the value is larger than a row can be.
    """
    return {**pieces(codec.canonical(value), type(value).__name__), **also}


def unpack(cls: type[T], values: Properties) -> T:
    """The model value of a packed row."""
    return codec.from_text(cls, document(values))


def pieces(text: str, what: str = "a document") -> dict[str, Value]:
    """A long text in properties that a store accepts; `document` puts it together again.

    Raises:
        PermanentError: it is larger than a row can be.
    """
    cut = [text[i : i + PIECE_CHARS] for i in range(0, len(text), PIECE_CHARS)]
    if len(cut) > MAX_PIECES:
        raise PermanentError(f"{what} of {len(text)} characters fits no row", Reason.TOO_LARGE)
    return {f"doc{i:02d}": piece for i, piece in enumerate(cut)}


def document(values: Properties) -> str:
    """The text that `pieces` cut; empty when there is none."""
    return "".join(str(values[name]) for name in sorted(values) if _PIECE.fullmatch(name))


def text(values: Properties, name: str) -> str:
    """A text property; empty when absent."""
    value = values.get(name, "")
    return value if isinstance(value, str) else str(value)


def number(values: Properties, name: str) -> int:
    """An integer property; 0 when absent."""
    value = values.get(name, 0)
    return value if isinstance(value, int) else 0


def moment(values: Properties, name: str) -> datetime | None:
    """A time property; ``None`` when absent."""
    value = values.get(name)
    return value if isinstance(value, datetime) else None


def key_of(name: str) -> str:
    """A name as a row or partition key: what stores refuse is replaced, and a hash keeps different names apart.

    Args:
        name: any text.

    Returns:
        At most 200 characters, safe for every store; unchanged when it was safe and short.
    """
    safe = _FORBIDDEN.sub("_", name)
    if safe == name and 0 < len(name) <= 200:
        return name
    return f"{safe[:160]}~{hashlib.sha256(name.encode()).hexdigest()[:16]}"


def shard(name: str, shards: int = 16) -> str:
    """The shard of a name, two hex digits; the same always."""
    return f"{int(hashlib.sha256(name.encode()).hexdigest()[:8], 16) % shards:02x}"


def labels_text(labels: Mapping[str, str]) -> str:
    """Labels in one stable line."""
    return ",".join(f"{k}={labels[k]}" for k in sorted(labels))
