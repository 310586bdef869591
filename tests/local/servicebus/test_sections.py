"""Messages taken apart and put together again."""

from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from local.servicebus.decode import decode, decode_whole
from local.servicebus.encode import described_list, encode, section
from local.servicebus.errors import AmqpError, Condition
from local.servicebus.sections import message_value, parse_message, reply, split_batch
from local.servicebus.types import Described, Symbol, UByte, UInt, ULong
from tests.local.servicebus.fakes import raw_message


def sections(data: bytes) -> dict[int, object]:
    found: dict[int, object] = {}
    while data:
        value, end = decode(data)
        assert isinstance(value, Described)
        assert isinstance(value.descriptor, int)
        found[value.descriptor] = value.value
        data = data[end:]
    return found


@given(st.binary(max_size=300))
def test_any_bytes_are_a_message_or_an_amqp_error(data: bytes) -> None:
    for read in (parse_message, split_batch, message_value):
        told = None
        try:
            read(data)
        except AmqpError as exc:
            told = exc.condition
        assert told in (None, Condition.DECODE_ERROR, Condition.ARGUMENT_ERROR)


def test_a_stored_message_reads_back_the_same() -> None:
    found = parse_message(raw_message(b"b", message_id="x", ttl_ms=1000, due_ms=5))
    assert parse_message(found.encode()) == found
    assert (found.message_id, found.ttl_ms, found.scheduled_ms) == ("x", 1000, 5)


def test_delivery_adds_the_brokers_annotations_and_keeps_the_clients() -> None:
    client = {Symbol("x-opt-partition-key"): "k", Symbol("x-opt-sequence-number"): 99}
    raw = section(0x72, encode(client)) + raw_message(b"b", message_id="x")
    token = uuid4()
    found = sections(parse_message(raw).deliver(2, {"x-opt-sequence-number": 7}, token, 500))
    assert found[0x70] == [False, None, UInt(500), None, UInt(2)]
    assert found[0x71] == {"x-opt-lock-token": token}
    assert found[0x72] == {"x-opt-partition-key": "k", "x-opt-sequence-number": 7}
    assert found[0x75] == b"b"


def test_application_properties_are_added_and_replaced() -> None:
    raw = section(0x74, encode({"kept": 1, "DeadLetterReason": "old"})) + raw_message()
    found = parse_message(raw).with_application_properties({"DeadLetterReason": "new"})
    assert decode_whole(found.application) == {"kept": 1, "DeadLetterReason": "new"}
    bare = parse_message(raw_message()).with_application_properties({"a": "b"})
    assert decode_whole(bare.application) == {"a": "b"}


def test_long_descriptors_are_read_too() -> None:
    raw = b"\x00\x80" + (0x70).to_bytes(8, "big") + encode([True, UByte(9)]) + raw_message(message_id="x")
    found = parse_message(raw)
    assert (found.durable, found.priority, found.message_id) == (True, 9, "x")


def test_a_batch_gives_each_message_or_none() -> None:
    good, bad = section(0x75, encode(raw_message(b"1"))), section(0x75, encode(b"\x00\x53"))
    assert len(split_batch(good + good)) == 2
    with pytest.raises(AmqpError):
        split_batch(good + bad)


@pytest.mark.parametrize(
    ("raw", "condition"),
    [
        pytest.param(described_list(0x73, ["x" * 129]), Condition.ARGUMENT_ERROR, id="an-id-above-128-characters"),
        pytest.param(described_list(0x73, [1.5]), Condition.DECODE_ERROR, id="an-id-of-a-wrong-type"),
        pytest.param(section(0x72, encode("x")), Condition.DECODE_ERROR, id="annotations-that-are-no-map"),
        pytest.param(section(0x74, encode([1, 2])), Condition.DECODE_ERROR, id="properties-that-are-no-map"),
        pytest.param(section(0x74, b"\xc1\x03\x02\x40\x99"), Condition.DECODE_ERROR, id="a-map-cut-off"),
        pytest.param(section(0x99, encode("x")), Condition.DECODE_ERROR, id="an-unknown-section"),
    ],
)
def test_bad_messages_are_refused(raw: bytes, condition: Condition) -> None:
    with pytest.raises(AmqpError) as caught:
        parse_message(raw)
    assert caught.value.condition == condition


def test_a_reply_carries_the_correlation_id_in_its_type() -> None:
    found = sections(reply(ULong(5), {"statusCode": 200}, {"a": 1}))
    properties = found[0x73]
    assert isinstance(properties, list)
    assert isinstance(properties[5], ULong)
    assert message_value(reply(None, {"x": "y"}, "body")) == ({"x": "y"}, "body")
