"""The message ids a queue has seen within its window.

In: ids, their sequence numbers and ``now_ms``. Out: the number of an earlier message, and ``Journal`` writes.
"""

import heapq
from collections.abc import Sequence

from local.servicebus.entry import Journal, QueuePolicy


class Duplicates:
    """Duplicate detection of one queue; with no window it remembers nothing."""

    def __init__(self, policy: QueuePolicy, journal: Journal) -> None:
        self._queue = policy.name
        self._window_ms = policy.dedup_window_ms
        self._journal = journal
        self._ids: dict[bytes, tuple[int, int]] = {}
        self._order: list[tuple[int, bytes]] = []

    def restore(self, ids: Sequence[tuple[bytes, int, int]]) -> None:
        """Take back what was kept: message id, its sequence number, and until when it is remembered."""
        for key, seq, until_ms in ids:
            self._ids[key] = (seq, until_ms)
            heapq.heappush(self._order, (until_ms, key))

    def seen(self, key: bytes | None) -> int | None:
        """The sequence number of the earlier message with this id, or None."""
        found = None if key is None or self._window_ms is None else self._ids.get(key)
        return None if found is None else found[0]

    def remember(self, key: bytes | None, seq: int, now_ms: int) -> None:
        """Note the id of a message that was taken."""
        if key is None or self._window_ms is None:
            return
        until_ms = now_ms + self._window_ms
        self._ids[key] = (seq, until_ms)
        heapq.heappush(self._order, (until_ms, key))
        self._journal.remember(self._queue, key, seq, until_ms)

    def forget(self, now_ms: int) -> None:
        """Drop the ids whose window is over."""
        while self._order and self._order[0][0] <= now_ms:
            until_ms, key = heapq.heappop(self._order)
            if self._ids.get(key, (0, 0))[1] == until_ms:
                del self._ids[key]
                self._journal.forget(self._queue, key)
