"""What a process knows of the storm brake: how many incidents it has opened, and the state as it read it last.

In: new incidents, a store. Out: the state, at most two seconds old; shared by the threads of the process.
"""

from __future__ import annotations

import threading
from datetime import datetime, timedelta

from shared.agents.brake import Rate
from shared.ports.store import Store
from shared.records import brake

FRESH = timedelta(seconds=2)
SHARE = 4  # so many processes may share a storm evenly, and each still sees that there is one


class BrakeState:
    """The brake as this process knows it.

    Attributes:
        rate: incidents that this process has opened.
    """

    def __init__(self) -> None:
        self.rate = Rate()
        self._lock = threading.Lock()
        self._known: brake.Brake | None = None
        self._at: datetime | None = None
        self._asked: datetime | None = None

    def suspects(self, now: datetime, most: int) -> bool:
        """Whether this process sees so much of a storm that it should count what all of them opened, now and then."""
        with self._lock:
            asked = self._asked
            if asked is not None and timedelta(0) <= now - asked < FRESH:
                return False
            if self.rate.within(now) < max(2, most // SHARE):
                return False
            self._asked = now
            return True

    def quiet(self, now: datetime, most: int) -> bool:
        """Whether this process sees neither a storm nor the beginning of one."""
        with self._lock:
            braked = self._known is not None and self._known.on
        return not braked and self.rate.within(now) < max(2, most // SHARE)

    def state(self, store: Store, now: datetime) -> brake.Brake:
        """The state; read again when it is older than ``FRESH``."""
        with self._lock:
            known, at = self._known, self._at
        if known is not None and at is not None and timedelta(0) <= now - at < FRESH:
            return known
        read = brake.read(store)
        self.learn(read, now)
        return read

    @property
    def last(self) -> brake.Brake | None:
        """The state as it was read last, whenever that was."""
        with self._lock:
            return self._known

    def learn(self, known: brake.Brake, now: datetime) -> None:
        """Take the state as somebody has just read or written it."""
        with self._lock:
            self._known, self._at = known, now
