"""Dead letters over the real wire: the unmodified SDK against the development broker."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest
from azure.servicebus import ServiceBusClient, ServiceBusMessage, ServiceBusReceiver, ServiceBusSender
from azure.servicebus.amqp import AmqpAnnotatedMessage
from pydantic import SecretStr

from local.servicebus.server import RunningBroker, broker_thread
from local.servicebus.settings import QueueSettings
from shared.adapters.bus.dead_letters import BATCH, ServiceBusDeadLetters
from shared.adapters.bus.servicebus import ServiceBusBus
from shared.model.errors import TransientError
from shared.model.pipeline import Queue
from shared.ports.bus import Message
from shared.ports.dead_letters import DeadLetter
from tests.adapters.far_side import closed_port
from tests.local.servicebus.conftest import Clock, until

WAIT_S = 15
QUEUE = Queue.SIGNALS


@dataclass
class Wire:
    """A broker, links of one queue that stay open, as opening one takes a second, and the adapter."""

    broker: RunningBroker
    sender: ServiceBusSender
    receiver: ServiceBusReceiver
    dead: ServiceBusDeadLetters
    clock: Clock

    def bury(self, *messages: ServiceBusMessage | AmqpAnnotatedMessage, reason: str = "bug") -> None:
        """Send messages and dead-letter each."""
        for message in messages:
            self.sender.send_messages(message)
        left = len(messages)
        while left:
            for got in self.receiver.receive_messages(max_message_count=left, max_wait_time=WAIT_S):
                self.receiver.dead_letter_message(got, reason=reason, error_description="it has legs")
                left -= 1

    def collect(self, most: int = 100) -> list[DeadLetter]:
        found: list[DeadLetter] = []
        self.dead.collect(QUEUE, found.append, most)
        return found

    def counts(self, queue: Queue) -> dict[str, int]:
        row = next(row for row in self.broker.stats() if row["name"] == str(queue))
        return {str(name): int(row[name]) for name in ("active", "dead_letter", "locked")}  # type: ignore[call-overload]


@pytest.fixture(scope="module")
def wire(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Wire]:
    path: Path = tmp_path_factory.mktemp("broker") / "broker.db"
    queues, clock = [QueueSettings(str(queue), lock_duration_s=5, max_delivery_count=2) for queue in Queue], Clock()
    with broker_thread(path, queues, "a key for tests", clock=clock) as broker:
        dead = ServiceBusDeadLetters(SecretStr(broker.connection_string))
        text = broker.connection_string
        with (
            ServiceBusClient.from_connection_string(text, retry_total=0, socket_timeout=0.05) as client,
            client.get_queue_sender(str(QUEUE)) as sender,
            client.get_queue_receiver(str(QUEUE)) as receiver,
        ):
            yield Wire(broker, sender, receiver, dead, clock)
        dead.close()


def test_a_letter_comes_with_everything_known_of_it_and_is_gone_afterwards(wire: Wire) -> None:
    wire.bury(ServiceBusMessage(b"\x00body", message_id="e1.0", subject="i1"))
    [letter] = wire.collect()
    assert (letter.queue, letter.message_id, letter.body, letter.whole) == (QUEUE, "e1.0", b"\x00body", True)
    assert (letter.reason, letter.description) == ("bug", "it has legs")
    assert letter.sequence > 0
    assert letter.enqueued_at.tzinfo is not None
    assert wire.counts(QUEUE) == {"active": 0, "dead_letter": 0, "locked": 0}
    assert wire.collect() == []


def test_what_breaks_its_reader_every_time_ends_with_the_bus_s_own_reason(wire: Wire) -> None:
    wire.sender.send_messages(ServiceBusMessage(b"poison"))
    for _ in range(2):
        [got] = wire.receiver.receive_messages(max_message_count=1, max_wait_time=WAIT_S)
        wire.receiver.abandon_message(got)
    [letter] = wire.collect()
    assert (letter.reason, letter.deliveries) == ("MaxDeliveryCountExceeded", 2)


def test_bodies_that_are_no_bytes_are_described(wire: Wire) -> None:
    value = AmqpAnnotatedMessage(value_body={b"a": [1, b"\xff"]})
    sequence = AmqpAnnotatedMessage(sequence_body=[[1, "two"], [3]])
    wire.bury(value, sequence, AmqpAnnotatedMessage(value_body="text"))
    found = sorted(((letter.body, letter.whole) for letter in wire.collect()), key=lambda pair: pair[1])
    assert [whole for _, whole in found] == [False, False, True]
    assert found[-1][0] == b"text"
    assert all(body for body, _ in found)


def test_what_keep_refuses_stays_and_comes_again(wire: Wire) -> None:
    wire.bury(ServiceBusMessage(b"1"), ServiceBusMessage(b"2"))

    def refuse(letter: DeadLetter) -> None:
        raise TransientError("the store is down")

    with pytest.raises(TransientError, match="the store is down"):
        wire.dead.collect(QUEUE, refuse, 10)
    assert sorted(letter.body for letter in wire.collect()) == [b"1", b"2"]


def test_more_than_a_batch_and_no_more_than_asked_for(wire: Wire) -> None:
    wire.bury(*(ServiceBusMessage(str(number).encode()) for number in range(BATCH + 5)))
    assert len(wire.collect(most=BATCH + 2)) == BATCH + 2
    assert len(wire.collect()) == 3


def test_two_collectors_at_once_lose_and_double_nothing_that_matters(wire: Wire) -> None:
    wire.bury(*(ServiceBusMessage(str(number).encode()) for number in range(6)))
    other = ServiceBusDeadLetters(SecretStr(wire.broker.connection_string))
    seen: list[bytes] = []

    def keep(letter: DeadLetter) -> None:
        seen.append(letter.body)
        if len(seen) == 1:
            other.collect(QUEUE, lambda theirs: seen.append(theirs.body), 10)

    wire.dead.collect(QUEUE, keep, 10)
    other.close()
    assert sorted(set(seen)) == [str(number).encode() for number in range(6)]
    assert wire.counts(QUEUE)["dead_letter"] == 0


def test_a_bus_that_is_away_is_a_transient_failure() -> None:
    text = (
        f"Endpoint=sb://localhost:{closed_port()};SharedAccessKeyName=a;SharedAccessKey=b;UseDevelopmentEmulator=true"
    )
    with pytest.raises(TransientError) as caught:
        ServiceBusDeadLetters(SecretStr(text)).collect(QUEUE, lambda letter: None, 1)
    assert "b;Use" not in str(caught.value)


def test_a_message_may_be_kept_for_a_time_only(wire: Wire) -> None:
    bus = ServiceBusBus(SecretStr(wire.broker.connection_string))
    bus.send(Queue.QUARANTINE, (Message("q.1", b"copy", kept_for=timedelta(days=14)),))
    bus.close()
    assert wire.counts(Queue.QUARANTINE)["active"] == 1
    wire.clock.ahead_s += timedelta(days=14, seconds=1).total_seconds()
    wire.broker.wake()
    until(lambda: wire.counts(Queue.QUARANTINE) == {"active": 0, "dead_letter": 0, "locked": 0})
