"""What only a bare peer can do: broken bytes, small frames, narrow windows, drains, and nodes that do not exist."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from local.servicebus.encode import encode
from local.servicebus.errors import AmqpError, Condition
from local.servicebus.frames import Frame, FrameReader, Header, frame_bytes
from local.servicebus.performatives import (
    Attach,
    Close,
    Detach,
    Disposition,
    End,
    Flow,
    Open,
    SaslInit,
    SaslOutcome,
    Transfer,
)
from local.servicebus.server import RunningBroker
from local.servicebus.types import Described, Symbol, ULong
from tests.local.servicebus.conftest import KEY
from tests.local.servicebus.fakes import raw_message
from tests.local.servicebus.peer import Peer

QUEUE = "wire"
ACCEPTED = Described(ULong(0x24), [])


@pytest.fixture
def peer(broker: RunningBroker) -> Iterator[Peer]:
    found = Peer(broker.port)
    yield found
    found.close()


@pytest.fixture
def opened(peer: Peer) -> Peer:
    return peer.open(KEY, QUEUE)


def condition(error: Described | None) -> Any:
    assert error is not None
    assert isinstance(error.value, list)
    assert len(error.value) == 3, "the SDK indexes all three fields"
    return error.value[0]


def outcome(disposition: Disposition) -> Any:
    assert isinstance(disposition.state, Described)
    return disposition.state.descriptor


def active(broker: RunningBroker) -> Any:
    return next(row["active"] for row in broker.stats() if row["name"] == QUEUE)


@pytest.mark.parametrize(
    "raw",
    [
        pytest.param(b"GET / HTTP/1.1\r\n\r\n", id="http"),
        pytest.param(b"AMQP\x00\x01\x00\x00", id="no-sasl"),
        pytest.param(b"AMQP\x03\x00\x09\x01", id="an-old-version"),
        pytest.param(b"AMQP\x03\x01\x00\x00" + b"\xff" * 64, id="a-frame-of-four-gigabytes"),
        pytest.param(
            b"AMQP\x03\x01\x00\x00" + b"\x00\x00\x00\x0c\x02\x01\x00\x00\x00\x53\x41\xff", id="a-broken-frame"
        ),
    ],
)
def test_broken_bytes_end_the_connection_only(peer: Peer, broker: RunningBroker, raw: bytes) -> None:
    peer.send_raw(raw)
    peer.closed()
    Peer(broker.port).open(KEY, QUEUE).close()


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        pytest.param(Transfer(9, 0, b"t", 0), Condition.UNATTACHED_HANDLE, id="transfer-without-link"),
        pytest.param(Flow(1, 1, 0, 1, 9, 0, 1), Condition.UNATTACHED_HANDLE, id="flow-without-link"),
        pytest.param(Detach(9), Condition.UNATTACHED_HANDLE, id="detach-without-link"),
    ],
)
def test_a_broken_protocol_is_told_before_the_end(opened: Peer, body: Any, expected: Condition) -> None:
    opened.send(body)
    assert condition(opened.expect(Close)[0].error) == expected
    opened.closed()


def test_a_frame_that_is_no_performative_is_told(opened: Peer) -> None:
    opened.send_raw(frame_bytes(0, encode("hello")))
    assert condition(opened.expect(Close)[0].error) == Condition.DECODE_ERROR


@pytest.mark.parametrize(
    ("address", "role", "code", "expected"),
    [
        pytest.param("", False, 0x30, Condition.NOT_IMPLEMENTED, id="a-transaction-coordinator"),
        pytest.param("", True, None, Condition.NOT_IMPLEMENTED, id="a-dynamic-node"),
        pytest.param("delete-sync", True, None, Condition.UNAUTHORIZED, id="a-queue-without-a-token"),
        pytest.param(f"{QUEUE}/$DeadLetterQueue", False, None, Condition.NOT_ALLOWED, id="sending-to-dead-letters"),
        pytest.param(f"{QUEUE}/Subscriptions/s", True, None, Condition.NOT_IMPLEMENTED, id="a-subscription"),
    ],
)
def test_a_refused_link_is_attached_to_nothing_and_detached_once(
    opened: Peer, address: str, role: bool, code: int | None, expected: Condition
) -> None:
    answer = opened.attach(1, address, role=role, code=code)
    assert answer.source is None
    assert answer.target is None
    assert condition(opened.expect(Detach)[0].error) == expected
    opened.send(Detach(1, True))
    opened.send(End())
    item = opened.wait_for(lambda _: True)
    assert isinstance(item, Frame)
    assert item.body == End()


def test_small_frames_and_a_narrow_window_carry_a_large_message(peer: Peer, broker: RunningBroker) -> None:
    peer.open(KEY, QUEUE, max_frame=512, window=3)
    peer.attach(1, QUEUE, role=False)
    message = raw_message(bytes(range(256)) * 20)
    parts = [message[start : start + 400] for start in range(0, len(message), 400)]
    for number, part in enumerate(parts):
        first = number == 0
        head = Transfer(1, 5 if first else None, b"t" if first else None, 0 if first else None)
        peer.send(replace(head, more=number < len(parts) - 1), part)
    assert outcome(peer.expect(Disposition)[0]) == 0x24
    peer.attach(2, QUEUE, role=True, settle=1)
    received, got, count = 2, b"", 0
    peer.send(Flow(received, 3, 0, 1000, 2, 0, 1))
    while True:
        transfer, payload = peer.expect(Transfer)
        got, count, received = got + payload, count + 1, received + 1
        if not transfer.more:
            break
        if count % 3 == 0:
            assert not peer._seen, "no frame beyond the window"
            peer.send(Flow(received, 3, 0, 1000))
    assert count > 10
    assert got.endswith(bytes(range(256)) * 20)


def test_a_drain_uses_up_the_credit(opened: Peer) -> None:
    opened.attach(1, QUEUE, role=True)
    opened.send(Flow(1, 1000, 0, 1000, 1, 0, 7, drain=True))
    flow, _ = opened.expect(Flow)
    assert (flow.delivery_count, flow.link_credit, flow.drain) == (7, 0, True)


def test_a_range_of_deliveries_is_settled_and_each_answered_once(opened: Peer, broker: RunningBroker) -> None:
    opened.attach(1, QUEUE, role=False)
    for number in range(3):
        opened.send(Transfer(1, number, b"t%d" % number, 0, True), raw_message())
    opened.attach(2, QUEUE, role=True)
    opened.send(Flow(1, 1000, 0, 1000, 2, 0, 10))
    ids = [opened.expect(Transfer)[0].delivery_id for _ in range(3)]
    first, last = ids[0], ids[-1]
    assert first is not None
    opened.send(Disposition(True, first, 0xFFFF, state=ACCEPTED))
    answers = [opened.expect(Disposition)[0] for _ in range(3)]
    assert [(a.first, a.settled, outcome(a)) for a in answers] == [(i, True, 0x24) for i in ids]
    opened.send(Disposition(True, first, last, state=ACCEPTED))
    again, _ = opened.expect(Disposition)
    assert outcome(again) == 0x25
    assert again.state.value[0].value[0] == Condition.LOCK_LOST  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("state", "answer", "left"),
    [
        pytest.param(Described(ULong(0x27), [False, False]), 0x27, 1, id="modified-without-failure"),
        pytest.param(Described(ULong(0x27), [None, True, {Symbol("x"): [1]}]), 0x25, 0, id="a-property-that-is-a-list"),
        pytest.param(Described(ULong(0x26), []), 0x26, 1, id="released"),
        pytest.param(
            Described(ULong(0x25), [Described(ULong(0x1D), [Symbol("my:reason"), "why"])]), 0x25, 0, id="rejected"
        ),
        pytest.param(Described(ULong(0x34), [b"txn"]), 0x25, 0, id="transactional"),
        pytest.param(Described(ULong(0x99), []), 0x25, 0, id="unknown"),
    ],
)
def test_other_outcomes(opened: Peer, broker: RunningBroker, state: Described, answer: int, left: int) -> None:
    before = active(broker)
    opened.attach(1, QUEUE, role=False)
    opened.send(Transfer(1, 0, b"t", 0), raw_message())
    opened.expect(Disposition)
    opened.attach(2, QUEUE, role=True)
    opened.send(Flow(1, 1000, 0, 1000, 2, 0, 1))
    delivery_id = opened.expect(Transfer)[0].delivery_id
    assert delivery_id is not None
    opened.send(Disposition(True, delivery_id, state=state))
    found, _ = opened.expect(Disposition)
    assert outcome(found) == answer
    assert active(broker) == before + left
    opened.send(Flow(2, 1000, 0, 1000, 2, 1, left, drain=True))
    opened.attach(3, QUEUE, role=True, settle=1)
    opened.send(Flow(2, 1000, 0, 1000, 3, 0, 100, drain=True))


def test_batches_are_taken_whole_or_not_at_all(opened: Peer, broker: RunningBroker) -> None:
    before = active(broker)
    opened.attach(1, QUEUE, role=False)
    bad = b"".join(b"\x00\x53\x75" + encode(part) for part in (raw_message(), b"\x00\x53\x75\xa0\x05"))
    opened.send(Transfer(1, 0, b"t", 0x80013700), bad)
    assert outcome(opened.expect(Disposition)[0]) == 0x25
    opened.send(Transfer(1, 1, b"u", 7), raw_message())
    assert outcome(opened.expect(Disposition)[0]) == 0x25
    assert active(broker) == before


def test_a_request_without_a_link_for_its_reply_is_rejected(opened: Peer) -> None:
    opened.attach(1, f"{QUEUE}/$management", role=False)
    opened.send(Transfer(1, 0, b"t", 0), raw_message())
    assert outcome(opened.expect(Disposition)[0]) == 0x25


def test_a_peer_that_asks_for_heartbeats_gets_them(peer: Peer) -> None:
    peer.send_raw(b"AMQP\x03\x01\x00\x00" + frame_bytes(0, SaslInit("ANONYMOUS").encode(), sasl=True))
    peer.wait_for(lambda item: isinstance(item, Frame) and item.body is not None and item.body.CODE == 0x44)
    peer._reader.expect_header()
    peer.send_raw(b"AMQP\x00\x01\x00\x00")
    peer.send(Open("peer", idle_time_out=200))
    peer.wait_for(lambda item: isinstance(item, Frame) and item.body is None)


def test_a_password_is_not_asked_for(peer: Peer) -> None:
    peer.send_raw(b"AMQP\x03\x01\x00\x00" + frame_bytes(0, SaslInit("PLAIN", b"\0u\0p").encode(), sasl=True))
    assert peer.expect(SaslOutcome)[0].code == 1
    peer.closed()


@given(st.lists(st.binary(min_size=1, max_size=40), max_size=20))
def test_any_stream_gives_frames_or_an_amqp_error(chunks: list[bytes]) -> None:
    reader, told = FrameReader(1000), None
    try:
        for chunk in [b"AMQP\x00\x01\x00\x00", *chunks]:
            reader.feed(chunk)
            for item in reader.read():
                assert isinstance(item, Header | Frame)
    except AmqpError as exc:
        told = exc.condition
    assert told in (None, Condition.FRAMING_ERROR, Condition.DECODE_ERROR)


@settings(max_examples=50)
@given(st.integers(1, 30), st.binary(max_size=50))
def test_frames_survive_any_cut(size: int, payload: bytes) -> None:
    sent = [Attach("l", 1, True), Flow(None, 1, 2, 3), Disposition(True, 1, None, True, ACCEPTED), Close()]
    stream = b"AMQP\x00\x01\x00\x00" + b"".join(frame_bytes(3, body.encode(), payload) for body in sent)
    reader, got = FrameReader(1000), []
    for start in range(0, len(stream), size):
        reader.feed(stream[start : start + size])
        got += [item for item in reader.read() if isinstance(item, Frame)]
    assert [(frame.channel, frame.body, frame.payload) for frame in got] == [(3, body, payload) for body in sent]
