"""Repeats at the edge: they are looked up as the router would, and a body is known by heart for a while only."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.agents.sentinel.alerts import alert_of
from shared.agents.sentinel.collector import Received
from shared.agents.sentinel.fold_memory import Firing
from shared.agents.sentinel.grouping import group_key
from shared.agents.sentinel.repeats import MAX_BODIES, MAX_SIGNALS, Bodies, Known, firing_of
from shared.config.schema import Routing
from shared.model.signal import Severity, Signal, SignalKind, Status
from tests.agents.cases import NOW, T0

_LENGTHS = st.sampled_from(["", "x", "shop", "y" * 200, "y" * 201, "z" * 501])
_GROUPS = st.lists(st.sampled_from(["service", "environment", "name", "resource", "source", "team"]), max_size=4)


def signal(**more: object) -> Signal:
    made = Signal("id", "am", SignalKind.ALERT, "errors", T0, "shop", fingerprint="f", status=Status.FIRING)
    return replace(made, **more)  # type: ignore[arg-type]


@given(
    name=_LENGTHS,
    service=_LENGTHS,
    environment=_LENGTHS,
    resource=_LENGTHS,
    fingerprint=_LENGTHS,
    labels=st.dictionaries(st.sampled_from(["team", "zone", "t" * 300]), _LENGTHS, max_size=3),
    severity=st.sampled_from([None, *Severity]),
    status=st.sampled_from([None, Status.FIRING]),
    began=st.booleans(),
    recognised=st.booleans(),
    groups=_GROUPS,
)
def test_S6_a_firing_is_looked_up_as_its_alert_would_be(began: bool, groups: list[str], **more: object) -> None:
    given_signal = signal(starts_at=T0 - timedelta(seconds=5) if began else None, **more)
    routing = Routing(group_by=groups)
    alert = alert_of(given_signal)
    assert firing_of(given_signal, routing) == Firing(
        group_key(alert, routing), alert.fingerprint, alert.starts_at, alert.severity, alert.at, alert.count
    )


@pytest.mark.parametrize(
    "other", [{"status": Status.RESOLVED}, {"kind": SignalKind.SAMPLE}], ids=["a-resolve", "a-sample"]
)
def test_S6_what_never_is_a_repeat_is_not_looked_up(other: dict[str, object]) -> None:
    assert firing_of(signal(**other), Routing()) is None


def known(count: int = 1) -> Known:
    firing = Firing("service=shop", "f", T0, Severity.SEV2, T0)
    return Known(Received("r", count, True), (firing,) * count, NOW)


def test_a_body_is_known_until_its_time_and_for_its_source() -> None:
    bodies = Bodies()
    bodies.learn("am", b"1", known())
    assert bodies.find("am", b"1", NOW) == known()
    assert bodies.find("am", b"1", NOW + timedelta(microseconds=1)) is None
    assert bodies.find("azure", b"1", NOW) is None


def test_what_is_known_by_heart_stays_small() -> None:
    bodies = Bodies()
    bodies.learn("am", b"huge", known(MAX_SIGNALS + 1))
    assert bodies.find("am", b"huge", NOW) is None
    for number in range(MAX_BODIES + 1):
        bodies.learn("am", str(number).encode(), known())
    assert bodies.find("am", b"0", NOW) is None
    assert bodies.find("am", b"1", NOW) is not None
