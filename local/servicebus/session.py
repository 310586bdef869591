"""An AMQP session: windows counted in frames, links by handle, deliveries by id.

In: performatives of one channel. Out: performatives on the same channel of the connection.
"""

from collections import deque
from collections.abc import Iterable
from typing import Protocol

from local.servicebus import limits
from local.servicebus.admission import address_text, admit
from local.servicebus.broker import Broker
from local.servicebus.cbs import Grants
from local.servicebus.errors import AmqpError, Condition
from local.servicebus.links import IncomingLink, Link, OutgoingLink, QueueLink, ReplyLink
from local.servicebus.performatives import Attach, Begin, Detach, Disposition, Flow, Performative, Transfer
from local.servicebus.types import Described, Symbol, ULong, Value

_MASK = 0xFFFFFFFF
_FRAME_OVERHEAD = 8
_SOURCE, _TARGET, _FILTER = 0x28, 0x29, 7


class Wire(Protocol):
    """What a session needs of its connection."""

    broker: Broker
    grants: Grants
    peer_max_frame: int

    def send(self, channel: int, body: Performative, payload: bytes = b"") -> None:
        """Put one frame behind the others of this turn."""

    def writable(self) -> bool:
        """Whether the socket takes more."""


class Session:
    """One session of a connection; the broker answers on the peer's channel number."""

    def __init__(self, wire: Wire, channel: int, begin: Begin) -> None:
        self.broker = wire.broker
        self.grants = wire.grants
        self._wire = wire
        self._channel = channel
        self._links: dict[int, Link] = {}
        self._refused: set[int] = set()
        self._next_incoming_id = begin.next_outgoing_id
        self._incoming_window = limits.SESSION_WINDOW_FRAMES
        self._next_outgoing_id = 1
        self._remote_window = begin.incoming_window
        self._delivery_id = 0
        self._parts: deque[tuple[Transfer, bytes]] = deque()
        answer = Begin(channel, 1, self._incoming_window, limits.SESSION_WINDOW_FRAMES, limits.HANDLE_MAX)
        wire.send(channel, answer)

    # --- from the connection

    def handle(self, body: Performative, payload: bytes) -> None:
        """One performative of this channel; raises AmqpError when the peer broke the protocol."""
        if isinstance(body, Transfer):
            self._on_transfer(body, payload)
        elif isinstance(body, Disposition):
            self._on_disposition(body)
        elif isinstance(body, Flow):
            self._on_flow(body)
        elif isinstance(body, Attach):
            self._on_attach(body)
        elif isinstance(body, Detach):
            self._on_detach(body)
        else:
            raise AmqpError(Condition.NOT_ALLOWED, "a performative out of place")

    def close(self) -> None:
        """The session is gone, and its links with it."""
        for link in self._links.values():
            link.detached()
        self._links.clear()

    def supply(self) -> None:
        """Window or socket may take more: go on sending."""
        while self._parts and self._remote_window > 0:
            self._send_part(*self._parts.popleft())
        if self.can_send():
            for link in list(self._links.values()):
                if isinstance(link, OutgoingLink):
                    link.supply()

    # --- for the links

    def can_send(self) -> bool:
        """Whether window and socket take another message now."""
        return self._remote_window > 0 and not self._parts and self._wire.writable()

    def next_delivery_id(self) -> int:
        """A new delivery id."""
        self._delivery_id = (self._delivery_id + 1) & _MASK
        return self._delivery_id

    def send_transfer(self, transfer: Transfer, payload: bytes) -> None:
        """Send a message; parts that the window does not take wait for it."""
        room = self._wire.peer_max_frame - _FRAME_OVERHEAD - len(transfer.encode())
        pieces = range(0, max(1, len(payload)), room)
        for start in pieces:
            more = start + room < len(payload)
            part = Transfer(*transfer_head(transfer, first=start == 0), more=more)
            piece = payload[start : start + room] if more or start else payload
            if self._remote_window > 0 and not self._parts:
                self._send_part(part, piece)
            else:
                self._parts.append((part, piece))

    def send_flow(self, link: Link | None, *, drain: bool = False) -> None:
        """Tell the session's windows and, with a link, its credit."""
        windows = (self._next_incoming_id, self._incoming_window, self._next_outgoing_id)
        if link is None:
            self._send(Flow(*windows, limits.SESSION_WINDOW_FRAMES))
            return
        told = (link.handle, link.delivery_count, link.credit)
        self._send(Flow(*windows, limits.SESSION_WINDOW_FRAMES, *told, drain=drain))

    def send_disposition(self, disposition: Disposition) -> None:
        """Tell the peer what became of deliveries."""
        self._send(disposition)

    def reply_link(self, request: Attach, reply_to: str | None) -> ReplyLink | None:
        """The reply link whose target the request named, else the newest one of the same node."""
        node = address_text(request.target)
        found: ReplyLink | None = None
        for link in self._links.values():
            if isinstance(link, ReplyLink) and address_text(link.attach.source) == node:
                found = link
                if reply_to is not None and address_text(link.attach.target) == reply_to:
                    break
        return found

    # --- performatives

    def _on_attach(self, attach: Attach) -> None:
        if attach.handle in self._links:
            raise AmqpError(Condition.HANDLE_IN_USE, f"handle {attach.handle} is in use")
        if attach.handle > limits.HANDLE_MAX:
            raise AmqpError(Condition.FRAMING_ERROR, f"handles go up to {limits.HANDLE_MAX}")
        try:
            link = admit(self, attach)
        except AmqpError as exc:
            self._refuse(attach, exc)
            return
        self._refused.discard(attach.handle)
        self._links[attach.handle] = link
        incoming = isinstance(link, IncomingLink)
        properties: dict[Value, Value] = {
            Symbol("com.microsoft:max-message-batch-size"): ULong(limits.MAX_MESSAGE_BYTES)
        }
        answer = Attach(
            name=attach.name,
            handle=attach.handle,
            role=incoming,
            snd_settle_mode=1 if isinstance(link, ReplyLink) else attach.snd_settle_mode,
            rcv_settle_mode=0 if incoming else attach.rcv_settle_mode,
            source=_echo(attach.source, _SOURCE, address_text(attach.target)),
            target=_echo(attach.target, _TARGET, address_text(attach.source)),
            initial_delivery_count=None if incoming else 0,
            max_message_size=limits.MAX_MESSAGE_BYTES,
            properties=properties if incoming else None,
        )
        self._send(answer)
        if isinstance(link, IncomingLink):
            link.grant()

    def _refuse(self, attach: Attach, error: AmqpError) -> None:
        # A null source and target announce that the link will not be; the peer's own detach is then only an echo.
        count = 0 if attach.role else None
        self._send(Attach(attach.name, attach.handle, not attach.role, initial_delivery_count=count))
        self._send(Detach(attach.handle, True, error.described()))
        self._refused.add(attach.handle)

    def _on_detach(self, detach: Detach) -> None:
        link = self._links.pop(detach.handle, None)
        if link is not None:
            link.detached()
            self._send(Detach(detach.handle, True))
        elif detach.handle not in self._refused:
            raise AmqpError(Condition.UNATTACHED_HANDLE, f"no link has handle {detach.handle}")
        self._refused.discard(detach.handle)

    def _on_transfer(self, transfer: Transfer, payload: bytes) -> None:
        self._next_incoming_id = (self._next_incoming_id + 1) & _MASK
        self._incoming_window -= 1
        if self._incoming_window < limits.SESSION_WINDOW_FRAMES // 2:
            self._incoming_window = limits.SESSION_WINDOW_FRAMES
            self.send_flow(None)
        link = self._links.get(transfer.handle)
        if isinstance(link, IncomingLink):
            link.on_transfer(transfer, payload)
        elif transfer.handle not in self._refused:
            raise AmqpError(Condition.UNATTACHED_HANDLE, f"no sender has handle {transfer.handle}")

    def _on_flow(self, flow: Flow) -> None:
        # Before the peer has seen our begin it cannot know our first transfer id, which is 1.
        start = 1 if flow.next_incoming_id is None else flow.next_incoming_id
        ahead = (self._next_outgoing_id - start) & _MASK
        self._remote_window = max(0, flow.incoming_window - ahead) if ahead <= _MASK // 2 else flow.incoming_window
        if flow.handle is None:
            if flow.echo:
                self.send_flow(None)
        elif (link := self._links.get(flow.handle)) is not None:
            link.on_flow(flow)
        elif flow.handle not in self._refused:
            raise AmqpError(Condition.UNATTACHED_HANDLE, f"no link has handle {flow.handle}")
        self.supply()

    def _on_disposition(self, disposition: Disposition) -> None:
        state = disposition.state
        if not disposition.role or (isinstance(state, Described) and state.descriptor == 0x23):
            return  # about deliveries we received and have settled, or only progress
        first, last = disposition.first, disposition.first if disposition.last is None else disposition.last
        span = (last - first) & _MASK
        now_ms = self.broker.now_ms()
        known = False
        for link in self._queue_links():
            for delivery_id in _within(link, first, span):
                known = True
                outcome = link.settle(delivery_id, state, now_ms)
                if not disposition.settled:
                    self._send(Disposition(False, delivery_id, delivery_id, settled=True, state=outcome))
            self.broker.touch(link.queue)
        if not known and not disposition.settled:
            lost = AmqpError(Condition.LOCK_LOST, "these deliveries were settled already").described()
            self._send(Disposition(False, first, last, settled=True, state=Described(ULong(0x25), [lost])))

    def _queue_links(self) -> Iterable[QueueLink]:
        return [link for link in self._links.values() if isinstance(link, QueueLink)]

    def _send_part(self, transfer: Transfer, payload: bytes) -> None:
        self._next_outgoing_id = (self._next_outgoing_id + 1) & _MASK
        self._remote_window -= 1
        self._wire.send(self._channel, transfer, payload)

    def _send(self, body: Performative) -> None:
        self._wire.send(self._channel, body)


