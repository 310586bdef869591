"""What the executor did, and what came of it.

In: an approved plan. Out: an outcome that is never guessed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum


class ActionState(StrEnum):
    """``unclear`` means nobody can tell whether it happened; a person must look (rule D4)."""

    DONE = "done"
    REFUSED = "refused"
    FAILED = "failed"
    UNCLEAR = "unclear"


@dataclass(frozen=True, slots=True)
class ActionRequest:
    """What an action adapter is asked to do.

    Attributes:
        key: the event id; the far side sees it as its idempotency key.
    """

    key: str
    action: str
    target: str
    parameters: Mapping[str, str]
    incident_id: str


@dataclass(frozen=True, slots=True)
class ActionResult:
    """How one execution ended; ``facts`` are read from the target afterwards."""

    approval_id: str
    action: str
    target: str
    state: ActionState
    at: datetime
    message: str
    facts: Mapping[str, str] = field(default_factory=dict)
