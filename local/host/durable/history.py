"""History events and orchestrator replies of the 1.x protocol, as the SDK reads and writes them.

In: names, ids, moments. Out: JSON-ready events; a parsed reply with its actions in the SDK's own order. Pure.

Source: azure-functions-durable 1.7.0, TaskOrchestrationExecutor and models/actions.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import IntEnum
from typing import Any

Event = dict[str, Any]
FAILURE_LABEL = "\n\n$OutOfProcData$:"


class Kind(IntEnum):
    """`EventType` values used here."""

    EXECUTION_STARTED = 0
    TASK_SCHEDULED = 4
    TASK_COMPLETED = 5
    TASK_FAILED = 6
    CHILD_CREATED = 7
    CHILD_COMPLETED = 8
    CHILD_FAILED = 9
    TIMER_CREATED = 10
    TIMER_FIRED = 11
    ORCHESTRATOR_STARTED = 12
    ORCHESTRATOR_COMPLETED = 13
    EVENT_RAISED = 15
    GENERIC = 17
    SUSPENDED = 19
    RESUMED = 20


class ActionType(IntEnum):
    """`actionType` values of an orchestrator's reply."""

    ACTIVITY = 0
    ACTIVITY_RETRY = 1
    CHILD = 2
    CHILD_RETRY = 3
    CONTINUE_AS_NEW = 4
    TIMER = 5
    EXTERNAL_EVENT = 6
    CALL_ENTITY = 7
    HTTP = 8
    SIGNAL_ENTITY = 9
    ANY = 11
    ALL = 12


UNSUPPORTED = {
    ActionType.CALL_ENTITY: "call_entity",
    ActionType.HTTP: "call_http",
    ActionType.SIGNAL_ENTITY: "signal_entity",
}


def iso(moment: datetime) -> str:
    """UTC with microseconds and `Z`, the form the extension writes."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def moment_of(text: str) -> datetime:
    """The reverse of `iso`; a time without zone counts as UTC, as in orchestrators written with naive datetimes."""
    parsed = datetime.fromisoformat(text.replace("Z", "+00:00"))
    return parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)


def event(kind: Kind, now: datetime, event_id: int = -1, **fields: Any) -> Event:
    """One history event; `event_id` is -1 unless the event schedules something."""
    return {"EventType": int(kind), "EventId": event_id, "IsPlayed": False, "Timestamp": iso(now), **fields}


def first_events(name: str, input_json: str | None, now: datetime) -> list[Event]:
    """How every execution begins; the SDK needs `Version` to be there."""
    return [
        event(Kind.ORCHESTRATOR_STARTED, now),
        event(Kind.EXECUTION_STARTED, now, Name=name, Input=input_json, Version=None, Tags=None),
    ]


@dataclass(frozen=True, slots=True)
class Reply:
    """What an orchestrator said at the end of an episode.

    Attributes:
        done: it returned or continued as new.
        actions: all actions of this execution so far, compound ones flattened.
        output: returned value as JSON text, None for no value.
        custom_status: as JSON text, None when it never set one.
        error: why it failed.
    """

    done: bool
    actions: list[Mapping[str, Any]]
    output: str | None
    custom_status: str | None
    error: str | None


def flatten(actions: object) -> Iterator[Mapping[str, Any]]:
    """Simple actions in the order in which the SDK numbers their tasks."""
    if isinstance(actions, list):
        for one in actions:
            yield from flatten(one)
    elif isinstance(actions, dict):
        if actions.get("actionType") in (ActionType.ANY, ActionType.ALL):
            yield from flatten(actions.get("compoundActions", []))
        else:
            yield actions


def _json_or_none(content: Mapping[str, Any], key: str) -> str | None:
    value = content.get(key)
    return None if value is None else json.dumps(value)


def parse_reply(text: str) -> Reply:
    """Parses an orchestrator's return value.

    Raises:
        ValueError: not the JSON object of the protocol.
    """
    content = json.loads(text)
    if not isinstance(content, dict):
        raise ValueError("the orchestrator did not return a state object")
    return Reply(
        done=bool(content.get("isDone")),
        actions=list(flatten(content.get("actions", []))),
        output=_json_or_none(content, "output"),
        custom_status=_json_or_none(content, "customStatus"),
        error=content.get("error"),
    )


def parse_failure(message: str) -> Reply:
    """The reply hidden in the exception of a failed orchestrator; without one, the message itself is the error."""
    error, label, state = message.partition(FAILURE_LABEL)
    if label:
        try:
            reply = parse_reply(state)
        except ValueError:
            return Reply(True, [], None, None, error)
        return Reply(True, reply.actions, None, reply.custom_status, reply.error or error)
    return Reply(True, [], None, None, message)


def unwrap(body: bytes) -> str | None:
    """The JSON text in a request of the SDK's client, which serialises twice, or of anyone else, who does it once.

    Raises:
        ValueError: not JSON.
    """
    if not body.strip():
        return None
    text = body.decode("utf-8")
    value = json.loads(text)
    if isinstance(value, str):
        try:
            json.loads(value)
        except ValueError:
            return text
        return value
    return text
