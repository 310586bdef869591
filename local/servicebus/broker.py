"""The broker's heart: queues, their waiting receivers, and the turn that commits before it answers.

In: operations of links within one turn of the event loop. Out: one commit, then the bytes of every connection.
"""

import asyncio
import logging
import sqlite3
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Protocol

from local.servicebus.addresses import Address
from local.servicebus.cbs import TokenCheck
from local.servicebus.errors import AmqpError, Condition
from local.servicebus.queue import Queue, QueuePolicy
from local.servicebus.settings import QueueSettings, check_names
from local.servicebus.storage import Store

log = logging.getLogger(__name__)


class Consumer(Protocol):
    """A link that waits for messages of one queue."""

    def wants(self) -> bool:
        """Whether it can take a message now."""

    def deliver_from(self, queue: Queue, now_ms: int) -> bool:
        """Take one message; False when the queue has none."""

    def finish_turn(self) -> None:
        """All that was available has been delivered: answer a drain."""


class Peer(Protocol):
    """A connection with bytes to write."""

    def flush(self) -> None:
        """Write what has collected."""

    def abort(self) -> None:
        """Drop the connection without writing."""


class Broker:
    """All queues of one store.

    Args:
        settings: the queues to serve.
        store: where they are kept.
        tokens: the check for ``$cbs``.
        clock: seconds since the epoch.

    Raises:
        ValueError: no queue, or two of the same name.
    """

    def __init__(
        self,
        settings: Sequence[QueueSettings],
        store: Store,
        tokens: TokenCheck,
        clock: Callable[[], float] = time.time,
    ) -> None:
        mistakes = check_names(list(settings)) or ([] if settings else ["no queues are defined"])
        if mistakes:
            raise ValueError("; ".join(mistakes))
        self.tokens = tokens
        self.clock = clock
        self.peers: set[Peer] = set()
        self.failed: asyncio.Future[object] = asyncio.get_running_loop().create_future()
        self._store = store
        self._queues = {item.name.lower(): _restored(item, store) for item in settings}
        self._consumers: dict[Queue, deque[Consumer]] = {}
        for queue in self._queues.values():
            self._consumers[queue] = deque()
            self._consumers[queue.dead_letter] = deque()
        self._touched: set[Queue] = set()
        self._unflushed: set[Peer] = set()
        self._turn_due = False
        self._timer: asyncio.TimerHandle | None = None
        self.wake()

    def now_ms(self) -> int:
        """The clock in milliseconds."""
        return int(self.clock() * 1000)

    def queue_at(self, address: Address) -> Queue:
        """The queue or dead-letter queue of an address; raises AmqpError(not-found)."""
        queue = self._queues.get(address.queue)
        if queue is None:
            raise AmqpError(Condition.NOT_FOUND, f"the messaging entity '{address.queue}' could not be found")
        return queue.dead_letter if address.dead_letter else queue

    def add_consumer(self, queue: Queue, consumer: Consumer) -> None:
        """A receiver was attached."""
        self._consumers[queue].append(consumer)

    def remove_consumer(self, queue: Queue, consumer: Consumer) -> None:
        """A receiver went away; what it holds stays locked."""
        self._consumers[queue].remove(consumer)

    def touch(self, queue: Queue) -> None:
        """Messages or credit may have come: look at the end of the turn."""
        self._touched.add(queue)
        if not queue.is_dead_letter:
            self._touched.add(queue.dead_letter)
        self._end_turn_soon()

    def unflushed(self, peer: Peer) -> None:
        """A connection has bytes; they are written after the commit of this turn."""
        self._unflushed.add(peer)
        self._end_turn_soon()

    def stats(self) -> list[dict[str, object]]:
        """One row per queue: name, active, locked, scheduled, deferred, dead_letter, oldest_s."""
        now_ms = self.now_ms()
        rows: list[dict[str, object]] = []
        for queue in self._queues.values():
            dead = queue.dead_letter.counts(now_ms)
            counts = queue.counts(now_ms)
            held = dead["active"] + dead["locked"] + dead["deferred"]
            rows.append({"name": queue.policy.name, **counts, "dead_letter": held})
        return rows

    def close(self) -> None:
        """Commit what is due, drop every connection and stop the timer."""
        if not self.failed.done():
            self._end_turn()
        if self._timer is not None:
            self._timer.cancel()
        for peer in list(self.peers):
            peer.abort()

    def stop(self, error: Exception) -> None:
        """The store or a turn failed: what was kept is unknown, so every connection ends unanswered."""
        if not self.failed.done():
            log.critical("the broker stops: %s: %s", type(error).__name__, error)
            self.failed.set_exception(error)
        for peer in list(self.peers):
            peer.abort()

    def wake(self) -> None:
        """Let everything happen that is due by the clock; the timer's call, or that of one who moved the clock."""
        if self.failed.done():
            return
        now_ms = self.now_ms()
        try:
            for queue in self._consumers:
                queue.advance(now_ms)
                self.touch(queue)
        except sqlite3.Error as exc:
            self.stop(exc)
        except Exception as exc:
            self.stop(exc)
            raise

    def _end_turn_soon(self) -> None:
        if not self._turn_due:
            self._turn_due = True
            asyncio.get_running_loop().call_soon(self._end_turn)

    def _end_turn(self) -> None:
        self._turn_due = False
        if self.failed.done():
            return
        try:
            touched, self._touched = self._touched, set()
            for queue in touched:
                self._dispatch(queue)
            self._store.commit()
        except sqlite3.Error as exc:
            self.stop(exc)
            return
        except Exception as exc:
            # A queue may be half changed: to commit that, or to answer for it, would be to lose or double a message.
            self.stop(exc)
            raise
        peers, self._unflushed = self._unflushed, set()
        for peer in peers:
            peer.flush()
        self._arm()

    def _dispatch(self, queue: Queue) -> None:
        consumers = self._consumers[queue]
        now_ms = self.now_ms()
        idle = 0
        # Round robin: each consumer that wants a message gets one before anybody gets a second.
        while idle < len(consumers):
            consumer = consumers[0]
            consumers.rotate(-1)
            if not consumer.wants():
                idle += 1
            elif consumer.deliver_from(queue, now_ms):
                idle = 0
            else:
                break
        for consumer in list(consumers):
            consumer.finish_turn()

    def _arm(self) -> None:
        due = [when for queue in self._consumers if (when := queue.next_due_ms()) is not None]
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if due:
            # At most an hour ahead: the wall clock may be set meanwhile. One millisecond late, never early.
            delay_s = min(3600.0, max(0.0, (min(due) + 1) / 1000 - self.clock()))
            self._timer = asyncio.get_running_loop().call_later(delay_s, self.wake)


def _restored(settings: QueueSettings, store: Store) -> Queue:
    def milliseconds(value: float | None) -> int | None:
        return None if value is None else int(value * 1000)

    policy = QueuePolicy(
        name=settings.name,
        lock_ms=int(settings.lock_duration_s * 1000),
        max_delivery_count=settings.max_delivery_count,
        default_ttl_ms=milliseconds(settings.default_ttl_s),
        dead_letter_on_expiration=settings.dead_letter_on_expiration,
        dedup_window_ms=milliseconds(settings.duplicate_detection_window_s),
    )
    queue = Queue(policy, store)
    queue.restore(*store.load(settings.name))
    return queue
