"""The codec: every event survives the way over the wire, and nothing unknown, missing or mistyped is let in."""

from __future__ import annotations

import dataclasses
import json
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta, timezone
from enum import Enum
from types import UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.model import codec
from shared.model.audit import AuditEntry, TimelineEntry
from shared.model.errors import PermanentError
from shared.model.event import NAMESPACE, Event, Payload, SignalsReceived, derive_id
from shared.model.incident import Incident
from shared.model.pipeline import DESTINATION
from shared.ports.anchor import Head

MOMENTS = st.datetimes(timezones=st.just(UTC))
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)


def values(kind: Any) -> st.SearchStrategy[Any]:
    """Every value a field of this type may have."""
    origin = get_origin(kind)
    if origin in (Union, UnionType):
        return st.one_of(*(st.none() if option is type(None) else values(option) for option in get_args(kind)))
    if origin is tuple:
        return st.lists(values(get_args(kind)[0]), max_size=2).map(tuple)
    if origin is not None and issubclass(origin, Mapping):
        return st.dictionaries(TEXTS, values(get_args(kind)[1]), max_size=2)
    if dataclasses.is_dataclass(kind):
        hints = get_type_hints(kind)
        fields = {f.name: values(hints[f.name]) for f in dataclasses.fields(kind)}
        return st.builds(kind, **fields)
    if issubclass(kind, Enum):
        return st.sampled_from(kind)
    if kind is datetime:
        return MOMENTS
    if kind is float:
        return st.floats(allow_nan=False, allow_infinity=False)
    return {bool: st.booleans(), int: st.integers(-(2**53), 2**53), str: TEXTS}[kind]


PAYLOADS: list[Any] = list(get_args(Payload))


@pytest.mark.parametrize("payload", PAYLOADS, ids=lambda kind: kind.TYPE)
@settings(max_examples=12, deadline=None, derandomize=True)
@given(data=st.data())
def test_M1_every_event_comes_back_as_it_went(payload: Any, data: st.DataObject) -> None:
    event = Event(
        id=data.draw(TEXTS),
        source=data.draw(TEXTS),
        subject=data.draw(TEXTS),
        time=data.draw(MOMENTS),
        data=data.draw(values(payload)),
        traceparent=data.draw(TEXTS),
        attempt=data.draw(st.integers(0, 9999)),
        not_before=data.draw(st.none() | MOMENTS),
    )
    body = codec.encode_event(event)
    assert codec.decode_event(body) == event
    assert codec.encode_event(codec.decode_event(body)) == body


@pytest.mark.parametrize("kind", [Incident, AuditEntry, TimelineEntry, Head], ids=lambda kind: kind.__name__)
@settings(max_examples=15, deadline=None, derandomize=True)
@given(data=st.data())
def test_every_row_value_comes_back_as_it_was_kept(kind: Any, data: st.DataObject) -> None:
    value = data.draw(values(kind))
    assert codec.from_json(kind, json.loads(codec.canonical(value))) == value


def test_every_payload_has_its_own_type_and_one_queue() -> None:
    types = [payload.TYPE for payload in PAYLOADS]
    assert len(set(types)) == len(types)
    assert all(name.startswith("argus.") and name.endswith(".v1") for name in types)
    assert set(DESTINATION) == set(PAYLOADS)


ALERT = {
    "fingerprint": "f",
    "name": "n",
    "service": "s",
    "severity": "sev2",
    "status": "firing",
    "at": "2026-11-20T12:00:00+00:00",
    "starts_at": "2026-11-20T12:00:00+00:00",
    "source": "x",
    "signal_id": "i",
}
JOIN = {"kind": "join", "group_key": "g", "generation": 1, "alert": ALERT}


def envelope(**changes: Any) -> bytes:
    good = {
        "specversion": "1.0",
        "id": "e1",
        "source": "/x",
        "type": "argus.group.changed.v1",
        "subject": "i1",
        "time": "2026-11-20T12:00:00+00:00",
        "attempt": 0,
        "data": JOIN,
        **changes,
    }
    return json.dumps({name: value for name, value in good.items() if value is not ...}).encode()


