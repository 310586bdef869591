"""Which points the processes are killed at: seeded, and every sort of point gets its share.

In: the census of the undisturbed run, a seed. Out: one point after the other, and a table of what was covered.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable, Mapping

from benchmarks.crash.points import AFTER, BEFORE, Point

Sort = tuple[str, str]
MAX_NTH = 2  # a point that is passed seldom would not be reached in time


def seeded(seed: int) -> random.Random:
    """Chance that is the same every time."""
    return random.Random(seed)  # noqa: S311 - it has to be repeated, not to be secret


class Chooser:
    """Chooses the sort that was killed least, and in it a point that was.

    Args:
        census: points of the undisturbed run, and how often each was passed.
    """

    def __init__(self, census: Mapping[Point, int], seed: int) -> None:
        self._rng = seeded(seed)
        self._points: dict[Sort, list[Point]] = {}
        for point in sorted(census):
            self._points.setdefault(point.sort, []).append(point)
        self._passes = dict(census)
        self._tried: Counter[Point] = Counter()
        self._missed: Counter[Point] = Counter()
        self.killed: Counter[Point] = Counter()

    def next(self) -> tuple[Point, int]:
        """The next point, and at which pass of it."""
        done = Counter(point.sort for point in self.killed.elements())
        fewest = min(done[sort] for sort in self._points)
        sort = self._rng.choice([sort for sort in self._points if done[sort] == fewest])
        points = self._points[sort]
        least = min(self._weight(point) for point in points)
        point = self._rng.choice([point for point in points if self._weight(point) == least])
        self._tried[point] += 1
        return point, self._rng.randint(1, min(self._passes[point], MAX_NTH))

    def reached(self, point: Point) -> None:
        """The process died there."""
        self.killed[point] += 1

    def missed(self, point: Point) -> None:
        """Nobody came by in time; it is tried again only when the others had their turn twice."""
        self._missed[point] += 1

    def _weight(self, point: Point) -> int:
        return self._tried[point] + 2 * self._missed[point]


def table(known: Iterable[Sort], killed: Counter[Point]) -> str:
    """Kills by sort of point; ``known`` are the sorts there are."""
    hits: Counter[Sort] = Counter()
    places: dict[str, set[str]] = {}
    for point, times in killed.items():
        hits[point.sort] += times
        places.setdefault(point.sort[0], set()).add(point.name)
    kinds = sorted({kind for kind, _ in known} | set(places))
    lines = [f"  {'point':<16}{'before':>8}{'after':>8}{'places':>8}"]
    for kind in kinds:
        lines.append(f"  {kind:<16}{hits[kind, BEFORE]:>8}{hits[kind, AFTER]:>8}{len(places.get(kind, ())):>8}")
    return "\n".join(lines)
