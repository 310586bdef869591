"""Drives all orchestrations of a hub: episodes one by one, activities, children and timers beside them.

In: requests of clients, answers of tasks. Out: committed state first, side effects after; a restart takes up
everything that was open, activities at least once, timers at their original moment.
"""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from enum import Enum
from typing import Protocol

from local.host.durable.episode import answered_task, apply, child_id, fail, notice, payload, receive, select, terminate
from local.host.durable.history import Event, Kind, Reply, event, iso, moment_of, parse_failure, parse_reply
from local.host.durable.instance import Instance, OpenTask, Parent, Status, TaskKind
from local.host.durable.storage import Delivery, HubStore
from local.host.invoke import InvocationError

log = logging.getLogger("local.host.durable")
LONGEST_SLEEP_S = 5.0  # look at the wall clock at least this often: it may have been set, the machine have slept


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


class Outcome(Enum):
    """How a client's request went."""

    DONE = "done"
    MISSING = "missing"
    FINISHED = "finished"
    EXISTS = "exists"
    UNKNOWN_FUNCTION = "unknown function"


class Scheduler:
    """Runs a hub; all methods belong to one event loop.

    Args:
        store: the hub, owned.
        functions: the app.
        max_activities: activities at once.
        now: the clock; aware datetimes.
    """

    def __init__(
        self,
        store: HubStore,
        functions: Functions,
        max_activities: int,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._store = store
        self._functions = functions
        self._activity_slots = asyncio.Semaphore(max_activities)
        self._now = now
        self._locks: dict[str, asyncio.Lock] = {}
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
                self._wake(instance_id)

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

    def create(self, name: str, instance_id: str | None, input_json: str | None) -> tuple[Outcome, str]:
        """Starts an orchestration; an id that was ever used and not purged is refused.

        Returns:
            The outcome and the instance's id.
        """
        chosen = instance_id or uuid.uuid4().hex
        if not self._functions.has_orchestrator(name):
            return Outcome.UNKNOWN_FUNCTION, chosen
        moment = iso(self._now())
        if not self._store.create(Instance(chosen, name, input_json, moment, moment)):
            return Outcome.EXISTS, chosen
        self._wake(chosen)
        return Outcome.DONE, chosen

    def raise_event(self, instance_id: str, name: str, input_json: str | None) -> Outcome:
        """Delivers an external event, now or when the orchestration asks for it."""
        outcome = self._state_of(instance_id)
        if outcome is Outcome.DONE:
            raised = event(Kind.EVENT_RAISED, self._now(), Name=name, Input=input_json)
            self._store.post(Delivery(instance_id, None, raised))
            self._wake(instance_id)
        return outcome

    async def terminate(self, instance_id: str, reason: str) -> Outcome:
        """Ends an orchestration; activities that run are not stopped, children go on."""
        async with self._lock(instance_id):
            instance = self._store.load(instance_id)
            if instance is None:
                return Outcome.MISSING
            if instance.status.finished:
                return Outcome.FINISHED
            terminate(instance, reason)
            self._commit(instance, [])
        return Outcome.DONE

    def _state_of(self, instance_id: str) -> Outcome:
        instance = self._store.load(instance_id, history=False)
        if instance is None:
            return Outcome.MISSING
        return Outcome.FINISHED if instance.status.finished else Outcome.DONE

    def _lock(self, instance_id: str) -> asyncio.Lock:
        return self._locks.setdefault(instance_id, asyncio.Lock())

    def _wake(self, instance_id: str) -> None:
        self._dirty.add(instance_id)
        if instance_id not in self._pumps and not self._stopping:
            self._pumps[instance_id] = asyncio.create_task(self._pump(instance_id))

    async def _pump(self, instance_id: str) -> None:
        try:
            while instance_id in self._dirty:
                self._dirty.discard(instance_id)
                while not self._stopping and await self._episode(instance_id):
                    pass
        except Exception:  # an instance whose state cannot be read or written must not take the host with it
            log.exception("orchestration %s: episode could not be run", instance_id)
        finally:
            del self._pumps[instance_id]

    async def _episode(self, instance_id: str) -> bool:
        async with self._lock(instance_id):
            instance = self._store.load(instance_id)
            if instance is None or instance.status.finished:
                return False
            taken: list[Delivery] = []
            if instance.history:
                chosen, stale = select(instance, self._store.inbox(instance_id))
                taken = [*chosen, *stale]
                if not chosen:
                    if stale:
                        self._store.commit(instance, taken, self._now())
                    return False
                receive(instance, chosen, self._now())
            else:
                receive(instance, [], self._now())
            reply = await self._replay(instance)
            try:
                apply(instance, reply, self._now())
            except (KeyError, TypeError, ValueError) as exc:
                fail(instance, f"the orchestrator asked for something malformed: {type(exc).__name__}: {exc}")
            self._commit(instance, taken)
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

    def _commit(self, instance: Instance, taken: list[Delivery]) -> None:
        told = notice(instance, self._now())
        self._store.commit(instance, taken, self._now(), told)
        if instance.status is Status.FAILED:
            log.warning("orchestration %s (%s) failed: %s", instance.name, instance.instance_id, instance.output)
        self._reconcile(instance)
        if told is not None:
            self._wake(told.instance_id)

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
            self._locks.pop(instance.instance_id, None)

    def _launch(self, instance: Instance, task_id: int, task: OpenTask) -> asyncio.Task[None]:
        if task.kind is TaskKind.ACTIVITY:
            return asyncio.create_task(self._act(instance.instance_id, instance.execution, task_id, task))
        if task.kind is TaskKind.CHILD:
            return asyncio.create_task(self._begin_child(instance, instance.execution, task_id, task))
        return asyncio.create_task(self._sleep(instance.instance_id, instance.execution, task_id, task), name="timer")

    def _answer(self, instance_id: str, execution: int, answer: Event) -> None:
        self._store.post(Delivery(instance_id, execution, answer))
        self._wake(instance_id)

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
        self._answer(instance_id, execution, answer)

    async def _begin_child(self, parent: Instance, execution: int, task_id: int, task: OpenTask) -> None:
        chosen = child_id(parent, task_id, task)
        moment = iso(self._now())
        child = Instance(chosen, task.name, task.input, moment, moment)
        child.parent = Parent(parent.instance_id, execution, task_id)
        if not self._store.create(child):
            other = self._store.load(chosen, history=False)
            if other is not None and other.parent == child.parent:
                return  # made before a restart: it runs, or its answer is in the inbox
            retried = task.attempt > 1 and other is not None and other.parent is not None
            if not (retried and self._store.purge_one(chosen) and self._store.create(child)):
                failed = event(
                    Kind.CHILD_FAILED,
                    self._now(),
                    TaskScheduledId=task_id,
                    Reason=f"Sub-orchestration '{task.name}' failed",
                    Details=f"an instance with id {chosen!r} exists already",
                )
                self._answer(parent.instance_id, execution, failed)
                return
        self._wake(chosen)

    async def _sleep(self, instance_id: str, execution: int, task_id: int, task: OpenTask) -> None:
        due = moment_of(task.fire_at)
        while (left := (due - self._now()).total_seconds()) > 0:
            await asyncio.sleep(min(left, LONGEST_SLEEP_S))
        self._answer(instance_id, execution, event(Kind.TIMER_FIRED, self._now(), TimerId=task_id, FireAt=task.fire_at))
