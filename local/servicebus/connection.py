"""One connection: protocol headers, SASL, open, sessions, heartbeats; an asyncio protocol.

In: bytes of a peer. Out: bytes, collected during a turn and written after its commit.
"""

import asyncio
import logging
import sqlite3
from enum import Enum, auto
from typing import cast

from local.servicebus import limits
from local.servicebus.broker import Broker
from local.servicebus.cbs import Grants
from local.servicebus.encode import EncodeError
from local.servicebus.errors import AmqpError, Condition
from local.servicebus.frames import EMPTY_FRAME, Frame, FrameReader, Header, Protocol, frame_bytes
from local.servicebus.performatives import (
    Begin,
    Close,
    End,
    Open,
    Performative,
    SaslInit,
    SaslMechanisms,
    SaslOutcome,
)
from local.servicebus.session import Session
from local.servicebus.types import ARRAY_SYMBOL, Array, Symbol

log = logging.getLogger(__name__)

_VERSION = b"\x01\x00\x00"
# The key is checked by $cbs; a mechanism with a password would promise a check that does not happen here.
_MECHANISMS = ("ANONYMOUS", "MSSBCBS")


class _State(Enum):
    START = auto()
    SASL = auto()
    AUTHENTICATED = auto()
    HEADER_DONE = auto()
    OPEN = auto()
    CLOSED = auto()


