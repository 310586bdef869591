"""The receiver itself on the real wire: what the SDK does beside it, and what a connection costs."""

from __future__ import annotations

import asyncio
import ssl
import time
from pathlib import Path
from typing import Any

import pytest
from azure.servicebus._pyamqp.aio import _client_async
from azure.servicebus._pyamqp.aio._connection_async import Connection

from local.host.servicebus_source import ServiceBusSource
from local.servicebus.server import RunningBroker, broker_thread
from local.servicebus.settings import QueueSettings

QUEUES = [QueueSettings("single")]
KEY = "k" * 24


class HoursLater:
    """The time module as the SDK's keeper sees it: an hour passes from one look to the next."""

    monotonic = time.monotonic

    def __init__(self) -> None:
        self.looks = 0

    def time(self) -> float:
        self.looks += 1
        return time.time() + 3600 * self.looks


def test_nobody_else_reads_while_messages_are_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A message that the SDK's keeper reads is seen by the receive only when its own time-out ends."""
    read: list[object] = []
    clock = HoursLater()

    async def listen(self: Connection, *given: Any, **more: Any) -> None:
        read.append(self)

    async def stay(broker: RunningBroker) -> None:
        source = await ServiceBusSource.connect(broker.connection_string, "single", 0)
        with monkeypatch.context() as changed:
            changed.setattr(Connection, "listen", listen)
            changed.setattr(_client_async, "time", clock)
            async with asyncio.timeout(30):
                while clock.looks < 2:  # nobody but the keeper looks; without one there would be nothing to test
                    await asyncio.sleep(0.05)
        await source.close()

    with broker_thread(tmp_path / "bus.db", QUEUES, KEY) as broker:
        asyncio.run(stay(broker))
    assert read == []


def test_the_certificates_are_loaded_once_for_all_receivers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Loading them holds up the loop that delivers for 20 ms, and a storm opens dozens of receivers."""
    loaded: list[object] = []

    async def open_some(broker: RunningBroker) -> None:
        first = await ServiceBusSource.connect(broker.connection_string, "single", 0)
        monkeypatch.setattr(ssl.SSLContext, "load_verify_locations", lambda *given, **more: loaded.append(given))
        others = [await ServiceBusSource.connect(broker.connection_string, "single", 0) for _ in range(2)]
        await asyncio.gather(*(source.close() for source in (first, *others)))

    with broker_thread(tmp_path / "bus.db", QUEUES, KEY) as broker:
        asyncio.run(open_some(broker))
    assert loaded == []
