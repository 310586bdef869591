"""Start and stop a broker: on the running loop, or in a thread of its own for tests.

In: a database path, queue settings and the key. Out: a listening broker and its connection string.
"""

import asyncio
import sqlite3
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from local.loops import quickest
from local.servicebus.broker import Broker
from local.servicebus.cbs import TokenCheck
from local.servicebus.connection import Connection
from local.servicebus.settings import QueueSettings
from local.servicebus.stats import start_stats
from local.servicebus.storage import Store

KEY_NAME = "argus"
T = TypeVar("T")
_ANSWER_TIMEOUT_S = 10.0
LOOPBACK = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class RunningBroker:
    """A broker that listens. ``key`` is left out of its repr."""

    port: int
    stats_port: int
    key: str = field(repr=False)
    broker: Broker = field(repr=False)
    loop: asyncio.AbstractEventLoop = field(repr=False)

    @property
    def connection_string(self) -> str:
        """What ``ServiceBusClient.from_connection_string`` takes; contains the key."""
        return (
            f"Endpoint=sb://localhost:{self.port};SharedAccessKeyName={KEY_NAME};"
            f"SharedAccessKey={self.key};UseDevelopmentEmulator=true"
        )

    def wake(self) -> None:
        """From another thread: the clock was moved; what is due by now has happened when this returns."""
        self._on_loop(self.broker.wake)

    def stats(self) -> list[dict[str, object]]:
        """From another thread: the rows of ``GET /queues``."""
        return self._on_loop(self.broker.stats)

    def _on_loop(self, call: Callable[[], T]) -> T:
        async def run() -> T:
            result = call()
            await asyncio.sleep(0)  # the turn ends
            return result

        return asyncio.run_coroutine_threadsafe(run(), self.loop).result(_ANSWER_TIMEOUT_S)


@asynccontextmanager
async def running_broker(
    db_path: Path,
    queues: Sequence[QueueSettings],
    key: str,
    *,
    port: int = 0,
    stats_port: int = 0,
    clock: Callable[[], float] = time.time,
) -> AsyncIterator[RunningBroker]:
    """A broker on the running loop, listening on 127.0.0.1 until the block ends.

    Args:
        db_path: the SQLite file; one broker per file.
        queues: the queues to serve.
        key: the SharedAccessKey clients must sign with; not empty.
        port: AMQP port, 0 for a free one.
        stats_port: HTTP port of the stats, 0 for a free one.
        clock: seconds since the epoch.

    Raises:
        StoreInUse: another broker has the file.
        ValueError: bad queue definitions, an empty key, or a file of another version.
        OSError: a port is taken.
    """
    if not key:
        raise ValueError("the shared access key is empty")
    store = Store(db_path)
    try:
        broker = Broker(queues, store, TokenCheck(KEY_NAME, key), clock)
        loop = asyncio.get_running_loop()
        amqp = await loop.create_server(lambda: Connection(broker), LOOPBACK, port)
        try:
            stats = await start_stats(broker, stats_port)
            try:
                yield RunningBroker(_port(amqp), _port(stats), key, broker, loop)
            finally:
                stats.close()
        finally:
            amqp.close()
            broker.close()
            # One more turn of the loop, in which the transports close their sockets.
            await asyncio.sleep(0)
    finally:
        store.close()


@contextmanager
def broker_thread(
    db_path: Path,
    queues: Sequence[QueueSettings],
    key: str,
    *,
    port: int = 0,
    stats_port: int = 0,
    clock: Callable[[], float] = time.time,
) -> Iterator[RunningBroker]:
    """A broker in a background thread with its own loop; arguments and errors as ``running_broker``."""
    started = threading.Event()
    state: dict[str, object] = {}

    async def main() -> None:
        stop = asyncio.Event()
        state["stop"], state["loop"] = stop, asyncio.get_running_loop()
        async with running_broker(db_path, queues, key, port=port, stats_port=stats_port, clock=clock) as running:
            state["running"] = running
            started.set()
            await stop.wait()

    def run() -> None:
        try:
            with asyncio.Runner(loop_factory=quickest()) as runner:
                runner.run(main())
        except (OSError, RuntimeError, ValueError, sqlite3.Error) as exc:
            state["error"] = exc
        finally:
            started.set()

    thread = threading.Thread(target=run, name="servicebus", daemon=True)
    thread.start()
    started.wait()
    running, stop, loop = state.get("running"), state.get("stop"), state.get("loop")
    if not isinstance(running, RunningBroker):
        thread.join()
        error = state.get("error")
        raise error if isinstance(error, Exception) else RuntimeError("the broker did not start")
    try:
        yield running
    finally:
        if isinstance(stop, asyncio.Event) and isinstance(loop, asyncio.AbstractEventLoop):
            loop.call_soon_threadsafe(stop.set)
        thread.join()


def _port(server: asyncio.Server) -> int:
    return int(server.sockets[0].getsockname()[1])
