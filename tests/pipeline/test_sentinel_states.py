"""Rules S5 and S7: an alert's state follows its source's time, through crashes, repeats and wrong orders."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from shared.adapters.stores.sqlite import SqliteStore
from shared.agents.sentinel import alert_router
from shared.agents.sentinel.alert_router import FoldMemory
from shared.model.alert import Alert
from shared.model.pipeline import Queue
from shared.model.signal import Severity, Status
from shared.ports.bus import Message
from shared.ports.store import Replace, Table
from shared.records import groups, index
from tests import fakes
from tests.pipeline.sentinel_stage import (
    KEY,
    Killed,
    Mortal,
    assert_incidents_heard_the_truth,
    at,
    changes,
    deliver,
    fires,
    openings,
    resolves,
    states,
)

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
        before = {row.key: row for row in store.query(Table.GROUPS, groups.partition_of(KEY)).rows}
        deliver([fires("b", 1)], ports)
        for row in store.query(Table.GROUPS, groups.partition_of(KEY)).rows:
            was = before[row.key]  # all members share a row
            store.write(Table.GROUPS, row.partition, Replace(row.key, was.values, None))
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
    endless: bool = draw(st.booleans())
    if story and endless:
        story.pop()
    return story
