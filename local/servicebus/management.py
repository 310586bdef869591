"""The ``$management`` operations of a queue.

In: operation name and body map of a request. Out: ``Answer``; every request gets one.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar
from uuid import UUID

from local.servicebus import limits
from local.servicebus.delivery import delivered
from local.servicebus.errors import AmqpError, Condition
from local.servicebus.queue import Queue
from local.servicebus.sections import Message, check_size, parse_message, read_changes
from local.servicebus.types import ARRAY_LONG, ARRAY_TIMESTAMP, Array, Int, Symbol, Timestamp, Value

_STATUS = {
    Condition.LOCK_LOST: 410,
    Condition.MESSAGE_NOT_FOUND: 404,
    Condition.NOT_IMPLEMENTED: 501,
    Condition.NOT_ALLOWED: 405,
    Condition.MESSAGE_SIZE: 413,
    Condition.INTERNAL_ERROR: 500,
}
Body = dict[Value, Value]
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Answer:
    """Status, sentence, error condition and body of a reply."""

    status: int
    description: str
    condition: Condition | None = None
    body: Body = field(default_factory=dict)

    def application(self) -> Body:
        """The reply's application properties, in the camel case of ``$management``."""
        told: Body = {"statusCode": Int(self.status), "statusDescription": self.description}
        if self.condition is not None:
            told["errorCondition"] = Symbol(self.condition)
        return told


def refusal(error: AmqpError) -> Answer:
    """The answer that carries an error."""
    return Answer(_STATUS.get(error.condition, 400), error.description, error.condition)


def answer(queue: Queue, operation: Value, body: Value, now_ms: int) -> Answer:
    """Run one operation; refusals are answers too.

    Args:
        queue: the queue or dead-letter queue whose node was asked.
        operation: such as ``com.microsoft:renew-lock``.
        body: the request's value; a map with string keys.
        now_ms: milliseconds since the epoch.
    """
    run = _OPERATIONS.get(operation) if isinstance(operation, str) else None
    try:
        if run is None:
            raise AmqpError(Condition.NOT_IMPLEMENTED, f"the local broker has no operation '{operation}'")
        if not isinstance(body, dict):
            raise AmqpError(Condition.ARGUMENT_ERROR, "the request's body must be a map")
        told = run(queue, body, now_ms)
        nothing = run is _peek and not told
        return Answer(204, "No Content") if nothing else Answer(200, "OK", None, told)
    except AmqpError as exc:
        return refusal(exc)


def _renew_lock(queue: Queue, body: Body, now_ms: int) -> Body:
    tokens = _items(body, "lock-tokens", UUID)
    for token in tokens:
        queue.check(token, now_ms)
    ends = tuple(Timestamp(queue.renew(token, now_ms)) for token in tokens)
    return {"expirations": Array(ARRAY_TIMESTAMP, ends)}


def _update_disposition(queue: Queue, body: Body, now_ms: int) -> Body:
    tokens = _items(body, "lock-tokens", UUID)
    status = body.get("disposition-status")
    if status not in ("completed", "abandoned", "defered", "suspended"):  # spelt so by the service
        raise AmqpError(Condition.ARGUMENT_ERROR, f"unknown disposition status '{status}'")
    changes = read_changes(body.get("properties-to-modify"))
    for token in tokens:
        queue.check(token, now_ms)
    for token in tokens:
        if status == "completed":
            queue.complete(token, now_ms)
        elif status == "abandoned":
            queue.abandon(token, now_ms, changes)
        elif status == "defered":
            queue.defer(token, now_ms, changes)
        else:
            reason, description = body.get("deadletter-reason"), body.get("deadletter-description")
            queue.reject(token, _text(reason), _text(description), now_ms, changes)
    return {}


def _schedule(queue: Queue, body: Body, now_ms: int) -> Body:
    if queue.is_dead_letter:
        raise AmqpError(Condition.NOT_ALLOWED, "nothing can be sent to a dead-letter queue")
    messages = [_scheduled(item) for item in _list(body, "messages")]
    return {"sequence-numbers": Array(ARRAY_LONG, tuple(queue.send(messages, now_ms)))}


def _scheduled(item: Value) -> Message:
    data = item.get("message") if isinstance(item, dict) else None
    if not isinstance(data, bytes):
        raise AmqpError(Condition.ARGUMENT_ERROR, "each message to schedule needs its bytes")
    check_size(len(data))
    message = parse_message(data)
    if message.scheduled_ms is None:
        raise AmqpError(Condition.ARGUMENT_ERROR, "a message to schedule needs x-opt-scheduled-enqueue-time")
    return message


def _cancel(queue: Queue, body: Body, now_ms: int) -> Body:
    queue.cancel(_items(body, "sequence-numbers", int))
    return {}


def _peek(queue: Queue, body: Body, now_ms: int) -> Body:
    """Messages from a sequence number on; may be fewer than asked for, and is empty only when there are none."""
    start, count = _number(body, "from-sequence-number"), _number(body, "message-count")
    if count < 1:
        raise AmqpError(Condition.ARGUMENT_ERROR, "'message-count' must be at least 1")
    found: list[Value] = []
    size = 0
    for entry in queue.peek(start, min(count, limits.MAX_PEEKED_MESSAGES), now_ms):
        data = delivered(queue, entry)
        size += len(data)
        if found and size > limits.MAX_PEEKED_BYTES:
            break
        found.append({"message": data})
    return {"messages": found} if found else {}


def _receive_deferred(queue: Queue, body: Body, now_ms: int) -> Body:
    seqs = _items(body, "sequence-numbers", int)
    mode = _number(body, "receiver-settle-mode")
    if mode not in (0, 1):
        raise AmqpError(Condition.ARGUMENT_ERROR, "'receiver-settle-mode' must be 0 (delete) or 1 (lock)")
    messages: list[Value] = []
    if mode == 0:
        # A message that is deleted has no lock, but the SDKs read a token of each.
        messages += [
            {"lock-token": UUID(int=0), "message": delivered(queue, entry)}
            for entry in queue.take_deferred(seqs, now_ms)
        ]
    else:
        messages += [
            {"lock-token": lock.token, "message": delivered(queue, lock.entry, lock)}
            for lock in queue.lock_deferred(seqs, now_ms)
        ]
    return {"messages": messages}


_OPERATIONS: dict[str, Callable[[Queue, Body, int], Body]] = {
    "com.microsoft:renew-lock": _renew_lock,
    "com.microsoft:update-disposition": _update_disposition,
    "com.microsoft:schedule-message": _schedule,
    "com.microsoft:cancel-scheduled-message": _cancel,
    "com.microsoft:peek-message": _peek,
    "com.microsoft:receive-by-sequence-number": _receive_deferred,
}


def _list(body: Body, key: str) -> Sequence[Value]:
    value = body.get(key)
    if isinstance(value, Array):
        return value.items
    if isinstance(value, list):
        return value
    raise AmqpError(Condition.ARGUMENT_ERROR, f"'{key}' must be a list")


def _items(body: Body, key: str, kind: type[T]) -> list[T]:
    found = [item for item in _list(body, key) if isinstance(item, kind)]
    if len(found) != len(_list(body, key)):
        raise AmqpError(Condition.ARGUMENT_ERROR, f"'{key}' holds a value of the wrong type")
    return found


def _number(body: Body, key: str) -> int:
    value = body.get(key)
    if isinstance(value, bool) or not isinstance(value, int):
        raise AmqpError(Condition.ARGUMENT_ERROR, f"'{key}' must be a whole number")
    return value


def _text(value: Value) -> str | None:
    return value if isinstance(value, str) else None
