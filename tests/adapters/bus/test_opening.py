"""Links that are opened ahead, over the real wire."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from pydantic import SecretStr

from local.servicebus.server import RunningBroker, broker_thread
from local.servicebus.settings import QueueSettings
from shared.adapters.bus.servicebus import ServiceBusBus
from shared.dispatch import process
from shared.model.errors import TransientError
from shared.model.pipeline import Queue
from shared.ports.bus import Message

KEY = "k" * 40
NOBODY = "Endpoint=sb://localhost:1;SharedAccessKeyName=a;SharedAccessKey=b;UseDevelopmentEmulator=true"


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningBroker]:
    queues = [QueueSettings(str(queue)) for queue in Queue if queue is not Queue.KNOWLEDGE]
    with broker_thread(tmp_path_factory.mktemp("opening") / "broker.db", queues, KEY) as running:
        yield running


@pytest.fixture
def bus(broker: RunningBroker) -> Iterator[ServiceBusBus]:
    made = ServiceBusBus(SecretStr(broker.connection_string))
    yield made
    made.close()


def active(broker: RunningBroker, queue: Queue) -> object:
    return next(row["active"] for row in broker.stats() if row["name"] == queue)


def test_a_first_message_finds_its_link_open(broker: RunningBroker, bus: ServiceBusBus) -> None:
    before = len(broker.broker.peers)
    bus.open([Queue.SIGNALS, Queue.INCIDENTS])
    assert len(broker.broker.peers) == before + 2
    for queue in (Queue.SIGNALS, Queue.INCIDENTS):
        bus.send(queue, [Message("first", b"{}")])
        assert active(broker, queue) == 1
    assert len(broker.broker.peers) == before + 2


def test_a_link_that_cannot_be_opened_is_left_to_its_first_message(broker: RunningBroker, bus: ServiceBusBus) -> None:
    bus.open([Queue.KNOWLEDGE, Queue.TICKETS])
    bus.send(Queue.TICKETS, [Message("first", b"{}")])
    assert active(broker, Queue.TICKETS) == 1
    with pytest.raises(TransientError):
        bus.send(Queue.KNOWLEDGE, [Message("first", b"{}")])


@pytest.mark.parametrize("connection", ["", NOBODY], ids=["none configured", "nobody listens"])
def test_a_bus_that_is_not_there_stops_no_start(connection: str) -> None:
    bus = ServiceBusBus(SecretStr(connection))
    bus.open([Queue.SIGNALS, Queue.INCIDENTS])
    bus.close()


@pytest.mark.parametrize(
    ("roles", "opened"),
    [
        ("", [Queue.SIGNALS, Queue.INCIDENTS, Queue.NOTIFICATIONS, Queue.TICKETS, Queue.INVESTIGATIONS]),
        ("edge, core,exec", [Queue.SIGNALS, Queue.INCIDENTS, Queue.NOTIFICATIONS, Queue.TICKETS, Queue.INVESTIGATIONS]),
        ("edge", [Queue.SIGNALS]),
        ("core", [Queue.INCIDENTS, Queue.NOTIFICATIONS, Queue.TICKETS, Queue.INVESTIGATIONS]),
        ("exec", []),
    ],
)
def test_a_start_opens_what_a_first_alert_goes_through(roles: str, opened: list[Queue]) -> None:
    assert process.first_used(roles) == opened
