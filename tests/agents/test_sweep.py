"""Rules H8, C2, D2 and H12: the sweep makes good what a crash left undone, and nothing that is still being done."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from shared import dispatch
from shared.adapters.stores.sqlite import SqliteStore
from shared.agents import sweep
from shared.agents.remediator import solicitor
from shared.model.errors import TransientError
from shared.model.event import (
    ApprovalDecided,
    ClosingKind,
    ClosingRequested,
    Event,
    IncidentAcknowledged,
    IncidentAssigned,
    TicketUpdateRequested,
    UpdateKind,
)
from shared.model.lifecycle import State
from shared.model.pipeline import MicroAgent, Queue
from shared.ports.store import Delete, Replace, Table
from shared.records import approvals, groups, incidents, index, journal
from shared.records.rows import pack
from tests.pipeline.world import GROUP, World

KEEP = timedelta(seconds=60) + sweep.MARKER_MARGIN


@pytest.fixture
def opened(store: SqliteStore) -> World:
    """A world with one incident that waits for an approval; everything else is done."""
    world = World(store)
    world.fires()
    world.settle()
    return world


@pytest.fixture
def calm(opened: World) -> World:
    """The same after somebody rejected, so that nothing keeps the marker."""
    loaded = incidents.load(opened.inner, opened.ids()[0])
    assert loaded is not None
    without = replace(loaded.incident, approval=None)
    opened.inner.write(Table.INCIDENTS, without.id, Replace(incidents.INCIDENT, pack(without), loaded.etag))
    return opened


def markers(world: World) -> list[str]:
    return [name for name, *_ in incidents.pending(world.inner)]


def left_over(world: World, age: timedelta = timedelta(minutes=2), name: str = "e1") -> Event:
    """An outbox row whose hop died before it sent."""
    data = TicketUpdateRequested(UpdateKind.NOTE, "hello")
    event = Event(name, "/agents/x", world.ids()[0], world.now - age, data)
    world.inner.write(Table.INCIDENTS, event.subject, incidents.outbox_row(event, world.now - age))
    incidents.mark_pending(world.inner, event.subject, world.now - age)
    return event


def test_H8_the_marker_is_written_again_before_a_commit_unless_it_is_young(calm: World) -> None:
    before = next(iter(incidents.pending(calm.inner)))
    calm.clock[0] += timedelta(minutes=3)
    begun = len(calm.points.trace)
    left_over(calm)
    calm.settle()
    after = next(iter(incidents.pending(calm.inner)))
    assert after[1] > before[1]
    assert after[3] != before[3]
    names = [name.partition(" I")[0] for name in calm.points.trace[begun:]]
    assert [name[:13] for name in names].count("write pending") == 1
    assert names.count("transact incidents") > 1
    assert names.index("transact incidents") > [name[:13] for name in names].index("write pending")


def test_H8_a_marker_outlives_every_commit_that_relies_on_it(calm: World) -> None:
    """What is committed under a marker of two minutes is committed, and seen by the sweep, before the marker may go."""
    clocks_differ = timedelta(minutes=2)
    assert incidents.MARKER_HOLDS + clocks_differ < sweep.MARKER_MARGIN
    calm.clock[0] += timedelta(minutes=3)
    calm.say(IncidentAcknowledged("olga"), calm.ids()[0])
    calm.settle()
    [(_, at, *_)] = incidents.pending(calm.inner)
    calm.clock[0] = at + incidents.MARKER_HOLDS - timedelta(seconds=1)
    calm.points.named = "after transact incidents"  # committed at the last moment, and dead before anything is sent
    calm.say(IncidentAssigned("olga", "sam"), calm.ids()[0])
    entry = calm.bus.take()
    assert entry is not None
    calm._alive(lambda: calm.invoke(entry))
    assert calm.crashes
    assert [found[1] for found in incidents.pending(calm.inner)] == [at], "it relied on the old marker"
    left = calm.rows(incidents.OUTBOX)
    calm.clock[0] = at + timedelta(seconds=calm.settings.host.function_timeout_s) + sweep.MARKER_MARGIN
    assert calm.sweep().sent == len(left) == 1
    calm.settle()
    assert "Assigned to sam by olga." in [text for _, text in calm.desk.notes]


def test_H8_outbox_rows_older_than_a_minute_are_sent_and_deleted(calm: World) -> None:
    event = left_over(calm)
    done = calm.sweep()
    assert done.sent == 1
    assert not calm.rows(incidents.OUTBOX)
    assert calm.bus.entries[-1].message.message_id == event.message_id
    calm.settle()
    assert "hello" in [text for _, text in calm.desk.notes]


def test_H8_younger_rows_are_left_to_their_hop(calm: World) -> None:
    left_over(calm, age=timedelta(seconds=59))
    assert calm.sweep().sent == 0
    assert len(calm.rows(incidents.OUTBOX)) == 1


@pytest.mark.parametrize(
    ("what", "stays"),
    [
        pytest.param("nothing", False, id="nothing-left"),
        pytest.param("outbox", True, id="outbox-row"),
        pytest.param("held", True, id="held-row"),
        pytest.param("young", True, id="too-young"),
    ],
)
def test_H8_a_marker_goes_only_when_it_is_old_and_nothing_is_left(calm: World, what: str, stays: bool) -> None:
    calm.clock[0] += KEEP + timedelta(seconds=1)
    if what == "outbox":
        left_over(calm, age=timedelta(seconds=30))
        incidents.mark_pending(calm.inner, calm.ids()[0], calm.now - KEEP)
    if what == "held":
        event = left_over(calm, age=timedelta(seconds=30))
        row = incidents.held_row(event, "x", calm.now + timedelta(hours=1), "oncall", calm.now)
        calm.inner.write(Table.INCIDENTS, event.subject, row)
        incidents.mark_pending(calm.inner, calm.ids()[0], calm.now - KEEP)
    if what == "young":
        incidents.mark_pending(calm.inner, calm.ids()[0], calm.now - KEEP + timedelta(seconds=1))
    calm.sweep()
    assert bool(markers(calm)) is stays


def test_H8_a_marker_that_was_written_meanwhile_stays(calm: World) -> None:
    calm.clock[0] += KEEP

    class Busy(type(calm.store)):  # type: ignore[misc]
        """Somebody begins a hop while the sweep looks."""

        def query(self, table: Table, partition: str, *rest: object, **more: object) -> object:
            if table is Table.INCIDENTS:
                incidents.mark_pending(calm.inner, calm.ids()[0], calm.now)
            return calm.inner.query(table, partition, *rest, **more)  # type: ignore[arg-type]

    ports = replace(calm.engine.ports, store=Busy(calm.inner, calm.points))
    assert sweep.run(ports, calm.anchor, calm.now).markers == 0
    assert markers(calm)


def test_H8_the_marker_of_an_incident_that_never_came_goes_too(world: World) -> None:
    incidents.mark_pending(world.inner, "never-created", world.now)
    world.sweep()
    assert markers(world)
    world.clock[0] += KEEP
    world.sweep()
    assert not markers(world)


def test_H8_one_incident_that_cannot_be_read_stops_none_of_the_others(calm: World) -> None:
    calm.fires("Other", service="billing")
    calm.settle()
    for incident_id in calm.ids():
        event = Event(f"e-{incident_id}", "/x", incident_id, calm.now, TicketUpdateRequested(UpdateKind.NOTE, "hello"))
        calm.inner.write(Table.INCIDENTS, incident_id, incidents.outbox_row(event, calm.now - timedelta(minutes=2)))
    broken = calm.ids()[0]
    row = calm.inner.get(Table.INCIDENTS, broken, incidents.INCIDENT)
    assert row is not None
    bad = Replace(incidents.INCIDENT, {**row.values, "doc00": "{}"}, None)
    calm.inner.write(Table.INCIDENTS, broken, bad)
    done = calm.sweep()
    assert (done.sent, done.failed) == (1, 1)


def test_H8_a_bus_that_is_down_leaves_everything_to_the_next_sweep(calm: World) -> None:
    left_over(calm)
    calm.bus.down = True
    assert calm.sweep().failed == 1
    calm.bus.down = False
    assert calm.sweep().sent == 1


def test_H8_the_list_is_shown_again_where_the_hop_could_not(calm: World) -> None:
    partition = next(iter(calm.inner.partitions(Table.INCIDENT_INDEX)))
    row = calm.inner.query(Table.INCIDENT_INDEX, partition).rows[0]
    stale = replace(calm.incident(), title="stale", version=0)
    values = pack(index.line_of(stale), version=0)
    calm.inner.write(Table.INCIDENT_INDEX, partition, Replace(row.key, values, None))
    calm.sweep()
    assert index.incidents(calm.inner)[0].title == calm.incident().title


# C2


def closing(world: World) -> None:
    groups.begin_closing(world.inner, GROUP, 1, world.now)
    incidents.mark_pending(world.inner, world.ids()[0], world.now)


def claim(world: World) -> groups.Claim:
    group = groups.state_of(world.inner, GROUP)
    assert group is not None
    return group.state


def test_C2_a_closing_whose_incident_never_closed_is_opened_again(opened: World) -> None:
    closing(opened)
    opened.clock[0] += timedelta(seconds=119)
    opened.sweep()
    assert claim(opened) is groups.Claim.CLOSING
    opened.clock[0] += timedelta(seconds=2)
    opened.sweep()
    assert claim(opened) is groups.Claim.OPEN


def test_C2_a_firing_that_waited_for_a_closing_that_never_came_joins(opened: World) -> None:
    closing(opened)
    opened.fires("Latency")
    opened.settle()
    assert {alert.name for alert in opened.incident().alerts} == {"HighErrorRatio", "Latency"}


def test_C2_a_closing_of_a_closed_incident_is_finished(opened: World) -> None:
    opened.say(ClosingRequested(ClosingKind.MANUAL, "olga"), opened.ids()[0])
    opened.run_until(lambda: opened.incident().over)
    opened.bus.entries = [e for e in opened.bus.entries if e.queue is not Queue.CLOSING]  # its settling is lost
    for row in opened.rows(incidents.OUTBOX):
        opened.inner.write(Table.INCIDENTS, opened.ids()[0], Delete(row, None))
    opened.pass_time(timedelta(minutes=1))
    assert claim(opened) is groups.Claim.CLOSING
    opened.pass_time(timedelta(minutes=3))
    assert claim(opened) is groups.Claim.CLOSED
    assert opened.story()[-1] == "the group is free again"
    opened.pass_time(timedelta(minutes=10))
    assert not markers(opened)


def test_C2_a_closer_that_died_between_claim_and_commit_keeps_a_marker(opened: World) -> None:
    opened.send_everything()
    opened.pass_time(timedelta(minutes=3))
    opened.inner.write(Table.PENDING, incidents.shard(opened.ids()[0]), Delete(opened.ids()[0], None))
    opened.resolves()
    opened.run_until(lambda: any(e.queue is Queue.CLOSING for e in opened.bus.entries))
    opened.inner.write(Table.PENDING, incidents.shard(opened.ids()[0]), Delete(opened.ids()[0], None))
    opened.clock[0] += timedelta(minutes=10)  # the sweep takes no marker that is younger
    opened.points.named = "after write groups"
    entry = opened.bus.take()
    assert entry is not None
    opened._alive(lambda: opened.invoke(entry))
    assert opened.crashes
    assert claim(opened) is groups.Claim.CLOSING
    assert markers(opened)


# D2


def test_D2_a_wait_that_never_started_is_started(opened: World) -> None:
    opened.waits.instances.clear()
    opened.sweep()
    assert list(opened.waits.instances) == [opened.request().id]
    opened.vote()
    opened.settle()
    assert opened.workload.version == "2.4.0"


def test_D2_a_wait_that_ended_without_a_decision_is_started_again(opened: World) -> None:
    [instance] = opened.waits.instances.values()
    instance.step = None
    opened.sweep()
    assert opened.waits.instances[opened.request().id].step is not None


def test_D2_a_decision_without_its_hop_is_carried_on_once(opened: World) -> None:
    request = opened.request()
    opened.waits.instances.clear()
    opened.waits.down = True
    opened.vote(told=False)
    votes = approvals.votes_of(opened.inner, request.id)
    decision = solicitor.tally(request, votes, False, opened.now)
    assert decision is not None
    approvals.decide(opened.inner, decision)
    opened.pass_time(timedelta(minutes=3))
    assert opened.workload.runs == [opened.workload.runs[0]]
    assert opened.story().count("approved: Roll back a bad release: shop from 2.4.1 to 2.4.0") == 1
    assert len(opened.sent(ApprovalDecided)) == 1


def test_D2_a_wait_that_cannot_be_started_is_left_to_the_next_sweep(opened: World) -> None:
    opened.waits.down = True
    assert opened.sweep().failed == 1
    opened.waits.down = False
    assert opened.sweep().failed == 0


# H12


def test_H12_heads_of_incidents_and_of_the_system_chain_are_anchored_once(calm: World) -> None:
    journal.system(calm.inner, "brake", "a test", "olga", "", calm.now)
    calm.sweep()
    calm.sweep()
    heads = calm.anchor.heads
    assert len({(head.chain, head.number) for head in heads}) == len(heads)
    assert {head.chain for head in heads} == {calm.ids()[0], journal.system_chain(calm.now)}
    last = calm.anchor.latest()[calm.ids()[0]]
    assert (last.number, last.hash) == (calm.incident().entries, calm.incident().audit_head)


def test_H12_a_changed_configuration_is_noted_once(calm: World) -> None:
    assert sweep.note_configuration(calm.engine.ports, calm.now)
    assert not sweep.note_configuration(calm.engine.ports, calm.now)
    calm.configure(approvals={"expires_s": 60})
    assert sweep.note_configuration(calm.engine.ports, calm.now)


def test_sweep_does_not_touch_what_is_closed_and_settled(opened: World) -> None:
    opened.vote()
    opened.settle()
    opened.resolves()
    opened.settle()
    opened.pass_time(timedelta(minutes=10))
    assert opened.incident().state is State.CLOSED
    before = len(opened.timeline())
    assert opened.sweep() == sweep.Swept()
    assert len(opened.timeline()) == before
    assert MicroAgent.CONDUCTOR not in {entry.micro_agent for entry in opened.timeline()}


def test_sweep_fails_loudly_when_the_anchor_cannot_be_read(calm: World) -> None:
    class Gone:
        def latest(self) -> dict[str, object]:
            raise TransientError("the anchor file cannot be read")

        def add(self, heads: object) -> None: ...

    with pytest.raises(TransientError):
        sweep.run(calm.engine.ports, Gone(), calm.now)  # type: ignore[arg-type]


@pytest.fixture
def world(store: SqliteStore) -> World:
    return World(store)


def test_a_round_tells_what_was_left_undone_and_nothing_when_all_is_in_order(
    calm: World, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "argus.dispatch")
    dispatch.tidy(calm.engine, calm.anchor)
    dispatch.tidy(calm.engine, calm.anchor)
    told = [getattr(record, "what", "") for record in caplog.records]
    assert [what for what in told if what] == ["configuration noted"]
    assert sweep.Swept(sent=2, waits=1).worth_telling == "2 sent"
