"""One turn of an orchestration: which events it gets, what its answer changes.

In: an instance, its inbox, the orchestrator's reply. Out: the instance changed in place. Pure.

The SDK numbers its tasks itself while it replays, so ids given here must come in its own order. Two rules keep
them equal: a failure or timer that belongs to a retry (which takes an id inside the SDK) gets an episode of its
own, and so does an external event (what follows continue-as-new must not swallow it).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from local.host.durable.history import (
    UNSUPPORTED,
    ActionType,
    Event,
    Kind,
    Reply,
    event,
    first_events,
    iso,
    moment_of,
)
from local.host.durable.instance import Instance, OpenTask, Status, TaskKind
from local.host.durable.storage import Delivery

MAX_BATCH = 200
_ANSWERS = {
    Kind.TASK_COMPLETED: "TaskScheduledId",
    Kind.TASK_FAILED: "TaskScheduledId",
    Kind.CHILD_COMPLETED: "TaskScheduledId",
    Kind.CHILD_FAILED: "TaskScheduledId",
    Kind.TIMER_FIRED: "TimerId",
}


def answered_task(one: Event) -> int | None:
    """Id of the task an event answers; None for an external event."""
    key = _ANSWERS.get(Kind(one["EventType"]))
    return None if key is None else int(one[key])


def select(instance: Instance, inbox: Sequence[Delivery]) -> tuple[list[Delivery], list[Delivery]]:
    """Chooses what the next episode gets.

    Returns:
        Events to deliver, oldest first, and rows to throw away: answers to an older execution or to a task that
        is not open. External events nobody has asked for yet are in neither: they stay.
    """
    chosen: list[Delivery] = []
    stale: list[Delivery] = []
    answered: set[int] = set()
    for delivery in inbox:
        if len(chosen) >= MAX_BATCH:
            break
        if delivery.execution is not None and delivery.execution != instance.execution:
            stale.append(delivery)
            continue
        task_id = answered_task(delivery.event)
        if task_id is None:
            name = delivery.event["Name"]
            if instance.waits.get(name, 0) <= instance.raised.get(name, 0):
                continue
            return ([delivery], stale) if not chosen else (chosen, stale)
        task = instance.open.get(task_id)
        if task is None or task_id in answered:
            stale.append(delivery)
            continue
        if _takes_an_id(task, delivery.event):
            return ([delivery], stale) if not chosen else (chosen, stale)
        answered.add(task_id)
        chosen.append(delivery)
    return chosen, stale


def _takes_an_id(task: OpenTask, one: Event) -> bool:
    failed = one["EventType"] in (Kind.TASK_FAILED, Kind.CHILD_FAILED)
    return task.kind is TaskKind.RETRY_TIMER or (failed and task.retried)


def current_time(instance: Instance, now: datetime) -> datetime:
    """The time as the orchestrator sees it: that of the last episode's begin, which never runs backwards."""
    for one in reversed(instance.history):
        if one["EventType"] == Kind.ORCHESTRATOR_STARTED:
            return moment_of(str(one["Timestamp"]))
    return now


def receive(instance: Instance, chosen: Sequence[Delivery], now: datetime) -> None:
    """Appends the events to the history and does what the SDK expects of its host before the replay.

    The wall clock may have been set back, or a timer have fired by the other clock: the orchestrator must still find
    itself later than before, and not before the time of a timer that has fired.
    """
    instance.status = Status.RUNNING
    if not instance.history:
        instance.history = first_events(instance.name, instance.input, now)
        return
    fired = [moment_of(str(d.event["FireAt"])) for d in chosen if d.event.get("FireAt")]
    now = max([now, current_time(instance, now), *fired])
    instance.history.append(event(Kind.ORCHESTRATOR_COMPLETED, now))
    instance.history.append(event(Kind.ORCHESTRATOR_STARTED, now))
    for delivery in chosen:
        instance.history.append(delivery.event)
        task_id = answered_task(delivery.event)
        if task_id is None:
            name = delivery.event["Name"]
            instance.raised[name] = instance.raised.get(name, 0) + 1
            continue
        task = instance.open.pop(task_id)
        if not _takes_an_id(task, delivery.event):
            continue
        if task.kind is not TaskKind.RETRY_TIMER:
            # Also after the last attempt: the SDK raises only when one more timer has fired.
            due = now + timedelta(milliseconds=task.interval_ms if task.attempt < task.attempts else 0)
            waiting = replace(task, kind=TaskKind.RETRY_TIMER, of_child=task.kind is TaskKind.CHILD, fire_at=iso(due))
            _schedule(instance, waiting, now)
        elif task.attempt < task.attempts:
            kind = TaskKind.CHILD if task.of_child else TaskKind.ACTIVITY
            again = replace(task, kind=kind, attempt=task.attempt + 1, fire_at="", after_s=None, reclaim=False)
            _schedule(instance, again, now)


