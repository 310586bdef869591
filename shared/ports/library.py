"""Role: hold the runbooks people wrote.

In: nothing. Out: every valid runbook; an invalid one is left out and reported, never an exception.
"""

from __future__ import annotations

from typing import Protocol

from shared.model.runbook import Runbook


class Library(Protocol):
    """Holds runbooks."""

    def runbooks(self) -> tuple[Runbook, ...]:
        """Every valid runbook, in order of id; each id once."""
        ...
