"""The broker with points around its commit: ``python -m benchmarks.crash.broker`` takes what the broker takes.

In: the broker's own arguments. Out: the broker, which can be killed before and after it made a change lasting.
"""

from __future__ import annotations

import sys
from pathlib import Path

from benchmarks.crash.points import AFTER, BEFORE, Points, of_this_process
from local.servicebus import __main__ as broker
from local.servicebus import server
from local.servicebus.queue import Entry
from local.servicebus.storage import Store


class WatchedStore(Store):
    """The journal of all queues; each commit passes the points of every queue it changes."""

    points: Points

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._changes: set[str] = set()

    def put(self, queue: str, entry: Entry) -> None:
        """See `Store`."""
        self._changes.add(f"put.{queue}")
        super().put(queue, entry)

    def drop(self, queue: str, seq: int) -> None:
        """See `Store`."""
        self._changes.add(f"drop.{queue}")
        super().drop(queue, seq)

    def commit(self) -> None:
        """See `Store`."""
        changes, self._changes = sorted(self._changes), set()
        for change in changes:
            self.points.passed("commit", BEFORE, change)
        super().commit()
        for change in changes:
            self.points.passed("commit", AFTER, change)


def main() -> int:
    """Run the broker."""
    WatchedStore.points = of_this_process("broker")
    vars(server)["Store"] = WatchedStore
    return broker.main()


if __name__ == "__main__":
    sys.exit(main())
