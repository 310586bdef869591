"""Deferred messages through the unmodified SDK, sync and aio, and what is refused about them."""

from typing import Any

import pytest
from azure.servicebus import ServiceBusMessage, ServiceBusMessageState, ServiceBusReceiveMode, ServiceBusSubQueue
from azure.servicebus.exceptions import MessageAlreadySettled, MessageLockLostError, MessageNotFoundError

from tests.local.servicebus.conftest import Sdk

DEAD: dict[str, Any] = {"sub_queue": ServiceBusSubQueue.DEAD_LETTER}


def set_aside(sdk: Sdk, name: str, *bodies: str) -> list[int]:
    """Send, receive and defer; returns the sequence numbers."""
    sdk.send(name, [ServiceBusMessage(body) for body in bodies])
    got = sdk.receive(name, len(bodies))
    for message in got:
        sdk.settle(name, "defer", message)
    return [message.sequence_number for message in got]


def deferred(sdk: Sdk, name: str, numbers: Any, **options: Any) -> list[Any]:
    found: list[Any] = sdk.run(sdk.receiver(name, **options).receive_deferred_messages(numbers))
    return found


def test_deferred_messages_are_received_by_number_and_settled(sdk: Sdk) -> None:
    numbers = set_aside(sdk, "twice", "complete", "dead_letter", "defer", "abandon")
    assert sdk.counts("twice") == {"deferred": 4}
    got = deferred(sdk, "twice", numbers)
    assert [str(message) for message in got] == ["complete", "dead_letter", "defer", "abandon"]
    assert {(message.state, message.delivery_count) for message in got} == {(ServiceBusMessageState.DEFERRED, 1)}
    assert all(message.locked_until_utc and message.lock_token for message in got)
    assert sdk.counts("twice") == {"locked": 4}
    for message in got:
        sdk.settle("twice", str(message), message)
    # The queue allows two deliveries: the abandoned one has failed for good, the deferred one is only waiting.
    assert sdk.counts("twice") == {"deferred": 1, "dead_letter": 2}
    mode = ServiceBusReceiveMode.RECEIVE_AND_DELETE
    [last] = deferred(sdk, "twice", numbers[2], receive_mode=mode)
    assert (str(last), last.delivery_count) == ("defer", 2)
    assert sdk.counts("twice") == {"dead_letter": 2}
    dead = sdk.receive("twice", 2, **DEAD)
    assert {(str(message), message.state) for message in dead} == {
        ("dead_letter", ServiceBusMessageState.ACTIVE),
        ("abandon", ServiceBusMessageState.ACTIVE),
    }
    for message in dead:
        sdk.settle("twice", "complete", message, sdk.receiver("twice", **DEAD))


def test_a_deferred_message_whose_lock_expires_stays_deferred(sdk: Sdk) -> None:
    [number] = set_aside(sdk, "jobs", "slow")
    [got] = deferred(sdk, "jobs", [number])
    sdk.run(sdk.receiver("jobs").renew_message_lock(got))
    sdk.advance(61)
    assert sdk.counts("jobs") == {"deferred": 1}
    with pytest.raises(MessageLockLostError):
        sdk.settle("jobs", "complete", got)
    [again] = deferred(sdk, "jobs", [number])
    assert again.delivery_count == 2
    sdk.settle("jobs", "complete", again)
    assert sdk.counts("jobs") == {}


def test_what_is_not_deferred_is_not_found(sdk: Sdk) -> None:
    [number] = set_aside(sdk, "jobs", "aside")
    sdk.send("jobs", ServiceBusMessage("active"))
    for wrong in (number + 1, number + 99):
        with pytest.raises(MessageNotFoundError):
            deferred(sdk, "jobs", [number, wrong])
    [got] = deferred(sdk, "jobs", [number])
    with pytest.raises(MessageNotFoundError):
        deferred(sdk, "jobs", [number])  # it is locked
    sdk.settle("jobs", "complete", got)
    with pytest.raises(MessageAlreadySettled):
        sdk.settle("jobs", "complete", got)
    with pytest.raises(MessageNotFoundError):
        deferred(sdk, "jobs", [number])
    sdk.settle("jobs", "complete", sdk.receive("jobs")[0])


def test_a_settled_message_is_refused_by_the_broker_too(sdk: Sdk) -> None:
    sdk.send("jobs", ServiceBusMessage("once"))
    [got] = sdk.receive("jobs")
    sdk.settle("jobs", "complete", got)
    got._settled = False  # what the SDK remembers; another process would not
    with pytest.raises(MessageLockLostError):
        sdk.settle("jobs", "complete", got)
    with pytest.raises(MessageLockLostError):
        sdk.run(sdk.receiver("jobs").renew_message_lock(got))
    assert sdk.counts("jobs") == {}


def test_a_message_of_the_dead_letter_queue_can_be_deferred_there(sdk: Sdk) -> None:
    sdk.send("jobs", ServiceBusMessage("poison"))
    sdk.settle("jobs", "dead_letter", sdk.receive("jobs")[0], reason="r")
    [dead] = sdk.receive("jobs", **DEAD)
    sdk.settle("jobs", "defer", dead, sdk.receiver("jobs", **DEAD))
    assert sdk.counts("jobs") == {"dead_letter": 1}
    with pytest.raises(MessageNotFoundError):
        deferred(sdk, "jobs", [dead.sequence_number])
    [again] = deferred(sdk, "jobs", [dead.sequence_number], **DEAD)
    assert (again.dead_letter_reason, again.state) == ("r", ServiceBusMessageState.DEFERRED)
    sdk.settle("jobs", "complete", again, sdk.receiver("jobs", **DEAD))
    assert sdk.counts("jobs") == {}
