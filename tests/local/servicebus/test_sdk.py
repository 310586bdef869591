"""The unmodified SDK, sync and aio, does every operation of a queue against the broker."""

import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from azure.servicebus import ServiceBusMessage, ServiceBusReceiveMode, ServiceBusSubQueue
from azure.servicebus.exceptions import MessageLockLostError, MessageNotFoundError

from tests.local.servicebus.conftest import Sdk, until


def bodies(messages: list[Any]) -> list[str]:
    return [str(message) for message in messages]


def complete_all(sdk: Sdk, name: str, messages: list[Any]) -> None:
    for message in messages:
        sdk.settle(name, "complete", message)
    assert sdk.counts(name) == {}


def test_a_message_keeps_everything_it_was_sent_with(sdk: Sdk) -> None:
    sent = ServiceBusMessage(
        b"\x00body",
        message_id="id-1",
        subject="opened",
        correlation_id="c",
        content_type="application/json",
        application_properties={"attempt": 3, "who": "collector", "ok": True},
        time_to_live=timedelta(minutes=5),
    )
    sdk.send("jobs", sent)
    [got] = sdk.receive("jobs")
    assert b"".join(got.body) == b"\x00body"
    assert (got.message_id, got.subject, got.correlation_id, got.content_type) == (
        "id-1",
        "opened",
        "c",
        "application/json",
    )
    assert got.application_properties == {b"attempt": 3, b"who": b"collector", b"ok": True}
    assert got.time_to_live == timedelta(minutes=5)
    assert got.delivery_count == 0
    assert got.sequence_number == got.enqueued_sequence_number
    assert got._raw_amqp_message.delivery_annotations[b"x-opt-lock-token"] == got.lock_token
    assert isinstance(got.lock_token, uuid.UUID)
    complete_all(sdk, "jobs", [got])


def test_lists_and_batches_arrive_in_order(sdk: Sdk) -> None:
    batch = sdk.run(sdk.sender("jobs").create_message_batch())
    for number in range(3):
        batch.add_message(ServiceBusMessage(f"batch {number}"))
    sdk.send("jobs", batch)
    sdk.send("jobs", [ServiceBusMessage(f"list {number}") for number in range(3)])
    got = sdk.receive("jobs", 6)
    assert bodies(got) == [f"batch {n}" for n in range(3)] + [f"list {n}" for n in range(3)]
    assert sorted(m.sequence_number for m in got) == [m.sequence_number for m in got]
    complete_all(sdk, "jobs", got)


def test_abandoning_counts_and_brings_it_back(sdk: Sdk) -> None:
    sdk.send("jobs", ServiceBusMessage("again"))
    [first] = sdk.receive("jobs")
    sdk.settle("jobs", "abandon", first)
    [second] = sdk.receive("jobs")
    assert (second.delivery_count, second.sequence_number) == (1, first.sequence_number)
    complete_all(sdk, "jobs", [second])


def test_a_dead_letter_tells_reason_and_source(sdk: Sdk) -> None:
    sdk.send("jobs", ServiceBusMessage("poison", application_properties={"kept": "yes"}))
    [got] = sdk.receive("jobs")
    sdk.settle("jobs", "dead_letter", got, reason="bug", error_description="it has legs")
    assert sdk.counts("jobs") == {"dead_letter": 1}
    dead_letters: dict[str, Any] = {"sub_queue": ServiceBusSubQueue.DEAD_LETTER}
    [dead] = sdk.receive("jobs", **dead_letters)
    assert (dead.dead_letter_reason, dead.dead_letter_error_description) == ("bug", "it has legs")
    assert dead.dead_letter_source == sdk.queue("jobs")
    assert dead.application_properties[b"kept"] == b"yes"
    receiver = sdk.receiver("jobs", **dead_letters)
    sdk.run(receiver.renew_message_lock(dead))
    sdk.settle("jobs", "complete", dead, receiver)
    assert sdk.counts("jobs") == {}


def test_a_renewed_lock_outlives_its_first_end(sdk: Sdk) -> None:
    sdk.send("jobs", ServiceBusMessage("long work"))
    [got] = sdk.receive("jobs")
    sdk.advance(40)
    before = got.locked_until_utc
    assert sdk.run(sdk.receiver("jobs").renew_message_lock(got)) >= before + timedelta(seconds=39)
    sdk.advance(40)
    assert sdk.counts("jobs") == {"locked": 1}
    complete_all(sdk, "jobs", [got])


def test_an_expired_lock_gives_the_message_back_and_refuses_its_old_holder(sdk: Sdk) -> None:
    sdk.send("jobs", ServiceBusMessage("late"))
    [late] = sdk.receive("jobs")
    sdk.advance(61)
    with pytest.raises(MessageLockLostError):
        sdk.settle("jobs", "complete", late)
    with pytest.raises(MessageLockLostError):
        sdk.run(sdk.receiver("jobs").renew_message_lock(late))
    [again] = sdk.receive("jobs")
    assert again.delivery_count == 1
    complete_all(sdk, "jobs", [again])


