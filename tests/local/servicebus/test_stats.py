"""The stats endpoint and what goes wrong around a broker in a thread."""

import json
import socket
import sqlite3
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from azure.servicebus import ServiceBusClient, ServiceBusMessage
from azure.servicebus.exceptions import ServiceBusError

from local.servicebus.server import RunningBroker, broker_thread
from local.servicebus.settings import QueueSettings
from local.servicebus.storage import Store, StoreInUse
from tests.local.servicebus.conftest import KEY
from tests.local.servicebus.peer import Peer


def get(running: RunningBroker, path: str, method: str = "GET") -> tuple[int, object]:
    request = urllib.request.Request(f"http://127.0.0.1:{running.stats_port}{path}", method=method)
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as exc:
        with exc:
            return exc.code, json.load(exc)


def test_the_queues_are_told_as_json(broker: RunningBroker) -> None:
    status, rows = get(broker, "/queues")
    assert status == 200
    assert isinstance(rows, list)
    row = next(row for row in rows if row["name"] == "Delete-aio-0")
    counts = dict.fromkeys(("active", "locked", "scheduled", "deferred", "dead_letter"), 0)
    assert row == {"name": "Delete-aio-0", **counts, "oldest_s": 0.0}


@pytest.mark.parametrize(
    ("path", "method", "status"),
    [("/healthz", "GET", 200), ("/queues?x=1", "GET", 200), ("/", "GET", 404), ("/queues", "POST", 405)],
)
def test_everything_else(broker: RunningBroker, path: str, method: str, status: int) -> None:
    assert get(broker, path, method)[0] == status


@pytest.mark.parametrize("raw", [b"\x00\r\n\r\n", b"x" * 20_000], ids=["no-request-line", "an-endless-head"])
def test_what_is_not_http_gets_a_400(broker: RunningBroker, raw: bytes) -> None:
    with socket.create_connection(("127.0.0.1", broker.stats_port), timeout=20) as peer:
        peer.sendall(raw)
        assert peer.recv(100).startswith(b"HTTP/1.1 400 ")


def test_a_broker_that_cannot_start_raises_where_it_was_asked_for(tmp_path: Path) -> None:
    store = Store(tmp_path / "b.db")
    with pytest.raises(StoreInUse), broker_thread(tmp_path / "b.db", [QueueSettings("a")], KEY):
        pass
    store.close()
    with pytest.raises(ValueError, match="key is empty"), broker_thread(tmp_path / "b.db", [QueueSettings("a")], ""):
        pass
    twice = [QueueSettings("a"), QueueSettings("A")]
    with pytest.raises(ValueError, match="defined twice"), broker_thread(tmp_path / "b.db", twice, KEY):
        pass


def test_the_key_is_not_in_a_repr(broker: RunningBroker) -> None:
    assert KEY not in repr(broker)


def test_a_store_that_fails_stops_the_broker_and_nothing_is_acknowledged(tmp_path: Path) -> None:
    with broker_thread(tmp_path / "b.db", [QueueSettings("a")], KEY) as running:
        peer = Peer(running.port).open(KEY, "a")
        client = ServiceBusClient.from_connection_string(running.connection_string, retry_total=0)
        sender = client.get_queue_sender("a")
        sender.send_messages(ServiceBusMessage("kept"))
        with sqlite3.connect(tmp_path / "b.db") as other:
            other.execute("DROP TABLE messages")
        other.close()
        with pytest.raises(ServiceBusError):
            sender.send_messages(ServiceBusMessage("not kept"))
        assert isinstance(running.broker.failed.exception(), sqlite3.Error)
        assert peer.closed() == b""
        peer.close()
        client.close()
