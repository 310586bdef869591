"""One queue's semantics at given moments."""

from collections.abc import Callable
from uuid import uuid4

import pytest

from local.servicebus.entry import State
from local.servicebus.errors import AmqpError, Condition
from local.servicebus.limits import MAX_MESSAGE_BYTES
from local.servicebus.queue import Lock, Queue
from tests.local.servicebus.fakes import message, new_queue


def lock(queue: Queue, now_ms: int) -> Lock:
    found = queue.lock_next(now_ms)
    assert found is not None
    return found


def test_messages_come_in_the_order_of_their_numbers_also_after_redelivery() -> None:
    queue, _ = new_queue()
    assert queue.send([message(), message(), message()], 0) == [1, 2, 3]
    first, second = lock(queue, 0), lock(queue, 0)
    queue.abandon(second.token, 1)
    queue.release(first.token, 1)
    assert [lock(queue, 1).entry.seq for _ in range(3)] == [1, 2, 3]
    assert queue.lock_next(1) is None


def test_release_does_not_count_abandon_does() -> None:
    queue, _ = new_queue()
    queue.send([message()], 0)
    queue.release(lock(queue, 0).token, 0)
    assert lock(queue, 0).entry.delivery_count == 0
    queue, _ = new_queue()
    queue.send([message()], 0)
    queue.abandon(lock(queue, 0).token, 0)
    assert lock(queue, 0).entry.delivery_count == 1


def test_a_lock_ends_exactly_at_its_time_and_a_renewed_one_later() -> None:
    queue, _ = new_queue(lock_ms=1000)
    queue.send([message()], 0)
    held = lock(queue, 0)
    assert queue.renew(held.token, 600) == 1600
    queue.advance(1599)
    queue.check(held.token, 1599)
    assert queue.lock_next(1599) is None
    queue.advance(1600)
    with pytest.raises(AmqpError) as caught:
        queue.complete(held.token, 1600)
    assert caught.value.condition == Condition.LOCK_LOST
    assert lock(queue, 1600).entry.delivery_count == 1


def test_the_last_failed_delivery_buries_the_message() -> None:
    queue, journal = new_queue(max_delivery_count=2)
    queue.send([message()], 0)
    queue.abandon(lock(queue, 0).token, 0)
    lock(queue, 0)
    queue.advance(1000)
    assert queue.lock_next(1000) is None
    dead = lock(queue.dead_letter, 1000)
    assert dead.entry.seq == 1
    assert b"MaxDeliveryCountExceeded" in dead.entry.message.application
    assert journal.entries[1].dead
    # The dead-letter queue itself never gives up.
    for now in range(2000, 8000, 1000):
        queue.dead_letter.advance(now)
        dead = lock(queue.dead_letter, now)
    with pytest.raises(AmqpError) as caught:
        queue.dead_letter.reject(dead.token, "again", None, 7000)
    assert caught.value.condition == Condition.NOT_ALLOWED
    queue.dead_letter.complete(dead.token, 7000)
    assert journal.entries == {}


@pytest.mark.parametrize("keeps", [True, False], ids=["dead-lettered", "dropped"])
def test_an_expired_message_is_not_delivered(keeps: bool) -> None:
    queue, _ = new_queue(dead_letter_on_expiration=keeps)
    queue.send([message(ttl_ms=500)], 0)
    assert queue.lock_next(500) is None
    found = queue.dead_letter.lock_next(10**9)
    assert (found is not None) is keeps


def test_a_locked_message_does_not_expire_before_its_lock() -> None:
    queue, _ = new_queue()
    queue.send([message(ttl_ms=500)], 0)
    held = lock(queue, 0)
    queue.advance(900)
    assert queue.counts(900)["locked"] == 1
    queue.release(held.token, 900)
    assert queue.counts(900)["active"] == 0


@pytest.mark.parametrize(
    ("asked", "default", "effective"),
    [
        pytest.param(None, None, None, id="none"),
        pytest.param(500, None, 500, id="the-messages-own"),
        pytest.param(None, 700, 700, id="the-queues"),
        pytest.param(900, 700, 700, id="the-queue-is-the-most"),
        pytest.param(500, 700, 500, id="the-shorter-one"),
        pytest.param(0, 700, 700, id="zero-is-none"),
    ],
)
def test_the_time_to_live_in_force(asked: int | None, default: int | None, effective: int | None) -> None:
    queue, journal = new_queue(default_ttl_ms=default)
    queue.send([message(ttl_ms=asked)], 0)
    assert journal.entries[1].ttl_ms == effective


