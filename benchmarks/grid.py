"""Plain tables for a terminal and for a page, the same characters in both.

In: rows of cells. Out: aligned text; figures stand on the right.
"""

from __future__ import annotations

from collections.abc import Sequence

Cell = str | int | float


def grid(header: Sequence[str], rows: Sequence[Sequence[Cell]], rule_before_last: bool = False) -> str:
    """Rows under a header; the first column stands on the left, and so does every other one that holds words.

    Args:
        rule_before_last: draw a line above the last row, as over a sum.
    """
    cells = [[_shown(cell) for cell in row] for row in rows]
    widths = [max(len(line[i]) for line in (list(header), *cells)) for i in range(len(header))]
    words = [i == 0 or any(isinstance(row[i], str) and row[i] != "" for row in rows) for i in range(len(header))]

    def line(row: Sequence[str]) -> str:
        pairs = zip(row, widths, words, strict=True)
        return "  ".join(cell.ljust(width) if left else cell.rjust(width) for cell, width, left in pairs).rstrip()

    rule = "  ".join("-" * width for width in widths)
    body = [line(row) for row in cells]
    if rule_before_last and body:
        body.insert(-1, rule)
    return "\n".join([line(list(header)), rule, *body])


def _shown(cell: Cell) -> str:
    if isinstance(cell, float):
        return f"{cell:.4f}"
    return f"{cell:,}" if isinstance(cell, int) else cell
