"""Drives all orchestrations of a hub: episodes one by one, activities, children and timers beside them.

In: requests of clients, answers of tasks. Out: committed state first, side effects after; a restart takes up
everything that was open, activities at least once, timers at their original moment.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import sqlite3
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Protocol

from local.host.clock import Alarm, Clock
from local.host.durable.episode import answered_task, apply, child_id, fail, notice, payload, receive, remember, select
from local.host.durable.history import Event, Kind, Reply, event, iso, moment_of, parse_failure, parse_reply
from local.host.durable.instance import Instance, OpenTask, Parent, Status, TaskKind
from local.host.durable.rewind import rewind
from local.host.durable.storage import Delivery, HubStore
from local.host.invoke import InvocationError

log = logging.getLogger("local.host.durable")
LONGEST_SLEEP_S = 1.0  # look at the wall clock at least this often: it may have been set, the machine have slept
LONGEST_PAUSE_S = 30.0  # between two tries of an episode that cannot be read or written


class Functions(Protocol):
    """The app's durable functions, by the name they are called by."""

    def has_orchestrator(self, name: str) -> bool:
        """Whether the app has it; names compare without case."""

    def has_activity(self, name: str) -> bool:
        """Whether the app has it; names compare without case."""

    async def orchestrate(self, name: str, trigger: str) -> str:
        """Runs one episode; JSON text in and out. Raises InvocationError."""

    async def act(self, name: str, input_json: str | None) -> str:
        """Runs an activity; JSON text in and out. Raises InvocationError."""


def new_execution() -> int:
    """A number no earlier instance of the same id has had; small enough for SQLite and for ids made of it."""
    return secrets.randbits(40)


class Locks:
    """One lock for each instance somebody is busy with."""

    def __init__(self) -> None:
        self._locks: dict[str, asyncio.Lock] = {}
        self._users: Counter[str] = Counter()

    @asynccontextmanager
    async def hold(self, instance_id: str) -> AsyncIterator[None]:
        """Nobody else changes the instance meanwhile."""
        lock = self._locks.setdefault(instance_id, asyncio.Lock())
        self._users[instance_id] += 1
        try:
            async with lock:
                yield
        finally:
            self._users[instance_id] -= 1
            if not self._users[instance_id]:
                del self._users[instance_id], self._locks[instance_id]


