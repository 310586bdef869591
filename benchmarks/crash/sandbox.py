"""The sandbox with points around its commit: ``python -m benchmarks.crash.sandbox`` takes what the sandbox takes.

In: the sandbox's own arguments. Out: the sandbox, which can be killed before and after it made a request's effect
lasting, the answer still unsent.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime

from benchmarks.crash.points import AFTER, BEFORE, Points, of_this_process
from local.sandbox import __main__ as sandbox
from local.sandbox.store import Entry, Store


class WatchedStore(Store):
    """The sandbox's memory; a transaction that records a request passes its points."""

    points: Points
    _recorded = ""

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """See `Store`."""
        with self._lock:  # it is re-entrant; what is recorded inside belongs to this transaction
            recorded = ""
            with super().transaction():
                yield
                if self._depth == 1:
                    recorded, self._recorded = self._recorded, ""
                if recorded:
                    self.points.passed("commit", BEFORE, recorded)
            if recorded:
                self.points.passed("commit", AFTER, recorded)

    def record(self, entry: Entry, at: datetime) -> None:
        """See `Store`."""
        super().record(entry, at)
        if self._depth:
            self._recorded = f"{entry.system}.{entry.method.lower()}"


def main() -> int:
    """Run the sandbox."""
    WatchedStore.points = of_this_process("sandbox")
    vars(sandbox)["Store"] = WatchedStore
    return sandbox.main()


if __name__ == "__main__":
    sys.exit(main())
