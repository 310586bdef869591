"""Webhook calls that arrive together are kept together: one durable send, then the answers (ADR 4).

In: calls of one event loop, each understood. Out: answers, within a time; threads that hang hold up nobody for longer.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

from shared.agents.sentinel.collector import Received
from shared.dispatch import intake
from shared.dispatch.engine import Engine
from shared.dispatch.intake import Answer, Call
from shared.model.errors import Reason, TransientError

T = TypeVar("T")
GIVE_UP_S = 3.0  # senders retry a 503; they do not wait for us (ARCHITECTURE, section 7)
LINGER_S = 0.008  # after calls that came together, the next are given this time to come together as well
MAX_CALLS = 250  # of one send
MAX_CALLS_BYTES = 2 * 1024 * 1024
MAX_WAITING = 2_000  # calls that have no answer yet
MAX_WAITING_BYTES = 64 * 1024 * 1024


class Lane:
    """Threads of its own for one kind of call, so that a bus that hangs does not hold up the pages.

    A thread that hangs cannot be stopped. So the threads are few, and so are the calls that wait for one: what comes on
    top is refused at once instead of being kept in memory.
    """

    def __init__(self, name: str, threads: int = 8, waiting: int = 64) -> None:
        self._pool = ThreadPoolExecutor(threads, name)
        self._room = threading.BoundedSemaphore(threads + waiting)

    def begin(self, call: Callable[[], T]) -> Future[T]:
        """Let a thread begin.

        Raises:
            TransientError: no room.
        """
        if not self._room.acquire(blocking=False):
            raise TransientError("too many calls wait already", Reason.UNAVAILABLE)
        running = self._pool.submit(call)
        running.add_done_callback(lambda _: self._room.release())
        return running

    async def run(self, call: Callable[[], T], within_s: float = GIVE_UP_S) -> T:
        """The call's answer.

        Raises:
            TransientError: no room, or no answer in time; a call that runs goes on, and may still succeed.
        """
        answer = asyncio.wrap_future(self.begin(call))
        answer.add_done_callback(lambda given: given.cancelled() or given.exception())  # nobody may be left to look
        done, _ = await asyncio.wait([answer], timeout=within_s)
        if not done:
            raise TransientError("no answer in time", Reason.TIMEOUT, sent=None)
        return answer.result()


@dataclass(slots=True)
class _Waiting:
    call: Call
    answer: asyncio.Future[Answer]


@dataclass(slots=True, eq=False)
class _Turn:
    """Calls that are being kept; when they take too long, the next turn begins beside it."""

    calls: list[_Waiting]


@dataclass(slots=True)
class _Desk:
    """What one event loop has on the desk."""

    loop: asyncio.AbstractEventLoop
    waiting: list[_Waiting] = field(default_factory=list)
    running: _Turn | None = None
    soon: bool = False
    held: int = 0
    held_bytes: int = 0


class Together:
    """Keeps calls, as many at once as have come while the send before was under way.

    A call that comes alone waits for no other. Where several came together there is a crowd, and a few milliseconds
    after their answers its next calls are there: one send for all of them costs a fraction of one for each half.

    Args:
        lane: its threads; each turn takes one.
    """

    def __init__(self, lane: Lane, give_up_s: float = GIVE_UP_S) -> None:
        self._lane = lane
        self._give_up_s = give_up_s
        self._desk: _Desk | None = None
        self.turn = 0

    @property
    def held(self) -> int:
        """Calls that are in memory; one that hangs stays there after its answer."""
        return self._desk.held if self._desk is not None else 0

    async def keep(self, engine: Engine, call: Call) -> Received:
        """Wait until the call is kept.

        Raises:
            PermanentError: this call cannot be kept.
            TransientError: bus or store cannot be reached, there is no room, or it took too long.
        """
        desk = self._here()
        size = len(call.taken.raw)
        if desk.held >= MAX_WAITING or desk.held_bytes + size > MAX_WAITING_BYTES:
            raise TransientError("too many calls wait already", Reason.UNAVAILABLE)
        waiting = _Waiting(call, desk.loop.create_future())
        desk.held, desk.held_bytes = desk.held + 1, desk.held_bytes + size
        desk.waiting.append(waiting)
        self._begin_soon(desk, engine)
        timer = desk.loop.call_later(self._give_up_s, _too_late, waiting.answer)
        try:
            answer = await waiting.answer
        finally:
            timer.cancel()
        if answer.received is None:
            raise answer.error or TransientError("nobody answered", Reason.UNAVAILABLE, sent=None)
        return answer.received

    def _here(self) -> _Desk:
        loop = asyncio.get_running_loop()
        if self._desk is None or self._desk.loop is not loop:
            self._desk = _Desk(loop)
        return self._desk

    def _begin_soon(self, desk: _Desk, engine: Engine) -> None:
        """Once what the loop has read already is understood; that is no time, and those calls come along."""
        if desk.running is None and not desk.soon:
            desk.soon = True
            desk.loop.call_soon(self._begin, desk, engine)

    def _begin(self, desk: _Desk, engine: Engine) -> None:
        desk.soon = False
        if desk.running is not None:
            return
        chosen = self._next(desk)
        if not chosen:
            return
        self.turn += 1
        turn = desk.running = _Turn(chosen)
        try:
            running = self._lane.begin(partial(intake.keep, engine, [waiting.call for waiting in chosen]))
        except TransientError as error:
            desk.running = None
            self._settle(desk, engine, chosen, [Answer(error=error) for _ in chosen])
            self._begin_soon(desk, engine)
            return
        timer = desk.loop.call_later(self._give_up_s, self._abandon, desk, turn, engine)
        running.add_done_callback(partial(_tell, desk.loop, partial(self._ended, desk, turn, engine, timer)))

    def _next(self, desk: _Desk) -> list[_Waiting]:
        """The oldest that somebody still waits for, as many as make one send."""
        chosen: list[_Waiting] = []
        size = taken = 0
        for waiting in desk.waiting:
            weight = len(waiting.call.taken.raw)
            if chosen and (len(chosen) == MAX_CALLS or size + weight > MAX_CALLS_BYTES):
                break
            taken += 1
            if waiting.answer.done():
                self._let_go(desk, waiting)
                continue
            chosen.append(waiting)
            size += weight
        del desk.waiting[:taken]
        return chosen

    def _ended(
        self, desk: _Desk, turn: _Turn, engine: Engine, timer: asyncio.TimerHandle, done: Future[list[Answer]]
    ) -> None:
        timer.cancel()
        error = done.exception()
        failed = Answer(error=TransientError(f"it could not be kept: {type(error).__name__}", Reason.UNAVAILABLE))
        self._settle(desk, engine, turn.calls, [failed for _ in turn.calls] if error is not None else done.result())
        self._next_turn(desk, turn, engine)

    def _abandon(self, desk: _Desk, turn: _Turn, engine: Engine) -> None:
        """It hangs; its callers are told by their own clocks, and those who wait need not hang with them."""
        self._next_turn(desk, turn, engine)

    def _next_turn(self, desk: _Desk, turn: _Turn, engine: Engine) -> None:
        if desk.running is turn:
            desk.running = None
            if len(turn.calls) > 1 and len(desk.waiting) < len(turn.calls):
                desk.soon = True
                desk.loop.call_later(LINGER_S, self._begin, desk, engine)
            elif desk.waiting:
                self._begin(desk, engine)

    def _settle(self, desk: _Desk, engine: Engine, calls: list[_Waiting], answers: list[Answer]) -> None:
        for waiting, answer in zip(calls, answers, strict=True):
            self._let_go(desk, waiting)
            if waiting.answer.done():  # its sender has been told to come again, or is gone
                intake.count(engine, answer.repeats, back=True)
            else:
                waiting.answer.set_result(answer)

    def _let_go(self, desk: _Desk, waiting: _Waiting) -> None:
        desk.held, desk.held_bytes = desk.held - 1, desk.held_bytes - len(waiting.call.taken.raw)


def _tell(
    loop: asyncio.AbstractEventLoop, ended: Callable[[Future[list[Answer]]], None], done: Future[list[Answer]]
) -> None:
    with contextlib.suppress(RuntimeError):  # the loop has ended, and with it everybody who waited
        loop.call_soon_threadsafe(ended, done)


def _too_late(answer: asyncio.Future[Answer]) -> None:
    if not answer.done():
        answer.set_result(Answer(error=TransientError("no answer in time", Reason.TIMEOUT, sent=None)))
