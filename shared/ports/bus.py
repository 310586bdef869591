"""Role: carry messages between micro-agents, at least once.

In: encoded events. Out: nothing; a returned call means the bus has them on disk.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from shared.model.pipeline import Queue


@dataclass(frozen=True, slots=True)
class Message:
    """One message.

    Attributes:
        message_id: the broker drops a second one with the same id (rule M3).
        body: at most 256 KB with its properties.
        not_before: scheduled delivery (rule M4).
        subject: incident id, for people who look into the queue.
        kept_for: after this the bus removes it, taken or not; ``None`` keeps it.
    """

    message_id: str
    body: bytes
    subject: str = ""
    traceparent: str = ""
    not_before: datetime | None = None
    kept_for: timedelta | None = None


class Bus(Protocol):
    """Carries messages."""

    def send(self, queue: Queue, messages: Sequence[Message]) -> None:
        """Send messages; all are accepted when this returns.

        Raises:
            TransientError: the bus cannot be reached (``sent=None`` when some may have arrived).
            PermanentError: a message is too large.
        """
        ...
