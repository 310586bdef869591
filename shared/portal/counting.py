"""How much is open, counted at most every two seconds in each process, and less often where counting is slow.

In: a store. Out: counts, and how old they may be, which is what pages say about them.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from shared.ports.store import Store
from shared.records import lists
from shared.records.lists import Counted

KEPT_S = 2.0
TIMES_LONGER = 20  # than it took: a store with very much open is not read all the time


class OpenCount:
    """Counts for every visitor of this process; one of them counts, the others take what it found."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        """Begin with nothing counted.

        Args:
            monotonic: seconds that only grow.
        """
        self._clock = monotonic
        self._lock = threading.Lock()
        self._at = float("-inf")
        self._held = Counted()
        self.kept_s = KEPT_S

    def look(self, store: Store) -> Counted:
        """What is open, as of at most ``kept_s`` ago."""
        with self._lock:
            began = self._clock()
            if began - self._at >= self.kept_s:
                self._held = lists.count_open(store)
                self._at = self._clock()
                self.kept_s = max(KEPT_S, TIMES_LONGER * (self._at - began))
            return self._held
