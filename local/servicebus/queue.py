"""The semantics of one queue and its dead-letter sub-queue, without I/O and without a clock.

In: operations and ``now_ms`` (milliseconds since the epoch). Out: messages, outcomes and ``Journal`` writes.
"""

import heapq
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from uuid import UUID, uuid4

from local.servicebus.duplicates import Duplicates
from local.servicebus.entry import FOREVER_MS, Entry, Journal, Lock, QueuePolicy, State
from local.servicebus.errors import AmqpError, Condition
from local.servicebus.sections import DESCRIPTION, REASON, Changes, Message, check_size

__all__ = ["Entry", "Journal", "Lock", "Queue", "QueuePolicy"]


class Queue:
    """One queue, or, with ``dead`` true, the dead-letter sub-queue of ``parent``."""

    def __init__(self, policy: QueuePolicy, journal: Journal, *, parent: "Queue | None" = None) -> None:
        self.policy = policy
        self._journal = journal
        self.is_dead_letter = parent is not None
        self.dead_letter = self if parent is not None else Queue(policy, journal, parent=self)
        self._entries: dict[int, Entry] = {}
        self._held_bytes = 0
        self._fetch = partial(journal.read, policy.name)
        self._ready: list[int] = []
        self._locks: dict[UUID, Lock] = {}
        self._locked: dict[int, UUID] = {}
        self._timers: list[tuple[int, int, UUID | None]] = []
        self._duplicates = Duplicates(policy, journal)
        self._last_seq = 0

    # --- starting

    def restore(self, entries: Sequence[Entry], ids: Sequence[tuple[bytes, int, int]], last_seq: int) -> None:
        """Take back what was kept; every lock has lapsed.

        Args:
            entries: messages of the queue and of its dead-letter sub-queue, in any order.
            ids: message id, its sequence number, and until when it is remembered.
            last_seq: the highest sequence number ever given out.
        """
        self._last_seq = last_seq
        for entry in entries:
            (self.dead_letter if entry.dead else self)._hold(entry)
        self._duplicates.restore(ids)

    # --- sending

    def send(self, messages: Sequence[Message], now_ms: int) -> list[int]:
        """Enqueue all messages; those with a scheduled time ahead wait for it; repeats are dropped.

        Returns:
            The sequence number of each message; for a repeat that of the first.
        """
        self._duplicates.forget(now_ms)
        # All of them are ready before the first is taken: what cannot be encoded again must not leave half a batch.
        ready = [(message.dedup_key, _with_id(message)) for message in messages]
        return [self._accept(key, message, now_ms) for key, message in ready]

    def cancel(self, seqs: Sequence[int]) -> None:
        """Take scheduled messages back, all or none.

        Raises:
            AmqpError: message-not-found; one of them is not waiting for its time.
        """
        for seq in seqs:
            entry = self._entries.get(seq)
            if entry is None or entry.due_ms is None:
                raise AmqpError(Condition.MESSAGE_NOT_FOUND, f"no scheduled message with sequence number {seq}")
        for seq in set(seqs):
            self._remove(self._entries[seq])

    # --- receiving

    def lock_next(self, now_ms: int) -> Lock | None:
        """Lock the oldest available message for one receiver, or None."""
        entry = self._next(now_ms)
        return None if entry is None else self._lock(entry, now_ms)

    def take_next(self, now_ms: int) -> Entry | None:
        """Remove the oldest available message (receive and delete), or None."""
        entry = self._next(now_ms)
        return None if entry is None else self._take(entry)

    def lock_deferred(self, seqs: Sequence[int], now_ms: int) -> list[Lock]:
        """Lock deferred messages, all or none; they stay deferred until one settles them otherwise.

        Raises:
            AmqpError: message-not-found; one of them is not here, not deferred, locked already, or expired.
        """
        return [self._lock(entry, now_ms) for entry in self._deferred(seqs, now_ms)]

    def take_deferred(self, seqs: Sequence[int], now_ms: int) -> list[Entry]:
        """Remove deferred messages (receive and delete), all or none; errors as ``lock_deferred``."""
        return [self._take(entry) for entry in self._deferred(seqs, now_ms)]

    def peek(self, from_seq: int, count: int, now_ms: int) -> list[Entry]:
        """Look without touching: at most ``count`` messages from a sequence number on, in order.

        Active, locked, deferred and scheduled messages alike; of those whose time to live is over only the
        locked and the deferred, which are still there.
        """
        due = (
            seq
            for seq, entry in self._entries.items()
            if seq >= from_seq and (entry.expires_ms > now_ms or entry.deferred or seq in self._locked)
        )
        return [self._entries[seq] for seq in heapq.nsmallest(count, due)]

    def complete(self, token: UUID, now_ms: int) -> None:
        """The message is done; raises AmqpError(message-lock-lost)."""
        self._remove(self._unlock(token, now_ms))

    def abandon(self, token: UUID, now_ms: int, changes: Changes | None = None) -> None:
        """Give it back as a failed delivery.

        Args:
            token: of its lock.
            now_ms: milliseconds since the epoch.
            changes: application properties to add or replace.

        Raises:
            AmqpError: message-lock-lost; message-size-exceeded when the changes make it too large.
        """
        self._fail(self._changed(token, now_ms, changes), now_ms)

    def release(self, token: UUID, now_ms: int) -> None:
        """Give it back without counting; raises AmqpError(message-lock-lost)."""
        self._make_ready(self._unlock(token, now_ms), now_ms)

    def defer(self, token: UUID, now_ms: int, changes: Changes | None = None) -> None:
        """Set it aside for ``lock_deferred``; a counted delivery, as in Azure. Arguments and errors as ``abandon``."""
        entry = self._changed(token, now_ms, changes)
        entry.deferred = True
        entry.delivery_count += 1
        self._journal.put(self.policy.name, entry)

    def reject(
        self, token: UUID, reason: str | None, description: str | None, now_ms: int, changes: Changes | None = None
    ) -> None:
        """Move it to the dead-letter queue.

        Raises:
            AmqpError: as ``abandon``, or not-allowed in the dead-letter queue itself.
        """
        if self.is_dead_letter:
            self.check(token, now_ms)
            raise AmqpError(Condition.NOT_ALLOWED, "a message in the dead-letter queue cannot be dead-lettered")
        self._bury(self._changed(token, now_ms, changes), reason, description)

    def renew(self, token: UUID, now_ms: int) -> int:
        """Lock it for the whole duration from now; returns the new end, raises AmqpError(message-lock-lost)."""
        lock = self.check(token, now_ms)
        lock.until_ms = now_ms + self.policy.lock_ms
        self._arm(lock.until_ms, lock.entry.seq, token)
        return lock.until_ms

    def check(self, token: UUID, now_ms: int) -> Lock:
        """The lock behind a token that still holds; raises AmqpError(message-lock-lost)."""
        lock = self._locks.get(token)
        if lock is None or lock.until_ms <= now_ms:
            raise AmqpError(Condition.LOCK_LOST, "the lock supplied is invalid: it expired or was settled already")
        return lock

    def holds(self, token: UUID, now_ms: int) -> bool:
        """Whether a lock still stands."""
        lock = self._locks.get(token)
        return lock is not None and lock.until_ms > now_ms

    # --- time

    def advance(self, now_ms: int) -> None:
        """Let everything happen that was due by now: locks expire, messages expire or become available."""
        while self._timers and self._timers[0][0] <= now_ms:
            _, seq, token = heapq.heappop(self._timers)
            if token is not None:
                self._expire_lock(token, now_ms)
            elif (entry := self._entries.get(seq)) is not None and seq not in self._locked:
                if entry.due_ms is not None and entry.due_ms <= now_ms:
                    self._activate(entry, now_ms)
                elif entry.state is State.ACTIVE:
                    self._expire(entry, now_ms)
        self._duplicates.forget(now_ms)

    def next_due_ms(self) -> int | None:
        """When ``advance`` has something to do next, or None."""
        return self._timers[0][0] if self._timers else None

    def counts(self, now_ms: int) -> dict[str, int | float]:
        """How many messages stand where, each counted once, and the age in seconds of the oldest not scheduled.

        ``active`` can be received, ``locked`` is being worked on, ``scheduled`` waits for its time, ``deferred``
        was set aside.
        """
        entries = self._entries.values()
        scheduled = sum(1 for entry in entries if entry.due_ms is not None)
        deferred = sum(1 for entry in entries if entry.deferred and entry.seq not in self._locked)
        oldest = min((entry.enqueued_ms for entry in entries if entry.due_ms is None), default=now_ms)
        return {
            "active": len(entries) - scheduled - deferred - len(self._locks),
            "locked": len(self._locks),
            "scheduled": scheduled,
            "deferred": deferred,
            "oldest_s": max(0, now_ms - oldest) / 1000,
        }

    # --- inside

    def _accept(self, key: bytes | None, message: Message, now_ms: int) -> int:
        first = self._duplicates.seen(key)
        if first is not None:
            return first
        seq = self._next_seq()
        # Clients write 0 for "none"; a default of the queue is also the longest a message may ask for.
        ttl_ms = min((ttl for ttl in (message.ttl_ms, self.policy.default_ttl_ms) if ttl), default=None)
        due_ms = message.scheduled_ms if (message.scheduled_ms or 0) > now_ms else None
        entry = Entry(seq, seq, message, now_ms, ttl_ms, due_ms=due_ms)
        self._journal.put(self.policy.name, entry)
        self._hold(entry)
        self._duplicates.remember(key, seq, now_ms)
        return seq

    def _next_seq(self) -> int:
        self._last_seq += 1
        self._journal.sequence(self.policy.name, self._last_seq)
        return self._last_seq

    def _hold(self, entry: Entry) -> None:
        self._entries[entry.seq] = entry
        entry.fetch = self._fetch
        message, entry.held = entry.held, None
        if message is not None and self._held_bytes + message.size <= self.policy.max_held_bytes:
            self._have(entry, message)
        if entry.due_ms is not None:
            self._arm(entry.due_ms, entry.seq)
            return
        if entry.deferred:
            return
        heapq.heappush(self._ready, entry.seq)
        if entry.expires_ms < FOREVER_MS:
            self._arm(entry.expires_ms, entry.seq)

    def _arm(self, when_ms: int, seq: int, token: UUID | None = None) -> None:
        heapq.heappush(self._timers, _Timer((when_ms, seq, token)))

    def _next(self, now_ms: int) -> Entry | None:
        while self._ready:
            entry = self._entries.get(heapq.heappop(self._ready))
            if entry is None or entry.seq in self._locked or entry.state is not State.ACTIVE:
                continue
            if entry.expires_ms > now_ms:
                return entry
            self._expire(entry, now_ms)
        return None

    def _deferred(self, seqs: Sequence[int], now_ms: int) -> list[Entry]:
        found: list[Entry] = []
        for seq in dict.fromkeys(seqs):
            entry = self._entries.get(seq)
            if entry is None or not entry.deferred or seq in self._locked:
                raise AmqpError(Condition.MESSAGE_NOT_FOUND, f"no deferred message with sequence number {seq}")
            found.append(entry)
        # As in Azure, only who asks for a deferred message finds out that its time is over.
        expired = [entry for entry in found if entry.expires_ms <= now_ms]
        for entry in expired:
            self._expire(entry, now_ms)
        if expired:
            raise AmqpError(Condition.MESSAGE_NOT_FOUND, f"the deferred message {expired[0].seq} has expired")
        return found

    def _lock(self, entry: Entry, now_ms: int) -> Lock:
        lock = Lock(uuid4(), entry, now_ms + self.policy.lock_ms)
        self._locks[lock.token] = lock
        self._locked[entry.seq] = lock.token
        self._arm(lock.until_ms, entry.seq, lock.token)
        return lock

    def _unlock(self, token: UUID, now_ms: int) -> Entry:
        entry = self.check(token, now_ms).entry
        self._clear(token)
        return entry

    def _changed(self, token: UUID, now_ms: int, changes: Changes | None) -> Entry:
        # The new message is made before the lock goes: a refusal leaves everything as it was.
        entry = self.check(token, now_ms).entry
        if changes:
            message = entry.message.with_application_properties(changes)
            check_size(len(message.encode()))
            self._have(entry, message)
        self._clear(token)
        return entry

    def _clear(self, token: UUID) -> None:
        lock = self._locks.pop(token)
        del self._locked[lock.entry.seq]

    def _expire_lock(self, token: UUID, now_ms: int) -> None:
        lock = self._locks.get(token)
        # A renewed lock has a later timer of its own; this one is a leftover.
        if lock is not None and lock.until_ms <= now_ms:
            self._clear(token)
            self._fail(lock.entry, now_ms)

    def _fail(self, entry: Entry, now_ms: int) -> None:
        entry.delivery_count += 1
        if not self.is_dead_letter and entry.delivery_count >= self.policy.max_delivery_count:
            count = self.policy.max_delivery_count
            what = f"Message could not be consumed after {count} delivery attempts."
            self._bury(entry, "MaxDeliveryCountExceeded", what)
            return
        self._journal.put(self.policy.name, entry)
        self._make_ready(entry, now_ms)

    def _make_ready(self, entry: Entry, now_ms: int) -> None:
        if entry.deferred:
            return
        if entry.expires_ms <= now_ms:
            self._expire(entry, now_ms)
        else:
            heapq.heappush(self._ready, entry.seq)

    def _expire(self, entry: Entry, now_ms: int) -> None:
        if entry.expires_ms > now_ms:
            return
        if self.policy.dead_letter_on_expiration:
            self._bury(entry, "TTLExpiredException", "The message expired and was dead lettered.")
        else:
            self._remove(entry)

    def _bury(self, entry: Entry, reason: str | None, description: str | None) -> None:
        told = {REASON: reason, DESCRIPTION: description}
        extra: Changes = {key: value for key, value in told.items() if value is not None}
        message = entry.message.with_application_properties(extra) if extra else entry.message
        buried = replace(entry, held=message, dead=True, deferred=False)
        self._let_go(entry)
        self._journal.put(self.policy.name, buried)
        self.dead_letter._hold(buried)

    def _activate(self, entry: Entry, now_ms: int) -> None:
        # As in Azure, a scheduled message is given its place in the queue only when its time has come.
        message = entry.message
        self._remove(entry)
        active = replace(entry, held=message, seq=self._next_seq(), due_ms=None, enqueued_ms=now_ms)
        self._journal.put(self.policy.name, active)
        self._hold(active)

    def _take(self, entry: Entry) -> Entry:
        message = entry.message
        self._remove(entry)
        entry.held = message
        return entry

    def _remove(self, entry: Entry) -> None:
        self._let_go(entry)
        self._journal.drop(self.policy.name, entry.seq)

    def _let_go(self, entry: Entry) -> None:
        del self._entries[entry.seq]
        self._have(entry, None)

    def _have(self, entry: Entry, message: Message | None) -> None:
        """Hold a message in memory, instead of what was held of it."""
        self._held_bytes += (message.size if message else 0) - (entry.held.size if entry.held else 0)
        entry.held = message


def _with_id(message: Message) -> Message:
    # Microsoft's JavaScript SDK cannot settle a message without an id, and its own samples send none.
    return message if message.message_id is not None else message.with_message_id(uuid4().hex)


class _Timer(tuple[int, int, UUID | None]):
    """A timer entry ordered by its time and sequence number alone, as None and UUID do not compare."""

    def __lt__(self, other: tuple[object, ...]) -> bool:
        return self[:2] < other[:2]
