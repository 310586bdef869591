"""Figures of several runs as one table: medians, spread, ratio to the peer, and the gate beside each.

In: figures by name and run. Out: text for people, JSON for scripts, and whether every gate held.
"""

from __future__ import annotations

import os
import platform
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any


@dataclass(frozen=True, slots=True)
class Figure:
    """One line.

    Attributes:
        values: one per run.
        peer: the same of the peer; empty when there is none.
        most: the gate: of the ratio when ``ratio`` is true, else of the value itself.
        exactly: the gate, when the value must be just this in every run.
    """

    name: str
    unit: str
    values: Sequence[float]
    peer: Sequence[float] = ()
    most: float | None = None
    stretch: float | None = None
    exactly: float | None = None
    ratio: bool = False

    @property
    def median(self) -> float:
        """Of the runs."""
        return statistics.median(self.values)

    @property
    def times(self) -> float | None:
        """How many times the peer's."""
        return self.median / statistics.median(self.peer) if self.peer and statistics.median(self.peer) else None

    @property
    def held(self) -> bool | None:
        """Whether the gate held; ``None`` without one, or when the peer that it needs was left out."""
        if self.exactly is not None:
            return all(value == self.exactly for value in self.values)
        if self.most is None:
            return None
        if self.ratio:
            return None if self.times is None else self.times <= self.most
        return self.median <= self.most


@dataclass
class Table:
    """What a benchmark prints; ``names`` stand over the values and over the peer's."""

    title: str
    runs: int
    figures: list[Figure] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    names: tuple[str, str] = ("ARGUS", "Alertmanager")

    @property
    def held(self) -> bool:
        """Whether every gate held."""
        return all(figure.held is not False for figure in self.figures)

    def text(self) -> str:
        """For people."""
        header = ("figure", self.names[0], "min-max", self.names[1], "ratio", "gate", "")
        lines = [header, *(self._line(figure) for figure in self.figures)]
        widths = [max(len(line[i]) for line in lines) for i in range(len(header))]
        shown = [
            "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines
        ]
        rule = "  ".join("-" * width for width in widths)
        return "\n".join([self.title, "", shown[0], rule, *shown[1:], *(["", *self.notes] if self.notes else [])])

    def _line(self, figure: Figure) -> tuple[str, ...]:
        gate = ""
        if figure.exactly is not None:
            gate = f"= {_short(figure.exactly)}"
        elif figure.most is not None:
            gate = f"<= {_short(figure.most)}" + (" x" if figure.ratio else "")
            gate += f" (stretch {_short(figure.stretch)})" if figure.stretch is not None else ""
        verdict = {None: "", True: "held", False: "MISSED"}[figure.held]
        spread = f"{_short(min(figure.values))}-{_short(max(figure.values))}" if len(figure.values) > 1 else ""
        return (
            f"{figure.name} [{figure.unit}]" if figure.unit else figure.name,
            _short(figure.median),
            spread,
            _short(statistics.median(figure.peer)) if figure.peer else "",
            f"{figure.times:.2f} x" if figure.times is not None else "",
            gate,
            verdict,
        )

    def data(self) -> dict[str, Any]:
        """For scripts."""
        return {
            "title": self.title,
            "runs": self.runs,
            "held": self.held,
            "figures": [
                {
                    "name": figure.name,
                    "unit": figure.unit,
                    "median": figure.median,
                    "values": list(figure.values),
                    "peer": list(figure.peer),
                    "ratio": figure.times,
                    "most": figure.most,
                    "held": figure.held,
                }
                for figure in self.figures
            ],
        }


def machine() -> str:
    """The machine and the moment, for under a table."""
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    now = datetime.now(UTC)
    return f"{os.cpu_count()} cores, Python {platform.python_version()}, {now:%Y-%m-%d %H:%M} UTC, load {load}"


def _short(value: float | None) -> str:
    if value is None:
        return ""
    if value == int(value) and abs(value) < 1e9:
        return f"{int(value):,}"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
