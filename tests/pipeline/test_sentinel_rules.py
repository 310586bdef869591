"""Rules S2, S3, S5, S6 and S7: from signals to incidents, with crashes, repeats, wrong orders and two hosts at once."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from shared.adapters.stores.sqlite import SqliteStore
from shared.agents.sentinel import alert_router, evaluator
from shared.agents.sentinel.alert_router import FoldMemory, Routed
from shared.model.alert import Alert
from shared.model.errors import TransientError
from shared.model.event import GroupChanged, GroupChangeKind, derive_id
from shared.model.pipeline import Queue
from shared.model.signal import Severity, Signal, SignalKind, Status
from shared.ports import Ports
from shared.ports.bus import Message
from shared.ports.store import Delete, Table
from shared.records import counters, groups, index, windows
from tests import fakes

T0 = datetime(2026, 11, 21, 3, 0, tzinfo=UTC)
KEY = "service=shop|environment=production"


def at(seconds: float) -> datetime:
    return T0 + timedelta(seconds=seconds)


def alert(
    name: str, seconds: float, began: float, status: Status = Status.FIRING, severity: Severity = Severity.SEV2
) -> Alert:
    return Alert(
        fingerprint=f"fp-{name}",
        name=name,
        service="shop",
        environment="production",
        severity=severity,
        status=status,
        at=at(seconds),
        starts_at=at(began),
        source="azure_monitor",
        signal_id=f"{name} {status} {seconds}",
    )


def fires(name: str, seconds: float, began: float | None = None, severity: Severity = Severity.SEV2) -> Alert:
    return alert(name, seconds, seconds if began is None else began, severity=severity)


def resolves(name: str, seconds: float, began: float) -> Alert:
    return alert(name, seconds, began, Status.RESOLVED)


def changes(bus: fakes.FakeBus) -> list[GroupChanged]:
    return [event.data for event in bus.delivered(Queue.INCIDENTS) if isinstance(event.data, GroupChanged)]


def openings(bus: fakes.FakeBus) -> dict[int, set[str]]:
    """Ids of creation events, by generation."""
    found: dict[int, set[str]] = {}
    for event in bus.events(Queue.INCIDENTS):
        if isinstance(event.data, GroupChanged) and event.data.kind is GroupChangeKind.OPEN:
            found.setdefault(event.data.generation, set()).add(event.id)
    return found


def states(store: SqliteStore) -> dict[str, tuple[str, datetime, str]]:
    """What is known of each alert; the moment of a firing is its beginning, whichever of its repeats came first."""
    return {
        m.name: (m.status.value, m.at if m.status is Status.RESOLVED else m.starts_at, m.severity.value)
        for m in groups.everything_known(store, KEY)
    }


def assert_incidents_heard_the_truth(store: SqliteStore, bus: fakes.FakeBus) -> None:
    """The newest state each incident was sent is the state the group knows, so nobody waits for a lost resolve."""
    heard: dict[tuple[int, str], Alert] = {}
    for change in changes(bus):
        place = change.generation, change.alert.fingerprint
        if place not in heard or groups.rank(heard[place]) <= groups.rank(change.alert):
            heard[place] = change.alert
    known = {m.fingerprint: m for m in groups.everything_known(store, KEY)}
    group = groups.state_of(store, KEY)
    for (generation, fingerprint), newest in heard.items():
        if group is not None and generation == group.generation:
            assert known[fingerprint].generation == generation
            assert known[fingerprint].status is newest.status
    for member in known.values():
        assert member.generation == 0 or (member.generation, member.fingerprint) in heard


class Killed(BaseException):
    """The process dies here; nothing catches it."""


class Mortal:
    """Store and bus of a process that dies at one of its outside calls, before or after it took effect."""

    def __init__(self, rows: SqliteStore, bus: fakes.FakeBus, dies_at: int, after: bool) -> None:
        self.rows, self.bus, self.dies_at, self.after = rows, bus, dies_at, after
        self.calls = 0

    def _do(self, call: Callable[[], Any]) -> Any:
        self.calls += 1
        dies = self.calls == self.dies_at
        if dies and not self.after:
            raise Killed
        answer = call()
        if dies:
            raise Killed
        return answer

    def get(self, *what: Any) -> Any:
        return self._do(lambda: self.rows.get(*what))

    def write(self, *what: Any) -> Any:
        return self._do(lambda: self.rows.write(*what))

    def query(self, *what: Any, **more: Any) -> Any:
        return self._do(lambda: self.rows.query(*what, **more))

    def send(self, queue: Queue, messages: Sequence[Message]) -> None:
        self._do(lambda: self.bus.send(queue, messages))


def deliver(alerts: Sequence[Alert], ports: Ports, memory: FoldMemory | None = None) -> list[Routed]:
    memory = memory or FoldMemory("test")
    return [alert_router.route(one, ports, at(100 + number), memory) for number, one in enumerate(alerts)]


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


STORY = [
    fires("a", 0),
    fires("b", 1),
    fires("a", 3, began=0),
    resolves("b", 4, began=1),
    fires("b", 6, severity=Severity.SEV1),
    resolves("a", 7, began=0),
    resolves("b", 9, began=6),
]


class TestS5:
    def test_S5_a_redelivery_sends_the_same_again(self, store: SqliteStore) -> None:
        bus = fakes.FakeBus()
        mortal = Mortal(store, bus, 0, after=True)
        ports = fakes.ports(mortal, bus=mortal)  # type: ignore[arg-type]
        for one in (fires("a", 0), fires("b", 1), resolves("b", 2, began=1)):
            sent = len(bus.sent[Queue.INCIDENTS])
            mortal.calls, mortal.dies_at = 0, 0
            original = bus.send

            def send_and_die(queue: Queue, messages: Sequence[Message], send: Any = original) -> None:
                send(queue, messages)
                raise Killed

            bus.send = send_and_die  # type: ignore[method-assign]
            with pytest.raises(Killed):
                deliver([one], ports)
            bus.send = original  # type: ignore[method-assign]
            assert one.name not in states(store) or states(store)[one.name][0] != one.status.value, "sent, then written"
            if one.name == "a":
                first = bus.sent[Queue.INCIDENTS][sent].message_id
                deliver([one], ports)
                assert bus.sent[Queue.INCIDENTS][sent + 1].message_id == first
                groups.turn_open(store, KEY, 1)
            else:
                (first,) = [m.message_id for m in bus.sent[Queue.INCIDENTS][sent:]]
                deliver([one], ports)
                assert [m.message_id for m in bus.sent[Queue.INCIDENTS][sent:]] == [first, first]

    @pytest.mark.parametrize("later", [False, True], ids=["redelivered-at-once", "redelivered-last"])
    @pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
    def test_S5_a_crash_at_any_step_ends_as_if_there_was_none(self, tmp_path: Path, after: bool, later: bool) -> None:
        undisturbed = SqliteStore(tmp_path / "undisturbed.db")
        deliver(STORY, fakes.ports(undisturbed))
        expected = states(undisturbed)
        for dies_at in count(1):
            rows, bus = SqliteStore(tmp_path / f"{dies_at}.db"), fakes.FakeBus()
            mortal = Mortal(rows, bus, dies_at, after)
            ports = fakes.ports(mortal, bus=mortal)  # type: ignore[arg-type]
            queue, again = list(STORY), list[Alert]()
            died = False
            while queue or again:
                one = queue.pop(0) if queue else again.pop(0)
                try:
                    deliver([one], ports)
                except Killed:
                    died = True
                    queue, again = (queue, [*again, one]) if later else ([one, *queue], again)
                groups.turn_open(rows, KEY, 1)
            assert states(rows) == expected
            assert all(len(ids) == 1 for ids in openings(bus).values())
            assert_incidents_heard_the_truth(rows, bus)
            rows.close()
            if not died:
                break
        undisturbed.close()


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


class TestS7:
    def test_S7_a_resolve_before_its_firing_leaves_a_tombstone(self, store: SqliteStore) -> None:
        bus = fakes.FakeBus()
        ports = fakes.ports(store, bus=bus)
        first, second = deliver([resolves("a", 5, began=1), fires("a", 1)], ports)
        assert (first.what, second.what) == ("recorded resolved", "recorded resolved")
        assert first.incident_id == second.incident_id == ""
        assert changes(bus) == []
        (line,) = index.alerts(store)
        assert (line.alert.status, line.incident_id) == (Status.RESOLVED, "")
        assert groups.state_of(store, KEY) is None

    def test_S7_a_firing_that_began_after_the_tombstone_opens(self, store: SqliteStore) -> None:
        ports = fakes.ports(store)
        assert [r.what for r in deliver([resolves("a", 5, began=1), fires("a", 6)], ports)][1] == "opened"

    def test_S7_a_late_repeat_of_an_ended_firing_does_not_revive_it(self, store: SqliteStore) -> None:
        bus = fakes.FakeBus()
        ports = fakes.ports(store, bus=bus)
        deliver([fires("a", 1), resolves("a", 5, began=1)], ports)
        groups.turn_open(store, KEY, 1)
        assert deliver([fires("a", 9, began=1)], ports)[0].what == "recorded resolved"
        assert len(changes(bus)) == 2

    def test_S7_a_crash_between_send_and_member_does_not_lose_the_resolve(self, store: SqliteStore) -> None:
        """The incident has heard of the firing, the group has not; then the resolve comes, then the redelivery."""
        bus = fakes.FakeBus()
        ports = fakes.ports(store, bus=bus)
        deliver([fires("a", 0)], ports)
        groups.turn_open(store, KEY, 1)
        group = groups.state_of(store, KEY)
        assert group is not None
        before = {row.key: row for row in store.query(Table.GROUPS, groups._partition(KEY)).rows}
        deliver([fires("b", 1)], ports)
        for row in store.query(Table.GROUPS, groups._partition(KEY)).rows:
            if row.key not in before:
                store.write(Table.GROUPS, row.partition, Delete(row.key, None))
        deliver([resolves("b", 2, began=1), fires("b", 1)], ports)
        heard = [(c.alert.name, c.alert.status.value) for c in changes(bus)]
        assert heard == [("a", "firing"), ("b", "firing"), ("b", "resolved")]
        assert_incidents_heard_the_truth(store, bus)

    @hypothesis_settings(max_examples=60, deadline=None)
    @given(st.data())
    def test_S7_any_order_and_any_repeats_end_the_same(
        self, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
    ) -> None:
        story = sorted(
            (one for name in "abc" for one in data.draw(history(name), label=name)), key=lambda one: (one.at, one.name)
        )
        folder = tmp_path_factory.mktemp("s7")
        ordered, shuffled = SqliteStore(folder / "ordered.db"), SqliteStore(folder / "shuffled.db")
        deliver(story, fakes.ports(ordered))
        repeats = data.draw(st.lists(st.sampled_from(story), max_size=6)) if story else []
        deliveries = data.draw(st.permutations([*story, *repeats]), label="deliveries")
        opens_after = data.draw(st.integers(0, len(deliveries)), label="opens after")
        bus, memory = fakes.FakeBus(), FoldMemory("x")
        ports = fakes.ports(shuffled, bus=bus)
        for number, one in enumerate(deliveries):
            if number >= opens_after:
                groups.turn_open(shuffled, KEY, 1)
            alert_router.route(one, ports, at(100 + number), memory)
        assert states(shuffled) == states(ordered)
        assert {generation: len(ids) for generation, ids in openings(bus).items()} in ({}, {1: 1})
        assert_incidents_heard_the_truth(shuffled, bus)
        ordered.close()
        shuffled.close()

    @pytest.mark.parametrize("seed", range(6))
    def test_S7_a_firing_and_its_resolve_on_two_hosts_at_once(self, tmp_path: Path, seed: int) -> None:
        bus = fakes.FakeBus()
        stores = [SqliteStore(tmp_path / "store.db") for _ in range(2)]
        start = threading.Barrier(2)
        work = [
            [fires("a", 0), resolves("b", 3, began=1), fires("c", 4)],
            [resolves("a", 2, began=0), fires("b", 1), resolves("c", 5, began=4)],
        ]

        def host(number: int) -> None:
            start.wait(10)
            deliver(work[number] if seed % 2 else work[number][::-1], fakes.ports(stores[number], bus=bus))

        with ThreadPoolExecutor(2) as pool:
            list(pool.map(host, range(2)))
        assert {name: state[0] for name, state in states(stores[0]).items()} == dict.fromkeys("abc", "resolved")
        assert_incidents_heard_the_truth(stores[0], bus)
        for rows in stores:
            rows.close()


@st.composite
def history(draw: st.DrawFn, name: str) -> list[Alert]:
    """Firings of one alert one after the other, each with repeats and most with an end."""
    story: list[Alert] = []
    clock = draw(st.integers(0, 5))
    for _ in range(draw(st.integers(0, 2))):
        began, severity = clock, draw(st.sampled_from([Severity.SEV1, Severity.SEV3]))
        for _ in range(draw(st.integers(1, 3))):
            story.append(fires(name, clock, began, severity))
            clock += draw(st.integers(1, 4))
        story.append(resolves(name, clock, began))
        clock += draw(st.integers(1, 4))
    if story and draw(st.booleans()):
        story.pop()
    return story
