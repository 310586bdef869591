"""What the broker refuses reaches the SDK's user as the right exception, soon."""

import time
from collections.abc import Callable
from typing import Any

import pytest
from azure.servicebus import NEXT_AVAILABLE_SESSION, ServiceBusClient, ServiceBusMessage
from azure.servicebus.aio import ServiceBusClient as AioServiceBusClient
from azure.servicebus.exceptions import (
    MessageSizeExceededError,
    MessagingEntityNotFoundError,
    ServiceBusAuthenticationError,
    ServiceBusError,
)

from tests.local.servicebus.conftest import KEY, Sdk


@pytest.fixture(autouse=True)
def _soon(sdk: Sdk) -> Any:
    start = time.monotonic()
    yield
    assert time.monotonic() - start < 20, "a refusal must not be a wait"


def attempt(sdk: Sdk, opened: Any, call: Callable[[Any], Any]) -> None:
    """Call and close, so that a refused link leaves nothing behind."""
    try:
        sdk.run(call(opened))
    finally:
        sdk.run(opened.close())


def test_a_wrong_key(sdk: Sdk) -> None:
    kind = ServiceBusClient if sdk.flavour == "sync" else AioServiceBusClient
    wrong = sdk.broker.connection_string.replace(KEY, "another key")
    client = kind.from_connection_string(wrong, retry_total=0)
    with pytest.raises(ServiceBusAuthenticationError) as caught:
        attempt(sdk, client.get_queue_sender(sdk.queue("jobs")), lambda s: s.send_messages(ServiceBusMessage("x")))
    assert KEY not in str(caught.value)
    sdk.run(client.close())


def test_an_unknown_queue(sdk: Sdk) -> None:
    with pytest.raises(MessagingEntityNotFoundError):
        attempt(sdk, sdk.client.get_queue_sender("nowhere"), lambda s: s.send_messages(ServiceBusMessage("x")))
    with pytest.raises(MessagingEntityNotFoundError):
        attempt(sdk, sdk.client.get_queue_receiver("nowhere"), lambda r: r.receive_messages(max_wait_time=3))


def test_a_message_above_256_kilobytes(sdk: Sdk) -> None:
    with pytest.raises(MessageSizeExceededError):
        sdk.send("jobs", ServiceBusMessage(b"x" * 262_144))
    with pytest.raises(MessageSizeExceededError):
        sdk.send("jobs", [ServiceBusMessage(b"x" * 100_000) for _ in range(3)])
    assert sdk.counts("jobs") == {}
    sdk.send("jobs", ServiceBusMessage("the link still works"))
    sdk.settle("jobs", "complete", sdk.receive("jobs")[0])


@pytest.mark.parametrize("session", ["one", NEXT_AVAILABLE_SESSION], ids=["named", "next-available"])
def test_a_session(sdk: Sdk, session: Any) -> None:
    opened = sdk.client.get_queue_receiver(sdk.queue("jobs"), session_id=session)
    with pytest.raises(ServiceBusError, match="no sessions"):
        attempt(sdk, opened, lambda r: r.receive_messages(max_wait_time=3))


def test_a_subscription(sdk: Sdk) -> None:
    opened = sdk.client.get_subscription_receiver("topic", "subscription")
    with pytest.raises(ServiceBusError, match="no topics and subscriptions"):
        attempt(sdk, opened, lambda r: r.receive_messages(max_wait_time=3))