class Connection(asyncio.Protocol):
    """The broker's side of one TCP connection."""

    def __init__(self, broker: Broker) -> None:
        self.broker = broker
        self.grants = Grants()
        self.peer_max_frame = limits.MIN_MAX_FRAME_BYTES
        self._reader = FrameReader(limits.MAX_FRAME_BYTES)
        self._transport: asyncio.Transport | None = None
        self._state = _State.START
        self._sessions: dict[int, Session] = {}
        self._out: list[bytes] = []
        self._paused = False
        self._loop = asyncio.get_running_loop()
        self._last_heard = self._loop.time()
        self._heartbeat: asyncio.TimerHandle | None = None
        self._watch: asyncio.TimerHandle | None = None

    # --- asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A peer connected."""
        self._transport = cast(asyncio.Transport, transport)  # of a stream server; uvloop's is no subclass of it
        if self.broker.failed.done():
            # Nobody would answer: the turns have ended, and soon the process will.
            self.abort()
            return
        self.broker.peers.add(self)
        self._look_for_silence()

    def data_received(self, data: bytes) -> None:
        """Bytes came; whatever is wrong with them ends this connection only."""
        self._last_heard = self._loop.time()
        if self._state is _State.CLOSED:
            return
        try:
            self._reader.feed(data)
            for item in self._reader.read():
                if isinstance(item, Header):
                    self._on_header(item)
                else:
                    self._on_frame(item)
                if self._is_closed():
                    break
        except AmqpError as exc:
            self._fail(exc)
        except EncodeError as exc:
            # Only what a peer sent and is to get back can be of a type the broker does not write.
            self._fail(AmqpError(Condition.NOT_IMPLEMENTED, str(exc)))
        except sqlite3.Error as exc:
            self.broker.stop(exc)
        except Exception as exc:
            # Half an operation may stand in a queue and in the journal; the turn may neither commit nor answer it.
            log.exception("the broker stops because of a fault of its own")
            self.broker.stop(exc)

    def connection_lost(self, exc: Exception | None) -> None:
        """The peer went away; what it had locked stays locked until the locks expire."""
        self._state = _State.CLOSED
        self.broker.peers.discard(self)
        for session in self._sessions.values():
            session.close()
        self._sessions.clear()
        for timer in (self._heartbeat, self._watch):
            if timer is not None:
                timer.cancel()

    def pause_writing(self) -> None:
        """The peer reads too slowly."""
        self._paused = True

    def resume_writing(self) -> None:
        """The peer caught up."""
        self._paused = False
        for session in self._sessions.values():
            session.supply()

    # --- for broker and sessions

    def send(self, channel: int, body: Performative, payload: bytes = b"") -> None:
        """Put one frame behind the others of this turn."""
        self._write(frame_bytes(channel, body.encode(), payload))

    def writable(self) -> bool:
        """Whether the socket takes more."""
        return not self._paused and self._state is _State.OPEN

    def flush(self) -> None:
        """Write what has collected."""
        if self._transport is None:
            return
        if self._out:
            self._transport.write(b"".join(self._out))
            self._out.clear()
        if self._state is _State.CLOSED:
            self._transport.close()

    def abort(self) -> None:
        """Drop the connection without writing what has collected."""
        self._state = _State.CLOSED
        self._out.clear()
        if self._transport is not None:
            self._transport.abort()

    # --- inside

    def _is_closed(self) -> bool:
        return self._state is _State.CLOSED

    def _write(self, data: bytes) -> None:
        self._out.append(data)
        self.broker.unflushed(self)

    def _close_after_flush(self) -> None:
        self._state = _State.CLOSED
        self.broker.unflushed(self)

    def _fail(self, error: AmqpError) -> None:
        if self._is_closed():
            return
        log.info("a connection ends: %s: %s", error.condition, error.description)
        if self._state is _State.HEADER_DONE:
            self._send_open()
        if self._state in (_State.OPEN, _State.HEADER_DONE):
            self.send(0, Close(error.described()))
        self._close_after_flush()

    def _on_header(self, header: Header) -> None:
        wanted = Protocol.AMQP if self._state is _State.AUTHENTICATED else Protocol.SASL
        self._write(Header(wanted, _VERSION).encode())
        if header.protocol != wanted or header.version != _VERSION:
            # AMQP 1.0 part 2.2: answer with the header one would take, then close.
            self._close_after_flush()
        elif wanted is Protocol.SASL:
            self._state = _State.SASL
            array = Array(ARRAY_SYMBOL, tuple(Symbol(name) for name in _MECHANISMS))
            self._write(frame_bytes(0, SaslMechanisms(array).encode(), sasl=True))
        else:
            self._state = _State.HEADER_DONE

    def _on_frame(self, frame: Frame) -> None:
        body = frame.body
        if frame.sasl or self._state is _State.SASL:
            self._on_sasl(body)
        elif body is None:
            return
        elif self._state is _State.HEADER_DONE:
            if not isinstance(body, Open):
                raise AmqpError(Condition.ILLEGAL_STATE, "open must come first")
            self._on_open(body)
        elif isinstance(body, Close):
            self.send(0, Close())
            self._close_after_flush()
        elif isinstance(body, Begin):
            if frame.channel in self._sessions or frame.channel > limits.CHANNEL_MAX:
                raise AmqpError(Condition.NOT_ALLOWED, f"channel {frame.channel} is in use or too high")
            self._sessions[frame.channel] = Session(self, frame.channel, body)
        elif isinstance(body, End):
            self._session(frame.channel).close()
            del self._sessions[frame.channel]
            self.send(frame.channel, End())
        else:
            self._session(frame.channel).handle(body, frame.payload)

    def _on_sasl(self, body: Performative | None) -> None:
        if self._state is not _State.SASL or not isinstance(body, SaslInit):
            raise AmqpError(Condition.ILLEGAL_STATE, "a SASL frame out of place")
        accepted = body.mechanism in _MECHANISMS
        self._write(frame_bytes(0, SaslOutcome(0 if accepted else 1).encode(), sasl=True))
        if accepted:
            self._state = _State.AUTHENTICATED
            self._reader.expect_header()
        else:
            self._close_after_flush()

    def _on_open(self, peer: Open) -> None:
        if peer.max_frame_size < limits.MIN_MAX_FRAME_BYTES:
            raise AmqpError(Condition.NOT_ALLOWED, "max-frame-size must be at least 512")
        self.peer_max_frame = min(peer.max_frame_size, 1024 * 1024)
        self._send_open()
        self._state = _State.OPEN
        if peer.idle_time_out:
            # Half of what the peer allows, so that a late timer does not cost the connection.
            self._beat(max(0.1, peer.idle_time_out / 2000))

    def _send_open(self) -> None:
        answer = Open(
            "argus-servicebus",
            None,
            limits.MAX_FRAME_BYTES,
            limits.CHANNEL_MAX,
            limits.IDLE_TIMEOUT_MS,
        )
        self.send(0, answer)

    def _session(self, channel: int) -> Session:
        session = self._sessions.get(channel)
        if session is None:
            raise AmqpError(Condition.NOT_ALLOWED, f"no session on channel {channel}")
        return session

    def _beat(self, every_s: float) -> None:
        if self._state is _State.OPEN:
            self._write(EMPTY_FRAME)
            self._heartbeat = self._loop.call_later(every_s, self._beat, every_s)

    def _look_for_silence(self) -> None:
        allowed_s = 2 * limits.IDLE_TIMEOUT_MS / 1000
        left_s = self._last_heard + allowed_s - self._loop.time()
        if left_s <= 0:
            self._fail(AmqpError(Condition.RESOURCE_LIMIT, "nothing was heard for too long"))
        else:
            self._watch = self._loop.call_later(left_s, self._look_for_silence)