def _within(link: QueueLink, first: int, span: int) -> list[int]:
    """The link's unsettled delivery ids in a range of the peer's choosing, however long it claims to be."""
    if span < len(link.unsettled):
        candidates = [(first + step) & _MASK for step in range(span + 1)]
        return [delivery_id for delivery_id in candidates if delivery_id in link.unsettled]
    return sorted((i for i in link.unsettled if (i - first) & _MASK <= span), key=lambda i: (i - first) & _MASK)


def transfer_head(transfer: Transfer, *, first: bool) -> tuple[int, int | None, bytes | None, int | None, bool | None]:
    """The leading fields of one part of a delivery; only the first carries tag and format."""
    if first:
        return transfer.handle, transfer.delivery_id, transfer.delivery_tag, transfer.message_format, transfer.settled
    return transfer.handle, transfer.delivery_id, None, None, transfer.settled


def _echo(terminus: Described | None, code: int, address: str | None) -> Described:
    """The peer's own source or target, never null and never empty: the SDK takes either for a refusal."""
    fields = list(terminus.value) if terminus is not None and isinstance(terminus.value, list) else []
    if code == _SOURCE and len(fields) > _FILTER:
        fields[_FILTER] = None  # no filter is in force here
    return Described(ULong(code), fields or [address])
