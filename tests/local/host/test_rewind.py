"""What a rewind makes of numbers, answers and children, without any orchestrator."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from local.host.durable.episode import apply, fail, receive, remember
from local.host.durable.history import Kind, event
from local.host.durable.instance import Instance, Status, TaskKind
from local.host.durable.rewind import rewind
from local.host.durable.storage import Delivery
from tests.local.host.test_episode import activity, completed, failed, raised, reply

NOW = datetime(2026, 11, 20, 10, tzinfo=UTC)
CHILD: dict[str, Any] = {"actionType": 2, "functionName": "c"}


def begun(*actions: dict[str, Any]) -> Instance:
    made = Instance("i", "o", None, "t", "t")
    receive(made, [], NOW)
    apply(made, reply(*actions), NOW)
    return made


def hears(made: Instance, *chosen: Delivery) -> None:
    receive(made, chosen, NOW)
    apply(made, reply(*[activity(key.split()[1], retry=key.startswith("1 ")) for key in made.action_keys]), NOW)


def falls(made: Instance, *chosen: Delivery) -> None:
    before = remember(made, chosen)
    receive(made, chosen, NOW)
    fail(made, "so it is")
    made.before = before


def fired(timer_id: int) -> Delivery:
    return Delivery("i", 0, event(Kind.TIMER_FIRED, NOW, TimerId=timer_id))


def test_a_failed_task_is_open_again_and_what_was_answered_is_not() -> None:
    made = begun(activity("a"), activity("b"))
    falls(made, completed(1), failed(0))
    inbox = rewind(made, [raised("E")], "why", NOW)
    assert (made.status, made.output, list(made.open)) == (Status.RUNNING, None, [0, 1])
    assert [(one.execution, one.event["EventType"]) for one in inbox] == [(1, Kind.TASK_COMPLETED), (None, 15)]
    assert (made.execution, made.stored, made.before) == (1, 0, None)
    assert made.history[-1]["Data"] == "Rewound: why"


def test_the_last_attempt_of_a_retried_task_is_made_again_under_its_own_number() -> None:
    made = begun(activity("a", retry=True))
    for heard in (failed(0), fired(1), failed(2)):
        hears(made, heard)
    falls(made, fired(3))
    assert rewind(made, [], "why", NOW) == []
    assert [(n, task.kind, task.attempt) for n, task in made.open.items()] == [(2, TaskKind.ACTIVITY, 2)]
    assert made.sequence == 3
    assert [one["TaskScheduledId"] for one in made.history if one["EventType"] == Kind.TASK_FAILED] == [0]


def test_numbers_after_a_forgotten_failure_move_up() -> None:
    made = begun(activity("a", retry=True), activity("b", retry=True))  # 0 and 1
    hears(made, failed(0))  # its timer: 2
    hears(made, fired(2))  # second attempt: 3
    hears(made, failed(3))  # the last timer: 4
    hears(made, failed(1))  # the first timer of b: 5
    falls(made, fired(4))
    inbox = rewind(made, [Delivery("i", 0, fired(5).event), fired(7)], "why", NOW)
    assert {n: task.kind for n, task in made.open.items()} == {3: TaskKind.ACTIVITY, 4: TaskKind.RETRY_TIMER}
    assert [(one.execution, one.event["TimerId"]) for one in inbox] == [(1, 4)]
    assert made.sequence == 5
    assert [one["EventId"] for one in made.history if one["EventType"] == Kind.TIMER_CREATED] == [2, 4]


def test_several_tasks_without_attempts_left_get_one_more_each() -> None:
    made = begun(activity("a", retry=True), activity("b", retry=True))
    for heard in (failed(0), failed(1), fired(2), fired(3), failed(4), failed(5)):
        hears(made, heard)
    falls(made, fired(6))
    rewind(made, [Delivery("i", 0, fired(7).event)], "why", NOW)
    assert [(n, task.kind, task.attempt) for n, task in made.open.items()] == [
        (4, TaskKind.ACTIVITY, 2),
        (5, TaskKind.ACTIVITY, 2),
    ]
    assert made.sequence == 6


def test_a_child_keeps_its_id_and_is_claimed_under_the_new_number() -> None:
    made = begun(CHILD)
    child = next(one["InstanceId"] for one in made.history if one["EventType"] == Kind.CHILD_CREATED)
    falls(made, Delivery("i", 0, event(Kind.CHILD_FAILED, NOW, TaskScheduledId=0, Reason="r", Details="d")))
    rewind(made, [], "why", NOW)
    assert (made.open[0].child_id, made.open[0].reclaim) == (child, True)


def test_one_that_failed_in_its_first_episode_begins_from_the_beginning() -> None:
    made = Instance("i", "o", None, "t", "t")
    falls(made)
    rewind(made, [], "why", NOW)
    assert (made.status, made.history) == (Status.PENDING, [])


def test_the_way_back_survives_the_store_and_is_asked_for() -> None:
    made = begun(activity("a"))
    falls(made, failed(0))
    again = Instance("i", "o", None, "t", "t")
    again.load_state(made.state_json())
    assert again.before == made.before
    again.before = None
    with pytest.raises(ValueError, match="has not kept"):
        rewind(again, [], "why", NOW)
