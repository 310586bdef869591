"""The evaluator: alerts pass, samples are judged, and time runs forward only."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from shared.adapters.stores.sqlite import SqliteStore
from shared.agents.sentinel import evaluator
from shared.agents.sentinel.rules import increase
from shared.model.alert import Alert
from shared.model.event import derive_id
from shared.model.signal import Severity, Signal, SignalKind, Status
from shared.ports import Ports
from shared.ports.store import Table
from shared.records import windows
from shared.records.windows import Sample
from tests import fakes

T0 = datetime(2026, 11, 21, 3, 0, tzinfo=UTC)
SLOW = {"kind": "threshold", "metric": "latency_ms", "above": 500}
BURN = {
    "kind": "burn_rate",
    "errors": "errors_total",
    "total": "requests_total",
    "objective": 0.99,
    "long_window_s": 60,
    "short_window_s": 10,
    "burn": 10,
    "min_requests": 10,
}


def at(seconds: float) -> datetime:
    return T0 + timedelta(seconds=seconds)


def sample(seconds: float, value: float, name: str = "latency_ms", **more: Any) -> Signal:
    fields: dict[str, Any] = {
        "id": derive_id("test", name, str(seconds), str(more.get("resource", ""))),
        "source": "shop_metrics",
        "kind": SignalKind.SAMPLE,
        "name": name,
        "at": at(seconds),
        "service": "shop",
        "environment": "production",
        "value": value,
        **more,
    }
    return Signal(**fields)


def ports_with(store: SqliteStore, **rules: dict[str, Any]) -> Ports:
    return fakes.ports(store, fakes.settings(rules=rules))


def feed(ports: Ports, signals: Sequence[Signal]) -> list[Alert]:
    """Evaluate and save, one after the other."""
    alerts: list[Alert] = []
    for signal in signals:
        evaluation = evaluator.evaluate(signal, ports, at(10_000))
        assert evaluator.save(evaluation, ports.store)
        alerts.extend(evaluation.alerts)
    return alerts


def states(alerts: Sequence[Alert]) -> list[tuple[str, float]]:
    return [(alert.status.value, (alert.at - T0).total_seconds()) for alert in alerts]


def requests(seconds: float, errors: float, total: float) -> list[Signal]:
    return [sample(seconds, errors, "errors_total"), sample(seconds, total, "requests_total")]


class TestAlertSignals:
    def test_an_alert_passes_and_touches_no_window(self, store: SqliteStore) -> None:
        signal = Signal(
            id="s1",
            source="azure_monitor",
            kind=SignalKind.ALERT,
            name="CPU high",
            at=at(5),
            service="shop",
            environment="production",
            fingerprint="fp",
            severity=Severity.SEV1,
            status=Status.FIRING,
            starts_at=at(1),
            labels={"a": "b"},
        )
        evaluation = evaluator.evaluate(signal, fakes.ports(store), at(6))
        (alert,) = evaluation.alerts
        assert evaluation.windows == ()
        assert (alert.fingerprint, alert.severity, alert.status) == ("fp", Severity.SEV1, Status.FIRING)
        assert (alert.at, alert.starts_at, alert.signal_id) == (at(5), at(1), "s1")

    def test_what_nobody_recognised_is_a_sev4_of_its_own(self, store: SqliteStore) -> None:
        signal = Signal("s1", "odd", SignalKind.ALERT, "unknown body", T0, recognised=False, payload="p/1")
        other = replace(signal, id="s2", name="another body")
        (alert,) = evaluator.evaluate(signal, fakes.ports(store), T0).alerts
        (second,) = evaluator.evaluate(other, fakes.ports(store), T0).alerts
        assert (alert.severity, alert.name, alert.payload) == (Severity.SEV4, "unknown body", "p/1")
        assert alert.fingerprint != second.fingerprint

    def test_texts_are_cut_to_what_a_message_holds(self, store: SqliteStore) -> None:
        long = "語" * 100_000
        labels = {f"label{i:04}": long for i in range(50)}
        signal = Signal(
            "s", "odd", SignalKind.ALERT, long, T0, long, long, long, labels, long, summary=long, description=long
        )
        (alert,) = evaluator.evaluate(signal, fakes.ports(store), T0).alerts
        size = sum(len(str(getattr(alert, name)).encode()) for name in alert.__slots__)
        assert size < 48 * 1024
        assert len(alert.fingerprint) == 64


class TestThreshold:
    @pytest.mark.parametrize(
        ("rule", "values", "expected"),
        [
            pytest.param({}, [(0, 400), (5, 600)], [("firing", 5)], id="fires-at-once-without-for"),
            pytest.param({}, [(0, 500)], [], id="the-line-itself-is-good"),
            pytest.param({"for_s": 10}, [(0, 600), (5, 600)], [], id="waits-for-for"),
            pytest.param({"for_s": 10}, [(0, 600), (5, 600), (10, 600)], [("firing", 10)], id="fires-after-for"),
            pytest.param({"for_s": 10}, [(0, 600), (5, 1), (10, 600)], [], id="good-in-between-starts-anew"),
            pytest.param({}, [(0, 600), (5, 1)], [("firing", 0), ("resolved", 5)], id="resolves-at-once"),
            pytest.param(
                {"resolve_s": 10},
                [(0, 600), (5, 1), (10, 1), (15, 1)],
                [("firing", 0), ("firing", 5), ("firing", 10), ("resolved", 15)],
                id="resolves-after-resolve",
            ),
            pytest.param(
                {"resolve_s": 10},
                [(0, 600), (5, 1), (10, 600), (15, 1)],
                [("firing", 0), ("firing", 5), ("firing", 10), ("firing", 15)],
                id="a-relapse-starts-the-recovery-anew",
            ),
            pytest.param({"for_s": 60}, [(0, 600), (1000, 600)], [], id="silence-is-not-breaching"),
            pytest.param({"above": None, "below": 1}, [(0, 1), (5, 0)], [("firing", 5)], id="below"),
        ],
    )
    def test_rule(
        self, store: SqliteStore, rule: dict[str, Any], values: list[tuple[float, float]], expected: list[Any]
    ) -> None:
        ports = ports_with(store, slow={**SLOW, **rule})
        assert states(feed(ports, [sample(s, v) for s, v in values])) == expected

    def test_one_firing_keeps_its_beginning_and_its_identity(self, store: SqliteStore) -> None:
        ports = ports_with(store, slow={**SLOW, "for_s": 5, "severity": "sev1", "summary": "Shop is slow"})
        alerts = feed(ports, [sample(s, v) for s, v in [(0, 600), (5, 700), (10, 800), (15, 1), (20, 600), (25, 600)]])
        assert [(a.status.value, a.starts_at) for a in alerts] == [
            ("firing", at(0)),
            ("firing", at(0)),
            ("resolved", at(0)),
            ("firing", at(20)),
        ]
        assert len({a.fingerprint for a in alerts}) == 1
        first = alerts[0]
        assert (first.rule, first.name, first.severity, first.summary) == (
            "slow",
            "slow",
            Severity.SEV1,
            "Shop is slow",
        )
        assert (first.service, first.environment, first.value) == ("shop", "production", 700)

    def test_resources_and_labels_are_series_of_their_own(self, store: SqliteStore) -> None:
        ports = ports_with(store, slow=SLOW)
        signals = [sample(0, 600, resource="a"), sample(0, 600, resource="b"), sample(1, 1, resource="a")]
        alerts = feed(ports, signals)
        assert [(a.resource, a.status.value) for a in alerts] == [("a", "firing"), ("b", "firing"), ("a", "resolved")]
        assert alerts[0].fingerprint != alerts[1].fingerprint

    def test_a_rule_of_another_service_does_not_look(self, store: SqliteStore) -> None:
        ports = ports_with(store, slow={**SLOW, "service": "billing"})
        assert feed(ports, [sample(0, 900)]) == []

    def test_two_rules_moved_by_one_sample_have_different_causes(self, store: SqliteStore) -> None:
        ports = ports_with(store, slow=SLOW, very_slow={**SLOW, "above": 550})
        first, second = feed(ports, [sample(0, 900)])
        assert first.signal_id != second.signal_id

    @pytest.mark.parametrize("value", [None, float("nan"), float("inf")])
    def test_a_sample_without_a_number_says_nothing(self, store: SqliteStore, value: float | None) -> None:
        ports = ports_with(store, slow=SLOW)
        evaluation = evaluator.evaluate(replace(sample(0, 1), value=value), ports, T0)
        assert (evaluation.alerts, evaluation.windows) == ((), ())

    def test_a_clock_in_the_future_does_not_stop_a_rule(self, store: SqliteStore) -> None:
        ports = ports_with(store, slow=SLOW)
        early = evaluator.evaluate(sample(1_000_000, 600), ports, at(0))
        assert evaluator.save(early, store)
        late = evaluator.evaluate(sample(5, 1), ports, at(5))
        assert [a.status for a in (*early.alerts, *late.alerts)] == [Status.FIRING, Status.RESOLVED]


class TestBurnRate:
    @pytest.mark.parametrize(
        ("errors", "totals", "objective", "expected"),
        [
            pytest.param([0, 1], [100, 100], 0.995, 1.0, id="on-budget-is-one"),
            pytest.param([14.4], [1000], 0.999, 14.4, id="page-of-the-workbook"),
            pytest.param([0], [0], 0.999, 0.0, id="no-traffic-burns-nothing"),
        ],
    )
    def test_burn_rate(self, errors: list[float], totals: list[float], objective: float, expected: float) -> None:
        assert evaluator.burn_rate(errors, totals, objective) == pytest.approx(expected)

    @pytest.mark.parametrize(("errors", "objective"), [([1, 2], 0.9), ([], 0.9), ([1], 1.0), ([1], 99.9), ([1], 0)])
    def test_burn_rate_refuses(self, errors: list[float], objective: float) -> None:
        with pytest.raises(ValueError, match=r"error counts|objective"):
            evaluator.burn_rate(errors, [1], objective)

    @pytest.mark.parametrize(
        ("values", "window", "expected"),
        [
            pytest.param([(0, 10), (10, 30), (20, 60)], (0, 20), 50, id="growth"),
            pytest.param([(0, 10), (10, 30), (20, 5), (30, 8)], (0, 30), 28, id="a-drop-is-a-restart"),
            pytest.param([(0, 0), (10, 100)], (5, 10), 50, id="the-part-inside-counts"),
            pytest.param([(0, 0), (10, 100), (20, 300)], (0, 10), 100, id="nothing-after-the-end"),
            pytest.param([(5, 100)], (0, 10), 0, id="one-sample-is-no-growth"),
        ],
    )
    def test_increase(self, values: list[tuple[int, float]], window: tuple[int, int], expected: float) -> None:
        assert increase([Sample(ms, value) for ms, value in values], *window) == pytest.approx(expected)

    def test_fires_on_both_windows_and_resolves_on_the_short_one(self, store: SqliteStore) -> None:
        ports = ports_with(store, burn=BURN)
        errors = total = 0
        signals = []
        for second in range(0, 80, 5):
            total += 50
            errors += 20 if 20 < second <= 40 else 0
            signals += requests(second, errors, total)
        alerts = feed(ports, signals)
        assert states(alerts) == [*(("firing", s) for s in (30, 35, 40, 45)), ("resolved", 50)]
        assert {a.starts_at for a in alerts} == {at(30)}
        assert "budget" in alerts[0].summary

    def test_one_half_of_a_poll_judges_nothing(self, store: SqliteStore) -> None:
        ports = ports_with(store, burn=BURN)
        feed(ports, [*requests(0, 0, 0), sample(5, 100, "requests_total")])
        evaluation = evaluator.evaluate(sample(5, 90, "errors_total"), ports, at(5))
        assert [a.at for a in evaluation.alerts] == [at(5)]

    def test_few_requests_are_unknown_not_good(self, store: SqliteStore) -> None:
        ports = ports_with(store, burn=BURN)
        firing = feed(ports, [s for t, e, n in [(0, 0, 0), (5, 50, 100), (200, 50, 101)] for s in requests(t, e, n)])
        assert [a.status for a in firing] == [Status.FIRING, Status.FIRING]  # nothing says that it is over

    def test_labelled_counters_are_added_up(self, store: SqliteStore) -> None:
        ports = ports_with(store, burn=BURN)

        def poll(seconds: float, bad: float, worse: float, total: float) -> list[Signal]:
            return [
                sample(seconds, bad, "errors_total", labels={"status": "500"}, id=f"{seconds}a"),
                sample(seconds, worse, "errors_total", labels={"status": "503"}, id=f"{seconds}b"),
                sample(seconds, total, "requests_total"),
            ]

        assert feed(ports, poll(0, 1000, 5, 10_000)) == []
        (alert,) = feed(ports, poll(5, 1006, 11, 10_100))
        assert alert.value == pytest.approx(12)  # 12 of 100 failed, 1 of 100 may


class TestTimeAndRepeats:
    def test_a_late_sample_turns_nothing_back(self, store: SqliteStore) -> None:
        ports = ports_with(store, slow=SLOW)
        assert states(feed(ports, [sample(0, 600), sample(10, 1)])) == [("firing", 0), ("resolved", 10)]
        assert feed(ports, [sample(5, 900)]) == []
        assert [p.value for p in windows.samples_of(store, ports.settings, "shop")["latency_ms"]] == [600, 900, 1]

    @hypothesis_settings(max_examples=25, deadline=None)
    @given(st.data())
    def test_repeats_change_nothing(self, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
        values = data.draw(st.lists(st.sampled_from([1.0, 600.0]), min_size=1, max_size=8))
        repeats = data.draw(st.lists(st.integers(0, len(values) - 1), max_size=6))
        signals = [sample(5 * i, value) for i, value in enumerate(values)]
        answers = []
        for with_repeats in (False, True):
            rows = SqliteStore(tmp_path_factory.mktemp("w") / "store.db")
            ports = ports_with(rows, slow={**SLOW, "for_s": 5, "resolve_s": 5})
            alerts: list[Alert] = []
            for number, signal in enumerate(signals):
                alerts += feed(ports, [signal])
                if with_repeats:
                    again = [signals[r] for r in repeats if r <= number]
                    assert feed(ports, again) == []
            answers.append((alerts, list(windows.of_service(rows, ports.settings, "shop"))))
            rows.close()
        assert answers[0] == answers[1]

    def test_a_crash_before_the_save_says_it_again(self, store: SqliteStore) -> None:
        ports = ports_with(store, slow=SLOW)
        feed(ports, [sample(0, 600)])
        lost = evaluator.evaluate(sample(5, 1), ports, at(5))
        again = evaluator.evaluate(sample(5, 1), ports, at(9))
        assert lost.alerts == again.alerts
        assert again.alerts[0].status is Status.RESOLVED
        assert evaluator.save(again, store)

    def test_a_window_changed_meanwhile_is_not_overwritten(self, store: SqliteStore) -> None:
        ports = ports_with(store, slow=SLOW)
        mine = evaluator.evaluate(sample(0, 600), ports, at(0))
        feed(ports, [sample(1, 600)])
        assert not evaluator.save(mine, store)
        feed(ports, [sample(0, 600)])
        assert len(windows.samples_of(store, ports.settings, "shop")["latency_ms"]) == 2


class TestKept:
    def test_thins_the_older_half_and_stays_small(self, store: SqliteStore) -> None:
        ports = fakes.ports(store, fakes.settings(rules={"burn": BURN}, investigation={"baseline_s": 86_400}))
        series = windows.Series("burn", "shop", "production", "", "")
        many: tuple[Sample, ...] = ()
        for second in range(3000):
            many = windows.add(many, Sample(1_700_000_000_000 + second * 1000, second / 7, f"{second:012x}"), 86_400)
        assert len(many) <= windows.MAX_TRACK_SAMPLES
        assert (many[0].ms, many[-1].ms) == (1_700_000_000_000, 1_700_002_999_000)
        recent = many[-300:]
        assert all(b.ms - a.ms == 1000 for a, b in itertools.pairwise(recent))
        tracks = {name: windows.Track(name, many) for name in ("errors_total", "requests_total")}
        assert windows.save(store, windows.WindowWrite(windows.Window(series, tracks), ""))
        assert windows.load(store, series).window.tracks == tracks
        row = store.query(Table.WINDOWS, windows._partition("burn", "shop", "default")).rows[0]
        assert sum(len(str(value)) for value in row.values.values()) < 100_000
        assert len(windows.samples_of(store, ports.settings, "shop")["errors_total"]) == len(many)

    def test_old_samples_go(self) -> None:
        kept = windows.add((Sample(0, 1, "a"), Sample(5_000, 1, "b")), Sample(11_000, 1, "c"), 10)
        assert [s.id for s in kept] == ["b", "c"]
        assert windows.add(kept, Sample(500, 1, "d"), 10) == kept

    def test_a_metric_without_a_rule_is_kept_as_evidence(self, store: SqliteStore) -> None:
        ports = ports_with(store, slow=SLOW)
        assert feed(ports, [sample(s, 7, "queue_depth") for s in (0, 5)]) == []
        assert [p.value for p in windows.samples_of(store, ports.settings, "shop")["queue_depth"]] == [7, 7]
        nobody = evaluator.evaluate(sample(0, 7, "queue_depth", service="stranger"), ports, T0)
        assert nobody.windows == ()

    def test_series_of_one_metric_are_told_apart(self, store: SqliteStore) -> None:
        ports = ports_with(store, slow=SLOW)
        feed(ports, [sample(0, 1, resource="a"), sample(0, 2, resource="b")])
        assert sorted(windows.samples_of(store, ports.settings, "shop")) == ["latency_ms (a)", "latency_ms (b)"]


class TestHealth:
    @pytest.mark.parametrize(
        ("rule", "values", "now", "expected"),
        [
            pytest.param({}, [(0, 1)], 10, "good", id="good"),
            pytest.param({}, [(0, 600)], 10, "bad", id="firing-is-bad"),
            pytest.param({"for_s": 60}, [(0, 600)], 10, "bad", id="breaching-is-bad"),
            pytest.param({"resolve_s": 60}, [(0, 600), (5, 1)], 10, "bad", id="not-yet-resolved-is-bad"),
            pytest.param({}, [(0, 1)], 301, "unknown", id="old-good-is-unknown"),
            pytest.param({}, [(0, 600)], 301, "unknown", id="old-bad-is-unknown"),
            pytest.param({}, [], 0, "unknown", id="never-measured-is-unknown"),
        ],
    )
    def test_reading(
        self,
        store: SqliteStore,
        rule: dict[str, Any],
        values: list[tuple[float, float]],
        now: float,
        expected: str,
    ) -> None:
        ports = ports_with(store, slow={**SLOW, **rule})
        feed(ports, [sample(s, v) for s, v in values])
        reading = evaluator.health("shop", ports.settings, store, at(now))
        assert reading.state == expected
        assert reading.measured_at == (at(values[-1][0]) if values else None)
        assert reading.text

    def test_one_bad_instance_is_enough_and_kept_samples_are_no_judgement(self, store: SqliteStore) -> None:
        ports = ports_with(store, slow=SLOW)
        feed(ports, [sample(0, 7, "queue_depth")])
        assert evaluator.health("shop", ports.settings, store, at(1)).measured_at is None
        feed(ports, [sample(0, 600, resource="a"), sample(1, 1, resource="b")])
        reading = evaluator.health("shop", ports.settings, store, at(2))
        assert (reading.state, list(reading.facts)) == ("bad", ["slow"])

    def test_a_firing_that_fell_silent_is_unknown_beside_a_good_one(self, store: SqliteStore) -> None:
        ports = ports_with(store, slow=SLOW)
        feed(ports, [sample(0, 600, resource="a"), sample(400, 1, resource="b")])
        assert evaluator.health("shop", ports.settings, store, at(401)).state == "unknown"
