"""Role: keep the heads of audit chains where they can only be added to.

In: heads. Out: all heads ever kept; a chain that ends before its anchored head was cut.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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


@dataclass(frozen=True, slots=True)
class Extent:
    """How much an anchor holds.

    Attributes:
        lines: number of lines, whole ones only.
        digest: SHA-256 over their bytes, line ends included; of an earlier state, over as many first lines.
    """

    lines: int
    digest: str


class Anchor(Protocol):
    """Keeps heads for ever."""

    def add(self, heads: Sequence[Head]) -> None:
        """Keep heads."""
        ...

    def latest(self) -> dict[str, Head]:
        """The furthest kept head of every chain."""
        ...


class Ledger(Anchor, Protocol):
    """An anchor that can be audited itself."""

    def history(self) -> Mapping[str, Sequence[Head]]:
        """Every head ever kept, by chain, in the order they were kept."""
        ...

    def extent(self, lines: int | None = None) -> Extent:
        """How much is kept.

        Args:
            lines: only the first so many; fewer when there are not as many.
        """
        ...
