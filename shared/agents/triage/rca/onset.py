"""When and how far a series left its usual range.

In: points of a metric and the time the alert began. Out: the shift, or nothing when there is none.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise

from shared.model.diagnosis import Evidence, EvidenceKind, EvidenceStatus, Point

MIN_BASELINE = 4  # fewer points say nothing about what is usual
MIN_SCORE = 4.0  # robust deviations; below this a shift is noise
CLEAN_SHARE = 0.7  # the last part before an alert may be the trouble already: rules fire late
_HIGHER_IS_WORSE = (
    "error",
    "fail",
    "latenc",
    "duration",
    "time",
    "cpu",
    "memory",
    "queue",
    "lag",
    "5xx",
    "burn",
    "restart",
)
_LOWER_IS_WORSE = ("availab", "success", "health", "free", "ready", "remaining")
_TRAFFIC = ("request", "traffic", "throughput", "rps", "hits")
_COUNTERS = ("_total", "_count", "_sum")
_COUNTS = ("", "1", "count")


@dataclass(frozen=True, slots=True)
class Shift:
    """A lasting departure from the usual.

    Attributes:
        at: first point of it.
        score: robust deviations from the usual, half median and half maximum, >= ``MIN_SCORE``.
        usual: median of the baseline.
        now: median since ``at``.
        adverse: false for more or less traffic, which is no harm by itself.
    """

    evidence: str
    title: str
    at: datetime
    score: float
    usual: float
    now: float
    unit: str
    adverse: bool
    step: timedelta

    @property
    def rose(self) -> bool:
        """Whether it went up."""
        return self.now > self.usual


def shifts(evidence: Sequence[Evidence], alerted_at: datetime) -> tuple[Shift, ...]:
    """Every metric that shifted, strongest first, ties by title.

    Args:
        evidence: of any kind; only metrics with points count.
        alerted_at: when the first alert began, aware.
    """
    found = [
        shift
        for item in evidence
        if item.kind is EvidenceKind.METRIC and item.status is EvidenceStatus.OK
        if (shift := shift_of(item, alerted_at)) is not None
    ]
    return tuple(sorted(found, key=lambda shift: (not shift.adverse, -shift.score, shift.title, shift.evidence)))


def shift_of(item: Evidence, alerted_at: datetime) -> Shift | None:
    """The shift of one metric in the harmful direction, or ``None``.

    Source: robust shift with a scale floor; the floor keeps constant series from flooding every score.
    """
    name = item.title.lower()
    points = _rates(name, item.unit, sorted((p for p in item.points if math.isfinite(p.value)), key=lambda p: p.at))
    before = [p.value for p in points if p.at < alerted_at]
    clean = before[: max(MIN_BASELINE, int(len(before) * CLEAN_SHARE))]
    if len(clean) < MIN_BASELINE:
        return None
    traffic = _is_traffic(name)
    direction = 0 if traffic else _direction(name)
    usual, scale = _usual(clean)
    scores = [_score(p.value, usual, scale, direction) for p in points]
    start = _start(scores, len(clean))
    if start is None:
        return None
    tail = scores[start:]
    score = (_median(tail) + max(tail)) / 2
    if score < MIN_SCORE:
        return None
    step = _median([(b.at - a.at).total_seconds() for a, b in pairwise(points)])
    return Shift(
        evidence=item.id,
        title=item.title,
        at=points[start].at,
        score=score,
        usual=usual,
        now=_median([p.value for p in points[start:]]),
        unit=item.unit,
        adverse=not traffic,
        step=timedelta(seconds=step),
    )


def _start(scores: Sequence[float], first: int) -> int | None:
    """Index where the scores leave the usual for good, at least for the majority of what follows nearby."""
    for index in range(min(first, len(scores)), len(scores)):
        near = scores[index : index + 5]
        if scores[index] >= MIN_SCORE and sum(score >= MIN_SCORE for score in near) * 2 > len(near):
            return index
    return None


def _usual(values: Sequence[float]) -> tuple[float, float]:
    ordered = sorted(values)
    median = _quantile(ordered, 0.5)
    scale = max(
        (_quantile(ordered, 0.75) - _quantile(ordered, 0.25)) / 1.349,
        (_quantile(ordered, 0.99) - _quantile(ordered, 0.01)) / 4.65,
        0.02 * abs(median),
        1e-9,
    )
    return median, scale


def _score(value: float, usual: float, scale: float, direction: int) -> float:
    z = (value - usual) / scale
    return min(abs(z) if direction == 0 else max(0.0, z * direction), 1e6)


def _direction(name: str) -> int:
    words = re.findall(r"[a-z]+|5xx", name.lower())
    if any(word.startswith(_HIGHER_IS_WORSE) for word in words):
        return 1
    return -1 if any(word.startswith(_LOWER_IS_WORSE) or word == "up" for word in words) else 0


def _is_traffic(name: str) -> bool:
    return any(word in name for word in _TRAFFIC) and _direction(name) == 0


def _rates(name: str, unit: str, points: list[Point]) -> list[Point]:
    """A counter as growth per second, so that its usual growth is no shift; anything else unchanged.

    A counter is known by its name, or by whole numbers without a unit that never fall and grow more than once.
    """
    values = [p.value for p in points]
    steps = [after - before for before, after in pairwise(values)]
    if len(steps) < 2 or any(step < 0 for step in steps):
        return points
    whole = unit in _COUNTS and all(value.is_integer() for value in values) and sum(step > 0 for step in steps) >= 3
    if not whole and not name.endswith(_COUNTERS):
        return points
    rates: list[Point] = []
    for before, after in pairwise(points):
        seconds = (after.at - before.at).total_seconds()
        if seconds > 0:
            rates.append(Point(after.at, (after.value - before.value) / seconds))
    return rates


def _median(values: Sequence[float]) -> float:
    return _quantile(sorted(values), 0.5) if values else 0.0


def _quantile(ordered: Sequence[float], share: float) -> float:
    place = (len(ordered) - 1) * share
    low = math.floor(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (place - low)
