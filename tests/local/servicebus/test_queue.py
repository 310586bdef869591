"""One queue's semantics at given moments."""

from uuid import uuid4

import pytest

from local.servicebus.errors import AmqpError, Condition
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
    assert queue.counts(5000) == {"active": 1, "locked": 0, "scheduled": 1, "oldest_s": 3.0}
