"""The quick way of reading says the same as the slow one, or leaves it to that."""

from __future__ import annotations

import json
import re
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.model import codec, compiled
from shared.model.errors import PermanentError
from shared.model.incident import Incident
from shared.model.signal import Signal, SignalKind, Status
from shared.records import rows
from tests.model.test_codec import PAYLOADS, values

KINDS = [*PAYLOADS, Incident, Signal]
ODD = st.sampled_from([None, True, 0, 1.5, "", "x", [], {}, ["x"], {"x": 1}, "2026-11-20T12:00:00"])


def _places(data: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every place in JSON data."""
    inside = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    return [path, *(place for key, entry in inside for place in _places(entry, (*path, key)))]


def _with(data: Any, path: tuple[Any, ...], value: Any) -> Any:
    if not path:
        return value
    copy = json.loads(json.dumps(data))
    there = copy
    for key in path[:-1]:
        there = there[key]
    there[path[-1]] = value
    return copy


def _slow(kind: Any, data: Any) -> Any:
    try:
        return codec._build(kind, data, kind.__name__)
    except PermanentError as error:
        return str(error)


def _both(kind: Any, data: Any) -> None:
    slow = _slow(kind, data)
    try:
        quick = compiled.reader(kind)(data)
    except compiled.Unusual:
        return
    assert quick == slow


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
@settings(max_examples=15, deadline=None, derandomize=True)
@given(data=st.data())
def test_what_is_right_is_read_quickly_and_alike(kind: Any, data: st.DataObject) -> None:
    written = json.loads(json.dumps(codec.to_json(data.draw(values(kind)))))
    assert compiled.reader(kind)(written) == _slow(kind, written)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
@settings(max_examples=25, deadline=None, derandomize=True)
@given(data=st.data())
def test_what_is_wrong_somewhere_is_never_let_in_by_the_quick_way(kind: Any, data: st.DataObject) -> None:
    written = json.loads(json.dumps(codec.to_json(data.draw(values(kind)))))
    place = data.draw(st.sampled_from(_places(written)))
    _both(kind, _with(written, place, data.draw(ODD)))
    _both(kind, {**written, "something": 1})
    for name in written:
        _both(kind, {key: entry for key, entry in written.items() if key != name})


def test_what_is_compared_here_is_the_library_that_the_rows_bring() -> None:
    assert rows.pack(Branch("a")) == {"doc00": codec.canonical(Branch("a"))}
    assert codec._quick.loads is orjson.loads
    assert codec._quick.dumps({"b": 1, "a": 2}, True) == b'{"a":2,"b":1}'


def test_without_another_library_pythons_own_writes_and_reads_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    signal = Signal(id="1", source="s", kind=SignalKind.ALERT, name="n", at=datetime.now(UTC), value=1e-7)
    quickly = codec.canonical(signal)
    monkeypatch.setattr(codec, "_quick", codec.Quick(json.loads, codec._none))
    assert codec.canonical(signal) == quickly
    assert codec.from_text(Signal, quickly) == signal


def test_values_that_are_no_model_values_are_refused() -> None:
    with pytest.raises(TypeError, match="set is no model value"):
        codec.to_json({"a": {1, 2}})
    with pytest.raises(TypeError, match="without a zone"):
        codec.to_json(datetime(2026, 11, 20))  # noqa: DTZ001  that is the point


ANY_TEXT = st.text(st.characters(codec=None), max_size=8) | st.sampled_from(
    ["\ud800", "\x00\x1f\x7f\u2028", "😀", '\\"/']
)
ANY_NUMBER = (
    st.integers() | st.floats() | st.sampled_from([1e16, 1e15, 1e-4, 9.99e-5, -0.0, 2.0**63, 2**63, 2**64, 1e400])
)
ANY_MOMENT = st.datetimes(timezones=st.timezones() | st.sampled_from([UTC, timezone(timedelta(hours=2, seconds=1))]))
ANYTHING = st.recursive(
    st.none() | st.booleans() | ANY_TEXT | ANY_NUMBER | ANY_MOMENT | st.sampled_from(list(Status)),
    lambda inside: st.lists(inside, max_size=3).map(tuple) | st.dictionaries(ANY_TEXT, inside, max_size=3),
    max_leaves=8,
)


def _canonical(value: object) -> str:
    """The text that hashes have been over since the first version, written the plainest way."""
    return json.dumps(codec.to_json(value), sort_keys=True, ensure_ascii=False, separators=(",", ":"))


@settings(max_examples=400, deadline=None, derandomize=True)
@given(value=ANYTHING)
def test_the_canonical_text_is_the_same_to_the_byte_whatever_writes_it(value: object) -> None:
    assert codec.canonical(value) == _canonical(value)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
@settings(max_examples=15, deadline=None, derandomize=True)
@given(data=st.data())
def test_the_canonical_text_of_every_model_value_is_the_same_to_the_byte(kind: Any, data: st.DataObject) -> None:
    value = data.draw(values(kind))
    assert codec.canonical(value) == _canonical(value)


@pytest.mark.parametrize("value", [1e16, 1e-5, float("nan"), float("inf"), 2**70, "\ud800", 1e22, -1e-7])
def test_what_orjson_writes_otherwise_is_written_as_before(value: object) -> None:
    assert codec.canonical({"v": value}) == _canonical({"v": value})
    with pytest.raises((compiled.Unusual, TypeError)):
        orjson.dumps(compiled.write_plainly({"v": value}))


@settings(max_examples=200, deadline=None, derandomize=True)
@given(number=ANY_NUMBER, name=st.sampled_from(["count", "value", "name", "labels"]))
def test_every_number_in_a_text_is_read_as_before(number: float, name: str) -> None:
    written = codec.to_json(Signal(id="1", source="s", kind=SignalKind.ALERT, name="n", at=datetime.now(UTC)))
    text = json.dumps({**written, name: {"x": number} if name == "labels" else number})
    try:
        before: object = codec.from_json(Signal, json.loads(text))
    except PermanentError as error:
        with pytest.raises(PermanentError, match=re.escape(str(error))):
            codec.from_text(Signal, text)
    else:
        assert repr(codec.from_text(Signal, text)) == repr(before)


@dataclass(frozen=True, slots=True)
class Branch:
    """A class that holds itself, and one field that is counted out by a default."""

    name: str
    leaves: int = 0
    below: tuple[Branch, ...] = ()
    beside: Branch | None = None


@dataclass(frozen=True)
class Checked:
    """One that looks at what it gets."""

    number: int

    def __post_init__(self) -> None:
        if self.number < 0:
            raise ValueError("below zero")


def test_a_class_that_holds_itself_is_read_at_any_depth() -> None:
    tree = Branch("a", 1, (Branch("b", 2), Branch("c", below=(Branch("d"),))), Branch("e"))
    assert codec.from_text(Branch, codec.canonical(tree)) == tree
    assert codec.from_text(Branch, '{"name":"a","below":[{"name":"b"}]}') == Branch("a", below=(Branch("b"),))
    with pytest.raises(PermanentError, match=r"Branch.below\[0\]: field name is missing"):
        codec.from_text(Branch, '{"name":"a","leaves":0,"below":[{"leaves":1}],"beside":null}')


def test_a_class_that_looks_at_what_it_gets_is_made_by_its_own_rules() -> None:
    assert codec.from_text(Checked, '{"number":1}') == Checked(1)
    with pytest.raises(ValueError, match="below zero"):
        codec.from_text(Checked, '{"number":-1}')


def test_threads_that_read_a_class_first_at_once_all_can(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiled, "_READERS", {k: v for k, v in compiled._READERS.items() if isinstance(k, type)})
    monkeypatch.delitem(compiled._READERS, Branch, raising=False)
    ready = threading.Barrier(8)

    def read(_: int) -> object:
        ready.wait()
        return codec.from_text(Branch, '{"name":"a","leaves":0,"below":[{"name":"b"}],"beside":null}')

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(read, range(8))) == {Branch("a", below=(Branch("b"),))}
