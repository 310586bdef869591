"""What a queue holds and what it asks of its journal.

In: nothing. Out: ``QueuePolicy``, ``Entry``, ``Lock``, and the protocol ``Journal``.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Protocol
from uuid import UUID

from local.servicebus.limits import MAX_HELD_BYTES
from local.servicebus.sections import Message

FOREVER_MS = 253_402_300_800_000  # the year 10000


class State(IntEnum):
    """Where a message stands, as ``x-opt-message-state`` has it; whether it is locked is not told there."""

    ACTIVE = 0
    DEFERRED = 1
    SCHEDULED = 2


@dataclass(frozen=True, slots=True)
class QueuePolicy:
    """What the semantics need of a queue's settings, in milliseconds; not checked against Azure's limits.

    Attributes:
        max_held_bytes: of messages in memory; the others are where the journal put them.
    """

    name: str
    lock_ms: int
    max_delivery_count: int
    default_ttl_ms: int | None
    dead_letter_on_expiration: bool
    dedup_window_ms: int | None
    max_held_bytes: int = MAX_HELD_BYTES


@dataclass(slots=True)
class Entry:
    """A message in a queue. ``due_ms`` is set while it waits for its scheduled time.

    Attributes:
        held: the message, where it is in memory; one of a long queue is not, and is read when somebody asks for it.
        fetch: reads it; given the sequence number.
    """

    seq: int
    first_seq: int
    held: Message | None
    enqueued_ms: int
    ttl_ms: int | None
    delivery_count: int = 0
    due_ms: int | None = None
    dead: bool = False
    deferred: bool = False
    fetch: Callable[[int], Message] | None = field(default=None, compare=False, repr=False)

    @property
    def message(self) -> Message:
        """The message, wherever it is."""
        if self.held is not None:
            return self.held
        assert self.fetch is not None, "a message is let go of only where it can be read again"
        return self.fetch(self.seq)

    @property
    def expires_ms(self) -> int:
        """When its time to live ends; a dead-lettered message has none."""
        return FOREVER_MS if self.ttl_ms is None or self.dead else self.enqueued_ms + self.ttl_ms

    @property
    def state(self) -> State:
        """What a receiver is told of it."""
        if self.deferred:
            return State.DEFERRED
        return State.ACTIVE if self.due_ms is None else State.SCHEDULED


@dataclass(slots=True)
class Lock:
    """A receiver's right to settle one message until a moment."""

    token: UUID
    entry: Entry
    until_ms: int


class Journal(Protocol):
    """Where a queue writes what must survive; nothing is acknowledged before it is committed."""

    def put(self, queue: str, entry: Entry) -> None:
        """Insert or replace the message with this sequence number."""

    def drop(self, queue: str, seq: int) -> None:
        """Delete a message."""

    def read(self, queue: str, seq: int) -> Message:
        """A message that was put, committed or not."""

    def remember(self, queue: str, key: bytes, seq: int, until_ms: int) -> None:
        """Insert or replace a message id for duplicate detection."""

    def forget(self, queue: str, key: bytes) -> None:
        """Delete a message id."""

    def sequence(self, queue: str, last: int) -> None:
        """The highest sequence number given out so far."""