class Scheduler:
    """Runs a hub; all methods belong to one event loop.

    Args:
        store: the hub, owned.
        functions: the app.
        max_activities: activities at once.
        clock: wall clock and monotonic clock.

    Attributes:
        locks: whoever changes an instance holds its lock.
    """

    def __init__(self, store: HubStore, functions: Functions, max_activities: int, clock: Clock) -> None:
        self._store = store
        self._functions = functions
        self._activity_slots = asyncio.Semaphore(max_activities)
        self._clock = clock
        self._now = clock.now
        self.locks = Locks()
        self._dirty: set[str] = set()
        self._pumps: dict[str, asyncio.Task[None]] = {}
        # Tasks stay in here after their end, until no state names them: a task that has answered must not be
        # launched again by an episode that has not read the answer yet.
        self._running: dict[str, dict[tuple[int, int], asyncio.Task[None] | None]] = {}
        self._stopping = False

    def start(self) -> None:
        """Takes up every unfinished instance."""
        for instance_id in self._store.unfinished():
            instance = self._store.load(instance_id, history=False)
            if instance is not None:
                answers = [(one.execution, answered_task(one.event)) for one in self._store.inbox(instance_id)]
                self._running[instance_id] = {(e, t): None for e, t in answers if e is not None and t is not None}
                self._reconcile(instance)
                self.wake(instance_id)

    def stop(self) -> None:
        """Begins no more episodes and activities; answers are still written down."""
        self._stopping = True

    async def finish(self) -> None:
        """Ends everything for good; what was open is taken up by the next start."""
        self._stopping = True
        tasks = [task for running in self._running.values() for task in running.values() if task is not None]
        tasks += self._pumps.values()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._store.close()

    def wake(self, instance_id: str) -> None:
        """Something has changed for the instance: it looks at its inbox."""
        self._dirty.add(instance_id)
        if instance_id not in self._pumps and not self._stopping:
            self._pumps[instance_id] = asyncio.create_task(self._pump(instance_id))

    async def _pump(self, instance_id: str) -> None:
        pause_s = 0.5
        try:
            while instance_id in self._dirty:
                self._dirty.discard(instance_id)
                try:
                    while not self._stopping and await self._episode(instance_id):
                        pass
                except Exception:  # what cannot be read or written now must not take the host with it, nor be left
                    log.exception("orchestration %s: episode could not be run, trying again", instance_id)
                    await asyncio.sleep(pause_s)
                    pause_s = min(pause_s * 2, LONGEST_PAUSE_S)
                    self._dirty.add(instance_id)
                if self._stopping:
                    return
        finally:
            del self._pumps[instance_id]

    async def _episode(self, instance_id: str) -> bool:
        async with self.locks.hold(instance_id):
            instance = self._store.load(instance_id)
            if instance is None or instance.status.finished or instance.status is Status.SUSPENDED:
                return False
            taken: list[Delivery] = []
            chosen: list[Delivery] = []
            if instance.history:
                chosen, stale = select(instance, self._store.inbox(instance_id))
                taken = [*chosen, *stale]
                if not chosen:
                    if stale:
                        self._store.commit(instance, taken, self._now())
                    return False
            before = remember(instance, chosen)
            receive(instance, chosen, self._now())
            reply = await self._replay(instance)
            try:
                apply(instance, reply, self._now())
            except (KeyError, TypeError, ValueError) as exc:
                fail(instance, f"the orchestrator asked for something malformed: {type(exc).__name__}: {exc}")
            if instance.status is Status.FAILED:
                instance.before = before
            self.commit(instance, taken)
        return True

    async def _replay(self, instance: Instance) -> Reply:
        if not self._functions.has_orchestrator(instance.name):
            return Reply(True, [], None, None, f"the app has no orchestrator {instance.name!r}")
        try:
            return parse_reply(await self._functions.orchestrate(instance.name, payload(instance)))
        except InvocationError as exc:
            cause = exc.__cause__
            if exc.timed_out or cause is None:
                return Reply(True, [], None, None, str(exc))
            return parse_failure(str(cause) or type(cause).__name__)
        except ValueError as exc:
            return Reply(True, [], None, None, f"the orchestrator's answer cannot be read: {exc}")

    def commit(self, instance: Instance, taken: list[Delivery]) -> None:
        """Writes an instance down, then begins and ends what follows from it; the caller holds its lock."""
        told = notice(instance, self._now())
        self._store.commit(instance, taken, self._now(), told)
        if instance.status is Status.FAILED:
            log.warning("orchestration %s (%s) failed: %s", instance.name, instance.instance_id, instance.output)
        self._reconcile(instance)
        if told is not None:
            self.wake(told.instance_id)

    def _reconcile(self, instance: Instance) -> None:
        running = self._running.setdefault(instance.instance_id, {})
        wanted = {(instance.execution, task_id): task for task_id, task in instance.open.items()}
        for key in [key for key in running if key not in wanted]:
            task = running.pop(key)
            if task is not None and task.get_name() == "timer":
                task.cancel()
        for key, open_task in wanted.items():
            if key not in running:
                running[key] = self._launch(instance, key[1], open_task)
        if instance.status.finished:
            self._running.pop(instance.instance_id, None)

    def _launch(self, instance: Instance, task_id: int, task: OpenTask) -> asyncio.Task[None]:
        if task.kind is TaskKind.ACTIVITY:
            return asyncio.create_task(self._act(instance.instance_id, instance.execution, task_id, task))
        if task.kind is TaskKind.CHILD:
            return asyncio.create_task(self._begin_child(instance, instance.execution, task_id, task))
        return asyncio.create_task(self._sleep(instance.instance_id, instance.execution, task_id, task), name="timer")

    async def _answer(self, instance_id: str, execution: int, answer: Event) -> None:
        while True:
            try:
                self._store.post(Delivery(instance_id, execution, answer))
                break
            except sqlite3.Error:  # the disk is full, say: what was done is not done again for it
                log.exception("orchestration %s: an answer could not be written, trying again", instance_id)
                await asyncio.sleep(1.0)
        self.wake(instance_id)

    async def _act(self, instance_id: str, execution: int, task_id: int, task: OpenTask) -> None:
        async with self._activity_slots:
            if self._stopping:
                return
            try:
                if not self._functions.has_activity(task.name):
                    raise InvocationError(f"the app has no activity {task.name!r}", "")
                result = await self._functions.act(task.name, task.input)
            except InvocationError as exc:
                answer = event(
                    Kind.TASK_FAILED,
                    self._now(),
                    TaskScheduledId=task_id,
                    Reason=f"Activity function '{task.name}' failed",
                    Details=str(exc),
                )
            else:
                answer = event(Kind.TASK_COMPLETED, self._now(), TaskScheduledId=task_id, Result=result)
        await self._answer(instance_id, execution, answer)

    async def _begin_child(self, parent: Instance, execution: int, task_id: int, task: OpenTask) -> None:
        chosen = child_id(parent, task_id, task)
        moment = iso(self._now())
        child = Instance(chosen, task.name, task.input, moment, moment)
        child.execution = new_execution()
        child.parent = Parent(parent.instance_id, execution, task_id)
        if task.reclaim and await self._reclaim(chosen, child.parent):
            return
        if not self._store.create(child):
            other = self._store.load(chosen, history=False)
            if other is not None and other.parent == child.parent:
                return  # made before a restart: it runs, or its answer is in the inbox
            retried = task.attempt > 1 and other is not None and other.parent is not None
            if not (retried and self._store.create(child, replace_finished=True)):
                failed = event(
                    Kind.CHILD_FAILED,
                    self._now(),
                    TaskScheduledId=task_id,
                    Reason=f"Sub-orchestration '{task.name}' failed",
                    Details=f"an instance with id {chosen!r} exists already",
                )
                await self._answer(parent.instance_id, execution, failed)
                return
        self.wake(chosen)

    async def _reclaim(self, child: str, parent: Parent) -> bool:
        """After a rewind: the child answers to its parent's new number; one that failed is rewound as well.

        Returns:
            False when there is no child that could answer, so a new one has to.
        """
        async with self.locks.hold(child):
            found = self._store.load(child)
            if found is None:
                return False
            if found.parent == parent:
                return True
            found.parent = parent
            if found.status is Status.FAILED and found.before is not None:
                self.rewind(found, "its parent was rewound")
            elif not found.status.finished:
                self._store.put(found)
            elif found.status is not Status.COMPLETED:
                return not self._store.purge_one(child)
        told = notice(found, self._now())
        if told is not None:
            await self._answer(parent.instance_id, parent.execution, told.event)
        return True

    def rewind(self, instance: Instance, reason: str) -> None:
        """Makes a failed instance run again from before its failure; the caller holds its lock."""
        inbox = rewind(instance, self._store.inbox(instance.instance_id), reason, self._now())
        self._store.rewound(instance, inbox, self._now())
        answers = [(one.execution, answered_task(one.event)) for one in inbox]
        self._running[instance.instance_id] = {(e, t): None for e, t in answers if e is not None and t is not None}
        self._reconcile(instance)
        self.wake(instance.instance_id)

    async def _sleep(self, instance_id: str, execution: int, task_id: int, task: OpenTask) -> None:
        alarm = Alarm(self._clock, moment_of(task.fire_at), task.after_s)
        while (left := alarm.left_s()) > 0:
            await asyncio.sleep(min(left, LONGEST_SLEEP_S))
        await self._answer(
            instance_id, execution, event(Kind.TIMER_FIRED, self._now(), TimerId=task_id, FireAt=task.fire_at)
        )
