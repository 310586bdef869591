"""The queue pump against a fake source: settling, back-off, growth, draining."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from local.host.invoke import InvocationError
from local.host.loader import FunctionSpec, Trigger
from local.host.messages import Received, decode_many, decode_one
from local.host.queues import QueuePump, QueueTrigger
from local.host.settings import ServiceBusSettings

SPEC = FunctionSpec("f", lambda: None, Trigger.SERVICE_BUS, "message", {}, (), False, False, Path())


@dataclass
class FakeQueue:
    """What a broker would hold."""

    waiting: list[Received] = field(default_factory=list)
    completed: list[str] = field(default_factory=list)
    abandoned: list[str] = field(default_factory=list)
    renewed: list[str] = field(default_factory=list)
    opened: int = 0
    closed: int = 0
    refuse: int = 0
    lose: int = 0
    lock_s: float = 30.0
    arrived: asyncio.Event = field(default_factory=asyncio.Event)

    def put(self, *names: str) -> None:
        for name in names:
            until = datetime.now(UTC) + timedelta(seconds=self.lock_s)
            self.waiting.append(Received(name.encode(), {"MessageId": name, "DeliveryCount": 1}, until, name))
        self.arrived.set()

    async def connect(self) -> FakeSource:
        if self.refuse:
            self.refuse -= 1
            raise ConnectionError("refused")
        self.opened += 1
        return FakeSource(self)


class FakeSource:
    """A `Source` on a `FakeQueue`."""

    def __init__(self, queue: FakeQueue) -> None:
        self._queue = queue

    async def receive(self, limit: int) -> list[Received]:
        queue = self._queue
        if queue.lose:
            queue.lose -= 1
            raise ConnectionError("lost")
        if not queue.waiting:
            queue.arrived.clear()
            try:
                await asyncio.wait_for(queue.arrived.wait(), 0.05)
            except TimeoutError:
                return []
        taken, queue.waiting = queue.waiting[:limit], queue.waiting[limit:]
        return taken

    async def complete(self, message: Received) -> None:
        self._queue.completed.append(str(message.handle))

    async def abandon(self, message: Received) -> None:
        self._queue.abandoned.append(str(message.handle))

    async def renew(self, message: Received) -> datetime:
        self._queue.renewed.append(str(message.handle))
        return datetime.now(UTC) + timedelta(seconds=self._queue.lock_s)

    async def close(self) -> None:
        self._queue.closed += 1


class NoWaiting(asyncio.SelectorEventLoop):
    """A loop without time of its own: when nobody has anything to do, its clock goes to the next timer."""

    def __init__(self) -> None:
        super().__init__()
        self._skipped_s = 0.0
        select = self._selector.select  # type: ignore[attr-defined]

        def ahead(timeout: float | None = None) -> Any:
            found = select(0 if timeout is None or timeout > 0 else timeout)
            if not found and timeout is None:
                return select(None)
            if not found:
                self._skipped_s += timeout or 0.0
            return found

        self._selector.select = ahead  # type: ignore[attr-defined]

    def time(self) -> float:
        return super().time() + self._skipped_s


async def eventually(probe: Callable[[], object]) -> None:
    async with asyncio.timeout(5):
        while not probe():
            await asyncio.sleep(0.005)


def scenario(
    body: Callable[[FakeQueue, Callable[..., QueuePump]], Coroutine[Any, Any, None]],
) -> None:
    """Runs a test body; every pump it starts is stopped."""

    async def run() -> None:
        queue = FakeQueue()
        pumps: list[QueuePump] = []

        def start(call: Any, *, batched: bool = False, **settings: Any) -> QueuePump:
            pump = QueuePump(QueueTrigger(SPEC, "q", batched), ServiceBusSettings(**settings), queue.connect, call)
            pumps.append(pump)
            pump.start()
            return pump

        await body(queue, start)
        for pump in pumps:
            pump.stop()
            await pump.finish(1)
        assert queue.opened == queue.closed

    with asyncio.Runner(loop_factory=NoWaiting) as runner:
        runner.run(run())


def test_success_completes_and_failure_abandons() -> None:
    async def body(queue: FakeQueue, start: Callable[..., QueuePump]) -> None:
        async def call(spec: FunctionSpec, data: Any, trace: tuple[str, str]) -> None:
            if data.get_body() == b"bad":
                raise InvocationError("no", "1")

        start(call)
        queue.put("good", "bad", "fine")
        await eventually(lambda: len(queue.completed) + len(queue.abandoned) == 3)
        assert (sorted(queue.completed), queue.abandoned) == (["fine", "good"], ["bad"])

    scenario(body)


def test_a_batch_is_settled_as_a_whole() -> None:
    async def body(queue: FakeQueue, start: Callable[..., QueuePump]) -> None:
        sizes: list[int] = []

        async def call(spec: FunctionSpec, data: Any, trace: tuple[str, str]) -> None:
            sizes.append(len(data))
            if len(sizes) == 2:
                raise InvocationError("no", "1")

        queue.put(*"abcde")
        start(call, batched=True, max_batch_size=3)
        await eventually(lambda: len(queue.completed) + len(queue.abandoned) == 5)
        assert (sizes, queue.completed, queue.abandoned) == ([3, 2], ["a", "b", "c"], ["d", "e"])

    scenario(body)


def test_receivers_are_added_while_all_are_busy_up_to_the_limit() -> None:
    async def body(queue: FakeQueue, start: Callable[..., QueuePump]) -> None:
        gate = asyncio.Event()
        running: list[int] = [0, 0]

        async def call(spec: FunctionSpec, data: Any, trace: tuple[str, str]) -> None:
            running[0] += 1
            running[1] = max(running)
            await gate.wait()
            running[0] -= 1

        start(call, max_concurrent_calls=5)
        queue.put(*[str(n) for n in range(12)])
        await eventually(lambda: running[0] == 5)
        assert queue.opened == 5
        gate.set()
        await eventually(lambda: len(queue.completed) == 12)
        assert running[1] == 5

    scenario(body)


def test_the_pump_comes_back_after_refused_and_lost_connections(caplog: pytest.LogCaptureFixture) -> None:
    async def body(queue: FakeQueue, start: Callable[..., QueuePump]) -> None:
        async def call(spec: FunctionSpec, data: Any, trace: tuple[str, str]) -> None:
            return None

        queue.refuse, queue.lose = 2, 1
        queue.put("m")
        pump = start(call, max_concurrent_calls=1)
        await eventually(lambda: queue.completed == ["m"])
        assert pump.listening
        assert queue.opened == 2
        assert caplog.text.count("connecting again") == 3

    scenario(body)


def test_locks_are_renewed_until_the_limit() -> None:
    async def body(queue: FakeQueue, start: Callable[..., QueuePump]) -> None:
        gate = asyncio.Event()

        async def call(spec: FunctionSpec, data: Any, trace: tuple[str, str]) -> None:
            await gate.wait()

        queue.lock_s = 0.5
        start(call, max_lock_renewal_s=0.6)
        queue.put("m")
        await eventually(lambda: len(queue.renewed) == 2)
        await asyncio.sleep(0.4)  # nothing to wait for: a third renewal must not come
        assert queue.renewed == ["m", "m"]
        gate.set()
        await eventually(lambda: queue.completed == ["m"])

    scenario(body)


def test_draining_waits_for_what_runs_and_takes_no_more() -> None:
    async def body(queue: FakeQueue, start: Callable[..., QueuePump]) -> None:
        begun = asyncio.Event()

        async def call(spec: FunctionSpec, data: Any, trace: tuple[str, str]) -> None:
            begun.set()
            await asyncio.sleep(0.1)

        pump = start(call, max_concurrent_calls=1)
        queue.put("running")
        await begun.wait()
        pump.stop()
        queue.put("late")
        await pump.finish(2)
        assert queue.completed == ["running"]
        assert [m.handle for m in queue.waiting] == ["late"]
        assert not pump.listening

    scenario(body)


def _received(name: str, **more: Any) -> Received:
    properties = {"MessageId": name, "DeliveryCount": 2, "SequenceNumber": 7, "CorrelationId": None, **more}
    return Received(b"\x00" + name.encode(), properties, datetime.now(UTC), None)


def test_a_single_message_is_decoded_by_the_library() -> None:
    moment = "2026-11-20T10:00:00.123000+00:00"
    found = decode_one(
        _received("a", EnqueuedTimeUtc=moment, TimeToLive="00:01:00", ApplicationProperties={"k": "v", "n": 1})
    )
    assert found.get_body() == b"\x00a"
    assert (found.message_id, found.delivery_count, found.sequence_number) == ("a", 2, 7)
    assert found.correlation_id is None
    assert found.enqueued_time_utc == datetime.fromisoformat(moment)
    assert found.time_to_live == timedelta(minutes=1)
    assert found.application_properties == {"k": "v", "n": 1}
    assert found.user_properties == {"k": "v", "n": 1}


def test_a_batch_is_decoded_by_the_library_with_each_ones_properties() -> None:
    found = decode_many([_received("a", ApplicationProperties={"k": 1}), _received("b", Subject="s")])
    assert [one.get_body() for one in found] == [b"\x00a", b"\x00b"]
    assert [one.message_id for one in found] == ["a", "b"]
    assert [one.application_properties for one in found] == [{"k": 1}, {}]
    assert [one.subject for one in found] == [None, "s"]
    assert [one.delivery_count for one in found] == [2, 2]


@pytest.mark.parametrize(
    ("own", "trace"),
    [({"traceparent": "p", "tracestate": "s"}, ("p", "s")), ({"Diagnostic-Id": "d"}, ("d", "")), ({}, ("", ""))],
)
def test_the_senders_trace(own: dict[str, str], trace: tuple[str, str]) -> None:
    assert _received("a", ApplicationProperties=own).trace == trace
