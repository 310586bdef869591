"""The local host with a wall clock that a test sets, as a person or a time server sets a machine's.

In: a file with seconds that the clock is ahead (or behind), then the host's own arguments. Out: the host. The
monotonic clock is the machine's: setting a clock does not touch it.
"""

from __future__ import annotations

import sys
from datetime import datetime, timedelta
from pathlib import Path

from local.host import __main__ as host
from local.host.clock import Clock
from shared import wiring


class SetClock(Clock):
    """The machine's clock plus what the file says now."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def now(self) -> datetime:
        return super().now() + timedelta(seconds=float(self._file.read_text(encoding="utf-8") or 0))


if __name__ == "__main__":
    clock = SetClock(Path(sys.argv[1]))
    wiring.utc_now = clock.now  # the one clock of the product; a process has it, so no fake can be handed in
    raise SystemExit(host.main(sys.argv[2:], clock))
