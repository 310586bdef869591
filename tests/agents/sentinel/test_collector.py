"""Collector: everything that came in is on the bus when it says so; what nobody understands is kept and shown."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path

import pytest

from shared.adapters.registry import Surroundings
from shared.adapters.sources import SOURCES
from shared.agents.sentinel import collector
from shared.model.errors import PermanentError, Reason, TransientError
from shared.model.event import SignalsReceived
from shared.model.pipeline import Queue
from shared.model.signal import Severity, Signal, SignalKind
from shared.ports import Ports
from shared.ports.store import Store
from shared.records import payloads, quarantine
from tests.agents.cases import NOW, T0
from tests.fakes import FakeBus, ports


def _source() -> dict[str, object]:
    adapter = SOURCES["alertmanager"]
    return {"alertmanager": adapter.build("alertmanager", adapter.config(), Surroundings(Path()))}


def _given(store: Store, bus: FakeBus) -> Ports:
    return ports(store, bus=bus, sources=_source())


def _alerts(count: int, pad: int = 0) -> bytes:
    labels = [{"alertname": f"A{i}", "severity": "critical", "service": "shop", "pad": "x" * pad} for i in range(count)]
    started = T0.isoformat()
    return json.dumps([{"labels": each, "startsAt": started} for each in labels]).encode()


def _signals(bus: FakeBus) -> list[Signal]:
    found: list[Signal] = []
    for event in bus.events(Queue.SIGNALS):
        assert isinstance(event.data, SignalsReceived)
        found += event.data.signals
    return found


def test_a_body_becomes_signals_on_the_bus(store: Store) -> None:
    bus = FakeBus()
    received = collector.receive("alertmanager", _alerts(3), {}, NOW, _given(store, bus))
    assert (received.signals, received.recognised) == (3, True)
    assert [signal.name for signal in _signals(bus)] == ["A0", "A1", "A2"]


def test_M2_the_same_body_has_the_same_ids_whenever_it_comes(store: Store) -> None:
    bus = FakeBus()
    for minutes in (0, 3):
        collector.receive("alertmanager", _alerts(2), {}, NOW + timedelta(minutes=minutes), _given(store, bus))
    assert len({message.message_id for message in bus.sent[Queue.SIGNALS]}) == 1


def test_M5_many_signals_travel_in_messages_that_fit(store: Store) -> None:
    bus = FakeBus()
    received = collector.receive("alertmanager", _alerts(400, pad=1000), {}, NOW, _given(store, bus))
    assert received.signals == 400
    assert len(bus.sent[Queue.SIGNALS]) > 1
    assert max(len(message.body) for message in bus.sent[Queue.SIGNALS]) <= 192 * 1024
    assert len({signal.id for signal in _signals(bus)}) == 400


def test_a_shape_nobody_knows_is_a_low_alert_with_its_raw_body(store: Store) -> None:
    bus = FakeBus()
    raw = b'{"strange": [1, 2], "password": "hunter2"}'
    received = collector.receive("alertmanager", raw, {}, NOW, _given(store, bus))
    (signal,) = _signals(bus)
    assert (received.recognised, signal.recognised, signal.kind) == (False, False, SignalKind.ALERT)
    assert signal.severity is Severity.SEV4
    kept = payloads.get(store, signal.payload) or b""
    assert b"strange" in kept
    assert b"hunter2" not in kept
    assert "hunter2" not in signal.description


def test_what_is_not_json_is_refused_and_kept(store: Store) -> None:
    with pytest.raises(PermanentError, match="not JSON") as refused:
        collector.receive("alertmanager", b"<html>oops</html>", {}, NOW, _given(store, FakeBus()))
    assert refused.value.reason is Reason.BAD_INPUT
    (entry,) = quarantine.listed(store, NOW)
    assert payloads.get(store, entry.payload) == b"<html>oops</html>"


ODD = (
    (b'\xef\xbb\xbf[{"labels": {"alertname": "A"}}]', "A"),
    (b'[{"labels": {"alertname": "A \\ud83d"}}]', "A \ufffd"),
    (b'[{"labels": {"alertname": "A"}, "values": {"B": 1e400}}]', "A"),
    (b'[{"labels": {"alertname": "A"}, "values": {"B": NaN, "C": -Infinity}}]', "A"),
    (b'[{"labels": {"alertname": "\\ud83d\\ude00"}, "n": NaN}]', "\U0001f600"),
    (b'[{"labels": {"alertname": "A"}, "n": ' + b"1" * 5000 + b"}]", "A"),
)


@pytest.mark.parametrize(("raw", "name"), ODD, ids=["bom", "half", "huge", "nan", "both halves", "long"])
def test_json_that_real_senders_write_is_taken(store: Store, raw: bytes, name: str) -> None:
    bus = FakeBus()
    received = collector.receive("alertmanager", raw, {}, NOW, _given(store, bus))
    (signal,) = _signals(bus)
    assert (received.recognised, signal.name, signal.value) == (True, name, None)


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        (b"[" * 100_000, "it is nested too deeply"),
        (b"[" * 3000 + b"]" * 3000, "it is nested too deeply"),
        (b'{"a": "\xff"}', "byte 8 is not UTF-8"),
        (b'{"a": NaN,\n "b": oops}', "Expecting value at line 2, column 7"),
        (b"", "Expecting value at line 1, column 1"),
    ],
    ids=["open", "deep", "bytes", "syntax", "empty"],
)
def test_what_no_reader_takes_is_told_and_kept(store: Store, raw: bytes, why: str) -> None:
    with pytest.raises(PermanentError) as refused:
        collector.receive("alertmanager", raw, {}, NOW, _given(store, FakeBus()))
    assert (refused.value.reason, str(refused.value)) == (Reason.BAD_INPUT, f"the body is not JSON: {why}")
    (entry,) = quarantine.listed(store, NOW)
    assert payloads.get(store, entry.payload) == raw


def test_a_secret_is_hidden_before_an_unknown_body_is_cut(store: Store) -> None:
    bus = FakeBus()
    raw = json.dumps({"strange": "x" * 1950, "password": ["hunter2" * 20]}).encode()
    collector.receive("alertmanager", raw, {}, NOW, _given(store, bus))
    (signal,) = _signals(bus)
    assert "hunter" not in signal.description
    assert len(signal.description) <= 2000


def test_a_full_body_of_small_alerts_is_taken_whole(store: Store) -> None:
    raw = json.dumps([{"labels": {"alertname": f"A{i}"}} for i in range(25_000)]).encode()
    assert 900_000 < len(raw) <= collector.MAX_BODY_BYTES
    assert collector.receive("alertmanager", raw, {}, NOW, _given(store, FakeBus())).signals == 25_000


def test_a_body_over_1_MB_is_refused(store: Store) -> None:
    with pytest.raises(PermanentError) as refused:
        collector.receive(
            "alertmanager", b"[" + b" " * collector.MAX_BODY_BYTES + b"]", {}, NOW, ports(store, sources=_source())
        )
    assert refused.value.reason is Reason.TOO_LARGE


def test_a_bus_that_is_away_is_told_to_the_sender(store: Store) -> None:
    away = FakeBus(failures=[TransientError("away", Reason.UNAVAILABLE, sent=None)])
    with pytest.raises(TransientError):
        collector.receive("alertmanager", _alerts(1), {}, NOW, _given(store, away))


class _Poller:
    def __init__(self, name: str) -> None:
        self.name = name

    def poll(self, due: object) -> tuple[Signal, ...]:
        return (Signal(f"{self.name}-{due}", self.name, SignalKind.SAMPLE, "probe_success", T0, "shop", value=1.0),)


def test_M2_one_tick_of_the_timer_has_the_same_ids_again(store: Store) -> None:
    bus = FakeBus()
    there = ports(store, bus=bus, pollers={name: _Poller(name) for name in ("b", "a")})
    for _ in range(2):
        assert collector.poll("poll", T0, NOW, there) == 2
    assert len({message.message_id for message in bus.sent[Queue.SIGNALS]}) == 1
    assert [signal.source for signal in _signals(bus)[:2]] == ["a", "b"]


def test_without_pollers_nothing_is_sent(store: Store) -> None:
    bus = FakeBus()
    assert collector.poll("poll", T0, NOW, ports(store, bus=bus)) == 0
    assert not bus.sent[Queue.SIGNALS]
