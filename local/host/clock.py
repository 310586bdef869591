"""The host's clocks: the wall clock, which people and machines set, and one that only goes on.

In: nothing. Out: aware moments, seconds that never run backwards, and how long a timer still has to wait.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime

STEP_S = 2.0  # a wall clock further behind than this was set back; less is drift, and the wall clock is waited for


class Clock:
    """The machine's clocks; tests put their own in its place."""

    def now(self) -> datetime:
        """The wall clock, aware, UTC."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Seconds since some moment; not touched by setting the clock."""
        return time.monotonic()


class Alarm:
    """Waits for a moment of a wall clock that may be set meanwhile.

    It is over when the wall clock says so, and also when the time it was to take has passed while the wall clock was
    set back: a clock that jumps back by hours must not make a wait of seconds one of hours.

    Args:
        clock: both clocks.
        due: the moment.
        within_s: how long it takes from now when nobody touches the clock; ``None`` when that is not known.
    """

    def __init__(self, clock: Clock, due: datetime, within_s: float | None) -> None:
        self._clock = clock
        self._due = due
        self._ends = None if within_s is None else clock.monotonic() + within_s

    def left_s(self) -> float:
        """Seconds to wait before looking again; 0 when it is over."""
        by_wall = (self._due - self._clock.now()).total_seconds()
        if by_wall <= 0 or self._ends is None:
            return max(by_wall, 0.0)
        by_ticks = self._ends - self._clock.monotonic()
        if by_ticks > 0:
            return min(by_wall, by_ticks)
        return 0.0 if by_wall > STEP_S else by_wall
