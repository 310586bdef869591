"""Role: look at the bus from outside, without taking anything from it.

In: a queue's name. Out: how old its oldest message is, how many dead letters it has, and whether the bus answers.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from shared.model.pipeline import Queue


@dataclass(frozen=True, slots=True)
class QueueState:
    """A queue at one moment.

    Attributes:
        oldest_at: when its oldest message could first have been worked off; ``None`` when nothing waits. What is
            scheduled for later does not count.
        dead: dead letters, at most as many as were looked at.
        dead_at: when the oldest of them was sent.
    """

    queue: Queue
    oldest_at: datetime | None
    dead: int = 0
    dead_at: datetime | None = None


class QueueWatch(Protocol):
    """Looks at queues."""

    def reach(self) -> None:
        """Ask the bus for a sign of life; what is sent would arrive.

        Raises:
            TransientError: it cannot be reached, or refuses.
        """
        ...

    def look(self, queue: Queue) -> QueueState:
        """How one queue stands. Nothing is taken, and nothing stays locked.

        Raises:
            TransientError: it cannot be told.
        """
        ...


class NoQueueWatch:
    """A bus nobody can look at, such as one in memory."""

    def reach(self) -> None:
        """See the port."""

    def look(self, queue: Queue) -> QueueState:
        """See the port."""
        return QueueState(queue, None)