def _schedule(instance: Instance, task: OpenTask, now: datetime) -> int:
    task_id = instance.next_id()
    if task.fire_at:
        task.after_s = max((moment_of(task.fire_at) - current_time(instance, now)).total_seconds(), 0.0)
    instance.open[task_id] = task
    if task.kind is TaskKind.ACTIVITY:
        scheduled = event(Kind.TASK_SCHEDULED, now, task_id, Name=task.name, Version=None, Input=task.input)
    elif task.kind is TaskKind.CHILD:
        child = child_id(instance, task_id, task)
        scheduled = event(Kind.CHILD_CREATED, now, task_id, Name=task.name, InstanceId=child, Input=task.input)
    else:
        scheduled = event(Kind.TIMER_CREATED, now, task_id, FireAt=task.fire_at)
    instance.history.append(scheduled)
    return task_id


def child_id(instance: Instance, task_id: int, task: OpenTask) -> str:
    """Instance id of a child: what the orchestrator chose, else one that replay makes again."""
    return task.child_id or f"{instance.instance_id}:{instance.execution:x}:{task_id:x}"


def payload(instance: Instance) -> str:
    """What the orchestrator function gets as its trigger."""
    return json.dumps(
        {
            "history": instance.history,
            "instanceId": instance.instance_id,
            "isReplaying": False,
            "parentInstanceId": None if instance.parent is None else instance.parent.instance_id,
            "input": instance.input,
            "upperSchemaVersion": 1,
        }
    )


def _key(action: Mapping[str, Any]) -> str:
    name = action.get("functionName") or action.get("externalEventName") or ""
    return f"{action.get('actionType')} {name}"


def apply(instance: Instance, reply: Reply, now: datetime) -> None:
    """Carries out a reply: new tasks, cancelled timers, custom status, the end."""
    if reply.custom_status is not None:
        instance.custom_status = reply.custom_status
    if reply.error is not None:
        fail(instance, reply.error)
        return
    seen = len(instance.action_keys)
    if [_key(action) for action in reply.actions[:seen]] != instance.action_keys:
        fail(instance, "the orchestrator is not deterministic: it did not ask for the same things again on replay")
        return
    restart: Mapping[str, Any] | None = None
    for action in reply.actions[seen:]:
        kind = ActionType(action["actionType"])
        if kind in UNSUPPORTED:
            fail(instance, f"{UNSUPPORTED[kind]} is not supported by the local host")
            return
        if kind is ActionType.CONTINUE_AS_NEW:
            restart = action
            break
        instance.action_keys.append(_key(action))
        instance.action_ids.append(_begin(instance, kind, action, now))
    for action, task_id in zip(reply.actions, instance.action_ids, strict=False):
        if task_id is not None and action["actionType"] == ActionType.TIMER and action.get("isCanceled"):
            instance.open.pop(task_id, None)
    if restart is not None:
        instance.restart(restart.get("input"))
    elif reply.done:
        instance.status = Status.COMPLETED
        instance.output = reply.output
        instance.open = {}


def _begin(instance: Instance, kind: ActionType, action: Mapping[str, Any], now: datetime) -> int | None:
    if kind is ActionType.EXTERNAL_EVENT:
        name = str(action["externalEventName"])
        instance.waits[name] = instance.waits.get(name, 0) + 1
        return None
    if kind is ActionType.TIMER:
        return _schedule(instance, OpenTask(TaskKind.TIMER, fire_at=iso(moment_of(str(action["fireAt"])))), now)
    retry = action.get("retryOptions")
    task = OpenTask(
        TaskKind.ACTIVITY if kind in (ActionType.ACTIVITY, ActionType.ACTIVITY_RETRY) else TaskKind.CHILD,
        name=str(action["functionName"]),
        input=action.get("input"),
        child_id=action.get("instanceId"),
    )
    if retry:
        task.retried = True
        task.attempts = int(retry["maxNumberOfAttempts"])
        task.interval_ms = int(retry["firstRetryIntervalInMilliseconds"])
    return _schedule(instance, task, now)


def remember(instance: Instance, chosen: Sequence[Delivery]) -> dict[str, Any]:
    """What a rewind needs, should the episode that begins now fail the instance."""
    return {
        "state": instance.state_json(),
        "history": len(instance.history),
        "events": [delivery.event for delivery in chosen],
    }


def fail(instance: Instance, message: str) -> None:
    """Ends the instance as failed; the message becomes its output."""
    _end(instance, Status.FAILED, message)


def terminate(instance: Instance, reason: str) -> None:
    """Ends the instance at once; the reason becomes its output."""
    _end(instance, Status.TERMINATED, reason)


def _end(instance: Instance, status: Status, message: str) -> None:
    instance.status = status
    instance.output = json.dumps(message)
    instance.open = {}


def notice(instance: Instance, now: datetime) -> Delivery | None:
    """What a finished child tells its parent."""
    parent = instance.parent
    if parent is None or not instance.status.finished:
        return None
    if instance.status is Status.COMPLETED:
        told = event(Kind.CHILD_COMPLETED, now, TaskScheduledId=parent.task_id, Result=instance.output)
    else:
        why = json.loads(instance.output) if instance.output else ""
        told = event(
            Kind.CHILD_FAILED,
            now,
            TaskScheduledId=parent.task_id,
            Reason=f"Sub-orchestration '{instance.name}' {str(instance.status).lower()}",
            Details=why,
        )
    return Delivery(parent.instance_id, parent.execution, told)
