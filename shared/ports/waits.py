"""Role: wait for people, for days if need be.

In: approval ids, and the steps of a wait. Out: nothing; the decision is written by the wait itself (rules D1 to D3).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Look:
    """Ask the store whether it is decided."""


@dataclass(frozen=True, slots=True)
class Sleep:
    """Wait for a vote, but no longer than until ``until``; answered with a `Looked` when the vote says: decided."""

    until: datetime


@dataclass(frozen=True, slots=True)
class Enact:
    """Carry the decision into the incident."""


@dataclass(frozen=True, slots=True)
class Looked:
    """What the store said: decided or not, when to look again, and whose approval it is, if that is known."""

    decided: bool
    wake_at: datetime
    incident_id: str = ""


Step = Look | Sleep | Enact


class Waits(Protocol):
    """Starts, wakes and cancels waits. The instance id is the approval id."""

    def start(self, approval_id: str, after: timedelta = timedelta(0)) -> None:
        """Start the wait; starting one that exists is no error.

        Args:
            after: it need not look before so long has passed or a vote came, as whoever starts it has just looked.

        Raises:
            TransientError: nobody can start waits here right now; the sweep tries again.
        """
        ...

    def wake(self, approval_id: str, decided: bool = False) -> None:
        """Tell the wait to read the store; a missing or finished wait is no error.

        Args:
            decided: the hop of the vote carries the decision on, so there is nothing left to wait for.
        """
        ...

    def cancel(self, approval_id: str, reason: str) -> None:
        """End the wait; a missing or finished one is no error."""
        ...
