"""Queue triggers of a running host, against the project's broker through the unmodified SDK."""

from __future__ import annotations

import itertools
import json
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from azure.servicebus import ServiceBusClient, ServiceBusMessage, ServiceBusSender, ServiceBusSubQueue

from local.servicebus.server import RunningBroker, broker_thread
from local.servicebus.settings import QueueSettings
from local.stack.places import any_free
from tests.local.host.conftest import StartHost
from tests.local.host.process import HostProcess, until

KEY = "k" * 24
Send = Callable[..., None]


def broker(path: Path, port: int = 0) -> Any:
    queues = [
        QueueSettings("single", lock_duration_s=5.0, max_delivery_count=3),
        QueueSettings("many", lock_duration_s=5.0, max_delivery_count=3),
    ]
    return broker_thread(path, queues, KEY, port=port)


@pytest.fixture
def bus(tmp_path: Path) -> Iterator[RunningBroker]:
    with broker(tmp_path / "bus.db") as running:
        yield running


class Senders:
    """One SDK client and its senders, opened when first used."""

    def __init__(self, connection_string: str) -> None:
        self.client = ServiceBusClient.from_connection_string(connection_string)
        self._open: dict[str, ServiceBusSender] = {}

    def __call__(self, queue: str, content: object, **fields: Any) -> None:
        if queue not in self._open:
            self._open[queue] = self.client.get_queue_sender(queue)
        self._open[queue].send_messages(ServiceBusMessage(json.dumps(content), **fields))

    def send_all(self, queue: str, contents: list[object]) -> None:
        sender = self._open.setdefault(queue, self.client.get_queue_sender(queue))
        sender.send_messages([ServiceBusMessage(json.dumps(one), message_id=f"m{n}") for n, one in enumerate(contents)])

    def dead(self, queue: str) -> list[tuple[str | None, str | None]]:
        with self.client.get_queue_receiver(queue, sub_queue=ServiceBusSubQueue.DEAD_LETTER) as receiver:
            found = receiver.receive_messages(max_message_count=1, max_wait_time=5)
            return [(one.message_id, one.dead_letter_reason) for one in found]

    def close(self) -> None:
        for sender in self._open.values():
            sender.close()
        self.client.close()


@pytest.fixture
def send(bus: RunningBroker) -> Iterator[Senders]:
    senders = Senders(bus.connection_string)
    yield senders
    senders.close()


def listening(start_host: StartHost, bus: RunningBroker) -> HostProcess:
    host = start_host("queues", SINGLE_QUEUE="single", BUS=bus.connection_string)
    until(lambda: host.http.get("/admin/host/status").json()["queuesListening"] == 2, 15, "listening")
    return host


def named(host: HostProcess, name: str) -> list[dict[str, Any]]:
    return [one for one in host.noted() if one["name"] == name]


def test_a_single_message_with_its_properties_and_a_short_hop(
    start_host: StartHost, bus: RunningBroker, send: Senders
) -> None:
    host = listening(start_host, bus)
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    own = {"traceparent": trace, b"n": 3}
    send("single", {"n": 0}, message_id="first", application_properties=own)
    first = until(lambda: named(host, "single"))[0]
    assert first["message_id"] == "first"
    assert first["delivery"] == 1
    assert first["properties"]["n"] == 3
    assert first["trace"] == trace

    numbers = itertools.count(1)

    def hop() -> float:
        sent, number = time.time(), next(numbers)
        send("single", {"n": number})
        seen = until(lambda: [one for one in named(host, "single") if one["content"] == {"n": number}])
        return float(seen[0]["at"] - sent)

    medians: list[float] = []  # a time-out in the path shows in every one; somebody else's work does not
    while not medians or (min(medians) >= 0.05 and len(medians) < 8):
        medians.append(statistics.median(hop() for _ in range(20)))
    assert min(medians) < 0.05


def test_batches(start_host: StartHost, bus: RunningBroker, send: Senders) -> None:
    host = listening(start_host, bus)
    send.send_all("many", [f"t{n}" for n in range(40)])
    until(lambda: sum(len(one["bodies"]) for one in named(host, "many")) == 40)
    calls = named(host, "many")
    assert len(calls) < 20
    assert [json.loads(body) for one in calls for body in one["bodies"]] == [f"t{n}" for n in range(40)]
    assert calls[0]["ids"][0] == "m0"


def test_an_exception_abandons_until_the_message_is_dead_lettered(
    start_host: StartHost, bus: RunningBroker, send: Senders
) -> None:
    host = listening(start_host, bus)
    send("single", {"fail": True}, message_id="poison")
    until(lambda: len(named(host, "single")) == 3)
    assert send.dead("single") == [("poison", "MaxDeliveryCountExceeded")]
    assert [one["delivery"] for one in named(host, "single")] == [1, 2, 3]
    assert "told to fail" in host.stderr()


def test_a_lock_is_renewed_while_the_function_runs(start_host: StartHost, bus: RunningBroker, send: Senders) -> None:
    host = listening(start_host, bus)
    send("single", {"sleep": 7})
    until(lambda: named(host, "end"), 12)
    send("single", {"after": True})
    until(lambda: named(host, "single"))
    assert len(named(host, "begin")) == 1
    assert "not completed" not in host.stderr()


def test_kill_in_mid_message_delivers_it_again(start_host: StartHost, bus: RunningBroker, send: Senders) -> None:
    first = listening(start_host, bus)
    send("single", {"sleep": 1})
    until(lambda: named(first, "begin"))
    first.kill()
    second = listening(start_host, bus)
    until(lambda: named(second, "end"), 12)
    assert [one["delivery"] for one in named(second, "begin")] == [1, 2]


def test_sigterm_finishes_the_message_and_is_quick(start_host: StartHost, bus: RunningBroker, send: Senders) -> None:
    host = listening(start_host, bus)
    send("single", {"sleep": 1})
    until(lambda: named(host, "begin"))
    began = time.monotonic()
    assert host.terminate() == 0
    assert time.monotonic() - began < 8
    assert named(host, "end")
    again = listening(start_host, bus)
    send("single", {"after": True})
    until(lambda: named(again, "single"))
    assert len(named(again, "begin")) == 1


def test_the_host_outlives_its_broker(start_host: StartHost, tmp_path: Path) -> None:
    port = any_free()
    with broker(tmp_path / "gone.db", port) as running:
        host = listening(start_host, running)
    with broker(tmp_path / "gone.db", port) as running:
        senders = Senders(running.connection_string)
        senders("single", {"n": "back"})
        until(lambda: named(host, "single"), 15)
        senders.close()
    assert host.process.poll() is None
    assert running.key not in host.stderr()
