"""Whatever happens in whatever order, no message is lost, doubled or held twice, and the journal knows all."""

from dataclasses import replace
from typing import Any
from uuid import UUID

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from local.servicebus.errors import AmqpError
from local.servicebus.queue import Queue
from tests.local.servicebus.fakes import FakeJournal, message, policy

IDS = st.sampled_from(["a", "b", "c", None])
# Weighted, so that most steps do something: most messages are there at once, and most are not dead-lettered.
TIMES = st.sampled_from([None, None, None, None, 1, 3, 5])
DEAD = st.sampled_from([False, False, False, True])
VERBS = ("complete", "abandon", "release", "renew", "reject", "defer")


class QueueMachine(RuleBasedStateMachine):
    """Drives a queue and keeps its own books by the body of each message."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 1_000_000
        self.journal = FakeJournal()
        self.queue = Queue(self.policy(), self.journal)
        self.alive: set[bytes] = set()
        self.held: dict[UUID, tuple[Queue, bytes]] = {}
        self.number = 0

    def policy(self) -> Any:
        return policy(lock_ms=3000, max_delivery_count=2, dead_letter_on_expiration=True, dedup_window_ms=4000)

    @rule(message_id=IDS, ttl_s=TIMES, due_s=TIMES)
    def send(self, message_id: str | None, ttl_s: int | None, due_s: int | None) -> None:
        self.number += 1
        body = b"body %d" % self.number
        due_ms = None if due_s is None else self.now + due_s * 1000
        ttl_ms = None if ttl_s is None else ttl_s * 1000
        before = self.journal.last
        [seq] = self.queue.send([message(body, message_id=message_id, ttl_ms=ttl_ms, due_ms=due_ms)], self.now)
        if seq > before:
            self.alive.add(body)

    @initialize()
    def fill(self) -> None:
        for _ in range(3):
            self.send(None, None, None)

    @precondition(lambda self: any(queue.counts(self.now)["active"] for queue in self.queues()))
    @rule(dead=DEAD, verb=st.sampled_from([None, *VERBS]))
    def receive(self, dead: bool, verb: str | None) -> None:
        """Lock the next message and, unless ``verb`` is None, settle it at once."""
        queue = self.queue.dead_letter if dead or not self.queue.counts(self.now)["active"] else self.queue
        lock = queue.lock_next(self.now)
        if lock is not None:
            body = self.body(lock.entry)
            assert body in self.alive
            live = {held for token, (where, held) in self.held.items() if self.still(where, token)}
            assert body not in live, "one message under two locks"
            assert not lock.entry.deferred, "a deferred message came by itself"
            self.held[lock.token] = (queue, body)
            if verb is not None:
                self.settled(lock.token, verb)

    @precondition(lambda self: any(self.aside(queue) for queue in self.queues()))
    @rule(data=st.data(), delete=st.booleans())
    def receive_deferred(self, data: st.DataObject, delete: bool) -> None:
        dead = not self.aside(self.queue)
        queue = self.queue.dead_letter if dead else self.queue
        known = self.aside(queue)
        seqs = data.draw(st.lists(st.sampled_from([*known, *known, 10**6]), min_size=1, max_size=2))
        locked = {self.where_of(token) for token in self.held if self.still(self.held[token][0], token)}
        before = {entry.seq: entry for entry in queue.peek(1, 1000, self.now)}
        try:
            if delete:
                for entry in queue.take_deferred(seqs, self.now):
                    self.alive.discard(self.body(entry))
            else:
                for lock in queue.lock_deferred(seqs, self.now):
                    self.held[lock.token] = (queue, self.body(lock.entry))
        except AmqpError:
            refused = [s for s in seqs if s not in before or (dead, s) in locked or before[s].expires_ms <= self.now]
            assert refused, "a deferred message was refused without a reason"
        else:
            assert not {(dead, seq) for seq in seqs} & locked
            assert 10**6 not in seqs

    @rule(start=st.integers(0, 12), count=st.integers(1, 5), dead=DEAD)
    def peek(self, start: int, count: int, dead: bool) -> None:
        queue = self.queue.dead_letter if dead else self.queue
        found = [entry.seq for entry in queue.peek(start, count, self.now)]
        whole = [entry.seq for entry in queue.peek(0, 1000, self.now)]
        assert found == [seq for seq in whole if seq >= start][:count]
        assert whole == sorted(whole)

    @precondition(lambda self: self.held)
    @rule(data=st.data(), verb=st.sampled_from(VERBS))
    def settle(self, data: st.DataObject, verb: str) -> None:
        self.settled(data.draw(st.sampled_from(list(self.held))), verb)

    def settled(self, token: UUID, verb: str) -> None:
        queue, body = self.held[token]
        live = self.still(queue, token)
        try:
            if verb == "reject":
                queue.reject(token, "r", "d", self.now)
            else:
                getattr(queue, verb)(token, self.now)
        except AmqpError:
            assert not live or (verb == "reject" and queue.is_dead_letter)
            return
        assert live
        if verb == "complete":
            self.alive.discard(body)

    @rule(seconds=st.sampled_from([0, 1, 1, 1, 2, 4]))
    def wait(self, seconds: int) -> None:
        self.now += seconds * 1000
        for queue in (self.queue, self.queue.dead_letter):
            queue.advance(self.now)
            due = queue.next_due_ms()
            assert due is None or due > self.now

    @rule()
    def crash(self) -> None:
        self.queue = Queue(self.policy(), self.journal)
        ids = [(key, seq, until) for key, (seq, until) in self.journal.ids.items()]
        self.queue.restore([replace(entry) for entry in self.journal.entries.values()], ids, self.journal.last)
        self.held.clear()

    @invariant()
    def the_journal_holds_every_living_message_once(self) -> None:
        assert sorted(self.body(entry) for entry in self.journal.entries.values()) == sorted(self.alive)

    @invariant()
    def the_counts_agree_with_the_journal(self) -> None:
        parts = [self.queue.counts(self.now), self.queue.dead_letter.counts(self.now)]
        held = sum(int(part[kind]) for part in parts for kind in ("active", "locked", "scheduled", "deferred"))
        assert held == len(self.journal.entries)
        assert all(part["active"] >= 0 for part in parts)

    def still(self, queue: Queue, token: UUID) -> bool:
        try:
            queue.check(token, self.now)
        except AmqpError:
            return False
        return True

    @invariant()
    def what_was_set_aside_stays_so_across_a_crash(self) -> None:
        kept = {entry.seq for entry in self.journal.entries.values() if entry.deferred}
        assert kept == {seq for queue in self.queues() for seq in self.aside(queue)}

    def queues(self) -> tuple[Queue, Queue]:
        return self.queue, self.queue.dead_letter

    def aside(self, queue: Queue) -> list[int]:
        """Numbers of the deferred messages, locked ones too."""
        return [entry.seq for entry in queue.peek(0, 1000, self.now) if entry.deferred]

    def where_of(self, token: UUID) -> tuple[bool, int]:
        queue, _ = self.held[token]
        return queue.is_dead_letter, queue.check(token, self.now).entry.seq

    def body(self, entry: Any) -> bytes:
        return bytes(entry.message.rest[5:])


class LongQueueMachine(QueueMachine):
    """The same where memory has room for two messages, so that most are read from the journal."""

    def policy(self) -> Any:
        return replace(super().policy(), max_held_bytes=120)

    @invariant()
    def memory_holds_no_more(self) -> None:
        for queue in self.queues():
            held = [entry.held for entry in queue._entries.values() if entry.held]
            assert sum(message.size for message in held) == queue._held_bytes <= 120


TestQueueMachine = QueueMachine.TestCase
TestQueueMachine.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)
TestLongQueueMachine = LongQueueMachine.TestCase
TestLongQueueMachine.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)
