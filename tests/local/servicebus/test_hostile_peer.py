"""Whatever a peer with a token sends in well-formed frames, the broker answers or ends that connection, no more.

A fault inside a turn stops the whole broker, so that no frame of a peer may cause one.
"""

import asyncio
import tempfile
from contextlib import closing
from pathlib import Path
from typing import Any
from uuid import UUID

from hypothesis import given, settings
from hypothesis import strategies as st

from local.servicebus.broker import Broker
from local.servicebus.cbs import TokenCheck
from local.servicebus.connection import Connection
from local.servicebus.encode import described_list, encode, section
from local.servicebus.frames import Header, Protocol, frame_bytes
from local.servicebus.performatives import (
    Attach,
    Begin,
    Close,
    Detach,
    Disposition,
    End,
    Flow,
    Open,
    SaslInit,
    Transfer,
)
from local.servicebus.settings import QueueSettings
from local.servicebus.storage import Store
from local.servicebus.types import ARRAY_UUID, Array, Described, Int, Symbol, Timestamp, UByte, UInt, ULong
from tests.local.servicebus.fakes import raw_message

VERSION = b"\x01\x00\x00"
TOKEN = UUID(int=5)
OPERATIONS = ("renew-lock", "update-disposition", "schedule-message", "cancel-scheduled-message", "peek-message")
OPERATIONS += ("receive-by-sequence-number", "get-session-state", "x")

small = st.sampled_from([0, 1, 2, 3, 5, 10, 0xFFFFFFFE, 0xFFFFFFFF])
maybe = st.one_of(st.none(), small)
flags = st.booleans()
simple = st.one_of(
    st.none(),
    flags,
    st.integers(-(2**63), 2**63 - 1),
    st.text(max_size=5),
    st.binary(max_size=5),
    st.floats(),
    st.builds(Symbol, st.sampled_from(["a", "amqp:x", "DeadLetterReason"])),
    st.builds(Timestamp, st.integers(-(2**63), 2**63 - 1)),
    st.just(TOKEN),
    st.builds(Int, st.integers(-5, 5)),
    st.builds(UByte, st.integers(0, 255)),
)
hashable = st.one_of(st.text(max_size=3), st.integers(-5, 5), st.builds(Symbol, st.sampled_from(["a", "b"])))
values = st.recursive(
    simple,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(hashable, inner, max_size=3),
        st.builds(Described, st.builds(ULong, st.sampled_from([0x1D, 0x23, 0x24, 0x25, 0x27, 0x99])), inner),
    ),
    max_leaves=5,
)
outcomes = st.builds(
    Described,
    st.builds(ULong, st.sampled_from([0x23, 0x24, 0x25, 0x26, 0x27, 0x34, 0x99])),
    st.lists(values, max_size=4),
)
addresses = st.sampled_from(
    ["q", "amqps://h:1/q", "q/$DeadLetterQueue", "q/$management", "$cbs", "", "no", "t/subscriptions/s"]
)
termini = st.one_of(
    st.none(),
    st.builds(
        lambda code, address, more: Described(ULong(code), [address, *more]),
        st.sampled_from([0x28, 0x29, 0x30]),
        addresses,
        st.lists(values, max_size=9),
    ),
)
requests = st.builds(
    lambda operation, body, correlation: (
        described_list(0x73, [correlation])
        + section(0x74, encode({"operation": operation}))
        + section(0x77, encode(body))
    ),
    st.sampled_from(["put-token", *(f"com.microsoft:{name}" for name in OPERATIONS)]),
    st.one_of(
        values,
        st.fixed_dictionaries(
            {},
            optional={
                "lock-tokens": st.one_of(values, st.just(Array(ARRAY_UUID, (TOKEN,)))),
                "disposition-status": st.sampled_from(["completed", "defered", "abandoned", "suspended", 1]),
                "properties-to-modify": values,
                "deadletter-reason": values,
                "sequence-numbers": st.one_of(values, st.lists(st.integers(-1, 9), max_size=3)),
                "receiver-settle-mode": st.one_of(values, st.builds(UInt, st.integers(0, 2))),
                "from-sequence-number": st.one_of(values, st.integers(-1, 9)),
                "message-count": st.one_of(values, st.integers(-1, 9)),
                "messages": st.one_of(values, st.just([{"message": raw_message(due_ms=10**15)}])),
            },
        ),
    ),
    st.one_of(st.none(), st.just("id"), st.builds(ULong, st.integers(0, 5))),
)
payloads = st.one_of(
    st.builds(lambda items: section(0x74, encode(items)) + raw_message(), st.lists(simple, max_size=3)),
    st.just(raw_message()),
    st.just(raw_message(message_id="a", ttl_ms=1)),
    st.builds(
        lambda value: section(0x72, encode({Symbol("x-opt-scheduled-enqueue-time"): value})) + raw_message(), simple
    ),
    st.builds(
        lambda items: section(0x74, encode(items)) + raw_message(), st.dictionaries(hashable, values, max_size=3)
    ),
    st.builds(lambda items: described_list(0x73, items) + raw_message(), st.lists(values, max_size=14)),
    requests,
    st.binary(max_size=30),
)
channels = st.sampled_from([0, 0, 0, 0, 1, 4999, 65535])
handles = st.sampled_from([0, 1, 2, 3, 4, 300])
frame_parts = st.one_of(
    st.tuples(channels, st.builds(Begin, st.sampled_from([None, 0, 1]), small, small, small), st.just(b"")),
    st.tuples(
        channels,
        st.builds(Attach, st.text(max_size=3), handles, flags, st.integers(0, 3), st.integers(0, 2), termini, termini),
        st.just(b""),
    ),
    st.tuples(
        channels, st.builds(Flow, maybe, small, small, small, maybe, maybe, maybe, maybe, flags, flags), st.just(b"")
    ),
    st.tuples(
        channels,
        st.builds(
            Transfer,
            handles,
            maybe,
            st.just(b"t"),
            st.sampled_from([0, None, 0x80013700, 7]),
            flags,
            flags,
            aborted=flags,
        ),
        payloads,
    ),
    # Most often a whole message to the queue (0) or a request to its management node (3).
    st.tuples(st.just(0), st.builds(Transfer, st.just(0), small, st.just(b"t"), st.just(0)), payloads),
    st.tuples(st.just(0), st.builds(Transfer, st.just(3), small, st.just(b"t"), st.just(0)), requests),
    st.tuples(channels, st.builds(Disposition, flags, small, maybe, flags, st.one_of(outcomes, values)), st.just(b"")),
    st.tuples(channels, st.builds(Disposition, st.just(True), st.just(1), maybe, flags, outcomes), st.just(b"")),
    st.tuples(channels, st.builds(Detach, handles, flags), st.just(b"")),
    st.tuples(channels, st.sampled_from([End(), Close(), Open("again")]), st.just(b"")),
)

