"""Peeking through the unmodified SDK, sync and aio: everything in order, nothing locked, nothing counted."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from azure.servicebus import ServiceBusMessage, ServiceBusMessageState, ServiceBusSubQueue
from azure.servicebus.exceptions import ServiceBusError

from tests.local.servicebus.conftest import Sdk

DEAD: dict[str, Any] = {"sub_queue": ServiceBusSubQueue.DEAD_LETTER}
ACTIVE, DEFERRED, SCHEDULED = (
    ServiceBusMessageState.ACTIVE,
    ServiceBusMessageState.DEFERRED,
    ServiceBusMessageState.SCHEDULED,
)


def peek(sdk: Sdk, name: str, count: int = 20, start: int = 1, **options: Any) -> list[Any]:
    # Without a number the SDK goes on behind the last message this receiver got.
    found: list[Any] = sdk.run(sdk.receiver(name, **options).peek_messages(count, sequence_number=start))
    return found


def test_a_peek_shows_active_locked_deferred_and_scheduled_in_order_and_locks_nothing(sdk: Sdk) -> None:
    sdk.send("jobs", [ServiceBusMessage(str(number)) for number in range(4)])
    later = datetime.fromtimestamp(sdk.clock(), UTC) + timedelta(seconds=60)
    [scheduled] = sdk.run(sdk.sender("jobs").schedule_messages(ServiceBusMessage("4"), later))
    locked, aside = sdk.receive("jobs", 2)
    sdk.settle("jobs", "defer", aside)
    before = sdk.counts("jobs")
    found = peek(sdk, "jobs")
    assert [str(message) for message in found] == ["0", "1", "2", "3", "4"]
    assert [message.state for message in found] == [ACTIVE, DEFERRED, ACTIVE, ACTIVE, SCHEDULED]
    assert [message.delivery_count for message in found] == [0, 1, 0, 0, 0]
    assert found[4].sequence_number == scheduled
    assert not any(getattr(message, "lock_token", None) for message in found)
    assert [str(message) for message in peek(sdk, "jobs", 2, found[1].sequence_number)] == ["1", "2"]
    assert peek(sdk, "jobs", 5, scheduled + 1) == []
    assert sdk.counts("jobs") == before == {"active": 2, "locked": 1, "deferred": 1, "scheduled": 1}

    sdk.run(sdk.sender("jobs").cancel_scheduled_messages(scheduled))
    [again] = sdk.run(sdk.receiver("jobs").receive_deferred_messages([aside.sequence_number]))
    for message in (locked, again, *sdk.receive("jobs", 2)):
        sdk.settle("jobs", "complete", message)
    assert peek(sdk, "jobs") == []


def test_the_dead_letter_queue_is_peeked_with_reason_and_body(sdk: Sdk) -> None:
    sdk.send("jobs", [ServiceBusMessage(f"poison {number}", application_properties={"n": number}) for number in (1, 2)])
    for message in sdk.receive("jobs", 2):
        sdk.settle("jobs", "dead_letter", message, reason="bug", error_description="it has legs")
    for _ in range(2):
        found = peek(sdk, "jobs", **DEAD)
        assert [str(message) for message in found] == ["poison 1", "poison 2"]
        assert {message.dead_letter_reason for message in found} == {"bug"}
        assert {message.dead_letter_error_description for message in found} == {"it has legs"}
        assert {message.dead_letter_source for message in found} == {sdk.queue("jobs")}
        assert [message.application_properties[b"n"] for message in found] == [1, 2]
    assert peek(sdk, "jobs") == []
    assert sdk.counts("jobs") == {"dead_letter": 2}
    for message in sdk.receive("jobs", 2, **DEAD):
        assert message.delivery_count == 0
        sdk.settle("jobs", "complete", message, sdk.receiver("jobs", **DEAD))


def test_a_peek_goes_on_where_it_was(sdk: Sdk) -> None:
    sdk.send("Delete", [ServiceBusMessage(str(number)) for number in range(5)])
    receiver = sdk.client.get_queue_receiver(sdk.queue("Delete"))
    seen: list[str] = []
    while found := sdk.run(receiver.peek_messages(2)):
        seen += [str(message) for message in found]
    sdk.run(receiver.close())
    assert seen == ["0", "1", "2", "3", "4"]
    for message in sdk.receive("Delete", 5):
        sdk.settle("Delete", "complete", message)


def test_a_peek_for_nothing_is_refused(sdk: Sdk) -> None:
    with pytest.raises(ServiceBusError, match="message-count"):
        peek(sdk, "jobs", 0)
