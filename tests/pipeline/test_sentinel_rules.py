"""Rules S2, S3 and S6: samples and claims with crashes, repeats and two hosts at once."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path

import pytest

from shared.adapters.stores.sqlite import SqliteStore
from shared.agents.sentinel import alert_router, evaluator
from shared.agents.sentinel.alert_router import FoldMemory, Routed
from shared.model.alert import Alert
from shared.model.errors import TransientError
from shared.model.event import derive_id
from shared.model.pipeline import Queue
from shared.model.signal import Severity, Signal, SignalKind
from shared.ports import Ports
from shared.records import counters, groups, windows
from tests import fakes
from tests.pipeline.sentinel_stage import (
    KEY,
    Killed,
    Mortal,
    alert,
    assert_incidents_heard_the_truth,
    at,
    changes,
    deliver,
    fires,
    openings,
    resolves,
)


class TestS2:
    def sample(self, seconds: float, value: float) -> Signal:
        identity = derive_id("sample", str(seconds))
        return Signal(identity, "metrics", SignalKind.SAMPLE, "errors", at(seconds), "shop", "production", value=value)

    def ports(self, store: SqliteStore, bus: fakes.FakeBus) -> Ports:
        rules = {"slow": {"kind": "threshold", "metric": "errors", "above": 5, "for_s": 5}}
        return fakes.ports(store, fakes.settings(rules=rules), bus=bus)

    def work(self, signal: Signal, ports: Ports, memory: FoldMemory) -> None:
        """As dispatch does: route, then save, and judge again when a window changed meanwhile."""
        while True:
            evaluation = evaluator.evaluate(signal, ports, at(1000))
            for found in evaluation.alerts:
                alert_router.route(found, ports, at(1000), memory)
            if evaluator.save(evaluation, ports.store):
                return

    def test_S2_a_repeat_is_not_counted_twice(self, store: SqliteStore) -> None:
        bus = fakes.FakeBus()
        ports = self.ports(store, bus)
        for _ in range(10):
            self.work(self.sample(0, 9), ports, FoldMemory("a"))
        assert len(windows.samples_of(store, ports.settings, "shop")["errors"]) == 1
        assert changes(bus) == []  # one sample lasts no 5 s, however often it is said

    @pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
    def test_S2_a_crash_at_any_step_loses_neither_firing_nor_resolve(self, tmp_path: Path, after: bool) -> None:
        signals = [self.sample(0, 9), self.sample(5, 9), self.sample(10, 1)]
        for dies_at in count(1):
            rows, bus = SqliteStore(tmp_path / f"{dies_at}.db"), fakes.FakeBus()
            mortal = Mortal(rows, bus, dies_at, after)
            sound = self.ports(rows, bus)
            mortal_ports = fakes.ports(mortal, sound.settings, bus=mortal)  # type: ignore[arg-type]
            died = False
            for signal in signals:
                try:
                    self.work(signal, sound if died else mortal_ports, FoldMemory("a"))
                except Killed:
                    died = True
                    self.work(signal, sound, FoldMemory("b"))
            heard = [(c.kind.value, c.alert.status.value) for c in changes(bus)]
            assert heard == [("open", "firing"), ("join", "resolved")]
            assert len(windows.samples_of(rows, sound.settings, "shop")["errors"]) == 3
            rows.close()
            if not died:
                break

    def test_S2_two_hosts_count_each_sample_once(self, tmp_path: Path) -> None:
        bus = fakes.FakeBus()
        stores = [SqliteStore(tmp_path / "store.db") for _ in range(2)]
        signals = [self.sample(5 * number, 9) for number in range(8)]
        start = threading.Barrier(2)

        def host(rows: SqliteStore) -> None:
            memory = FoldMemory()
            start.wait(10)
            for signal in signals:
                self.work(signal, self.ports(rows, bus), memory)

        with ThreadPoolExecutor(2) as pool:
            list(pool.map(host, stores))
        settings = self.ports(stores[0], bus).settings
        assert len(windows.samples_of(stores[0], settings, "shop")["errors"]) == 8
        assert [len(ids) for ids in openings(bus).values()] == [1]
        for rows in stores:
            rows.close()


class TestS3:
    @pytest.mark.parametrize("alerts_each", [1, 6])
    def test_S3_two_hosts_claim_one_incident(self, tmp_path: Path, alerts_each: int) -> None:
        bus = fakes.FakeBus()
        stores = [SqliteStore(tmp_path / "store.db") for _ in range(4)]
        start = threading.Barrier(4)

        def host(number: int) -> list[Routed]:
            ports = fakes.ports(stores[number], bus=bus)
            start.wait(10)
            alerts = [fires(f"a{number}{i}", number + i) for i in range(alerts_each)]
            return deliver(alerts, ports, FoldMemory(str(number)))

        with ThreadPoolExecutor(4) as pool:
            routed = [one for answers in pool.map(host, range(4)) for one in answers]
        assert {one.incident_id for one in routed} == {groups.incident_id_of(KEY, 1)}
        assert sorted({one.what for one in routed}) == ["joined", "opened"]
        assert [len(ids) for ids in openings(bus).values()] == [1]
        assert len(groups.members(stores[0], KEY)) == 4 * alerts_each
        assert_incidents_heard_the_truth(stores[0], bus)
        for rows in stores:
            rows.close()

    def test_S3_everyone_who_meets_a_claim_sends_the_same_creation(self, store: SqliteStore) -> None:
        bus = fakes.FakeBus(failures=[TransientError("the bus is down")])
        ports = fakes.ports(store, bus=bus)
        with pytest.raises(TransientError):
            deliver([fires("a", 0)], ports)
        assert bus.events(Queue.INCIDENTS) == []
        assert [one.what for one in deliver([fires("b", 1), fires("c", 2)], ports)] == ["joined", "joined"]
        kinds = [(c.kind.value, c.alert.name) for c in changes(bus)]
        assert kinds == [("open", "a"), ("join", "b"), ("join", "c")]
        assert deliver([fires("a", 0)], ports)[0].what == "opened"
        assert [(c.kind.value, c.alert.name) for c in changes(bus)] == kinds

    def test_S3_a_new_generation_is_claimed_once_by_two_hosts(self, tmp_path: Path) -> None:
        bus = fakes.FakeBus()
        stores = [SqliteStore(tmp_path / "store.db") for _ in range(2)]
        deliver([fires("a", 0)], fakes.ports(stores[0], bus=bus))
        groups.turn_open(stores[0], KEY, 1)
        groups.begin_closing(stores[0], KEY, 1, at(200))
        groups.finish_closing(stores[0], KEY, 1, at(220))
        start = threading.Barrier(2)

        def host(number: int) -> Routed:
            start.wait(10)
            return deliver([fires(f"b{number}", 300)], fakes.ports(stores[number], bus=bus))[0]

        with ThreadPoolExecutor(2) as pool:
            routed = list(pool.map(host, range(2)))
        assert {one.incident_id for one in routed} == {groups.incident_id_of(KEY, 2)}
        assert {generation: len(ids) for generation, ids in openings(bus).items()} == {1: 1, 2: 1}
        for rows in stores:
            rows.close()


class Counting(Mortal):
    """Counts the calls that leave the process."""

    def __init__(self, rows: SqliteStore, bus: fakes.FakeBus) -> None:
        super().__init__(rows, bus, dies_at=0, after=False)


class TestS6:
    def opened(self, store: SqliteStore) -> tuple[Counting, Ports, FoldMemory]:
        outside = Counting(store, fakes.FakeBus())
        ports, memory = fakes.ports(outside, bus=outside), FoldMemory("one")  # type: ignore[arg-type]
        alert_router.route(fires("a", 0), ports, at(0), memory)
        groups.turn_open(store, KEY, 1)
        alert_router.route(fires("a", 1, began=0), ports, at(1), memory)  # reads the group as open
        outside.calls = 0
        return outside, ports, memory

    def test_S6_a_repeat_is_folded_without_a_look_outside(self, store: SqliteStore) -> None:
        outside, ports, memory = self.opened(store)
        for second in range(2, 11):
            routed = alert_router.route(fires("a", second, began=0), ports, at(second), memory)
            assert (routed.what, routed.incident_id) == ("folded", groups.incident_id_of(KEY, 1))
        assert outside.calls == 0
        assert len(outside.bus.sent[Queue.INCIDENTS]) == 1

    def test_S6_what_was_read_10_s_ago_is_read_again(self, store: SqliteStore) -> None:
        outside, ports, memory = self.opened(store)
        groups.begin_closing(store, KEY, 1, at(2))
        assert alert_router.route(fires("a", 11, began=0), ports, at(11), memory).what == "folded"
        with pytest.raises(TransientError):
            alert_router.route(fires("a", 12, began=0), ports, at(11.001), memory)
        assert outside.calls > 0

    @pytest.mark.parametrize(
        ("what", "expected"),
        [
            pytest.param(fires("a", 5, began=0, severity=Severity.SEV1), "joined", id="changed-severity"),
            pytest.param(fires("a", 5), "joined", id="new-firing"),
            pytest.param(resolves("a", 5, began=0), "resolved", id="resolve"),
            pytest.param(fires("b", 5), "joined", id="another-alert"),
        ],
    )
    def test_S6_nothing_else_is_ever_folded(self, store: SqliteStore, what: Alert, expected: str) -> None:
        outside, ports, memory = self.opened(store)
        assert alert_router.route(what, ports, at(5), memory).what == expected
        assert changes(outside.bus)[-1].alert == what

    def test_S6_after_a_resolve_the_next_firing_is_looked_at(self, store: SqliteStore) -> None:
        outside, ports, memory = self.opened(store)
        alert_router.route(resolves("a", 5, began=0), ports, at(5), memory)
        late = alert_router.route(fires("a", 4, began=0), ports, at(6), memory)
        assert late.what == "recorded resolved"
        assert len(changes(outside.bus)) == 2

    def test_S6_counts_are_written_every_5_s(self, store: SqliteStore) -> None:
        _, ports, memory = self.opened(store)
        assert memory.flush(store, at(1))
        assert counters.read(store, KEY).count == 1
        alert_router.route(fires("a", 3, began=0), ports, at(3), memory)
        assert not memory.flush(store, at(5.9))
        assert counters.read(store, KEY).count == 1
        assert memory.flush(store, at(6))
        assert counters.read(store, KEY) == counters.Repeats(2, at(3), at(3))
        alert_router.route(fires("a", 7, began=0), ports, at(7), memory)
        assert memory.flush(store, at(7), force=True)
        assert counters.read(store, KEY, 1).count == 3

    def test_S6_threads_lose_no_count(self, store: SqliteStore) -> None:
        _, ports, memory = self.opened(store)

        def host(number: int) -> None:
            for i in range(50):
                one = alert("a", 2 + i / 100, 0)
                assert alert_router.route(one, ports, at(2), memory).what == "folded"
                memory.flush(store, at(2), force=number % 2 == 0)

        with ThreadPoolExecutor(4) as pool:
            list(pool.map(host, range(4)))
        assert memory.flush(store, at(3), force=True)
        assert counters.read(store, KEY).count == 201
