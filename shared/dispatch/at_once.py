"""Hops that are worked off in the invocation that asked for them, while it is quiet (PROTOCOL, rule H7).

In: events that a commit is about to emit. Out: those this invocation works off itself; the others go to their queues.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from shared.agents import conductor
from shared.config.schema import Settings
from shared.model.event import Event
from shared.model.incident import Incident
from shared.model.outcome import Go
from shared.model.pipeline import DESTINATION, STAGES, Queue, source_of
from shared.ports.store import Upsert
from shared.records import incidents

BUDGET = timedelta(seconds=10)  # from the beginning of the invocation; what has not begun by then goes to its queue
SLOW = timedelta(seconds=3)
REST = timedelta(minutes=1)
FRESH = timedelta(seconds=2)  # as if its hop had loaded first and been slow, like `recent`


class AtOnce:
    """How much a process works off at once; its threads share it.

    A far side that hangs holds at most ``most`` invocations, each once a minute: whatever took ``SLOW`` goes through
    its queue for a while, where it is in nobody's way.

    Args:
        most: invocations that may go on at the same time; none with 0.
    """

    def __init__(self, most: int = 0) -> None:
        self._free = most
        self._lock = threading.Lock()
        self._slow: dict[Queue, datetime] = {}

    def take(self) -> bool:
        """Take a place; False when there is none."""
        with self._lock:
            if self._free <= 0:
                return False
            self._free -= 1
            return True

    def give(self) -> None:
        """Give a place back."""
        with self._lock:
            self._free += 1

    def took(self, queue: Queue, length: timedelta, now: datetime) -> None:
        """Learn how long a hop took."""
        if length >= SLOW:
            with self._lock:
                self._slow[queue] = now + REST

    def rests(self, queue: Queue, now: datetime) -> bool:
        """Whether something of this queue was slow a moment ago."""
        with self._lock:
            return queue in self._slow and now < self._slow[queue]


@dataclass(slots=True)
class Following:
    """What one invocation goes on with.

    Attributes:
        owner: of the intents that its commits write for what it goes on with (rule H2).
        lease: how long these intents hold.
    """

    process: AtOnce
    settings: Settings
    owner: str
    began: datetime
    lease: timedelta
    waiting: deque[Event] = field(default_factory=deque)
    own: set[str] = field(default_factory=set)
    placed: bool = False
    begun: bool = False
    evidence: tuple[Upsert, ...] = ()
    left: incidents.Loaded | None = None
    left_at: datetime | None = None

    def chosen(self, events: Sequence[Event], incident: Incident, now: datetime) -> tuple[Event, ...]:
        """Those of the events that this invocation works off itself once they are committed.

        Args:
            incident: as it is after the commit.
        """
        if now - self.began > BUDGET:
            return ()
        found = tuple(event for event in events if self._may(event, incident, now))
        if found and not self.placed:
            self.placed = self.process.take()
        return found if self.placed else ()

    def _may(self, event: Event, incident: Incident, now: datetime) -> bool:
        queue = DESTINATION[type(event.data)]
        stage = STAGES[queue]
        if event.not_before is not None or self.process.rests(queue, now):
            return False
        if event.source not in map(source_of, stage.at_once_after):
            return False
        return conductor.rule(event.data, stage.chain, incident, self.settings, now).go is Go.GO

    def begins(self, queue: Queue, now: datetime) -> bool:
        """Whether this invocation may work off a message of a queue itself; once, as one incident is enough for it."""
        if self.begun or now - self.began > BUDGET or self.process.rests(queue, now):
            return False
        self.placed = self.placed or self.process.take()
        self.begun = self.placed
        return self.begun

    def add(
        self, events: Sequence[Event], left: incidents.Loaded, now: datetime, evidence: tuple[Upsert, ...] = ()
    ) -> None:
        """Take over what was chosen and is committed now.

        Args:
            left: the incident as that commit left it.
            evidence: what that commit has kept of it; a row is found by its content and never changes.
        """
        self.evidence = evidence
        self.waiting += events
        self.own.update(event.id for event in events)
        self.left, self.left_at = left, now

    def incident_of(self, event: Event, now: datetime) -> incidents.Loaded | None:
        """The incident as the last commit of this invocation left it a moment ago, for what it goes on with itself."""
        left, at = self.left, self.left_at
        if left is None or at is None or left.incident.id != event.subject or event.id not in self.own:
            return None
        return left if timedelta(0) <= now - at < FRESH and not event.attempt else None

    def owns(self, event: Event) -> bool:
        """Whether the intent of the event was written for this invocation, with the commit that asked for it."""
        return event.id in self.own and STAGES[DESTINATION[type(event.data)]].effects

    def end(self) -> None:
        """The invocation is over."""
        if self.placed:
            self.placed = False
            self.process.give()
