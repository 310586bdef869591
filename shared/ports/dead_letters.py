"""Role: hand over what the bus has given up delivering.

In: a queue. Out: its dead letters, each given back to the bus unless somebody kept it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from shared.model.pipeline import Queue


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A message in the dead-letter sub-queue of a queue.

    Attributes:
        sequence: number the bus gave it; the same on every delivery.
        message_id: as its sender chose it; empty when it chose none.
        body: as it was sent.
        whole: false when the message did not carry bytes, so ``body`` only describes what it carried.
        reason: why the bus, or a consumer, gave up; ``description`` says it in more words. Both may be empty.
        deliveries: how often it was handed to a consumer.
        enqueued_at: when the bus took it.
    """

    queue: Queue
    sequence: int
    message_id: str
    body: bytes
    whole: bool
    reason: str
    description: str
    deliveries: int
    enqueued_at: datetime


class DeadLetters(Protocol):
    """Hands over dead letters."""

    def collect(self, queue: Queue, keep: Callable[[DeadLetter], None], most: int) -> int:
        """Pass dead letters of one queue to ``keep``, and remove each for which it returns.

        What ``keep`` raises ends the call; that letter and the ones after it stay where they are. A letter may be
        passed again when it could not be removed.

        Args:
            most: letters in one call, at least 1.

        Returns:
            How many were kept.

        Raises:
            TransientError: the bus cannot be reached.
        """
        ...


class NoDeadLetters:
    """Where there is no bus to ask."""

    def collect(self, queue: Queue, keep: Callable[[DeadLetter], None], most: int) -> int:
        """See the port."""
        return 0
