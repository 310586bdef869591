"""All queue pumps of an app on an event loop and thread of their own.

In: queue functions, connection strings. Out: running pumps; a function that blocks the app's loop does not stop
locks from being renewed.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping
from typing import Any

from local.host.loader import FunctionSpec
from local.host.queues import Call, Connect, QueuePump, QueueTrigger, Source
from local.host.settings import ServiceBusSettings, SettingsError, resolve
from local.loops import quickest

log = logging.getLogger("local.host.bus")
Open = Callable[[str, str, int], Awaitable[Source]]


def queue_triggers(specs: Iterable[FunctionSpec], environment: Mapping[str, str]) -> list[tuple[QueueTrigger, str]]:
    """Queue functions with their connection strings.

    Raises:
        SettingsError: a setting is missing; its value is never part of the message.
    """
    found: list[tuple[QueueTrigger, str]] = []
    for spec in specs:
        queue = resolve(spec.text("queueName"), environment, where=f"function {spec.name}, queue name")
        setting = spec.text("connection")
        if not environment.get(setting):
            raise SettingsError(f"function {spec.name}: connection setting {setting} is not defined")
        batched = spec.text("cardinality").upper() == "MANY"
        found.append((QueueTrigger(spec, queue, batched), environment[setting]))
    return found


async def open_servicebus(connection_string: str, queue: str, prefetch: int) -> Source:
    """Connects with the real SDK; imported here so that an app without queues does not pay for it."""
    from local.host.servicebus_source import ServiceBusSource

    return await ServiceBusSource.connect(connection_string, queue, prefetch)


class Bus:
    """Runs the pumps.

    Args:
        triggers: see `queue_triggers`.
        settings: of host.json.
        invoke: runs a function on the app's own loop; raises `InvocationError`.
        open_source: how to connect.
    """

    def __init__(
        self,
        triggers: Iterable[tuple[QueueTrigger, str]],
        settings: ServiceBusSettings,
        invoke: Callable[[FunctionSpec, object, tuple[str, str]], Coroutine[Any, Any, None]],
        open_source: Open = open_servicebus,
    ) -> None:
        self._triggers = list(triggers)
        self._settings = settings
        self._invoke = invoke
        self._open = open_source
        self._pumps: list[QueuePump] = []
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None
        self._thread: threading.Thread | None = None
        self._drain_s = 0.0

    @property
    def listening(self) -> int:
        """How many receivers are open."""
        return sum(pump.listening for pump in self._pumps)

    def start(self) -> None:
        """Starts the thread; call on the app's loop."""
        if not self._triggers:
            return
        home = asyncio.get_running_loop()
        up = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(home, up), name="bus", daemon=True)
        self._thread.start()
        up.wait()

    async def stop(self, drain_s: float) -> None:
        """Stops receiving, gives running invocations `drain_s` seconds, closes the receivers."""
        if self._thread is None or self._loop is None or self._stop is None:
            return
        self._drain_s = drain_s
        self._loop.call_soon_threadsafe(self._stop.set)
        await asyncio.to_thread(self._thread.join, drain_s + 5.0)

    def _run(self, home: asyncio.AbstractEventLoop, up: threading.Event) -> None:
        with asyncio.Runner(loop_factory=quickest()) as runner:
            runner.run(self._main(home, up))

    async def _main(self, home: asyncio.AbstractEventLoop, up: threading.Event) -> None:
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        call = self._bridge(home)
        self._pumps = [
            QueuePump(trigger, self._settings, self._connector(trigger, connection), call)
            for trigger, connection in self._triggers
        ]
        for pump in self._pumps:
            pump.start()
        up.set()
        await self._stop.wait()
        for pump in self._pumps:
            pump.stop()
        await asyncio.gather(*(pump.finish(self._drain_s) for pump in self._pumps))

    def _connector(self, trigger: QueueTrigger, connection: str) -> Connect:
        ahead = self._settings.prefetch_count
        if trigger.batched:  # what arrives while a batch runs is the next batch, and nobody waits for company
            ahead = max(ahead, self._settings.max_batch_size)
        return lambda: self._open(connection, trigger.queue, ahead)

    def _bridge(self, home: asyncio.AbstractEventLoop) -> Call:
        async def call(spec: FunctionSpec, data: object, trace: tuple[str, str]) -> None:
            await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(self._invoke(spec, data, trace), home))

        return call
