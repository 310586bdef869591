"""The broker as a process: ready line, clean end, kill -9 without loss, one per file, gone with its parent."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from azure.servicebus import ServiceBusClient, ServiceBusMessage, ServiceBusReceiveMode
from azure.servicebus.exceptions import ServiceBusError

from local.servicebus.__main__ import main
from local.stack.places import any_free
from tests.local.servicebus.conftest import until

KEY = "a key from a file"
ROOT = Path(__file__).resolve().parents[3]


class Broker:
    """Starts broker processes on one port, database and queue file."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "key").write_text(KEY + "\n")
        (folder / "queues.json").write_text(json.dumps([{"name": "jobs", "lock_duration_s": 5}]))
        self.port = any_free()  # again and again, so it must be none that a connection can be given
        self.processes: list[subprocess.Popen[str]] = []

    def start(self, *more: str, port: int | None = None) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "local.servicebus", "--port", str(self.port if port is None else port)]
        command += ["--db", str(self.folder / "b.db"), "--queues", str(self.folder / "queues.json")]
        command += ["--key-file", str(self.folder / "key"), *more]
        process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.processes.append(process)
        return process

    def started(self, *more: str) -> subprocess.Popen[str]:
        process = self.start(*more)
        assert process.stdout is not None
        assert process.stdout.readline() == f"servicebus ready on 127.0.0.1:{self.port}\n"
        return process

    def client(self) -> ServiceBusClient:
        return ServiceBusClient.from_connection_string(
            f"Endpoint=sb://localhost:{self.port};SharedAccessKeyName=argus;SharedAccessKey={KEY};"
            "UseDevelopmentEmulator=true",
            retry_total=0,
        )


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    found = Broker(tmp_path)
    yield found
    for process in found.processes:
        process.kill()
        process.communicate()


def test_kill_9_loses_nothing_that_was_acknowledged(broker: Broker) -> None:
    process = broker.started()
    acknowledged: list[str] = []
    asked: list[str] = []
    completed: list[str] = []

    def produce() -> None:
        with broker.client() as client, client.get_queue_sender("jobs") as sender:
            number = 0
            try:
                while True:
                    messages = [ServiceBusMessage(f"{number + n}", message_id=f"{number + n}") for n in range(3)]
                    sender.send_messages(messages)
                    acknowledged.extend(f"{number + n}" for n in range(3))
                    number += 3
            except ServiceBusError:
                return

    def consume() -> None:
        with broker.client() as client, client.get_queue_receiver("jobs", prefetch_count=20) as receiver:
            try:
                while True:
                    for message in receiver.receive_messages(10, max_wait_time=1):
                        asked.append(str(message))
                        receiver.complete_message(message)
                        completed.append(str(message))
            except (ServiceBusError, ValueError):
                return

    threads = [threading.Thread(target=produce), threading.Thread(target=consume)]
    for thread in threads:
        thread.start()
    until(lambda: len(acknowledged) > 300 and len(completed) > 50)
    process.send_signal(signal.SIGKILL)
    process.wait()
    for thread in threads:
        thread.join()

    broker.started()
    left: list[str] = []
    mode = ServiceBusReceiveMode.RECEIVE_AND_DELETE
    with broker.client() as client, client.get_queue_receiver("jobs", receive_mode=mode) as receiver:
        while got := receiver.receive_messages(500, max_wait_time=1):
            left += [str(message) for message in got]
    assert len(left) == len(set(left))
    # A completion may have been committed without its answer having reached the consumer.
    assert set(acknowledged) <= set(left) | set(asked)
    assert not set(left) & set(completed), "a completed message came back"


def test_locks_of_a_lost_connection_hold_and_those_of_a_dead_broker_lapse(broker: Broker) -> None:
    process = broker.started()
    with broker.client() as client:
        with client.get_queue_sender("jobs") as sender:
            sender.send_messages(ServiceBusMessage("held"))
        lost = client.get_queue_receiver("jobs")
        assert len(lost.receive_messages(max_wait_time=20)) == 1
        start = time.monotonic()
        handler: Any = lost._handler
        handler._connection._transport.sock.shutdown(socket.SHUT_RDWR)
        receiver = client.get_queue_receiver("jobs")
        [again] = receiver.receive_messages(max_wait_time=20)
        assert time.monotonic() - start > 3.5
        assert again.delivery_count == 1
    process.send_signal(signal.SIGKILL)
    process.wait()
    broker.started()
    with broker.client() as client, client.get_queue_receiver("jobs") as receiver:
        [third] = receiver.receive_messages(max_wait_time=20)
        assert third.delivery_count == 1, "a lock that lapsed with the broker is no failed delivery"
        receiver.complete_message(third)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["term", "int"])
def test_a_signal_ends_it_cleanly(broker: Broker, number: signal.Signals) -> None:
    process = broker.started()
    process.send_signal(number)
    assert process.wait(20) == 0
    assert process.communicate() == ("", "")


def test_a_second_broker_on_the_same_file_says_so(broker: Broker) -> None:
    broker.started()
    second = broker.start(port=0)
    _, told = second.communicate(timeout=30)
    assert second.returncode == 2
    assert "another broker already uses" in told


def test_it_goes_with_its_parent(broker: Broker) -> None:
    parent = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    process = broker.started("--parent-pid", str(parent.pid))
    parent.kill()
    parent.communicate()
    assert process.wait(20) == 0


@pytest.mark.parametrize(
    ("queues", "key", "told"),
    [
        pytest.param(
            '[{"name": "a", "lock_duration_s": 1}]', KEY, "lock_duration_s must be at least 5", id="bad-queue"
        ),
        pytest.param('[{"name": "a"}]', "", "no key: give --key-file", id="no-key"),
    ],
)
def test_a_bad_start_tells_why(broker: Broker, queues: str, key: str, told: str) -> None:
    (broker.folder / "queues.json").write_text(queues)
    (broker.folder / "key").write_text(key)
    process = broker.start()
    out, err = process.communicate(timeout=30)
    assert (process.returncode, out) == (2, "")
    assert told in err
    assert "Traceback" not in err


def test_the_key_is_never_an_argument(broker: Broker, capsys: pytest.CaptureFixture[str]) -> None:
    process = broker.started()
    if os.path.exists(f"/proc/{process.pid}/cmdline"):
        assert KEY.encode() not in Path(f"/proc/{process.pid}/cmdline").read_bytes()
    with pytest.raises(SystemExit):
        main(["--db", "x", "--queues", "y", "--key", KEY])
    assert KEY not in capsys.readouterr().out