def test_a_scheduled_message_takes_its_number_and_its_life_when_its_time_comes() -> None:
    queue, journal = new_queue()
    assert queue.send([message(due_ms=1000, ttl_ms=500), message()], 0) == [1, 2]
    queue.complete(lock(queue, 0).token, 0)
    assert queue.lock_next(999) is None
    queue.advance(1000)
    found = lock(queue, 1400)
    assert (found.entry.seq, found.entry.first_seq, found.entry.expires_ms) == (3, 1, 1500)
    assert set(journal.entries) == {3}


def test_a_schedule_in_the_past_is_now() -> None:
    queue, _ = new_queue()
    queue.send([message(due_ms=5)], 10)
    assert lock(queue, 10).entry.seq == 1


def test_cancelling_is_all_or_nothing() -> None:
    queue, journal = new_queue()
    queue.send([message(due_ms=1000), message(due_ms=1000), message()], 0)
    with pytest.raises(AmqpError) as caught:
        queue.cancel([1, 3])
    assert caught.value.condition == Condition.MESSAGE_NOT_FOUND
    queue.cancel([1, 2, 2])
    assert set(journal.entries) == {3}
    queue.advance(2000)
    assert queue.counts(2000)["active"] == 1


def test_repeats_are_dropped_for_the_window_and_told_the_first_number() -> None:
    queue, journal = new_queue(dedup_window_ms=5000)
    assert queue.send([message(message_id="a"), message(message_id="a"), message(message_id="b")], 0) == [1, 1, 2]
    queue.complete(lock(queue, 0).token, 0)
    assert queue.send([message(message_id="a")], 4999) == [1]
    assert queue.send([message(message_id="a")], 5000) == [3]
    assert len(journal.ids) == 1
    off, _ = new_queue(dedup_window_ms=None)
    assert off.send([message(message_id="a"), message(message_id="a")], 0) == [1, 2]


def test_an_unknown_token_is_a_lost_lock() -> None:
    queue, _ = new_queue()
    for use in (queue.complete, queue.abandon, queue.release, queue.renew):
        with pytest.raises(AmqpError) as caught:
            use(uuid4(), 0)
        assert caught.value.condition == Condition.LOCK_LOST


def test_the_age_is_that_of_the_oldest_message_not_scheduled() -> None:
    queue, _ = new_queue()
    queue.send([message(due_ms=10**6)], 0)
    queue.send([message()], 2000)
    assert queue.counts(5000) == {"active": 1, "locked": 0, "scheduled": 1, "deferred": 0, "oldest_s": 3.0}


def deferred(queue: Queue, count: int = 1, now_ms: int = 0) -> list[int]:
    """So many messages, sent and set aside."""
    seqs = queue.send([message() for _ in range(count)], now_ms)
    for _ in seqs:
        queue.defer(lock(queue, now_ms).token, now_ms)
    return seqs


def refused(call: Callable[[], object]) -> Condition:
    with pytest.raises(AmqpError) as caught:
        call()
    return caught.value.condition


def test_a_deferred_message_comes_only_to_who_asks_for_it_and_counts_as_a_delivery() -> None:
    queue, journal = new_queue()
    [seq] = deferred(queue)
    assert journal.entries[seq].deferred
    assert queue.lock_next(0) is None
    assert queue.counts(0) == {"active": 0, "locked": 0, "scheduled": 0, "deferred": 1, "oldest_s": 0.0}
    [held] = queue.lock_deferred([seq, seq], 0)
    assert (held.entry.seq, held.entry.state, held.entry.delivery_count) == (seq, State.DEFERRED, 1)
    assert queue.counts(0) == {"active": 0, "locked": 1, "scheduled": 0, "deferred": 0, "oldest_s": 0.0}
    queue.complete(held.token, 0)
    assert journal.entries == {}


def test_deferred_messages_are_received_all_or_none() -> None:
    queue, _ = new_queue()
    first, second = deferred(queue, 2)
    queue.send([message(), message(due_ms=10**6)], 0)
    for wrong in (3, 4, 5, -1):  # active, scheduled, never sent
        assert refused(lambda seq=wrong: queue.lock_deferred([first, seq], 0)) == Condition.MESSAGE_NOT_FOUND
        assert refused(lambda seq=wrong: queue.take_deferred([first, seq], 0)) == Condition.MESSAGE_NOT_FOUND
    assert queue.counts(0)["deferred"] == 2
    queue.lock_deferred([second], 0)
    assert refused(lambda: queue.take_deferred([first, second], 0)) == Condition.MESSAGE_NOT_FOUND
    assert [entry.seq for entry in queue.take_deferred([first], 0)] == [first]


