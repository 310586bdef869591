"""Links: messages coming in, messages going out, and replies to requests.

In: transfers, credit and dispositions of one peer. Out: queue operations; transfers within credit and window.
"""

from collections import deque
from collections.abc import Callable
from typing import Protocol
from uuid import UUID

from local.servicebus import limits
from local.servicebus.broker import Broker
from local.servicebus.delivery import delivered
from local.servicebus.errors import AmqpError, Condition
from local.servicebus.performatives import Attach, Disposition, Flow, Transfer
from local.servicebus.queue import Queue
from local.servicebus.sections import DESCRIPTION, REASON, Changes, check_size, read_changes
from local.servicebus.types import Described, ULong, Value

ACCEPTED = Described(ULong(0x24), [])
_MASK = 0xFFFFFFFF
_TIDY_FROM = 1024


class Window(Protocol):
    """What a link needs of its session."""

    broker: Broker

    def send_flow(self, link: "Link", *, drain: bool = False) -> None:
        """Tell the peer the link's credit."""

    def send_disposition(self, disposition: Disposition) -> None:
        """Tell the peer what became of deliveries."""

    def send_transfer(self, transfer: Transfer, payload: bytes) -> None:
        """Send a message in as many frames as the peer needs."""

    def next_delivery_id(self) -> int:
        """A new delivery id."""

    def can_send(self) -> bool:
        """Whether window and socket take another message now."""


class Link:
    """Either end; the broker uses the peer's handle as its own."""

    def __init__(self, window: Window, attach: Attach) -> None:
        self.window = window
        self.attach = attach
        self.handle = attach.handle
        self.credit = 0
        self.delivery_count = 0

    def detached(self) -> None:
        """The link is gone."""

    def on_flow(self, flow: Flow) -> None:
        """The peer told its credit."""


class IncomingLink(Link):
    """The peer sends; whole messages go to ``accept``, whose refusal becomes a rejected outcome.

    Args:
        window: the session.
        attach: the peer's attach.
        accept: called with message format and bytes; raises AmqpError to reject.
    """

    def __init__(self, window: Window, attach: Attach, accept: Callable[[int, bytes], None]) -> None:
        super().__init__(window, attach)
        self._accept = accept
        self._first: Transfer | None = None
        self._payload = bytearray()
        self._size = 0
        self.delivery_count = attach.initial_delivery_count or 0

    def grant(self) -> None:
        """Give the peer its credit (back)."""
        self.credit = limits.LINK_CREDIT
        self.window.send_flow(self)

    def on_flow(self, flow: Flow) -> None:
        """The peer asks how much it may send."""
        if flow.echo:
            self.window.send_flow(self)

    def on_transfer(self, transfer: Transfer, payload: bytes) -> None:
        """A message or a part of one.

        Raises:
            AmqpError: the peer broke the protocol; the session ends.
        """
        if self._first is None:
            if transfer.delivery_id is None:
                raise AmqpError(Condition.DECODE_ERROR, "a first transfer needs a delivery id")
            if self.credit <= 0:
                raise AmqpError(Condition.TRANSFER_LIMIT, "a message without credit")
            self._first = transfer
        if transfer.aborted:
            self._reset()
            return
        self._size += len(payload)
        # Beyond the limit only the size is of interest, for the refusal.
        if self._size <= limits.MAX_MESSAGE_BYTES:
            self._payload += payload
        if not transfer.more:
            self._complete(self._first, self._first.settled or bool(transfer.settled))

    def _complete(self, first: Transfer, settled: bool) -> None:
        state = ACCEPTED
        try:
            check_size(self._size)
            self._accept(first.message_format or 0, bytes(self._payload))
        except AmqpError as exc:
            state = Described(ULong(0x25), [exc.described()])
        self._reset()
        if not settled and first.delivery_id is not None:
            self.window.send_disposition(
                Disposition(True, first.delivery_id, first.delivery_id, settled=True, state=state)
            )

    def _reset(self) -> None:
        self._first, self._payload, self._size = None, bytearray(), 0
        self.delivery_count = (self.delivery_count + 1) & _MASK
        self.credit -= 1
        if self.credit < limits.LINK_CREDIT // 2:
            self.grant()


class OutgoingLink(Link):
    """The peer receives; keeps its credit."""

    _drain = False

    def on_flow(self, flow: Flow) -> None:
        """The peer grants credit, and may ask for a drain."""
        if flow.link_credit is not None:
            base = self.delivery_count if flow.delivery_count is None else flow.delivery_count
            credit = (base + flow.link_credit - self.delivery_count) & _MASK
            # More than half the ring is a negative number: the peer took credit back that is used already.
            self.credit = 0 if credit > _MASK // 2 else credit
        self._drain = flow.drain
        if flow.echo and not flow.drain:
            self.window.send_flow(self)
        self.supply()

    def supply(self) -> None:
        """Credit or window may have come."""

    def drained(self) -> None:
        """Answer a drain once nothing more can be delivered: the rest of the credit is used up."""
        if self._drain:
            self._drain = False
            self.delivery_count = (self.delivery_count + self.credit) & _MASK
            self.credit = 0
            self.window.send_flow(self, drain=True)

    def transfer(self, tag: bytes, payload: bytes, *, settled: bool) -> int:
        """Send one message; returns its delivery id."""
        delivery_id = self.window.next_delivery_id()
        self.credit -= 1
        self.delivery_count = (self.delivery_count + 1) & _MASK
        self.window.send_transfer(Transfer(self.handle, delivery_id, tag, 0, settled), payload)
        return delivery_id


