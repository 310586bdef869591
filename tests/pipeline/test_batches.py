"""Batches of signals and of joins: one look at a group, one commit of an incident, and each failure stays its own."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path

import pytest

from shared import dispatch
from shared.adapters.stores.sqlite import SqliteStore
from shared.model import codec
from shared.model.errors import TransientError
from shared.model.event import (
    ClosingRequested,
    Event,
    GroupChanged,
    GroupChangeKind,
    SignalsReceived,
    TicketRequested,
)
from shared.model.incident import Incident
from shared.model.pipeline import Queue
from shared.model.signal import Severity, Signal, Status
from shared.ports.store import Insert, Operation, Page, Replace, Store, Table
from shared.records import groups, incidents, index, quarantine
from shared.records.rows import pack
from tests.pipeline.faults import Points
from tests.pipeline.world import GROUP, START, World

BILLING = "service=billing|environment=production"


def told(world: World, *signals: Signal) -> bytes:
    """The body of a message on the signals queue."""
    event = Event(f"e{len(world.bus.sent)}{signals[0].id}", "/test", "", world.now, SignalsReceived(signals))
    return codec.encode_event(event)


def many(world: World, count: int, service: str = "shop", start: int = 0) -> tuple[Signal, ...]:
    """Alerts of one service that differ in name."""
    return tuple(
        world.signal(f"A{start + n}", service=service, fingerprint=f"{service} {start + n}") for n in range(count)
    )


def changes(world: World) -> list[Event]:
    """What the incident creator was sent."""
    return world.sent(GroupChanged)


class Counted:
    """A store that counts its calls by kind and table."""

    def __init__(self, rows: Store) -> None:
        self.rows = rows
        self.calls: Counter[str] = Counter()

    def get(self, table: Table, partition: str, key: str) -> object:
        self.calls[f"get {table}"] += 1
        return self.rows.get(table, partition, key)

    def write(self, table: Table, partition: str, operation: Operation) -> str:
        self.calls[f"write {table}"] += 1
        return self.rows.write(table, partition, operation)

    def transact(self, table: Table, partition: str, operations: Sequence[Operation]) -> object:
        self.calls[f"write {table}"] += 1
        return self.rows.transact(table, partition, operations)

    def query(self, table: Table, partition: str, start: str = "", below: str = "\uffff", limit: int = 1000) -> Page:
        self.calls[f"query {table}"] += 1
        return self.rows.query(table, partition, start, below, limit)

    def partitions(self, table: Table) -> tuple[str, ...]:
        return self.rows.partitions(table)


def counted(world: World) -> Counter[str]:
    """The store calls of the world from now on."""
    counting = Counted(world.engine.ports.store)
    world.engine = replace(world.engine, ports=replace(world.engine.ports, store=counting))  # type: ignore[arg-type]
    return counting.calls


class TestSignals:
    def test_S5_a_group_costs_one_look_one_claim_and_one_row_however_many_alerts(self, world: World) -> None:
        calls = counted(world)
        dispatch.signals(world.engine, [told(world, *many(world, 50)), told(world, *many(world, 40, "billing"))])
        assert {name: n for name, n in calls.items() if "alert" not in name and "counters" not in name} == {
            "query groups": 2,
            "write groups": 4,
        }
        assert calls["write alertindex"] <= 32
        kinds = [(e.data.kind, len(e.data.alerts)) for e in changes(world) if isinstance(e.data, GroupChanged)]
        assert sum(count for kind, count in kinds if kind is GroupChangeKind.OPEN) == 2
        assert sum(count for _, count in kinds) == 90
        assert len(kinds) <= 6
        assert len(groups.members(world.inner, GROUP)) == 50
        rows = world.inner.query(Table.GROUPS, groups.partition_of(GROUP), GROUP).rows
        assert len([row for row in rows if row.key.startswith(GROUP)]) == 2, "the claim, and one row of members"
        assert len(index.alerts(world.inner, 1000)) == 90

    def test_S5_the_creation_is_sent_before_its_joins_in_one_go(self, world: World) -> None:
        sends: list[int] = []
        put = world.bus.send

        def send(queue: Queue, messages: Sequence[object]) -> None:
            sends.append(len(messages))
            put(queue, messages)  # type: ignore[arg-type]

        world.bus.send = send  # type: ignore[method-assign]
        dispatch.signals(world.engine, [told(world, *many(world, 3), *many(world, 3, "billing"))])
        assert sends == [4]
        assert [e.data.kind for e in changes(world) if isinstance(e.data, GroupChanged)] == [
            "open",
            "open",
            "join",
            "join",
        ]

    def test_mere_joins_are_heard_together_and_what_matters_at_once(self, world: World) -> None:
        world.send_everything()
        dispatch.signals(world.engine, [told(world, *many(world, 2))])
        assert [event.not_before for event in changes(world)] == [None, None], "the beginning is heard at once"
        world.settle()
        before = len(changes(world))
        dispatch.signals(world.engine, [told(world, *many(world, 3, start=10))])
        dispatch.signals(world.engine, [told(world, *many(world, 2, start=20))])
        due = {event.not_before for event in changes(world)[before:]}
        [at] = [moment for moment in due if moment]
        assert len(due) == 1
        assert at.timestamp() % 2 == 0
        assert timedelta(0) < at - world.now <= timedelta(seconds=2)
        for matters in (
            world.signal("A1", Status.RESOLVED, fingerprint="shop 1", at=world.now),
            world.signal("Worse", fingerprint="shop w", severity=Severity.SEV1),
        ):
            dispatch.signals(world.engine, [told(world, matters)])
            assert changes(world)[-1].not_before is None
        world.settle()
        assert world.incident().alert_count == 8
        assert world.incident().severity is Severity.SEV1

    def test_S1_a_group_that_closes_makes_only_its_own_alerts_wait(self, world: World) -> None:
        dispatch.signals(world.engine, [told(world, *many(world, 1))])
        world.settle()
        assert groups.begin_closing(world.inner, GROUP, 1, world.now)
        late = many(world, 2, start=5)
        dispatch.signals(world.engine, [told(world, late[0], *many(world, 2, "billing"), late[1])])
        assert len(groups.members(world.inner, BILLING)) == 2
        again = [e.message for e in world.bus.entries if e.queue is Queue.SIGNALS]
        waits = [codec.decode_event(message.body).data for message in again]
        assert [s.id for data in waits if isinstance(data, SignalsReceived) for s in data.signals] == [
            signal.id for signal in late
        ]

    def test_S5_a_conflict_redoes_only_its_group(self, world: World) -> None:
        dispatch.signals(world.engine, [told(world, *many(world, 1), *many(world, 1, "billing"))])
        world.settle()
        looked: list[str] = []

        class Meddling(Counted):
            """Another host writes a member of the shop between the look and the write."""

            def query(self, table: Table, partition: str, start: str = "", *more: object) -> Page:
                if table is Table.GROUPS:
                    looked.append(start)
                return super().query(table, partition, start, *more)  # type: ignore[arg-type]

            def write(self, table: Table, partition: str, operation: Operation) -> str:
                if operation.key.startswith(f"{GROUP}|m|") and looked.count(GROUP) == 1:
                    looked.append("meddled")
                    row = self.rows.get(table, partition, operation.key)
                    assert row is not None
                    self.rows.write(table, partition, Replace(row.key, row.values, row.etag))
                return super().write(table, partition, operation)

        meddling = Meddling(world.engine.ports.store)
        world.engine = replace(world.engine, ports=replace(world.engine.ports, store=meddling))  # type: ignore[arg-type]
        dispatch.signals(world.engine, [told(world, *many(world, 4, start=3), *many(world, 4, "billing", 3))])
        assert [looked.count(GROUP), looked.count(BILLING)] == [2, 1]
        world.settle()
        assert sorted((i.service, i.alert_count) for i in every(world)) == [("billing", 5), ("shop", 5)]
        joined = [line for line in world.timeline() if "joined" in line.what]
        assert len(joined) == 1, "what was sent twice is heard once"

    @pytest.mark.parametrize("when", ["before", "after"])
    def test_S5_a_crash_between_any_two_steps_loses_no_alert(self, tmp_path: Path, when: str) -> None:
        died = []
        for number in range(1, 13):
            store = SqliteStore(tmp_path / f"{number}.db")
            points = Points(**{when: ()})  # type: ignore[arg-type]
            world = World(store, points=points, at_once=0)
            dispatch.signals(world.engine, [told(world, *many(world, 2))])
            world.settle()
            gone = points.count + number
            setattr(points, when, (gone,))
            signals = (*many(world, 3, start=4), *many(world, 3, "billing"))
            for half in (signals, signals[::2], signals[1:]):  # it comes again, divided otherwise
                world._alive(partial(dispatch.signals, world.engine, [told(world, *half)]))
            world.settle()
            world.pass_time(timedelta(minutes=2))
            assert sorted((i.service, i.alert_count) for i in every(world)) == [("billing", 3), ("shop", 5)]
            assert len({event.id for event in world.sent(TicketRequested)}) == 2
            died += world.crashes
            store.close()
        assert len(died) >= 11


def every(world: World) -> list[Incident]:
    """All incidents."""
    found = (incidents.load(world.inner, name) for name in world.ids())
    return [loaded.incident for loaded in found if loaded]


class TestJoins:
    @staticmethod
    def joins(world: World, *counts: int) -> list[bytes]:
        """Messages with joins of the shop's incident, as the router makes them."""
        bodies: list[bytes] = []
        world.bus.kept.add(Queue.INCIDENTS)
        start = 100
        for count in counts:
            dispatch.signals(world.engine, [told(world, *many(world, count, start=start))])
            start += count
        bodies = [e.message.body for e in world.bus.entries if e.queue is Queue.INCIDENTS]
        world.bus.entries = [e for e in world.bus.entries if e.queue is not Queue.INCIDENTS]
        world.bus.kept.clear()
        return bodies

    def test_H5_joins_of_one_incident_are_one_commit_with_a_line_for_each(self, opened: World) -> None:
        bodies = self.joins(opened, 3, 2, 4)
        before = opened.incident()
        calls = counted(opened)
        dispatch.hop_many(opened.engine, Queue.INCIDENTS, bodies)
        assert calls["write incidents"] == 1
        after = opened.incident()
        assert (after.alert_count, after.entries) == (before.alert_count + 9, before.entries + 3)
        assert not opened.audit_problem()

    def test_S3_a_creation_and_its_joins_are_one_commit_in_whatever_order(self, world: World) -> None:
        bodies = self.joins(world, 4, 3)
        calls = counted(world)
        world.send_everything()
        dispatch.hop_many(world.engine, Queue.INCIDENTS, bodies[::-1])
        assert calls["write incidents"] == 1
        assert world.incident().alert_count == 7
        group = groups.state_of(world.inner, GROUP)
        assert group is not None
        assert group.state is groups.Claim.OPEN

    def test_H6_what_comes_again_divided_otherwise_changes_nothing(self, opened: World) -> None:
        first, second = self.joins(opened, 3, 2)
        dispatch.hop_many(opened.engine, Queue.INCIDENTS, [first])
        dispatch.hop_many(opened.engine, Queue.INCIDENTS, [first, second])
        dispatch.hop_many(opened.engine, Queue.INCIDENTS, [second, first])
        assert opened.incident().alert_count == 6
        data = codec.decode_event(first).data
        assert isinstance(data, GroupChanged)
        other = replace(
            codec.decode_event(first), id="another", data=replace(data, alert=data.more[0], more=data.more[1:])
        )
        before = opened.incident()
        dispatch.hop_many(opened.engine, Queue.INCIDENTS, [codec.encode_event(other)])
        assert opened.incident() == before, "no second line in the timeline"

    def test_H10_an_incident_that_fails_does_not_touch_the_others(self, opened: World) -> None:
        shop = self.joins(opened, 2)
        opened.bus.kept.add(Queue.INCIDENTS)
        dispatch.signals(opened.engine, [told(opened, *many(opened, 3, "billing"))])
        billing = [e.message.body for e in opened.bus.entries if e.queue is Queue.INCIDENTS]
        opened.bus.kept.clear()
        broken = opened.ids()[0]
        real = opened.inner.transact

        def transact(table: Table, partition: str, operations: Sequence[Operation]) -> object:
            if partition == broken:
                raise KeyError("a bug")
            return real(table, partition, operations)

        opened.inner.transact = transact  # type: ignore[assignment, method-assign]
        dispatch.hop_many(opened.engine, Queue.INCIDENTS, [b"not json", *shop, *billing])
        found = {i.service: i.alert_count for i in every(opened)}
        assert found == {"shop": 1, "billing": 3}
        again = [e for e in opened.bus.entries if e.queue is Queue.INCIDENTS and e.visible_at > opened.now]
        assert [codec.decode_event(e.message.body).subject for e in again] == [broken]
        assert [kept.reason for kept in quarantine.listed(opened.inner, opened.now)] == ["bad_input"]

    def test_S3_a_join_that_finds_no_incident_waits(self, world: World) -> None:
        creation, join = self.joins(world, 3)
        dispatch.hop_many(world.engine, Queue.INCIDENTS, [join])
        [again] = [e for e in world.bus.entries if e.queue is Queue.INCIDENTS]
        assert codec.decode_event(again.message.body).attempt == 1
        dispatch.hop_many(world.engine, Queue.INCIDENTS, [creation])
        world.settle()
        assert world.incident().alert_count == 3

    def test_S8_resolves_of_many_alerts_ask_for_closing_once_and_it_closes(self, opened: World) -> None:
        dispatch.signals(opened.engine, [told(opened, *many(opened, 60))])
        opened.settle()
        over = [
            opened.signal(f"A{n}", Status.RESOLVED, fingerprint=f"shop {n}", at=opened.now, starts_at=START)
            for n in range(60)
        ]
        over.append(opened.signal(status=Status.RESOLVED, at=opened.now, starts_at=START))
        asked = len(opened.sent(ClosingRequested))
        dispatch.signals(opened.engine, [told(opened, *over)])
        opened.settle()
        assert opened.incident().over
        assert len(opened.sent(ClosingRequested)) - asked <= 4


