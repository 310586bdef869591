"""Service Bus triggers: keeps each function supplied with messages and settles them by its outcome.

In: functions, a way to connect to their queues. Out: invocations; complete on success, abandon on exception.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol, cast

from local.host.invoke import InvocationError
from local.host.loader import FunctionSpec
from local.host.messages import Received, decode_many, decode_one
from local.host.settings import ServiceBusSettings

log = logging.getLogger("local.host.queues")
FIRST_BACKOFF_S = 0.25
LONGEST_BACKOFF_S = 10.0
SHORTEST_RENEWAL_S = 0.25
SPARE_S = 20.0  # a receiver nobody needed for so long is closed, but for the last
CLOSE_S = 3.0
STEADY_S = 10.0  # a connection that lasted this long was a good one: the next failure starts small again


class Source(Protocol):
    """An open receiver on one queue."""

    async def receive(self, limit: int) -> list[Received]:
        """Up to `limit` locked messages; empty after about a second without any. Raises when the link is lost."""

    async def complete(self, message: Received) -> None:
        """Removes the message."""

    async def abandon(self, message: Received) -> None:
        """Gives the message back at once; its delivery count goes up."""

    async def renew(self, message: Received) -> datetime:
        """Extends the lock; returns the new end."""

    async def close(self) -> None:
        """Gives back what is locked ahead and closes the link."""


Connect = Callable[[], Awaitable[Source]]
Call = Callable[[FunctionSpec, object, tuple[str, str]], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class QueueTrigger:
    """A queue function; `batched` ones get lists."""

    spec: FunctionSpec
    queue: str
    batched: bool


class QueuePump:
    """Feeds one function from one queue, for ever.

    Each worker has a receiver of its own and handles one delivery at a time: the SDK guards a connection's reads
    and writes with one lock, so settling beside a waiting receive would cost up to its socket time-out. One worker
    listens when nothing happens; as many as are busy are added when none is free, up to the configured calls.

    Args:
        trigger: the function and its queue.
        settings: concurrency and renewal.
        connect: opens a receiver; called again after every failure, with back-off.
        call: runs the function; raises `InvocationError` when it fails.
    """

    def __init__(self, trigger: QueueTrigger, settings: ServiceBusSettings, connect: Connect, call: Call) -> None:
        self._trigger = trigger
        self._settings = settings
        self._connect = connect
        self._call = call
        # A batch trigger takes one batch after the other, as the extension does; that also keeps their order.
        self._most_workers = 1 if trigger.batched else settings.max_concurrent_calls
        self._stopping = asyncio.Event()
        self._workers: set[asyncio.Task[None]] = set()
        self._open = 0
        self._busy = 0

    @property
    def listening(self) -> bool:
        """Whether a receiver is open."""
        return self._open > 0

    def start(self) -> None:
        """Begins to listen; call on the loop that runs the pump."""
        self._grow()

    def stop(self) -> None:
        """Takes no more messages."""
        self._stopping.set()

    async def finish(self, within_s: float) -> None:
        """Waits for running invocations and the closing of the receivers.

        Args:
            within_s: longest wait; what still runs then is left to its lock's expiry.
        """
        if not self._workers:
            return
        _, late = await asyncio.wait(self._workers, timeout=within_s)
        if late:
            log.warning("function %s: %d invocations did not end in time", self._trigger.spec.name, len(late))
            for task in late:
                task.cancel()
            await asyncio.wait(late, timeout=CLOSE_S)

    def _grow(self) -> None:
        wanted = min(max(1, 2 * self._busy), self._most_workers)
        while len(self._workers) < wanted and not self._stopping.is_set():
            task = asyncio.create_task(self._work(), name=f"queue {self._trigger.queue}")
            self._workers.add(task)
            task.add_done_callback(self._workers.discard)

    async def _work(self) -> None:
        name, queue = self._trigger.spec.name, self._trigger.queue
        loop = asyncio.get_running_loop()
        backoff = FIRST_BACKOFF_S
        while not self._stopping.is_set():
            opened = loop.time()
            try:
                source = await self._connect()
            except Exception as exc:  # noqa: BLE001 - the connection's end: it is opened again
                lost = exc
            else:
                self._open += 1
                try:
                    await self._serve(source)
                    return
                except Exception as exc:  # noqa: BLE001 - the connection's end: it is opened again
                    lost = exc
                finally:
                    self._open -= 1
                    await self._close(source)
            if len(self._workers) > 1:
                self._workers.discard(cast("asyncio.Task[None]", asyncio.current_task()))
                return  # one worker is enough to find out when the broker is back
            log.warning("queue %s of function %s: %s; connecting again", queue, name, type(lost).__name__)
            log.debug("queue %s", queue, exc_info=lost)
            if loop.time() - opened > STEADY_S:
                backoff = FIRST_BACKOFF_S
            await self._pause(backoff * random.uniform(0.5, 1.0))  # noqa: S311 - jitter
            backoff = min(backoff * 2, LONGEST_BACKOFF_S)

    async def _serve(self, source: Source) -> None:
        loop = asyncio.get_running_loop()
        limit = self._settings.max_batch_size if self._trigger.batched else 1
        idle_since = loop.time()
        while not self._stopping.is_set():
            messages = await source.receive(limit)
            if not messages:
                spare = len(self._workers) - self._busy > 1
                if spare and loop.time() - idle_since > SPARE_S:
                    self._workers.discard(cast("asyncio.Task[None]", asyncio.current_task()))
                    return
                continue
            self._busy += 1
            try:
                if self._busy == len(self._workers):
                    self._grow()
                await self._handle(source, messages)
            finally:
                self._busy -= 1
            idle_since = loop.time()

    async def _handle(self, source: Source, messages: Sequence[Received]) -> None:
        unsettled = list(messages)
        keeper = asyncio.create_task(self._keep_locks(source, unsettled))
        done = False
        try:
            if self._trigger.batched:
                await self._call(self._trigger.spec, decode_many(messages), ("", ""))
            else:
                await self._call(self._trigger.spec, decode_one(messages[0]), messages[0].trace)
            done = True
        except InvocationError:
            pass  # logged where it was run
        except Exception:
            log.exception("function %s: message could not be handed over", self._trigger.spec.name)
        try:
            for message in messages:
                unsettled.remove(message)
                await self._settle(source, message, done)
        finally:
            keeper.cancel()

    async def _settle(self, source: Source, message: Received, done: bool) -> None:
        try:
            await (source.complete(message) if done else source.abandon(message))
        except Exception as exc:  # noqa: BLE001 - the connection's end: the lock's expiry settles it
            verb = "completed" if done else "abandoned"
            log.warning(
                "function %s: message %s was not %s (%s); it will come again when its lock ends",
                self._trigger.spec.name,
                message.properties.get("MessageId"),
                verb,
                type(exc).__name__,
            )

    async def _keep_locks(self, source: Source, unsettled: list[Received]) -> None:
        loop = asyncio.get_running_loop()
        give_up = loop.time() + self._settings.max_lock_renewal_s
        ends = min(message.locked_until for message in unsettled)
        while True:
            left = (ends - datetime.now(UTC)).total_seconds()
            pause = max(left / 2, SHORTEST_RENEWAL_S)
            if loop.time() + pause > give_up:
                return
            await asyncio.sleep(pause)
            renewed: list[datetime] = []
            for message in list(unsettled):
                try:
                    renewed.append(await source.renew(message))
                except Exception as exc:  # noqa: BLE001 - the connection's end: the lock's expiry settles it
                    log.warning(
                        "function %s: lock of message %s not renewed (%s)",
                        self._trigger.spec.name,
                        message.properties.get("MessageId"),
                        type(exc).__name__,
                    )
            if not renewed:
                return
            ends = min(renewed)

    async def _close(self, source: Source) -> None:
        try:
            await asyncio.wait_for(source.close(), CLOSE_S)
        except Exception as exc:
            log.debug("closing a receiver of %s", self._trigger.queue, exc_info=exc)

    async def _pause(self, seconds: float) -> None:
        try:
            await asyncio.wait_for(self._stopping.wait(), seconds)
        except TimeoutError:
            return
