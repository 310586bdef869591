"""The AMQP codec: everything comes back as it went, and no bytes do harm."""

import contextlib
import math
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from local.servicebus.decode import DecodeError, decode, decode_whole, skip
from local.servicebus.encode import EncodeError, encode
from local.servicebus.types import (
    Array,
    Byte,
    Char,
    Described,
    Float32,
    Int,
    RawDecimal,
    Short,
    Symbol,
    Timestamp,
    UByte,
    UInt,
    ULong,
    UShort,
)


def whole(kind: type, low: int, high: int) -> st.SearchStrategy[Any]:
    return st.integers(low, high).map(kind)


TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=300)
SYMBOLS = st.text(st.characters(max_codepoint=127), max_size=20).map(Symbol)
LONGS = st.integers(-(2**63), 2**63 - 1)
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    whole(UByte, 0, 2**8 - 1),
    whole(UShort, 0, 2**16 - 1),
    whole(UInt, 0, 2**32 - 1),
    whole(ULong, 0, 2**64 - 1),
    whole(Byte, -(2**7), 2**7 - 1),
    whole(Short, -(2**15), 2**15 - 1),
    whole(Int, -(2**31), 2**31 - 1),
    LONGS,
    LONGS.map(Timestamp),
    st.floats(allow_nan=False),
    st.floats(width=32, allow_nan=False).map(Float32),
    st.characters(exclude_categories=["Cs"]).map(Char),
    st.sampled_from([4, 8, 16]).flatmap(lambda n: st.binary(min_size=n, max_size=n)).map(RawDecimal),
    st.uuids(),
    st.binary(max_size=300),
    TEXT,
    SYMBOLS,
)
ARRAYS = st.one_of(
    st.lists(SYMBOLS, max_size=4).map(lambda items: Array(0xB3, tuple(items))),
    st.lists(LONGS, max_size=4).map(lambda items: Array(0x81, tuple(items))),
    st.lists(st.uuids(), max_size=4).map(lambda items: Array(0x98, tuple(items))),
    st.lists(st.booleans(), max_size=4).map(lambda items: Array(0x56, tuple(items))),
)
VALUES = st.recursive(
    SCALARS | ARRAYS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=5),
        st.dictionaries(TEXT | SYMBOLS, inner, max_size=5),
        st.builds(Described, whole(ULong, 0, 300) | SYMBOLS, inner),
    ),
    max_leaves=20,
)


def same(left: Any, right: Any) -> bool:
    """Equal, with equal types all the way down."""
    if type(left) is not type(right):
        return False
    if isinstance(left, list):
        return len(left) == len(right) and all(map(same, left, right))
    if isinstance(left, dict):
        return same(list(left.items()), list(right.items()))
    if isinstance(left, tuple):
        return len(left) == len(right) and all(map(same, left, right))
    if isinstance(left, Described):
        return same(left.descriptor, right.descriptor) and same(left.value, right.value)
    return bool(left == right)


@given(VALUES)
def test_every_value_comes_back_with_its_type(value: Any) -> None:
    data = encode(value)
    assert same(decode_whole(data), value)
    assert skip(data + b"rest", 0) == len(data)


@given(st.binary(max_size=200))
def test_any_bytes_give_a_value_or_a_decode_error(data: bytes) -> None:
    for read in (decode, skip):
        with contextlib.suppress(DecodeError):
            read(data, 0)


@given(VALUES, st.data())
def test_a_cut_value_is_refused(value: Any, data: st.DataObject) -> None:
    raw = encode(value)
    cut = raw[: data.draw(st.integers(0, len(raw) - 1))]
    with pytest.raises(DecodeError):
        decode_whole(cut)


@pytest.mark.parametrize(
    ("raw", "value"),
    [
        pytest.param("43", UInt(0), id="uint0"),
        pytest.param("5205", UInt(5), id="smalluint"),
        pytest.param("70000000ff", UInt(255), id="a-long-form-of-a-small-number"),
        pytest.param("a10568656c6c6f", "hello", id="str8"),
        pytest.param("45", [], id="list0"),
        pytest.param("c003015205", [UInt(5)], id="list8"),
        pytest.param("e006 02 a3 01 61 01 62", Array(0xB3, (Symbol("a"), Symbol("b"))), id="array8-of-symbols"),
        pytest.param("0053 24 45", Described(ULong(0x24), []), id="accepted"),
    ],
)
def test_known_bytes(raw: str, value: Any) -> None:
    assert same(decode_whole(bytes.fromhex(raw)), value)


@pytest.mark.parametrize(
    "raw",
    [
        pytest.param(b"\x00" * 5000, id="descriptors-without-end"),
        pytest.param(b"\xc0\x02\x01" * 60 + b"\x45", id="lists-without-end"),
        pytest.param(b"\xd0\xff\xff\xff\xff\xff\xff\xff\xff", id="a-list-of-four-billion"),
        pytest.param(b"\xf0\x00\x00\x00\x05\xff\xff\xff\xff\x40", id="an-array-of-four-billion-nulls"),
        pytest.param(b"\xc1\x02\x01\x40", id="a-map-with-half-an-item"),
        pytest.param(b"\xc1\x03\x02\x45\x40", id="a-map-with-a-list-for-a-key"),
        pytest.param(b"\xa1\x01\xff", id="not-utf-8"),
        pytest.param(b"\x99", id="unknown-constructor"),
        pytest.param(b"\x56\x02", id="neither-true-nor-false"),
        pytest.param(b"\x73\xff\xff\xff\xff", id="not-a-character"),
    ],
)
def test_hostile_bytes_are_refused(raw: bytes) -> None:
    with pytest.raises(DecodeError):
        decode_whole(raw)


@pytest.mark.parametrize("value", [object(), UByte(256), 2**63, Symbol("ü"), RawDecimal(b"x"), Array(0x73, ())])
def test_what_has_no_encoding_is_refused(value: Any) -> None:
    with pytest.raises(EncodeError):
        encode(value)


def test_a_double_that_is_no_number_survives() -> None:
    found = decode_whole(encode(math.nan))
    assert isinstance(found, float)
    assert math.isnan(found)


def test_a_uuid_travels_big_endian() -> None:
    token = UUID(int=1)
    assert encode(token) == b"\x98" + token.bytes
