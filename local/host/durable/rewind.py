"""Puts a failed orchestration back to where it was before the episode that failed it.

In: a failed instance with what it kept for this, its inbox. Out: the instance changed in place, its new inbox. Pure.

What had been answered stays answered; what failed is asked again, a retried task once more each time. The SDK gives
its tasks numbers while it replays, so a failed attempt that is forgotten makes later numbers smaller; every row is
renumbered, and a new execution number keeps answers to the old ones away.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime

from local.host.durable.episode import answered_task
from local.host.durable.history import Event, Kind, event
from local.host.durable.instance import Instance, Status, TaskKind
from local.host.durable.storage import Delivery

_FAILURES = (Kind.TASK_FAILED, Kind.CHILD_FAILED)


def rewind(instance: Instance, inbox: Sequence[Delivery], reason: str, now: datetime) -> list[Delivery]:
    """Makes the instance run again.

    Args:
        instance: failed, with its whole history; its ``before`` must be there.
        inbox: what has arrived and was not delivered.
        reason: who or why, for the history.

    Returns:
        Everything its inbox must hold from now on, oldest first.
    """
    kept = instance.before
    if kept is None:
        raise ValueError("the instance has not kept what a rewind goes back to")
    waiting = [Delivery(instance.instance_id, None, one) for one in kept["events"]]
    waiting += [replace(one, execution=None) for one in inbox if one.execution in (None, instance.execution)]
    del instance.history[kept["history"] :]
    parent = instance.parent  # which may have been rewound itself, and has other numbers then
    instance.load_state(kept["state"])
    instance.parent = parent
    freed = sorted(_forget_last_attempts(instance))
    _fix_children(instance)
    _renumber(instance, freed)
    instance.execution += 1
    instance.stored = 0
    instance.output = None
    instance.status = Status.RUNNING if instance.history else Status.PENDING
    if instance.history:
        instance.history.append(event(Kind.GENERIC, now, Data=f"Rewound: {reason}"))
    return list(_inbox(instance, waiting, freed))


def _forget_last_attempts(instance: Instance) -> list[int]:
    """Opens retried tasks again whose attempts were used up; the numbers that this frees."""
    freed = []
    for timer_id, task in list(instance.open.items()):
        if task.kind is not TaskKind.RETRY_TIMER or task.attempt < task.attempts:
            continue
        at = next(
            n
            for n, one in enumerate(instance.history)
            if one["EventType"] == Kind.TIMER_CREATED and one["EventId"] == timer_id
        )
        attempt_id = int(instance.history[at - 1]["TaskScheduledId"])  # its failure stands right before the timer
        del instance.history[at - 1 : at + 1]
        del instance.open[timer_id]
        kind = TaskKind.CHILD if task.of_child else TaskKind.ACTIVITY
        instance.open[attempt_id] = replace(task, kind=kind, fire_at="", after_s=None)
        freed.append(timer_id)
    return freed


def _fix_children(instance: Instance) -> None:
    """Children keep the ids they have, which numbers will not give again."""
    ids = {one["EventId"]: one["InstanceId"] for one in instance.history if one["EventType"] == Kind.CHILD_CREATED}
    for task_id, task in instance.open.items():
        if task.kind is TaskKind.CHILD:
            task.child_id, task.reclaim = str(ids[task_id]), True


def _renumber(instance: Instance, freed: Sequence[int]) -> None:
    def new(old: int) -> int:
        return old - bisect_left(freed, old)

    instance.history = [_renumbered(one, new) for one in instance.history]
    instance.open = {new(task_id): task for task_id, task in sorted(instance.open.items())}
    instance.action_ids = [None if one is None else new(one) for one in instance.action_ids]
    instance.sequence -= len(freed)


def _renumbered(one: Event, new: Callable[[int], int]) -> Event:
    numbers: Event = {
        key: new(int(one[key]))
        for key in ("EventId", "TaskScheduledId", "TimerId")
        if key in one and int(one[key]) >= 0
    }
    return {**one, **numbers}


def _inbox(instance: Instance, waiting: Sequence[Delivery], freed: Sequence[int]) -> list[Delivery]:
    """External events as they are, successes under their new numbers; failures are forgotten."""
    rows = []
    for delivery in waiting:
        old = answered_task(delivery.event)
        if old is None:
            rows.append(delivery)
        elif delivery.event["EventType"] not in _FAILURES and old not in freed:
            moved = _renumbered(delivery.event, lambda number: number - bisect_left(freed, number))
            if answered_task(moved) in instance.open:
                rows.append(replace(delivery, event=moved, execution=instance.execution))
    return rows
