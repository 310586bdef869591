"""A series of measurements as the geometry of a small chart.

In: points of a metric and the onset. Out: SVG coordinates in a fixed viewBox; the template draws them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from shared.model.diagnosis import Point

WIDTH, HEIGHT = 600, 120
PAD = 6  # so that the line's own width is never cut off at the edge
MAX_DRAWN = 240  # more points than this cannot be told apart at this width


@dataclass(frozen=True, slots=True)
class Chart:
    """One drawn series.

    Attributes:
        line: ``points`` of an SVG polyline.
        area: ``points`` of the polygon below it.
        onset_x: where the trouble began; ``None`` when that is outside the series.
        low: smallest value shown.
        high: largest value shown.
    """

    line: str
    area: str
    onset_x: float | None
    last_x: float
    last_y: float
    low: float
    high: float
    first: float
    last: float
    start: datetime
    end: datetime
    width: int = WIDTH
    height: int = HEIGHT


def chart(points: Sequence[Point], onset: datetime | None = None) -> Chart | None:
    """Draw a series.

    Args:
        points: oldest first; values that are not finite are left out.
        onset: a moment to mark.

    Returns:
        ``None`` when fewer than two values remain.
    """
    drawn = _thinned([point for point in points if math.isfinite(point.value)])
    if len(drawn) < 2:
        return None
    start, end = drawn[0].at, drawn[-1].at
    low, high = min(point.value for point in drawn), max(point.value for point in drawn)
    length = (end - start).total_seconds() or 1.0
    height = (high - low) or 1.0

    def x(at: datetime) -> float:
        return round(PAD + (WIDTH - 2 * PAD) * (at - start).total_seconds() / length, 1)

    def y(value: float) -> float:
        share = (value - low) / height if high > low else 0.5
        return round(HEIGHT - PAD - (HEIGHT - 2 * PAD) * share, 1)

    line = " ".join(f"{x(point.at)},{y(point.value)}" for point in drawn)
    base = HEIGHT - 1
    return Chart(
        line=line,
        area=f"{x(start)},{base} {line} {x(end)},{base}",
        onset_x=x(onset) if onset is not None and start <= onset <= end else None,
        last_x=x(end),
        last_y=y(drawn[-1].value),
        low=low,
        high=high,
        first=drawn[0].value,
        last=drawn[-1].value,
        start=start,
        end=end,
    )


def _thinned(points: list[Point]) -> list[Point]:
    """At most ``MAX_DRAWN`` points; of each stretch the one furthest from the stretch before, so that peaks stay."""
    if len(points) <= MAX_DRAWN:
        return points
    size = math.ceil(len(points) / MAX_DRAWN)
    kept = [points[0]]
    for i in range(1, len(points) - 1, size):
        stretch = points[i : min(i + size, len(points) - 1)]
        kept.append(max(stretch, key=lambda point: abs(point.value - kept[-1].value)))
    return [*kept, points[-1]]
