"""The envelope of a message that nobody can read whole, such as one of a newer version with a field unknown here.

In: bytes. Out: whether they are one of our own messages, and what its envelope says of itself.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime

from shared.model import codec

MAX_ATTEMPT = 1_000_000_000  # far beyond what a day of retries can reach, and within 64 bits


def is_ours(body: bytes) -> bool:
    """Whether a body is one of our own messages, though perhaps one that only another version can read."""
    return bool(read(body))


def read(body: bytes) -> Mapping[str, object]:
    """The envelope of one of our own messages; empty for anything else."""
    try:
        envelope = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    if not isinstance(envelope, dict) or envelope.get("specversion") != codec.SPEC_VERSION:
        return {}
    names = [envelope.get(name) for name in ("id", "type")]
    ours = all(isinstance(name, str) and 0 < len(name) <= 200 for name in names)
    return envelope if ours and str(envelope["type"]).startswith("argus.") else {}


def attempt(envelope: Mapping[str, object]) -> int:
    """The attempt a message says of itself."""
    said = envelope.get("attempt", 0)
    return said if isinstance(said, int) and not isinstance(said, bool) and 0 <= said < MAX_ATTEMPT else 0


def time(envelope: Mapping[str, object]) -> datetime | None:
    """The time a message says of itself, which is the same on every attempt."""
    try:
        at = datetime.fromisoformat(str(envelope.get("time", "")))
    except ValueError:
        return None
    return at if at.tzinfo and at.year > 1 else None
