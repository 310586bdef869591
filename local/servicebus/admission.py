"""Who may attach which link, and what stands behind it.

In: a peer's attach and what its connection was granted. Out: a ``Link``, or ``AmqpError`` with the refusal.
"""

from collections.abc import Callable
from typing import Protocol

from local.servicebus import cbs, management
from local.servicebus.addresses import Address, Kind, parse_address
from local.servicebus.errors import AmqpError, Condition
from local.servicebus.links import IncomingLink, Link, QueueLink, ReplyLink, Window
from local.servicebus.performatives import Attach
from local.servicebus.queue import Queue
from local.servicebus.sections import BATCH_FORMAT, message_value, parse_message, reply, split_batch
from local.servicebus.types import Described, Int, Value

_COORDINATOR = 0x30
_SESSION_FILTER = "com.microsoft:session-filter"


class Host(Window, Protocol):
    """What a link's node needs of its session and connection."""

    grants: cbs.Grants

    def reply_link(self, request: Attach, reply_to: str | None) -> ReplyLink | None:
        """The link that carries the replies to a request link."""


def admit(host: Host, attach: Attach) -> Link:
    """The link for an attach.

    Raises:
        AmqpError: not-found, unauthorized-access, not-implemented or not-allowed.
    """
    terminus = attach.source if attach.role else attach.target
    if terminus is not None and terminus.descriptor == _COORDINATOR:
        raise AmqpError(Condition.NOT_IMPLEMENTED, "the local broker has no transactions")
    text = address_text(terminus)
    if text is None:
        raise AmqpError(Condition.NOT_IMPLEMENTED, "the local broker has no dynamic or anonymous nodes")
    address = parse_address(text)
    if address.kind is Kind.CBS:
        return ReplyLink(host, attach) if attach.role else IncomingLink(host, attach, _cbs_node(host, attach))
    host.grants.demand(address.path, host.broker.clock())
    queue = host.broker.queue_at(address)
    if address.kind is Kind.MANAGEMENT:
        if attach.role:
            return ReplyLink(host, attach)
        return IncomingLink(host, attach, _management_node(host, attach, queue))
    if not attach.role:
        return IncomingLink(host, attach, _queue_node(host, queue, address))
    if _SESSION_FILTER in _filters(terminus):
        what = f"the queue '{address.queue}' has no sessions; the local broker does not offer them"
        raise AmqpError(Condition.NOT_ALLOWED, what)
    return QueueLink(host, attach, queue)


def address_text(terminus: Described | None) -> str | None:
    """The address in a source or target, or None."""
    fields = terminus.value if terminus is not None else None
    address = fields[0] if isinstance(fields, list) and fields else None
    return str(address) if isinstance(address, str) and address else None


def _filters(source: Described | None) -> dict[Value, Value]:
    fields = source.value if source is not None and isinstance(source.value, list) else []
    found = fields[7] if len(fields) > 7 else None
    return found if isinstance(found, dict) else {}


def _queue_node(host: Host, queue: Queue, address: Address) -> Callable[[int, bytes], None]:
    if address.dead_letter:
        raise AmqpError(Condition.NOT_ALLOWED, "nothing can be sent to a dead-letter queue")

    def accept(message_format: int, payload: bytes) -> None:
        if message_format not in (0, BATCH_FORMAT):
            raise AmqpError(Condition.NOT_IMPLEMENTED, f"unknown message format {message_format:#x}")
        # Every message of a batch is read before the first is taken: all or nothing.
        messages = split_batch(payload) if message_format else [parse_message(payload)]
        queue.send(messages, host.broker.now_ms())
        host.broker.touch(queue)

    return accept


def _management_node(host: Host, attach: Attach, queue: Queue) -> Callable[[int, bytes], None]:
    def accept(message_format: int, payload: bytes) -> None:
        request = parse_message(payload)
        link = _replies(host, attach, request.reply_to)
        try:
            application, body = message_value(payload)
            found = management.answer(queue, application.get("operation"), body, host.broker.now_ms())
        except AmqpError as exc:
            found = management.refusal(exc)
        link.reply(reply(request.message_id, found.application(), dict(found.body)))
        host.broker.touch(queue)

    return accept


def _cbs_node(host: Host, attach: Attach) -> Callable[[int, bytes], None]:
    def accept(message_format: int, payload: bytes) -> None:
        request = parse_message(payload)
        application, body = message_value(payload)
        link = _replies(host, attach, request.reply_to)
        broker = host.broker
        status, description = cbs.put_token(broker.tokens, host.grants, application, body, broker.clock)
        told: dict[Value, Value] = {"status-code": Int(status), "status-description": description}
        link.reply(reply(request.message_id, told, None))

    return accept


def _replies(host: Host, attach: Attach, reply_to: str | None) -> ReplyLink:
    link = host.reply_link(attach, reply_to)
    if link is None:
        raise AmqpError(Condition.NOT_ALLOWED, "a request needs a link for its reply on the same session")
    return link
