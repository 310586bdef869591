"""One broker for all SDK tests, with a clock that tests move, and the SDK in both of its forms behind one face."""

import asyncio
import contextlib
import inspect
import time
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from azure.servicebus import ServiceBusClient
from azure.servicebus.aio import ServiceBusClient as AioServiceBusClient

from local.servicebus.server import RunningBroker, broker_thread
from local.servicebus.settings import QueueSettings

KEY = "a key for tests"
FLAVOURS = ("sync", "aio")
WAIT_S = 15  # a machine that is busy elsewhere; a receive ends as soon as one message is there
FAILED = pytest.StashKey[bool]()
ROUNDS = 8  # sets of queues; a test that fails leaves messages behind, so the next one gets a new set


class Clock:
    """The wall clock plus what tests have added; it never goes back."""

    def __init__(self) -> None:
        self.ahead_s = 0.0

    def __call__(self) -> float:
        return time.time() + self.ahead_s


class Sdk:
    """The unmodified SDK, sync or aio; senders and receivers are opened once, as each costs half a second."""

    def __init__(self, flavour: str, broker: RunningBroker, clock: Clock) -> None:
        self.flavour = flavour
        self.broker = broker
        self.clock = clock
        self._runner = asyncio.Runner()
        self._round = 0
        self.client = self.run(self._make())
        self._open: dict[tuple[str, ...], Any] = {}

    def _make(self) -> Any:
        kind: Any = ServiceBusClient if self.flavour == "sync" else AioServiceBusClient

        def make() -> Any:
            return kind.from_connection_string(self.broker.connection_string, retry_total=0)

        async def make_on_loop() -> Any:
            return make()

        return make() if self.flavour == "sync" else make_on_loop()

    @staticmethod
    async def _close_all(handlers: list[Any]) -> None:
        await asyncio.gather(*(handler.close() for handler in handlers))

    def run(self, result: Any) -> Any:
        """A value, or what an awaitable gives."""

        async def wait() -> Any:
            return await result

        return self._runner.run(wait()) if inspect.isawaitable(result) else result

    def queue(self, name: str) -> str:
        return queue_name(name, self.flavour, self._round)

    def sender(self, name: str) -> Any:
        key = ("sender", name)
        if key not in self._open:
            self._open[key] = self.client.get_queue_sender(self.queue(name))
        return self._open[key]

    def receiver(self, name: str, **options: Any) -> Any:
        key = ("receiver", name, repr(sorted(options.items())))
        if key not in self._open:
            self._open[key] = self.client.get_queue_receiver(self.queue(name), **options)
        return self._open[key]

    def send(self, name: str, messages: Any) -> None:
        self.run(self.sender(name).send_messages(messages))

    def receive(self, name: str, count: int = 1, **options: Any) -> list[Any]:
        """Exactly ``count`` messages, however many calls that takes."""
        receiver = self.receiver(name, **options)
        found: list[Any] = []
        while len(found) < count:
            got = self.run(receiver.receive_messages(max_message_count=count - len(found), max_wait_time=WAIT_S))
            assert got, f"only {len(found)} of {count} messages came"
            found += got
        return found

    def settle(self, name: str, verb: str, message: Any, receiver: Any = None, **options: Any) -> None:
        self.run(getattr(receiver or self.receiver(name), f"{verb}_message")(message, **options))

    def counts(self, name: str) -> dict[str, Any]:
        """The queue's row of the stats without its age."""
        row = next(row for row in self.broker.stats() if row["name"] == self.queue(name))
        return {key: value for key, value in row.items() if key not in ("name", "oldest_s") and value}

    def advance(self, seconds: float) -> None:
        self.clock.ahead_s += seconds
        self.broker.wake()

    def clean(self) -> bool:
        """Whether no queue of this round holds anything."""
        mine = {self.queue(name) for name in NAMES}
        left = [row for row in self.broker.stats() if row["name"] in mine]
        return not any(value for row in left for key, value in row.items() if key not in ("name", "oldest_s"))

    def start_afresh(self) -> None:
        """New connection, new queues: whatever the last test left cannot reach the next one."""
        with contextlib.suppress(Exception):  # it is broken already; the test that broke it has said so
            self._disconnect()
        self._open.clear()
        self._round = (self._round + 1) % ROUNDS
        self.client = self.run(self._make())

    def close(self) -> None:
        """The end of all tests."""
        self._disconnect()
        self._runner.close()

    def _disconnect(self) -> None:
        # Each close takes the SDK up to a second, so all at once.
        handlers = list(self._open.values())
        if self.flavour == "sync":
            with ThreadPoolExecutor() as pool:
                list(pool.map(lambda handler: handler.close(), handlers))
        else:
            self.run(self._close_all(handlers))
        self.run(self.client.close())


def until(condition: Callable[[], bool], seconds: float = 30) -> None:
    """Wait for a condition; fails after so many seconds."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


NAMES: dict[str, dict[str, Any]] = {
    "jobs": {},
    "Delete": {},
    "twice": {"max_delivery_count": 2, "dead_letter_on_expiration": True},
    "short": {"lock_duration_s": 5},
}


def queue_name(name: str, flavour: str, turn: int) -> str:
    return f"{name}-{flavour}-{turn}"


def queues() -> list[QueueSettings]:
    """Sets of queues for each flavour, so that they cannot meet."""
    return [QueueSettings("wire")] + [
        QueueSettings(queue_name(name, flavour, turn), **settings)
        for flavour in FLAVOURS
        for turn in range(ROUNDS)
        for name, settings in NAMES.items()
    ]


@pytest.fixture(scope="session")
def clock() -> Clock:
    return Clock()


@pytest.fixture(scope="session")
def broker(tmp_path_factory: pytest.TempPathFactory, clock: Clock) -> Iterator[RunningBroker]:
    path: Path = tmp_path_factory.mktemp("servicebus") / "broker.db"
    with broker_thread(path, queues(), KEY, clock=clock) as running:
        yield running


@pytest.fixture(scope="session", params=FLAVOURS)
def connected(request: pytest.FixtureRequest, broker: RunningBroker, clock: Clock) -> Iterator[Sdk]:
    found = Sdk(request.param, broker, clock)
    yield found
    found.close()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    item.stash[FAILED] = item.stash.get(FAILED, False) or report.failed
    return report


@pytest.fixture
def sdk(request: pytest.FixtureRequest, connected: Sdk) -> Iterator[Sdk]:
    yield connected
    if request.node.stash.get(FAILED, False) or not connected.clean():
        connected.start_afresh()
