"""Which events an episode gets, and the ids it gives, without any orchestrator."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from local.host.durable.episode import apply, receive, select
from local.host.durable.history import Kind, Reply, event, parse_failure, unwrap
from local.host.durable.instance import Instance, Status, TaskKind
from local.host.durable.storage import Delivery

NOW = datetime(2026, 11, 20, 10, tzinfo=UTC)
RETRY = {"firstRetryIntervalInMilliseconds": 100, "maxNumberOfAttempts": 2}


def activity(name: str, *, retry: bool = False) -> dict[str, Any]:
    return {"actionType": 1 if retry else 0, "functionName": name, **({"retryOptions": RETRY} if retry else {})}


def instance(*actions: dict[str, Any]) -> Instance:
    made = Instance("i", "o", None, "t", "t")
    receive(made, [], NOW)
    apply(made, reply(*actions), NOW)
    return made


def reply(*actions: dict[str, Any], done: bool = False) -> Reply:
    return Reply(done, list(actions), None, None, None)


def completed(task_id: int, execution: int = 0) -> Delivery:
    return Delivery("i", execution, event(Kind.TASK_COMPLETED, NOW, TaskScheduledId=task_id, Result="1"))


def failed(task_id: int) -> Delivery:
    return Delivery("i", 0, event(Kind.TASK_FAILED, NOW, TaskScheduledId=task_id, Reason="r", Details="d"))


def raised(name: str) -> Delivery:
    return Delivery("i", None, event(Kind.EVENT_RAISED, NOW, Name=name, Input="1"))


def test_plain_answers_share_an_episode() -> None:
    made = instance(activity("a"), activity("b"))
    inbox = [completed(1), completed(0)]
    assert select(made, inbox) == (inbox, [])


def test_duplicates_and_answers_to_an_older_execution_are_thrown_away() -> None:
    made = instance(activity("a"))
    good, again, old, unknown = completed(0), completed(0), completed(0, execution=-1), completed(7)
    assert select(made, [old, good, again, unknown]) == ([good], [old, again, unknown])


def test_a_failure_that_takes_a_retry_timer_has_an_episode_of_its_own() -> None:
    made = instance(activity("a", retry=True), activity("b"))
    assert select(made, [completed(1), failed(0)]) == ([completed(1)], [])
    assert select(made, [failed(0), completed(1)]) == ([failed(0)], [])


def test_retry_ids_follow_the_sdk_timer_then_attempt_then_timer() -> None:
    made = instance(activity("a", retry=True))
    receive(made, [failed(0)], NOW)
    assert [(n, t.kind) for n, t in made.open.items()] == [(1, TaskKind.RETRY_TIMER)]
    assert made.open[1].fire_at == "2026-11-20T10:00:00.100000Z"
    fired = Delivery("i", 0, event(Kind.TIMER_FIRED, NOW, TimerId=1))
    receive(made, [fired], NOW)
    assert [(n, t.kind, t.attempt) for n, t in made.open.items()] == [(2, TaskKind.ACTIVITY, 2)]
    receive(made, [failed(2)], NOW)
    assert made.open[3].fire_at == "2026-11-20T10:00:00.000000Z"  # the extra timer after the last attempt is at once
    receive(made, [Delivery("i", 0, event(Kind.TIMER_FIRED, NOW, TimerId=3))], NOW)
    assert made.open == {}


def test_an_external_event_waits_until_it_is_asked_for() -> None:
    made = instance(activity("a"))
    assert select(made, [raised("E"), completed(0)]) == ([completed(0)], [])
    made.waits["E"] = 1
    assert select(made, [raised("E"), raised("E")]) == ([raised("E")], [])
    made.raised["E"] = 1
    assert select(made, [raised("E")]) == ([], [])


def test_a_cancelled_timer_is_closed() -> None:
    timer = {"actionType": 5, "fireAt": "2026-11-20T11:00:00.000000Z", "isCanceled": False}
    made = instance(timer)
    assert made.open[0].kind is TaskKind.TIMER
    apply(made, reply({**timer, "isCanceled": True}), NOW)
    assert made.open == {}


def test_continue_as_new_begins_again() -> None:
    made = instance(activity("a"))
    apply(made, reply(activity("a"), {"actionType": 4, "input": "2"}, done=True), NOW)
    assert (made.status, made.execution, made.input, made.open) == (Status.RUNNING, 1, "2", {})
    assert (made.sequence, made.history) == (0, [])


def test_other_actions_on_replay_fail_the_instance() -> None:
    made = instance(activity("a"))
    apply(made, reply(activity("b")), NOW)
    assert made.status is Status.FAILED


def test_state_survives_its_json() -> None:
    made = instance(activity("a", retry=True), {"actionType": 6, "externalEventName": "E"})
    again = Instance("i", "o", None, "t", "t")
    again.load_state(made.state_json())
    assert (again.open, again.waits, again.action_ids) == (made.open, {"E": 1}, [0, None])
    assert again.action_keys == made.action_keys


@pytest.mark.parametrize(
    ("body", "text"),
    [
        pytest.param(b"", None, id="no-body"),
        pytest.param(b'{"a": 1}', '{"a": 1}', id="plain-json"),
        pytest.param(b'"{\\"a\\": 1}"', '{"a": 1}', id="the-clients-double-encoding"),
        pytest.param(b'"\\"text\\""', '"text"', id="a-string-from-the-client"),
        pytest.param(b'"text"', '"text"', id="a-string-from-anyone"),
        pytest.param(b'"null"', "null", id="null-from-the-client"),
    ],
)
def test_unwrap(body: bytes, text: str | None) -> None:
    assert unwrap(body) == text


def test_a_failure_hides_its_reply_in_the_message() -> None:
    message = 'boom\n\n$OutOfProcData$:{"isDone": false, "actions": [], "error": "boom", "customStatus": 3}'
    found = parse_failure(message)
    assert (found.error, found.custom_status) == ("boom", "3")
    assert parse_failure("no label").error == "no label"
