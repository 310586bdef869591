"""Text for a terminal: aligned columns, ages, colours only where somebody looks.

In: words. Out: lines; whatever came from outside cannot move the cursor.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TextIO

from shared.portal.words import span, visible

_CODES = {"red": "31", "yellow": "33", "green": "32", "blue": "34", "bold": "1", "dim": "2"}
_BY_WORD = {
    "sev0": "red", "sev1": "red", "sev2": "yellow", "awaiting approval": "yellow", "firing": "yellow", "open": "red",
    "closed": "green", "resolved": "green", "approved": "green", "rejected": "red", "ok": "green", "down": "red",
}  # fmt: skip


class Paper:
    """Where lines are written."""

    def __init__(self, out: TextIO | None = None, no_color: bool = False) -> None:
        self.out = out or sys.stdout
        self.colour = self.out.isatty() and not no_color
        self.width = shutil.get_terminal_size().columns if self.out.isatty() else 0

    def line(self, text: str = "", style: str = "") -> None:
        """One line."""
        print(self.paint(clean(text), style), file=self.out)

    def paint(self, text: str, style: str) -> str:
        """The text in a colour, if anybody sees colours."""
        return f"\x1b[{_CODES[style]}m{text}\x1b[0m" if self.colour and style else text

    def table(self, head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """Columns as wide as their widest cell; the last one is cut at the edge of a terminal."""
        cells = [[clean(cell) for cell in row] for row in rows]
        widths = [max(len(row[i]) for row in [list(head), *cells]) for i in range(len(head) - 1)]
        room = max(self.width - sum(widths) - 2 * len(widths), 20) if self.width else 0
        self._row(head, widths, 0, "dim")
        for row in cells:
            self._row(row, widths, room, "")

    def facts(self, pairs: Sequence[tuple[str, str]]) -> None:
        """Names and values, one pair a line; empty values are left out."""
        width = max((len(name) for name, value in pairs if value), default=0)
        for name, value in pairs:
            if value:
                print(f"{self.paint(name.ljust(width), 'dim')}  {clean(value)}", file=self.out)

    def _row(self, row: Sequence[str], widths: Sequence[int], room: int, style: str) -> None:
        *firsts, last = row
        last = last[: room - 1] + "…" if room and len(last) > room else last
        padded = [(text.ljust(width), text) for text, width in zip(firsts, widths, strict=True)]
        parts = [self.paint(wide, style or _BY_WORD.get(text, "")) for wide, text in padded]
        print("  ".join([*parts, self.paint(last, style or _BY_WORD.get(last, ""))]).rstrip(), file=self.out)


def clean(text: str) -> str:
    """One line in which no character moves the cursor or hides."""
    return visible(" ".join(text.split()) if any(c in text for c in "\r\n\t") else text)


def age(at: str, now: datetime | None = None) -> str:
    """How long ago an ISO time was; ``?`` for what is no time."""
    try:
        return span((now or datetime.now(UTC)) - datetime.fromisoformat(at))
    except (ValueError, TypeError):
        return "?"


def clock(at: str) -> str:
    """An ISO time in UTC to the second."""
    try:
        return datetime.fromisoformat(at).astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S")
    except (ValueError, TypeError):
        return "?"


def state(value: str) -> str:
    """A state in words."""
    return value.replace("_", " ")
