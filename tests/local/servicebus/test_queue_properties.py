"""Whatever happens in whatever order, no message is lost, doubled or held twice, and the journal knows all."""

from dataclasses import replace
from typing import Any
from uuid import UUID

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from local.servicebus.errors import AmqpError
from local.servicebus.queue import Queue
from tests.local.servicebus.fakes import FakeJournal, message, policy

IDS = st.sampled_from(["a", "b", "c", None])
TIMES = st.one_of(st.none(), st.integers(1, 5))


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

    @rule(dead=st.booleans())
    def receive(self, dead: bool) -> None:
        queue = self.queue.dead_letter if dead else self.queue
        lock = queue.lock_next(self.now)
        if lock is not None:
            body = self.body(lock.entry)
            assert body in self.alive
            live = {held for token, (where, held) in self.held.items() if self.still(where, token)}
            assert body not in live, "one message under two locks"
            self.held[lock.token] = (queue, body)

    @precondition(lambda self: self.held)
    @rule(data=st.data(), verb=st.sampled_from(["complete", "abandon", "release", "renew", "reject"]))
    def settle(self, data: st.DataObject, verb: str) -> None:
        token = data.draw(st.sampled_from(list(self.held)))
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

    @rule(seconds=st.integers(0, 4))
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
        held = sum(int(part["active"]) + int(part["locked"]) + int(part["scheduled"]) for part in parts)
        assert held == len(self.journal.entries)
        assert all(part["active"] >= 0 for part in parts)

    def still(self, queue: Queue, token: UUID) -> bool:
        try:
            queue.check(token, self.now)
        except AmqpError:
            return False
        return True

    def body(self, entry: Any) -> bytes:
        return bytes(entry.message.rest[5:])


TestQueueMachine = QueueMachine.TestCase
TestQueueMachine.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
