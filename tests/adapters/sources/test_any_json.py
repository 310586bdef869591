"""Whatever is posted, a source answers with signals that every later hop can carry."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.adapters.sources import SOURCES
from shared.model.codec import from_json, to_json
from shared.model.signal import Signal, SignalKind
from tests.adapters.sources.posting import parsed

_TEXTS = st.one_of(
    st.text(max_size=12),
    st.sampled_from(
        ["\ud800", "\x00", "Sev2", "firing", "0001-01-01T00:00:00Z", "9999-12-31T23:59:59-12:00", "{", "[1", '"']
    ),
)
_PLAIN = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), _TEXTS, st.just(10**400), st.just(1e308))
_NAMES = st.one_of(
    st.sampled_from(
        [
            *("data", "essentials", "alertContext", "alertId", "condition", "allOf", "context", "status", "alerts"),
            *(
                "labels",
                "annotations",
                "startsAt",
                "endsAt",
                "fingerprint",
                "firedDateTime",
                "activityLog",
                "properties",
            ),
            *("SearchQuery", "dimensions", "name", "value", "severity", "AlertData", "BudgetName", "operationName"),
        ]
    ),
    _TEXTS,
)
_ANYTHING = st.recursive(
    _PLAIN,
    lambda deeper: st.one_of(st.lists(deeper, max_size=4), st.dictionaries(_NAMES, deeper, max_size=6)),
    max_leaves=30,
)
_BODIES = [
    (entry["source"], entry["body"])
    for entry in (
        json.loads(path.read_text())
        for path in sorted((Path(__file__).parents[2] / "golden" / "collector").glob("*/in.json"))
    )
]


def check(found: tuple[Signal, ...]) -> None:
    for signal in found:
        wire = json.dumps(to_json(signal), allow_nan=False, ensure_ascii=False).encode()
        assert from_json(Signal, json.loads(wire)) == signal
        assert signal.kind is SignalKind.ALERT
        assert signal.severity is not None
        assert signal.status is not None
        assert signal.name
        assert signal.fingerprint
        assert signal.summary
        assert len(signal.summary) <= 200
        assert len(signal.description) <= 4000
        assert not signal.link or signal.link.lower().startswith(("http://", "https://"))
        assert len(wire) < 64_000
    assert len({signal.id for signal in found}) == len(found)


@pytest.mark.parametrize("name", sorted(SOURCES))
@settings(max_examples=150, deadline=None)
@given(body=_ANYTHING)
def test_any_json_is_read_without_an_error(name: str, body: Any) -> None:
    check(parsed(name, body))


def places(value: Any, here: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    found = [here] if here else []
    members = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in members:
        found += places(inner, (*here, key))
    return found


@settings(max_examples=300, deadline=None)
@given(data=st.data(), which=st.integers(0, len(_BODIES) - 1))
def test_a_known_body_with_something_odd_in_it_is_still_an_alert_or_left_alone(data: st.DataObject, which: int) -> None:
    name, original = _BODIES[which]
    body = copy.deepcopy(original)
    for _ in range(data.draw(st.integers(1, 3))):
        *above, last = data.draw(st.sampled_from(places(original)))
        inner = body
        try:
            for key in above:
                inner = inner[key]
            if data.draw(st.booleans()):
                del inner[last]
            else:
                inner[last] = data.draw(_ANYTHING)
        except (KeyError, IndexError, TypeError):
            continue  # an earlier change took this place away
    check(parsed(name, body))


@pytest.mark.parametrize("name", sorted(SOURCES))
def test_very_deep_json_is_read_without_an_error(name: str) -> None:
    deep: Any = {"labels": {"a": "b"}}
    for _ in range(900):
        deep = [deep]
    check(parsed(name, [deep, {"labels": {"alertname": "a"}, "data": {"essentials": {"alertRule": "r", "x": deep}}}]))


@pytest.mark.parametrize("name", sorted(SOURCES))
def test_a_body_of_a_thousand_labels_stays_small(name: str) -> None:
    many = {f"label-{n}": "v" * 2000 for n in range(1000)}
    check(parsed(name, {"labels": many, "data": {"essentials": {"alertRule": "r"}, "customProperties": many}}))
