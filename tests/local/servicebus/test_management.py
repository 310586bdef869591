"""The operations of ``$management``, without a wire."""

from typing import Any
from uuid import UUID, uuid4

import pytest

from local.servicebus.errors import Condition
from local.servicebus.limits import MAX_MESSAGE_BYTES
from local.servicebus.management import answer
from local.servicebus.queue import Queue
from local.servicebus.types import ARRAY_LONG, ARRAY_UUID, Array, Timestamp
from tests.local.servicebus.fakes import message, new_queue, raw_message


def ask(queue: Queue, operation: str, body: Any, now_ms: int = 0) -> Any:
    return answer(queue, f"com.microsoft:{operation}", body, now_ms)


def tokens(*items: UUID) -> Array:
    return Array(ARRAY_UUID, items)


def locked() -> tuple[Queue, UUID]:
    queue, _ = new_queue()
    queue.send([message()], 0)
    lock = queue.lock_next(0)
    assert lock is not None
    return queue, lock.token


@pytest.mark.parametrize(("status", "left", "dead"), [("completed", 0, 0), ("abandoned", 1, 0), ("suspended", 0, 1)])
def test_a_message_is_settled_by_its_token(status: str, left: int, dead: int) -> None:
    queue, token = locked()
    body = {"disposition-status": status, "lock-tokens": tokens(token), "deadletter-reason": "r"}
    assert ask(queue, "update-disposition", body).status == 200
    assert (queue.counts(0)["active"], queue.dead_letter.counts(0)["active"]) == (left, dead)
    assert ask(queue, "update-disposition", body).condition == Condition.LOCK_LOST


def test_a_renewal_is_for_all_tokens_or_none() -> None:
    queue, token = locked()
    found = ask(queue, "renew-lock", {"lock-tokens": [token]}, 500)
    assert found.body["expirations"].items == (Timestamp(1500),)
    assert found.application() == {"statusCode": 200, "statusDescription": "OK"}
    lost = ask(queue, "renew-lock", {"lock-tokens": tokens(token, uuid4())}, 900)
    assert (lost.status, lost.application()["errorCondition"]) == (410, "com.microsoft:message-lock-lost")
    assert queue.check(token, 900).until_ms == 1500


def test_messages_are_scheduled_all_or_none() -> None:
    queue, journal = new_queue()
    good, bad = {"message": raw_message(due_ms=1000)}, {"message": raw_message()}
    assert ask(queue, "schedule-message", {"messages": [good, bad]}).condition == Condition.ARGUMENT_ERROR
    assert journal.entries == {}
    found = ask(queue, "schedule-message", {"messages": [good, good]})
    assert found.body == {"sequence-numbers": Array(ARRAY_LONG, (1, 2))}
    assert ask(queue, "cancel-scheduled-message", {"sequence-numbers": [1, 9]}).status == 404
    assert ask(queue, "cancel-scheduled-message", {"sequence-numbers": [1, 2]}).status == 200


@pytest.mark.parametrize(
    ("operation", "body", "status"),
    [
        pytest.param("peek-message", {}, 501, id="peek"),
        pytest.param("receive-by-sequence-number", {}, 501, id="deferred"),
        pytest.param("get-session-state", {}, 501, id="session-state"),
        pytest.param("renew-lock", None, 400, id="no-body"),
        pytest.param("renew-lock", {}, 400, id="no-tokens"),
        pytest.param("renew-lock", {"lock-tokens": ["x"]}, 400, id="not-a-token"),
        pytest.param("update-disposition", {"disposition-status": "defered", "lock-tokens": []}, 501, id="defer"),
        pytest.param("update-disposition", {"disposition-status": "x", "lock-tokens": []}, 400, id="unknown-status"),
        pytest.param("schedule-message", {"messages": [{}]}, 400, id="no-bytes"),
        pytest.param("schedule-message", {"messages": [{"message": b"x" * (MAX_MESSAGE_BYTES + 1)}]}, 413, id="large"),
    ],
)
def test_what_cannot_be_done_is_answered(operation: str, body: Any, status: int) -> None:
    queue, _ = new_queue()
    assert ask(queue, operation, body).status == status


def test_nothing_is_scheduled_into_the_dead_letter_queue() -> None:
    queue, _ = new_queue()
    assert ask(queue.dead_letter, "schedule-message", {"messages": []}).status == 405
