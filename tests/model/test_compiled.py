"""The quick way of reading says the same as the slow one, or leaves it to that."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.model import codec, compiled
from shared.model.errors import PermanentError
from shared.model.incident import Incident
from shared.model.signal import Signal
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


def test_values_that_are_no_model_values_are_refused() -> None:
    with pytest.raises(TypeError, match="set is no model value"):
        codec.to_json({"a": {1, 2}})
    with pytest.raises(TypeError, match="without a zone"):
        codec.to_json(datetime(2026, 11, 20))  # noqa: DTZ001  that is the point
