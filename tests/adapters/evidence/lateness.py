"""The end of an investigation's time-out, told by who has answered instead of by a clock.

In: how many sources are late. Out: a stand-in for `concurrent.futures.wait` as the investigator calls it.
"""

from __future__ import annotations

from collections.abc import Collection
from concurrent.futures import FIRST_COMPLETED, Future, wait

PATIENCE_S = 20.0


class Patience:
    """Waits until all but the late ones have answered: where a quick machine is when the time-out ends.

    Attributes:
        late: sources that are not waited for.
        waited_s: the time-outs it was called with.
    """

    def __init__(self, late: int) -> None:
        self.late = late
        self.waited_s: list[float] = []

    def __call__(self, asked: Collection[Future[object]], timeout: float) -> None:
        self.waited_s.append(timeout)
        left = set(asked)
        while len(left) > self.late:
            done, left = wait(left, PATIENCE_S, FIRST_COMPLETED)
            assert done, f"{len(left)} sources did not answer"
