"""State of one orchestration instance between two episodes.

In: history events and what is open. Out: JSON for the store. Pure.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any

from local.host.durable.history import Event


class Status(StrEnum):
    """Runtime statuses as the client knows them."""

    PENDING = "Pending"
    RUNNING = "Running"
    SUSPENDED = "Suspended"
    COMPLETED = "Completed"
    FAILED = "Failed"
    TERMINATED = "Terminated"

    @property
    def finished(self) -> bool:
        """Nothing will happen to the instance any more."""
        return self not in UNFINISHED


UNFINISHED = (Status.PENDING, Status.RUNNING, Status.SUSPENDED)


class TaskKind(StrEnum):
    """What an open task waits for."""

    ACTIVITY = "activity"
    CHILD = "child"
    TIMER = "timer"
    RETRY_TIMER = "retry timer"


@dataclass(slots=True)
class OpenTask:
    """Something scheduled and not yet answered.

    Attributes:
        kind: see `TaskKind`; a retry timer stands before the next attempt of the activity or child it names.
        name: function to call, "" for a timer.
        input: JSON text.
        fire_at: ISO moment of a timer.
        attempt: 1 for the first.
        attempts: most attempts; 1 without retry.
        interval_ms: pause between attempts.
        child_id: instance id of a child as the orchestrator gave it, None for a generated one.
        of_child: the retried task is a child, not an activity.
        retried: the SDK keeps a retry timer for it, so a failure takes a task id.
        after_s: how long a timer was to take when it was set; None in rows of before this was kept.
    """

    kind: TaskKind
    name: str = ""
    input: str | None = None
    fire_at: str = ""
    attempt: int = 1
    attempts: int = 1
    interval_ms: int = 0
    child_id: str | None = None
    of_child: bool = False
    retried: bool = False
    after_s: float | None = None
    reclaim: bool = False


@dataclass(slots=True)
class Parent:
    """Who waits for a child: instance, its execution number and the task's id."""

    instance_id: str
    execution: int
    task_id: int


@dataclass(slots=True)
class Instance:
    """One orchestration.

    Attributes:
        execution: raised by continue-as-new and rewind; answers to older executions are dropped. It begins at random,
            so that an activity which still runs for a purged instance of the same id cannot answer its successor.
        sequence: next task id, equal to the SDK's own counter.
        action_ids: task id of each action seen so far, None for those that have none.
        action_keys: type and name of each, to notice an orchestrator that is not deterministic.
        open: open tasks by id.
        waits: how often each external event was asked for in this execution.
        raised: how often it was delivered.
        history: events of this execution.
        stored: how many of them the store has.
        before: what a rewind goes back to, kept when an episode fails: the state before that episode, the length of
            the history then, and the events of the episode.
    """

    instance_id: str
    name: str
    input: str | None
    created: str
    updated: str
    status: Status = Status.PENDING
    output: str | None = None
    custom_status: str | None = None
    parent: Parent | None = None
    execution: int = 0
    sequence: int = 0
    action_ids: list[int | None] = field(default_factory=list)
    action_keys: list[str] = field(default_factory=list)
    open: dict[int, OpenTask] = field(default_factory=dict)
    waits: dict[str, int] = field(default_factory=dict)
    raised: dict[str, int] = field(default_factory=dict)
    history: list[Event] = field(default_factory=list)
    stored: int = 0
    before: dict[str, Any] | None = None

    def next_id(self) -> int:
        """Takes the next task id."""
        taken = self.sequence
        self.sequence += 1
        return taken

    def restart(self, input_json: str | None) -> None:
        """Continue-as-new: everything of this execution is forgotten, answers to it will be dropped."""
        self.input = input_json
        self.execution += 1
        self.sequence = 0
        self.action_ids = []
        self.action_keys = []
        self.open = {}
        self.waits = {}
        self.raised = {}
        self.history = []
        self.stored = 0

    def state_json(self) -> str:
        """The part of the state that only the runner reads."""
        return json.dumps(
            {
                "parent": None if self.parent is None else asdict(self.parent),
                "sequence": self.sequence,
                "action_ids": self.action_ids,
                "action_keys": self.action_keys,
                "open": {str(task_id): asdict(task) for task_id, task in self.open.items()},
                "waits": self.waits,
                "raised": self.raised,
                "before": self.before,
            }
        )

    def load_state(self, text: str) -> None:
        """The reverse of `state_json`."""
        state: dict[str, Any] = json.loads(text)
        parent = state["parent"]
        self.parent = None if parent is None else Parent(**parent)
        self.sequence = state["sequence"]
        self.action_ids = state["action_ids"]
        self.action_keys = state["action_keys"]
        self.open = {
            int(task_id): OpenTask(**{**task, "kind": TaskKind(task["kind"])})
            for task_id, task in state["open"].items()
        }
        self.waits = state["waits"]
        self.raised = state["raised"]
        self.before = state.get("before")
