"""How timers and parts did lately, counted in the process and written when it matters.

In: every run that worked or failed. Out: beats to write; a part that works costs nothing, a timer one row now and then.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from shared.records.heartbeats import MAX_WHY_CHARS, Beat, Raised

WRITE_EVERY = timedelta(seconds=10)  # a timer that runs every second need not write every second


@dataclass
class Pulse:
    """Memory of one process, shared by its threads.

    Attributes:
        started_at: when this process first looked; what has never run is late from then on.
        streaks: failures in a row of what the watch itself tries, by part, and since when.
        unsaved: problems that were told while the store could not keep that.
        reminded: approvals people were reminded of.
        undone: what the run of a timer says it left, by the timer's name, until it ends.
    """

    started_at: datetime | None = None
    streaks: dict[str, tuple[int, datetime, str]] = field(default_factory=dict)
    unsaved: dict[str, Raised] = field(default_factory=dict)
    reminded: set[str] = field(default_factory=set)
    undone: dict[str, str] = field(default_factory=dict)
    _beats: dict[str, Beat] = field(default_factory=dict)
    _written: dict[str, datetime] = field(default_factory=dict)
    _done: dict[str, datetime] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def known(self, name: str) -> bool:
        """Whether this process has counted anything of it."""
        with self._lock:
            return name in self._beats

    def remember(self, beat: Beat) -> None:
        """Go on from what an earlier process wrote."""
        with self._lock:
            self._beats.setdefault(beat.name, beat)

    def worked(self, name: str, now: datetime) -> Beat | None:
        """Count a success.

        Returns:
            The beat to write: at the first success, after a failure, and then every few seconds.
        """
        with self._lock:
            before = self._beats.get(name, Beat(name))
            beat = replace(before, ok_at=now, failures=0, since=None, why="")
            self._beats[name] = beat
            at = self._written.get(name)
            return beat if before.failures or at is None or now - at >= WRITE_EVERY else None

    def failed(self, name: str, why: str, now: datetime) -> Beat:
        """Count a failure; it is always worth writing."""
        with self._lock:
            before = self._beats.get(name, Beat(name))
            since = before.since if before.failures and before.since else now
            beat = replace(before, failed_at=now, failures=before.failures + 1, since=since, why=why[:MAX_WHY_CHARS])
            self._beats[name] = beat
            return beat

    def failing(self, name: str) -> bool:
        """Whether the last thing this process saw of it was a failure."""
        with self._lock:
            beat = self._beats.get(name)
            return beat is not None and beat.failures > 0

    def due(self, what: str, every: timedelta, now: datetime) -> bool:
        """Whether something that this process does now and then was not done for so long."""
        with self._lock:
            at = self._done.get(what)
            return at is None or not timedelta(0) <= now - at < every

    def did(self, what: str, now: datetime) -> None:
        """It was done."""
        with self._lock:
            self._done[what] = now

    def written(self, beat: Beat, now: datetime) -> None:
        """The store has it."""
        with self._lock:
            self._written[beat.name] = now

    def try_again(self, part: str, why: str, now: datetime) -> tuple[int, datetime, str]:
        """Count what the watch tried itself.

        Args:
            why: empty when it worked.

        Returns:
            Failures in a row, since when, and why the last one.
        """
        if not why:
            self.streaks.pop(part, None)
            return 0, now, ""
        count, since, _ = self.streaks.get(part, (0, now, ""))
        self.streaks[part] = (count + 1, since, why[:MAX_WHY_CHARS])
        return self.streaks[part]
