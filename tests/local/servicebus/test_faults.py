"""A fault inside one turn stops the broker: it might acknowledge what was not kept."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from azure.servicebus import ServiceBusClient, ServiceBusMessage
from azure.servicebus.exceptions import ServiceBusError

from local.servicebus.queue import Queue
from local.servicebus.server import RunningBroker, broker_thread
from local.servicebus.settings import QueueSettings
from tests.local.servicebus.conftest import KEY, until
from tests.local.servicebus.peer import Peer

ROOT = Path(__file__).resolve().parents[3]


class Fault(RuntimeError):
    """What nobody thought of."""


def fault(*_: object, **__: object) -> None:
    raise Fault("not thought of")


def queue_of(running: RunningBroker) -> Queue:
    return running.broker._queues["a"]


def sends(running: RunningBroker, client: ServiceBusClient) -> None:
    """The fault is in the queue, half-way through an operation."""
    queue_of(running)._arm = fault  # type: ignore[assignment]
    client.get_queue_sender("a").send_messages(ServiceBusMessage("half kept"))


def dispatches(running: RunningBroker, client: ServiceBusClient) -> None:
    """The fault is in the turn that hands messages to receivers."""
    queue_of(running).lock_next = fault  # type: ignore[method-assign]
    client.get_queue_receiver("a").receive_messages(max_wait_time=3)


def wakes(running: RunningBroker, client: ServiceBusClient) -> None:
    """The fault is in what the timer does."""
    queue_of(running).advance = fault  # type: ignore[method-assign]
    with pytest.raises(Fault):
        running.wake()
    client.get_queue_sender("a").send_messages(ServiceBusMessage("not kept"))


@pytest.mark.parametrize("trigger", [sends, dispatches, wakes])
def test_a_fault_in_a_turn_stops_the_broker_and_nothing_is_acknowledged(
    trigger: Callable[[RunningBroker, ServiceBusClient], None], tmp_path: Path
) -> None:
    with broker_thread(tmp_path / "b.db", [QueueSettings("a", default_ttl_s=6000)], KEY) as running:
        peer = Peer(running.port).open(KEY, "a")
        client = ServiceBusClient.from_connection_string(running.connection_string, retry_total=0)
        client.get_queue_sender("a").send_messages(ServiceBusMessage("kept"))
        with pytest.raises(ServiceBusError):
            trigger(running, client)
        until(running.broker.failed.done)
        assert isinstance(running.broker.failed.exception(), Fault)
        assert peer.closed() == b""
        peer.close()
        client.close()
    with broker_thread(tmp_path / "b.db", [QueueSettings("a")], KEY) as again:
        assert again.stats()[0]["active"] == 1, "the half that was done is not kept"


FAULTY = """
import sys
from local.servicebus import __main__, queue
def fault(*_): raise RuntimeError("not thought of")
queue.Queue.lock_next = fault
sys.exit(__main__.main(sys.argv[1:]))
"""


def test_the_process_says_so_and_ends_with_1(tmp_path: Path) -> None:
    (tmp_path / "key").write_text(KEY)
    (tmp_path / "queues.json").write_text(json.dumps([{"name": "a"}]))
    command = [sys.executable, "-c", FAULTY, "--db", str(tmp_path / "b.db"), "--key-file", str(tmp_path / "key")]
    command += ["--queues", str(tmp_path / "queues.json")]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        port = int(process.stdout.readline().rsplit(":", 1)[1])
        told = f"Endpoint=sb://localhost:{port};SharedAccessKeyName=argus;SharedAccessKey={KEY};UseDevelopmentEmulator=true"
        with ServiceBusClient.from_connection_string(told, retry_total=0) as client:
            receiver = client.get_queue_receiver("a")
            with pytest.raises(ServiceBusError):
                receiver.receive_messages(max_wait_time=5)
        assert process.wait(10) == 1
        _, said = process.communicate()
    finally:
        process.kill()
        process.communicate()
    assert "servicebus stopped: a fault of the broker, RuntimeError: not thought of" in said
    assert KEY not in said
