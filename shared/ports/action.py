"""Role: change one thing in a workload, once.

In: a request whose key the far side sees. Out: what happened, never a guess.

Contract: ``run`` sends its mutation exactly once and never retries. A ``TransientError(sent=False)`` means certainly
not done; ``sent=None`` means nobody knows, and ``settle`` will be asked before anything else happens (rule D4).
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Protocol

from shared.model.action import ActionRequest


class Settled(StrEnum):
    """What reading the state told about an earlier attempt."""

    DONE = "done"
    NOT_DONE = "not_done"
    UNKNOWN = "unknown"


class Action(Protocol):
    """Changes one thing."""

    def facts(self, target: str) -> Mapping[str, str]:
        """Live facts of the target, as preconditions and as proof afterwards; empty when there is nothing to read."""
        ...

    def allowed(self, request: ActionRequest) -> str:
        """Why this request is outside what the configuration allows; empty when it is allowed."""
        ...

    def run(self, request: ActionRequest) -> str:
        """Do it, and say what the far side answered."""
        ...

    def settle(self, request: ActionRequest) -> Settled:
        """Find out whether an earlier attempt with ``request.key`` happened."""
        ...