@pytest.mark.parametrize(("verb", "count"), [("release", 1), ("abandon", 2), ("defer", 2), ("expire", 2)])
def test_a_deferred_message_given_back_stays_deferred(verb: str, count: int) -> None:
    queue, _ = new_queue(lock_ms=1000)
    [seq] = deferred(queue)
    [held] = queue.lock_deferred([seq], 0)
    if verb == "expire":
        queue.advance(1000)
        assert refused(lambda: queue.complete(held.token, 1000)) == Condition.LOCK_LOST
    else:
        getattr(queue, verb)(held.token, 0)
    assert queue.lock_next(1000) is None
    assert queue.counts(1000)["deferred"] == 1
    [again] = queue.lock_deferred([seq], 1000)
    assert again.entry.delivery_count == count


def test_a_deferred_message_that_fails_too_often_is_buried_and_no_longer_deferred() -> None:
    queue, journal = new_queue(max_delivery_count=2)
    [seq] = deferred(queue)
    queue.abandon(queue.lock_deferred([seq], 0)[0].token, 0)
    assert queue.counts(0)["deferred"] == 0
    assert (journal.entries[seq].dead, journal.entries[seq].deferred) == (True, False)
    assert lock(queue.dead_letter, 0).entry.seq == seq


def test_a_deferred_message_can_be_dead_lettered_and_deferred_again_there() -> None:
    queue, _ = new_queue()
    [seq] = deferred(queue)
    queue.reject(queue.lock_deferred([seq], 0)[0].token, "why", None, 0)
    queue.dead_letter.defer(lock(queue.dead_letter, 0).token, 0)
    assert queue.dead_letter.lock_next(0) is None
    assert queue.dead_letter.take_deferred([seq], 0)[0].seq == seq


@pytest.mark.parametrize("keeps", [True, False], ids=["dead-lettered", "dropped"])
def test_a_deferred_message_expires_only_when_it_is_asked_for(keeps: bool) -> None:
    queue, _ = new_queue(dead_letter_on_expiration=keeps)
    queue.send([message(ttl_ms=500)], 0)
    queue.defer(lock(queue, 0).token, 0)
    queue.lock_deferred([1], 100)
    queue.advance(9000)  # long after the end of its life and of that lock
    assert queue.counts(9000)["deferred"] == 1
    assert [entry.seq for entry in queue.peek(1, 9, 9000)] == [1]
    assert refused(lambda: queue.lock_deferred([1], 9000)) == Condition.MESSAGE_NOT_FOUND
    assert queue.peek(1, 9, 9000) == []
    assert (queue.dead_letter.lock_next(9000) is not None) is keeps


def test_a_peek_shows_everything_in_order_and_changes_nothing() -> None:
    queue, journal = new_queue()
    queue.send([message(), message(), message(due_ms=10**6), message(), message(ttl_ms=10)], 0)
    lock(queue, 0)
    queue.defer(lock(queue, 0).token, 0)
    before = dict(journal.entries)
    found = queue.peek(1, 9, 20)
    states = [State.ACTIVE, State.DEFERRED, State.SCHEDULED, State.ACTIVE]
    assert [(entry.seq, entry.state) for entry in found] == list(zip([1, 2, 3, 4], states, strict=True))
    assert [entry.seq for entry in queue.peek(2, 2, 20)] == [2, 3]
    assert queue.peek(5, 9, 20) == []
    assert journal.entries == before
    assert lock(queue, 20).entry.seq == 4


def test_a_message_without_an_id_is_given_one_that_is_no_repeat_of_another() -> None:
    queue, journal = new_queue()
    assert queue.send([message(), message(), message(message_id="mine")], 0) == [1, 2, 3]
    ids = [journal.entries[seq].message.message_id for seq in (1, 2, 3)]
    assert len({*ids}) == 3
    assert ids[2] == "mine"
    assert all(isinstance(found, str) and found for found in ids)


@pytest.mark.parametrize("verb", ["abandon", "defer", "reject"])
def test_application_properties_change_with_a_settlement_or_nothing_does(verb: str) -> None:
    queue, journal = new_queue()
    queue.send([message()], 0)
    held = lock(queue, 0)

    def settle(changes: dict[str, object]) -> None:
        if verb == "reject":
            queue.reject(held.token, "r", None, 0, changes)
        else:
            getattr(queue, verb)(held.token, 0, changes)

    assert refused(lambda: settle({"big": "x" * MAX_MESSAGE_BYTES})) == Condition.MESSAGE_SIZE
    assert queue.holds(held.token, 0)
    settle({"tried": "once"})
    assert b"once" in journal.entries[1].message.application
