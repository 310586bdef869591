"""Looking at queues over the real wire: the unmodified SDK against the development broker."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from azure.servicebus import ServiceBusClient
from pydantic import SecretStr

from local.servicebus.server import RunningBroker, broker_thread
from local.servicebus.settings import QueueSettings
from local.stack.places import any_free
from shared.adapters.bus.queue_watch import PAGE, ServiceBusQueueWatch
from shared.adapters.bus.servicebus import ServiceBusBus
from shared.model.errors import TransientError
from shared.model.pipeline import Queue
from shared.ports.bus import Message

KEY = "k" * 40


@dataclass
class Wire:
    """A broker, its bus, and the watch."""

    broker: RunningBroker
    bus: ServiceBusBus
    watch: ServiceBusQueueWatch

    def send(self, queue: Queue, *names: str, after: timedelta | None = None) -> None:
        at = None if after is None else datetime.now(UTC) + after
        self.bus.send(queue, [Message(name, b"{}", not_before=at) for name in names])


@pytest.fixture(scope="module")
def wire(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Wire]:
    queues = [QueueSettings(str(queue), max_delivery_count=3) for queue in Queue]
    with broker_thread(tmp_path_factory.mktemp("watch") / "broker.db", queues, KEY) as broker:
        connection = SecretStr(broker.connection_string)
        found = Wire(broker, ServiceBusBus(connection), ServiceBusQueueWatch(connection))
        yield found
        found.bus.close()
        found.watch.close()


def test_an_empty_queue(wire: Wire) -> None:
    state = wire.watch.look(Queue.CLOSING)
    assert (state.oldest_at, state.dead, state.dead_at) == (None, 0, None)
    wire.watch.reach()


def test_the_oldest_message_and_not_what_is_scheduled(wire: Wire) -> None:
    wire.send(Queue.TICKETS, *(f"later {i}" for i in range(PAGE + 5)), after=timedelta(hours=1))
    assert wire.watch.look(Queue.TICKETS).oldest_at is None
    before = datetime.now(UTC)
    wire.send(Queue.TICKETS, "first", "second")
    oldest = wire.watch.look(Queue.TICKETS).oldest_at
    assert oldest is not None
    assert abs(oldest - before) < timedelta(seconds=10)


def test_a_look_takes_nothing_and_counts_as_no_delivery(wire: Wire) -> None:
    """More looks than the queue allows deliveries, and a receiver that is open when the messages come."""
    wire.watch.look(Queue.DECISIONS)
    wire.send(Queue.DECISIONS, "one", "two")
    [row] = [row for row in wire.broker.stats() if row["name"] == "decisions"]
    assert row["locked"] == 0
    for _ in range(8):
        wire.watch.look(Queue.DECISIONS)
    [row] = [row for row in wire.broker.stats() if row["name"] == "decisions"]
    assert (row["active"], row["locked"], row["dead_letter"]) == (2, 0, 0)
    client = ServiceBusClient.from_connection_string(wire.broker.connection_string)
    with client, client.get_queue_receiver("decisions") as receiver:
        got = receiver.receive_messages(2, max_wait_time=5)
        assert [(message.message_id, message.delivery_count) for message in got] == [("one", 0), ("two", 0)]
        locked = wire.watch.look(Queue.DECISIONS)
        assert locked.oldest_at is not None, "what somebody works on is not done yet"
        for message in got:
            receiver.dead_letter_message(message, reason="bug")
    state = wire.watch.look(Queue.DECISIONS)
    assert (state.oldest_at, state.dead) == (None, 2)
    assert state.dead_at is not None


def test_looking_again_is_cheap(wire: Wire) -> None:
    wire.watch.look(Queue.ACTIONS)
    began = time.process_time()
    for _ in range(20):
        wire.watch.look(Queue.ACTIONS)
    assert time.process_time() - began < 0.5


def test_a_broker_that_comes_back_is_seen_again(tmp_path: Path) -> None:
    queues = [QueueSettings(str(Queue.SIGNALS))]
    port = any_free()
    with broker_thread(tmp_path / "broker.db", queues, KEY, port=port) as broker:
        watch = ServiceBusQueueWatch(SecretStr(broker.connection_string))
        watch.reach()
    with pytest.raises(TransientError, match=r"^Service Bus: [A-Za-z]+$"):
        watch.reach()
    with broker_thread(tmp_path / "broker.db", queues, KEY, port=port):
        watch.reach()
        assert watch.look(Queue.SIGNALS).oldest_at is None
        watch.close()


def test_a_wrong_key_is_told_without_the_key(wire: Wire) -> None:
    wrong = ServiceBusQueueWatch(SecretStr(wire.broker.connection_string.replace(KEY, "x" * 40)))
    with pytest.raises(TransientError) as failed:
        wrong.reach()
    assert "x" * 40 not in str(failed.value)
    wrong.close()
