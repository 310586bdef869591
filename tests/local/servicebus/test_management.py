"""The operations of ``$management``, without a wire."""

from typing import Any
from uuid import UUID, uuid4

import pytest

from local.servicebus.errors import Condition
from local.servicebus.limits import MAX_MESSAGE_BYTES, MAX_PEEKED_BYTES, MAX_PEEKED_MESSAGES
from local.servicebus.management import answer
from local.servicebus.queue import Queue
from local.servicebus.types import ARRAY_LONG, ARRAY_UUID, Array, Timestamp, UInt
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


@pytest.mark.parametrize(
    ("status", "left", "dead"),
    [("completed", 0, 0), ("abandoned", 1, 0), ("defered", 0, 0), ("suspended", 0, 1)],
)
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
        pytest.param("peek-message", {}, 400, id="peek-nothing-said"),
        pytest.param("peek-message", {"from-sequence-number": 1, "message-count": 0}, 400, id="peek-none"),
        pytest.param("peek-message", {"from-sequence-number": 1, "message-count": True}, 400, id="peek-a-boolean"),
        pytest.param("receive-by-sequence-number", {}, 400, id="deferred-nothing-said"),
        pytest.param("receive-by-sequence-number", {"sequence-numbers": [1]}, 400, id="deferred-no-mode"),
        pytest.param(
            "receive-by-sequence-number",
            {"sequence-numbers": [1], "receiver-settle-mode": UInt(2)},
            400,
            id="deferred-unknown-mode",
        ),
        pytest.param(
            "receive-by-sequence-number",
            {"sequence-numbers": [1], "receiver-settle-mode": UInt(1)},
            404,
            id="deferred-unknown-number",
        ),
        pytest.param("get-session-state", {}, 501, id="session-state"),
        pytest.param("renew-lock", None, 400, id="no-body"),
        pytest.param("renew-lock", {}, 400, id="no-tokens"),
        pytest.param("renew-lock", {"lock-tokens": ["x"]}, 400, id="not-a-token"),
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


def test_a_peek_tells_messages_and_then_no_content() -> None:
    queue, _ = new_queue()
    queue.send([message(b"%d" % number) for number in range(3)], 0)
    found = ask(queue, "peek-message", {"from-sequence-number": 2, "message-count": 5})
    assert found.status == 200
    assert [item["message"][-1:] for item in found.body["messages"]] == [b"1", b"2"]
    nothing = ask(queue, "peek-message", {"from-sequence-number": 4, "message-count": 5})
    assert (nothing.status, nothing.body) == (204, {})


def test_a_peek_is_cut_by_number_and_by_bytes_but_never_to_nothing() -> None:
    queue, _ = new_queue()
    queue.send([message() for _ in range(MAX_PEEKED_MESSAGES + 1)], 0)
    many = ask(queue, "peek-message", {"from-sequence-number": 0, "message-count": 10**9})
    assert len(many.body["messages"]) == MAX_PEEKED_MESSAGES
    large, _ = new_queue()
    large.send([message(b"x" * 250_000) for _ in range(9)], 0)
    some = ask(large, "peek-message", {"from-sequence-number": 0, "message-count": 9})
    assert len(some.body["messages"]) == MAX_PEEKED_BYTES // 250_000


def test_deferred_messages_are_told_with_their_tokens() -> None:
    queue, token = locked()
    body = {"disposition-status": "defered", "lock-tokens": tokens(token), "properties-to-modify": {"why": "later"}}
    assert ask(queue, "update-disposition", body).status == 200
    wanted = {"sequence-numbers": Array(ARRAY_LONG, (1,)), "receiver-settle-mode": UInt(1)}
    [found] = ask(queue, "receive-by-sequence-number", wanted).body["messages"]
    assert b"later" in found["message"]
    done = {"disposition-status": "completed", "lock-tokens": tokens(found["lock-token"])}
    assert ask(queue, "update-disposition", done).status == 200
    assert ask(queue, "update-disposition", done).condition == Condition.LOCK_LOST
    assert ask(queue, "receive-by-sequence-number", wanted).condition == Condition.MESSAGE_NOT_FOUND


@pytest.mark.parametrize("changes", ["text", {1: "x"}, {"x": {}}, {"x": [1]}], ids=["text", "number", "map", "list"])
def test_properties_to_modify_are_simple_or_the_message_stays_locked(changes: Any) -> None:
    queue, token = locked()
    body = {"disposition-status": "abandoned", "lock-tokens": tokens(token), "properties-to-modify": changes}
    assert ask(queue, "update-disposition", body).condition == Condition.ARGUMENT_ERROR
    assert queue.holds(token, 0)
