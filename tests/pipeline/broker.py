"""A bus in memory with the semantics the product relies on: at least once, duplicate detection, scheduled messages.

In: sends, and a clock. Out: deliveries, in order or in an order of a seed's own, now and then twice.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from shared.model.errors import Reason, TransientError
from shared.model.pipeline import Queue
from shared.ports.bus import Message
from tests.pipeline.faults import Points

DEDUP_WINDOW = timedelta(minutes=10)  # the default of a queue with duplicate detection
LOCK = timedelta(seconds=30)
MAX_DELIVERIES = 500  # beyond this a test has a loop, not a retry


@dataclass(eq=False)
class Entry:
    """A message on a queue, and when it may be delivered."""

    queue: Queue
    message: Message
    visible_at: datetime
    deliveries: int = 0


@dataclass
class Broker:
    """Every queue.

    Attributes:
        shuffle: picks the order of delivery; ``None`` is first in, first out.
        doubled: the share of messages that come a second time after they were completed.
        kept: queues whose messages stay where they are, until a test delivers them itself.
        sent: everything that was accepted, in order, without recognised duplicates.
    """

    points: Points
    clock: list[datetime]
    shuffle: random.Random | None = None
    doubled: float = 0.0
    down: bool = False
    kept: set[Queue] = field(default_factory=set)
    entries: list[Entry] = field(default_factory=list)
    sent: list[tuple[Queue, Message]] = field(default_factory=list)
    quarantined: list[Message] = field(default_factory=list)
    _seen: dict[tuple[Queue, str], datetime] = field(default_factory=dict)

    def send(self, queue: Queue, messages: Sequence[Message]) -> None:
        if self.down:
            raise TransientError("the bus cannot be reached", Reason.UNAVAILABLE, sent=None)
        with self.points.step(f"send {queue}"):
            for message in messages:
                self.put(queue, message)

    def put(self, queue: Queue, message: Message) -> None:
        """Accept a message, unless its id was accepted within the window (rule M3)."""
        now = self.clock[0]
        seen = self._seen.get((queue, message.message_id))
        if seen is not None and now - seen < DEDUP_WINDOW:
            return
        self._seen[queue, message.message_id] = now
        self.sent.append((queue, message))
        if queue is Queue.QUARANTINE:
            self.quarantined.append(message)
            return
        self.entries.append(Entry(queue, message, max(now, message.not_before or now)))

    def take(self) -> Entry | None:
        """A message that may be delivered now; its lock runs until it is completed or given back."""
        ready = [entry for entry in self._moving() if entry.visible_at <= self.clock[0]]
        if not ready:
            return None
        entry = self.shuffle.choice(ready) if self.shuffle else ready[0]
        entry.deliveries += 1
        assert entry.deliveries < MAX_DELIVERIES, f"{entry.message.message_id} on {entry.queue} never ends"
        entry.visible_at = self.clock[0] + LOCK
        return entry

    def complete(self, entry: Entry) -> None:
        self.entries.remove(entry)
        if self.shuffle and self.shuffle.random() < self.doubled:
            again = self.clock[0] + timedelta(seconds=self.shuffle.randint(0, 90))
            self.entries.append(Entry(entry.queue, entry.message, again))

    def abandon(self, entry: Entry) -> None:
        entry.visible_at = self.clock[0] + timedelta(seconds=1)

    def next_at(self) -> datetime | None:
        """When the next message may be delivered."""
        return min((entry.visible_at for entry in self._moving()), default=None)

    def _moving(self) -> list[Entry]:
        return [entry for entry in self.entries if entry.queue not in self.kept]