def test_the_envelope_of_the_refusals_is_good() -> None:
    assert codec.decode_event(envelope()).id == "e1"


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        pytest.param({"specversion": "2.0"}, "no CloudEvents 1.0", id="version"),
        pytest.param({"type": "argus.nothing.v1"}, "nobody knows the event type", id="type"),
        pytest.param({"type": ...}, "nobody knows the event type", id="no-type"),
        pytest.param({"id": ...}, "id: str was expected", id="no-id"),
        pytest.param({"id": 7}, "id: str was expected", id="id-is-a-number"),
        pytest.param({"time": "yesterday"}, "time: an ISO 8601 time was expected", id="time"),
        pytest.param({"time": "2026-11-20T12:00:00"}, "time: the time has no zone", id="naive-time"),
        pytest.param({"attempt": "1"}, "attempt: int was expected", id="attempt-is-text"),
        pytest.param({"attempt": True}, "attempt: int was expected", id="attempt-is-truth"),
        pytest.param({"data": ...}, "GroupChanged: an object was expected", id="no-data"),
        pytest.param({"data": {**JOIN, "colour": "red"}}, "GroupChanged: unknown field colour", id="unknown-field"),
        pytest.param(
            {"data": {**JOIN, "alert": {**ALERT, "x": 1}}}, "GroupChanged.alert: unknown field x", id="unknown-deeper"
        ),
        pytest.param({"data": {"kind": "join"}}, "GroupChanged: field group_key is missing", id="missing-field"),
        pytest.param({"data": {**JOIN, "kind": "merge"}}, "'merge' is not one of open, join", id="unknown-word"),
        pytest.param({"data": {**JOIN, "generation": 1.5}}, "GroupChanged.generation: int was expected", id="fraction"),
        pytest.param({"data": {**JOIN, "group_key": None}}, "GroupChanged.group_key: str was expected", id="null"),
        pytest.param(
            {"data": {**JOIN, "alert": {**ALERT, "labels": ["a"]}}}, "labels: an object was expected", id="list-for-map"
        ),
    ],
)
def test_M1_what_does_not_fit_is_refused_and_says_where(changes: dict[str, Any], problem: str) -> None:
    with pytest.raises(PermanentError) as refused:
        codec.decode_event(envelope(**changes))
    assert problem in str(refused.value)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(body=st.binary(max_size=200) | st.recursive(
    st.none() | st.booleans() | st.floats() | TEXTS, lambda inner: st.lists(inner) | st.dictionaries(TEXTS, inner)
).map(lambda value: json.dumps(value).encode()))  # fmt: skip
def test_M1_no_body_breaks_the_reader(body: bytes) -> None:
    with pytest.raises(PermanentError):
        codec.decode_event(body)


def test_canonical_text_does_not_depend_on_order() -> None:
    assert codec.canonical({"b": 1, "a": {"d": 2, "c": 3}}) == codec.canonical({"a": {"c": 3, "d": 2}, "b": 1})
    assert codec.canonical({"a": "ü"}) == '{"a":"ü"}'


@pytest.mark.parametrize("value", [datetime(2026, 1, 1), {1, 2}, b"bytes", object()])  # noqa: DTZ001 - what is refused
def test_what_is_no_model_value_is_not_sent(value: object) -> None:
    with pytest.raises(TypeError):
        codec.to_json(value)


def test_a_time_keeps_its_moment_in_any_zone() -> None:
    at = datetime(2026, 11, 20, 12, 0, tzinfo=timezone(timedelta(hours=5, minutes=30)))
    event = Event("e", "/x", "", at, SignalsReceived(()))
    assert codec.decode_event(codec.encode_event(event)).time == at


@settings(max_examples=100, deadline=None, derandomize=True)
@given(parts=st.lists(st.text(), max_size=4))
def test_M2_ids_are_those_that_the_standard_library_derives(parts: list[str]) -> None:
    name = "\x1f".join(parts).encode("utf-8", "replace").decode()
    assert derive_id(*parts) == str(uuid.uuid5(NAMESPACE, name))


def test_half_a_character_stops_no_id() -> None:
    assert derive_id("\ud800") == str(uuid.uuid5(NAMESPACE, "?"))