def test_too_many_failed_deliveries_end_in_the_dead_letter_queue(sdk: Sdk) -> None:
    sdk.send("twice", ServiceBusMessage("hot"))
    for count in range(2):
        [got] = sdk.receive("twice")
        assert got.delivery_count == count
        sdk.settle("twice", "abandon", got)
    [dead] = sdk.receive("twice", sub_queue=ServiceBusSubQueue.DEAD_LETTER)
    assert (dead.dead_letter_reason, dead.delivery_count) == ("MaxDeliveryCountExceeded", 2)
    sdk.settle("twice", "complete", dead, sdk.receiver("twice", sub_queue=ServiceBusSubQueue.DEAD_LETTER))


def test_an_expired_message_is_dead_lettered_where_the_queue_says_so(sdk: Sdk) -> None:
    sdk.send("twice", ServiceBusMessage("stale", time_to_live=timedelta(seconds=20)))
    sdk.advance(21)
    [dead] = sdk.receive("twice", sub_queue=ServiceBusSubQueue.DEAD_LETTER)
    assert dead.dead_letter_reason == "TTLExpiredException"
    sdk.settle("twice", "complete", dead, sdk.receiver("twice", sub_queue=ServiceBusSubQueue.DEAD_LETTER))


def test_an_expired_message_is_dropped_elsewhere(sdk: Sdk) -> None:
    sdk.send("jobs", ServiceBusMessage("stale", time_to_live=timedelta(seconds=20)))
    assert sdk.counts("jobs") == {"active": 1}
    sdk.advance(21)
    assert sdk.counts("jobs") == {}


def test_a_scheduled_message_comes_at_its_time(sdk: Sdk) -> None:
    now = datetime.fromtimestamp(sdk.clock(), UTC)
    first, second = sdk.run(
        sdk.sender("jobs").schedule_messages(
            [ServiceBusMessage("later"), ServiceBusMessage("even later")], now + timedelta(seconds=30)
        )
    )
    sdk.run(sdk.sender("jobs").cancel_scheduled_messages(second))
    sdk.send("jobs", ServiceBusMessage("as sent", scheduled_enqueue_time_utc=now + timedelta(seconds=20)))
    assert sdk.counts("jobs") == {"scheduled": 2}
    sdk.advance(31)
    got = sdk.receive("jobs", 2)
    assert bodies(got) == ["as sent", "later"]
    assert got[1].enqueued_sequence_number == first
    assert got[1].scheduled_enqueue_time_utc is not None
    complete_all(sdk, "jobs", got)
    with pytest.raises(MessageNotFoundError):
        sdk.run(sdk.sender("jobs").cancel_scheduled_messages(second))


def test_a_repeated_message_id_is_dropped_within_the_window_only(sdk: Sdk) -> None:
    for _ in range(2):
        sdk.send("jobs", ServiceBusMessage("once", message_id="same"))
    sdk.send("jobs", [ServiceBusMessage("once", message_id="same"), ServiceBusMessage("other", message_id="new")])
    got = sdk.receive("jobs", 2)
    assert bodies(got) == ["once", "other"]
    complete_all(sdk, "jobs", got)
    sdk.advance(601)
    sdk.send("jobs", ServiceBusMessage("once", message_id="same"))
    complete_all(sdk, "jobs", sdk.receive("jobs"))


def test_receive_and_delete_leaves_nothing(sdk: Sdk) -> None:
    sdk.send("Delete", [ServiceBusMessage(str(number)) for number in range(5)])
    got = sdk.receive("Delete", 5, receive_mode=ServiceBusReceiveMode.RECEIVE_AND_DELETE)
    assert bodies(got) == ["0", "1", "2", "3", "4"]
    assert sdk.counts("Delete") == {}


def test_closing_a_receiver_gives_prefetched_messages_back_uncounted(sdk: Sdk) -> None:
    sdk.send("short", [ServiceBusMessage(str(number)) for number in range(4)])
    receiver = sdk.client.get_queue_receiver(sdk.queue("short"), prefetch_count=10)
    [first] = sdk.run(receiver.receive_messages(max_message_count=1, max_wait_time=5))
    sdk.run(receiver.complete_message(first))
    sdk.run(receiver.close())
    # The SDK does not wait for an answer to what it releases.
    until(lambda: sdk.counts("short") == {"active": 3})
    got = sdk.receive("short", 3)
    assert [m.delivery_count for m in got] == [0, 0, 0]
    complete_all(sdk, "short", got)


def test_a_batch_filled_to_the_brim_is_taken(sdk: Sdk) -> None:
    batch = sdk.run(sdk.sender("jobs").create_message_batch())
    assert batch.max_size_in_bytes == 262_144
    for _ in range(8):
        batch.add_message(ServiceBusMessage(b"x" * 30_000))
    with pytest.raises(ValueError, match="size limit"):
        batch.add_message(ServiceBusMessage(b"x" * 30_000))
    batch.add_message(ServiceBusMessage(b"x" * (262_144 - batch.size_in_bytes - 200)))
    assert batch.size_in_bytes > 261_900
    sdk.send("jobs", batch)
    complete_all(sdk, "jobs", sdk.receive("jobs", 9))


def test_a_large_message_crosses_many_frames_whole(sdk: Sdk) -> None:
    body = bytes(range(256)) * 1000
    sdk.send("jobs", ServiceBusMessage(body))
    [got] = sdk.receive("jobs")
    assert b"".join(got.body) == body
    complete_all(sdk, "jobs", [got])
