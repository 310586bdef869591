"""What a client is shown of an instance: its status, its history, its addresses.

In: instances. Out: JSON-ready objects with the names the extension uses.

Source: StatusResponsePayload, HttpManagementPayload and DurableClient.GetDurableOrchestrationStatusAsync of the
Durable Functions extension, read 2026-11-21.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from local.host.durable.history import Event, Kind
from local.host.durable.instance import Instance

BASE_PATH = "/runtime/webhooks/durabletask/"
_NAMES = {
    Kind.EXECUTION_STARTED: "ExecutionStarted",
    Kind.TASK_SCHEDULED: "TaskScheduled",
    Kind.TASK_COMPLETED: "TaskCompleted",
    Kind.TASK_FAILED: "TaskFailed",
    Kind.CHILD_CREATED: "SubOrchestrationInstanceCreated",
    Kind.CHILD_COMPLETED: "SubOrchestrationInstanceCompleted",
    Kind.CHILD_FAILED: "SubOrchestrationInstanceFailed",
    Kind.TIMER_CREATED: "TimerCreated",
    Kind.TIMER_FIRED: "TimerFired",
    Kind.EVENT_RAISED: "EventRaised",
    Kind.GENERIC: "GenericEvent",
    Kind.SUSPENDED: "ExecutionSuspended",
    Kind.RESUMED: "ExecutionResumed",
}
_HIDDEN = ("EventId", "IsPlayed", "TaskScheduledId", "TimerId", "Version", "Tags", "Name")


def parsed(text: str | None) -> Any:
    """The value of JSON text; None for none."""
    return None if text is None else json.loads(text)


def status_of(instance: Instance, *, show_input: bool) -> dict[str, Any]:
    """The status as the client parses it."""
    return {
        "name": instance.name,
        "instanceId": instance.instance_id,
        "runtimeStatus": str(instance.status),
        "input": parsed(instance.input) if show_input else None,
        "customStatus": parsed(instance.custom_status),
        "output": parsed(instance.output),
        "createdTime": instance.created,
        "lastUpdatedTime": instance.updated,
    }


def history_of(instance: Instance, *, outputs: bool, inputs: bool) -> list[dict[str, Any]]:
    """The history for people: an answered task is one entry with its name and both times, episodes do not show.

    Args:
        outputs: with results of tasks and of the orchestration.
        inputs: with what was given to them.
    """
    scheduled = {one["EventId"]: one for one in instance.history if one["EventId"] >= 0}
    answered = {one["TaskScheduledId"] for one in instance.history if "TaskScheduledId" in one}
    shown = []
    for one in instance.history:
        kind = Kind(one["EventType"])
        if kind in _NAMES and not (kind in (Kind.TASK_SCHEDULED, Kind.CHILD_CREATED) and one["EventId"] in answered):
            shown.append(_entry(one, kind, scheduled.get(one.get("TaskScheduledId", -1)), outputs, inputs))
    if instance.status.finished:
        end = {"EventType": "ExecutionCompleted", "OrchestrationStatus": str(instance.status)}
        shown.append({**end, "Timestamp": instance.updated, **({"Result": parsed(instance.output)} if outputs else {})})
    return shown


def _entry(one: Event, kind: Kind, asked: Event | None, outputs: bool, inputs: bool) -> dict[str, Any]:
    entry = {key: value for key, value in one.items() if key not in _HIDDEN} | {"EventType": _NAMES[kind]}
    name = (asked or one).get("Name")
    if name is not None:
        entry["Name" if kind is Kind.EVENT_RAISED else "FunctionName"] = name
    if asked is not None:
        entry |= {"ScheduledTime": asked["Timestamp"], "Input": asked.get("Input")}
    for key, wanted in (("Result", outputs), ("Input", inputs)):
        if key in entry:
            value = entry.pop(key)
            if wanted:
                entry[key] = parsed(value)
    return entry


def management_urls(base: str, instance_id: str, hub: str) -> dict[str, str]:
    """Where one instance is asked about and changed.

    Args:
        base: the host's own address without trailing slash.
    """
    one, query = f"{base}{BASE_PATH}instances/{instance_id}", f"taskHub={hub}"
    verbs = {
        f"{verb}PostUri": f"{one}/{verb}?reason={{text}}&{query}"
        for verb in ("terminate", "rewind", "suspend", "resume")
    }
    return {
        "id": instance_id,
        "statusQueryGetUri": f"{one}?{query}",
        "sendEventPostUri": f"{one}/raiseEvent/{{eventName}}?{query}",
        "purgeHistoryDeleteUri": f"{one}?{query}",
        "restartPostUri": f"{one}/restart?{query}",
        **verbs,
    }


def client_binding(base_url: str, hub: str) -> str:
    """JSON text that a `durable_client_input` parameter is made from.

    Args:
        base_url: the host's own address without trailing slash.
        hub: task hub name.
    """
    base = f"{base_url}{BASE_PATH}"
    start = f"{base}orchestrators/{{functionName}}[/{{instanceId}}]"
    return json.dumps(
        {
            "taskHubName": hub,
            "creationUrls": {
                "createNewInstancePostUri": start,
                "createAndWaitOnNewInstancePostUri": (
                    f"{start}?timeout={{timeoutInSeconds}}&pollingInterval={{intervalInSeconds}}"
                ),
            },
            "managementUrls": management_urls(base_url, "INSTANCEID", hub),
            "rpcBaseUrl": base,
        }
    )


def flags(texts: Iterable[tuple[str, str]]) -> dict[str, bool]:
    """Boolean query parameters; anything but true and false is left out, as the extension does."""
    return {name: text.lower() == "true" for name, text in texts if text.lower() in ("true", "false")}