@dataclass(frozen=True)
class AsBefore:
    """A row of members as it was written when each group had sixteen of them."""

    members: dict[str, groups.Member]


class TestRows:
    def member(self, name: str, now: datetime) -> groups.Member:
        return groups.Member(name, name, Severity.SEV2, Status.FIRING, START, START, 1, f"s {name}", now)

    def test_members_share_a_row_until_they_are_many(self, world: World) -> None:
        for start in range(0, 400, 50):
            changed = {f"m{n}": self.member(f"m{n}", world.now) for n in range(start, start + 50)}
            assert groups.put_members(world.inner, GROUP, groups.load(world.inner, GROUP), changed, world.now)
            rows = groups.load(world.inner, GROUP)
            assert (len(rows.etags) == 1) is (start < 100)
            assert len(rows.members) == start + 50
        assert max(map(len, groups.load(world.inner, GROUP).inside.values())) <= 120

    def test_rows_of_the_version_before_are_read_and_written_where_they_are(self, world: World) -> None:
        old = f"{GROUP}|m|07"
        values = pack(AsBefore({"m1": self.member("m1", world.now)}))
        world.inner.write(Table.GROUPS, groups.partition_of(GROUP), Insert(old, values))
        rows = groups.load(world.inner, GROUP)
        assert dict(rows.places) == {"m1": old}
        later = replace(self.member("m1", world.now), at=START + timedelta(seconds=9))
        changed = {"m1": later, "m2": self.member("m2", world.now)}
        assert groups.put_members(world.inner, GROUP, rows, changed, world.now)
        after = groups.load(world.inner, GROUP)
        assert (after.members["m1"], after.places["m1"]) == (later, old)
        assert after.places["m2"] != old
        assert not groups.put_members(world.inner, GROUP, rows, changed, world.now), "it was read before"


def test_a_bus_that_is_away_gives_the_batch_back(world: World) -> None:
    world.bus.down = True
    with pytest.raises(TransientError):
        dispatch.signals(world.engine, [told(world, *many(world, 3))])
    world.bus.down = False
    dispatch.signals(world.engine, [told(world, *many(world, 3))])
    world.settle()
    assert world.incident().alert_count == 3