frames = st.builds(lambda parts: frame_bytes(parts[0], parts[1].encode(), parts[2]), frame_parts)


class Socket(asyncio.Transport):
    """Takes what is written and forgets it."""

    def write(self, data: Any) -> None: ...

    def close(self) -> None: ...

    def abort(self) -> None: ...


def start(broker: Broker) -> Connection:
    """A connection with a session, a token for everything, both ends of the queue and of its management node."""
    connection = Connection(broker)
    connection.connection_made(Socket())
    connection.data_received(Header(Protocol.SASL, VERSION).encode())
    connection.data_received(frame_bytes(0, SaslInit("ANONYMOUS").encode(), sasl=True))
    connection.data_received(Header(Protocol.AMQP, VERSION).encode())
    connection.grants.add("", float("inf"))
    send = [Open("peer"), Begin(None, 0, 1000, 1000)]
    for handle, (address, role) in enumerate(
        [("q", False), ("q", True), ("q/$management", True), ("q/$management", False)]
    ):
        terminus = Described(ULong(0x28), [address])
        count = None if role else 0
        send.append(Attach(f"l{handle}", handle, role, 0, 0, terminus, terminus, initial_delivery_count=count))
    send += [Flow(1, 1000, 0, 1000, 1, 0, 10), Flow(1, 1000, 0, 1000, 2, 0, 10)]
    for body in send:
        connection.data_received(frame_bytes(0, body.encode()))
    connection.data_received(frame_bytes(0, Transfer(0, 0, b"t", 0).encode(), raw_message()))
    return connection


async def play(folder: Path, sent: list[bytes]) -> BaseException | None:
    now = 1_000_000.0
    queue = QueueSettings("q", max_delivery_count=1, lock_duration_s=5, dead_letter_on_expiration=True)
    with closing(Store(folder / "b.db")) as store:
        broker = Broker([queue], store, TokenCheck("argus", "key"), lambda: now)
        connection = start(broker)
        await asyncio.sleep(0)
        for data in sent:
            connection.data_received(data)
            await asyncio.sleep(0)
            if not broker.peers:
                connection = start(broker)
        connection.connection_lost(None)
        now += 10**9  # every lock and every life ends, every scheduled message comes
        broker.wake()
        await asyncio.sleep(0)
        failure = broker.failed.exception() if broker.failed.done() else None
        broker.close()
        return failure


@given(st.lists(frames, min_size=1, max_size=12))
@settings(max_examples=100, deadline=None)
def test_no_frame_of_a_peer_stops_the_broker(sent: list[bytes]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        failure = asyncio.run(play(Path(folder), sent))
    assert failure is None, repr(failure)
