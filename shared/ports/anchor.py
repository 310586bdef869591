"""Role: keep the heads of audit chains where they can only be added to.

In: heads. Out: all heads ever kept; a chain that ends before its anchored head was cut.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Head:
    """The last entry of a chain at one time."""

    chain: str
    number: int
    hash: str
    at: datetime


class Anchor(Protocol):
    """Keeps heads for ever."""

    def add(self, heads: Sequence[Head]) -> None:
        """Keep heads."""
        ...

    def latest(self) -> dict[str, Head]:
        """The furthest kept head of every chain."""
        ...