class ReplyLink(OutgoingLink):
    """Carries the replies of ``$cbs`` or ``$management``, always settled."""

    def __init__(self, window: Window, attach: Attach) -> None:
        super().__init__(window, attach)
        self._waiting: deque[bytes] = deque()

    def reply(self, payload: bytes) -> None:
        """Send a reply as soon as there is credit; raises AmqpError when too many wait."""
        if len(self._waiting) >= limits.MAX_PENDING_REPLIES:
            raise AmqpError(Condition.RESOURCE_LIMIT, "too many replies wait for credit")
        self._waiting.append(payload)
        self.supply()

    def supply(self) -> None:
        """Send what credit and window allow."""
        while self._waiting and self.credit > 0 and self.window.can_send():
            self.transfer((self.delivery_count & _MASK).to_bytes(4, "big"), self._waiting.popleft(), settled=True)
        self.drained()


class QueueLink(OutgoingLink):
    """Delivers a queue's messages, locked (peek-lock) or removed at once (receive and delete)."""

    def __init__(self, window: Window, attach: Attach, queue: Queue) -> None:
        super().__init__(window, attach)
        self.queue = queue
        self._delete = attach.snd_settle_mode == 1
        self.unsettled: dict[int, UUID] = {}
        self._tidy_at = _TIDY_FROM
        window.broker.add_consumer(queue, self)

    def detached(self) -> None:
        """The link is gone; its locks stay until they expire."""
        self.window.broker.remove_consumer(self.queue, self)

    def supply(self) -> None:
        """Look at the queue at the end of the turn."""
        self.window.broker.touch(self.queue)

    def wants(self) -> bool:
        """Whether credit, window and socket take a message."""
        return self.credit > 0 and self.window.can_send()

    def finish_turn(self) -> None:
        """The queue has nothing more for now."""
        self.drained()

    def deliver_from(self, queue: Queue, now_ms: int) -> bool:
        """Send one message; False when the queue has none."""
        if self._delete:
            entry = queue.take_next(now_ms)
            if entry is not None:
                self.transfer(entry.seq.to_bytes(16, "little"), delivered(queue, entry), settled=True)
            return entry is not None
        lock = queue.lock_next(now_ms)
        if lock is None:
            return False
        payload = delivered(queue, lock.entry, lock)
        self.unsettled[self.transfer(lock.token.bytes_le, payload, settled=False)] = lock.token
        if len(self.unsettled) >= self._tidy_at:
            self._forget_lost(now_ms)
        return True

    def _forget_lost(self, now_ms: int) -> None:
        # A receiver that lets its locks expire never settles them; without this they would collect for ever.
        self.unsettled = {i: token for i, token in self.unsettled.items() if self.queue.holds(token, now_ms)}
        self._tidy_at = max(_TIDY_FROM, 2 * len(self.unsettled))

    def settle(self, delivery_id: int, state: Value, now_ms: int) -> Value:
        """Apply the receiver's outcome.

        Returns:
            The outcome to answer with: of the same type, or rejected with the reason.
        """
        try:
            token = self.unsettled.pop(delivery_id)
            return settle(self.queue, token, state, now_ms)
        except AmqpError as exc:
            return Described(ULong(0x25), [exc.described()])


def settle(queue: Queue, token: UUID, state: Value, now_ms: int) -> Value:
    """Apply a delivery state to a locked message; returns its echo, raises AmqpError when refused."""
    code = state.descriptor if isinstance(state, Described) else None
    fields = state.value if isinstance(state, Described) and isinstance(state.value, list) else []
    if code == 0x24:
        queue.complete(token, now_ms)
    elif code == 0x25:
        reason, description, changes = _reasons(fields)
        queue.reject(token, reason, description, now_ms, changes)
        return Described(ULong(0x25), [])
    elif code == 0x27:
        failed, undeliverable, annotations = [*fields, None, None, None][:3]
        changes = read_changes(annotations)
        # The JavaScript and .NET SDKs abandon without "delivery-failed"; Azure counts that delivery all the same.
        (queue.defer if undeliverable else queue.abandon)(token, now_ms, changes)
        return Described(ULong(0x27), [failed is True, undeliverable is True])
    elif code == 0x26 or state is None:
        queue.release(token, now_ms)
        return Described(ULong(0x26), [])
    elif code == 0x34:
        raise AmqpError(Condition.NOT_IMPLEMENTED, "the local broker has no transactions")
    else:
        raise AmqpError(Condition.NOT_ALLOWED, "unknown delivery state")
    return ACCEPTED


def _reasons(fields: list[Value]) -> tuple[str | None, str | None, Changes]:
    """Reason and description of a rejection, from the error's info map or the error itself; and what else is there."""
    error = fields[0] if fields else None
    parts = error.value if isinstance(error, Described) and isinstance(error.value, list) else []
    info = read_changes(parts[2] if len(parts) > 2 else None)
    reason, description = info.pop(REASON, None), info.pop(DESCRIPTION, None)
    if reason is None and parts and parts[0] != Condition.DEAD_LETTER:
        reason = parts[0]
    if description is None and len(parts) > 1:
        description = parts[1]
    return (
        str(reason) if isinstance(reason, str) else None,
        str(description) if isinstance(description, str) else None,
        info,
    )
