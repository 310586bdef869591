"""What clients may ask of a hub: start, raise, suspend, resume, rewind, restart, terminate, purge.

In: instance ids, names, JSON text. Out: how it went; what was said done is on disk.

Source: HttpApiHandler and DurableClient of the Durable Functions extension, read 2026-11-21.
"""

from __future__ import annotations

import uuid
from enum import Enum

from local.host.clock import Clock
from local.host.durable.episode import terminate
from local.host.durable.history import Kind, event, iso
from local.host.durable.instance import Instance, Status
from local.host.durable.scheduler import Functions, Scheduler, new_execution
from local.host.durable.storage import Delivery, Filter, HubStore


class Outcome(Enum):
    """How a client's request went; the value is said to who asked."""

    DONE = "done"
    MISSING = "No such instance."
    FINISHED = "The instance has ended."
    EXISTS = "A running instance has this id."
    UNKNOWN_FUNCTION = "The app has no such orchestrator."
    NOT_ENDED = "Only instances that have ended can be purged."
    NOT_FAILED = "Only failed instances can be rewound."
    NO_WAY_BACK = "This instance failed before the local host kept what a rewind needs; restart it instead."


class Operations:
    """Everything a client can do to instances; all methods belong to the scheduler's loop.

    Args:
        scheduler: runs them.
        store: keeps them.
        functions: the app.
        clock: for the times in their histories.
    """

    def __init__(self, scheduler: Scheduler, store: HubStore, functions: Functions, clock: Clock) -> None:
        self._scheduler = scheduler
        self._store = store
        self._functions = functions
        self._now = clock.now

    def find(self, instance_id: str, *, history: bool = False) -> Instance | None:
        """The instance as it is now."""
        return self._store.load(instance_id, history=history)

    def select(self, chosen: Filter, limit: int) -> list[Instance]:
        """Instances without their histories, newest first."""
        return self._store.select(chosen, limit)

    def create(self, name: str, instance_id: str | None, input_json: str | None) -> tuple[Outcome, str]:
        """Starts an orchestration; one that has ended is replaced, one that has not is left alone and refused.

        Returns:
            The outcome and the instance's id.
        """
        chosen = instance_id or uuid.uuid4().hex
        if not self._functions.has_orchestrator(name):
            return Outcome.UNKNOWN_FUNCTION, chosen
        moment = iso(self._now())
        made = Instance(chosen, name, input_json, moment, moment, execution=new_execution())
        if not self._store.create(made, replace_finished=True):
            return Outcome.EXISTS, chosen
        self._scheduler.wake(chosen)
        return Outcome.DONE, chosen

    def restart(self, instance_id: str, *, new_id: bool) -> tuple[Outcome, str]:
        """Starts an orchestration once more with the input it had, under a new id or, when it has ended, under its own.

        Returns:
            The outcome and the id of the new instance.
        """
        found = self._store.load(instance_id, history=False)
        if found is None:
            return Outcome.MISSING, instance_id
        return self.create(found.name, None if new_id else instance_id, found.input)

    def raise_event(self, instance_id: str, name: str, input_json: str | None) -> Outcome:
        """Delivers an external event, now or when the orchestration asks for it; also to one that is suspended."""
        found = self._store.load(instance_id, history=False)
        if found is None:
            return Outcome.MISSING
        if found.status.finished:
            return Outcome.FINISHED
        raised = event(Kind.EVENT_RAISED, self._now(), Name=name, Input=input_json)
        self._store.post(Delivery(instance_id, None, raised))
        self._scheduler.wake(instance_id)
        return Outcome.DONE

    async def terminate(self, instance_id: str, reason: str) -> Outcome:
        """Ends an orchestration; activities that run are not stopped, children go on."""
        async with self._scheduler.locks.hold(instance_id):
            found = self._store.load(instance_id)
            if found is None:
                return Outcome.MISSING
            if found.status.finished:
                return Outcome.FINISHED
            terminate(found, reason)
            self._scheduler.commit(found, [])
        return Outcome.DONE

    async def suspend(self, instance_id: str, reason: str) -> Outcome:
        """Runs no more episodes of it; activities go on, and what arrives is kept for the time after."""
        return await self._switch(instance_id, reason, suspended=True)

    async def resume(self, instance_id: str, reason: str) -> Outcome:
        """Goes on with what has arrived meanwhile, oldest first."""
        return await self._switch(instance_id, reason, suspended=False)

    async def _switch(self, instance_id: str, reason: str, *, suspended: bool) -> Outcome:
        async with self._scheduler.locks.hold(instance_id):
            found = self._store.load(instance_id)
            if found is None:
                return Outcome.MISSING
            if found.status.finished:
                return Outcome.FINISHED
            if (found.status is Status.SUSPENDED) is suspended:
                return Outcome.DONE
            begun = bool(found.history)
            if begun:  # a history begins with the orchestration's start, and the SDK relies on it
                kind = Kind.SUSPENDED if suspended else Kind.RESUMED
                found.history.append(event(kind, self._now(), Reason=reason))
            found.status = Status.SUSPENDED if suspended else Status.RUNNING if begun else Status.PENDING
            self._store.commit(found, [], self._now())
        self._scheduler.wake(instance_id)
        return Outcome.DONE

    async def rewind(self, instance_id: str, reason: str) -> Outcome:
        """Makes a failed orchestration, and the failed children it fell over, run again from before the failure."""
        async with self._scheduler.locks.hold(instance_id):
            found = self._store.load(instance_id)
            if found is None:
                return Outcome.MISSING
            if found.status is not Status.FAILED:
                return Outcome.NOT_FAILED
            if found.before is None:
                return Outcome.NO_WAY_BACK
            self._scheduler.rewind(found, reason)
        return Outcome.DONE

    def purge(self, instance_id: str) -> Outcome:
        """Deletes an instance that has ended."""
        found = self._store.load(instance_id, history=False)
        if found is None:
            return Outcome.MISSING
        return Outcome.DONE if self._store.purge_one(instance_id) else Outcome.NOT_ENDED

    def purge_many(self, chosen: Filter) -> int:
        """Deletes what has ended and fits; how many that was."""
        return self._store.purge(chosen)
