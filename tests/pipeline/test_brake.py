"""Rules B1 to B3: a storm is told once, worked off by severity, and nothing of it is lost or doubled."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from shared import dispatch
from shared.adapters.stores.sqlite import SqliteStore
from shared.model.approval import Choice
from shared.model.errors import TransientError
from shared.model.event import (
    IncidentAcknowledged,
    IncidentRequested,
    InvestigationRequested,
    TicketRequested,
    derive_id,
)
from shared.model.notice import NoticeKind
from shared.model.signal import Severity
from shared.ports.store import Table
from shared.records import audit_chain, brake, incidents, journal
from tests.pipeline.faults import Points
from tests.pipeline.storm_world import StormWorld, braked

SMALL = {"new_incidents_per_minute": 3, "open_approvals": 2, "parallel": 2}


@pytest.fixture
def storm(store: SqliteStore) -> StormWorld:
    return StormWorld(store, braked(**SMALL))


def worked_off(world: StormWorld) -> bool:
    if world.bus.entries or brake.read(world.inner).on:
        return False
    seen = brake.seen(world.inner)
    return not (seen.work or seen.brake.owed)


def finish(world: StormWorld, services: int) -> None:
    """People answer as they are asked, the alerts resolve, everything closes."""
    for _ in range(200):
        if world.calm() and not world.open_approvals():
            break
        world.decide()
        world.pass_time(timedelta(seconds=6))
    world.mends(services)
    world.run_until(lambda: all(incident.over for incident in world.everything()))
    world.settle()
    world.pass_time(timedelta(minutes=10))


def assert_whole(world: StormWorld, services: int) -> None:
    """Everything was done once for each service, and nothing is left."""
    everything = world.everything()
    assert len(everything) == services
    opened = [(notice.thread, repeat) for _, notice, repeat in world.chat.posts if notice.kind is NoticeKind.OPENED]
    told = Counter(name for name, repeat in opened if not repeat)
    assert {name for name, _ in opened} == set(world.ids())
    assert set(told.values()) <= {1}
    assert not world.chat.twice()
    assert not world.desk.twice()
    assert len(world.desk.tickets) == services
    assert {incident.ticket is not None for incident in everything} == {True}
    assert set(world.desk.state.values()) == {"resolved"}
    assert Counter(world.fleet.runs).most_common(1)[0][1] == 1
    assert len(world.fleet.runs) == services
    assert not world.held()
    assert not brake.seen(world.inner).waiting
    assert not list(incidents.pending(world.inner))
    assert not world.bus.quarantined
    for number in range(services):
        assert not world.audit_problem(number)
    assert [entry.what for entry in world.switched()] == [brake.ON, brake.OFF]
    assert not audit_chain.verify(incidents.audit(world.inner, journal.system_chain(world.now)))


def test_B1_B3_200_incidents_are_told_once_each_and_worked_off_by_severity(store: SqliteStore) -> None:
    world = StormWorld(store)
    world.breaks(200)
    world.run_until(lambda: len(world.cards(NoticeKind.OPENED)) == 200)
    seen = brake.seen(world.inner)
    assert seen.brake.on
    assert len(seen.work) + seen.brake.let_go == 180
    assert len(world.desk.tickets) <= 20 + seen.brake.let_go
    all_open = world.now
    world.run_until(lambda: worked_off(world))
    everything = world.everything()
    assert len(world.desk.tickets) == 200
    assert all(incident.diagnosis is not None for incident in everything)
    assert world.most_open == 10
    let_go = sorted(
        (entry.at, incident.severity, -incident.alert_count)
        for number, incident in enumerate(everything)
        for entry in world.timeline(number)
        if entry.what == f"released {InvestigationRequested.TYPE}" and entry.at > all_open
    )
    assert len(let_go) > 100
    assert [place[1:] for place in let_go] == sorted(place[1:] for place in let_go)
    on, *more, off = world.cards(NoticeKind.STORM)
    assert on.startswith("Storm brake on: more than 20 new incidents within a minute")
    assert off.startswith("Storm brake off: 180 held incidents")
    assert len(more) <= 3, "at most one a minute"
    kinds = Counter(notice.kind for _, notice, _ in world.chat.posts)
    assert sum(kinds.values()) <= 400
    assert kinds[NoticeKind.APPROVAL] == 10
    assert [entry.what for entry in world.switched()] == [brake.ON, brake.OFF]


def test_B1_B2_after_a_storm_everything_was_done_once(storm: StormWorld) -> None:
    storm.breaks(14)
    storm.run_until(lambda: worked_off(storm))
    finish(storm, 14)
    assert_whole(storm, 14)
    assert storm.most_open == 2


def test_B1_a_hold_is_a_row_and_costs_no_message(storm: StormWorld) -> None:
    storm.send_everything()
    storm.breaks(9)
    storm.run_until(lambda: len(storm.cards(NoticeKind.OPENED)) == 9)
    assert len(storm.sent(TicketRequested)) == 3 + brake.seen(storm.inner).brake.let_go
    number = next(n for n, i in enumerate(storm.everything()) if incidents.held(storm.inner, i.id))
    assert f"({TicketRequested.TYPE} held: {brake.STORM})" in storm.timeline(number)[0].why


def test_B1_what_closes_in_a_storm_is_closed_at_once_and_its_ticket_follows(storm: StormWorld) -> None:
    storm.breaks(9)
    storm.run_until(lambda: len(storm.cards(NoticeKind.OPENED)) == 9)
    storm.mends(9)
    storm.run_until(lambda: len(storm.cards(NoticeKind.CLOSED)) == 9, timedelta(minutes=2))
    storm.run_until(lambda: worked_off(storm))
    storm.pass_time(timedelta(minutes=30))
    assert set(storm.desk.state.values()) == {"resolved"}
    assert len(storm.desk.tickets) == 9
    assert not storm.held()


def test_B1_what_a_person_takes_passes_the_brake(storm: StormWorld) -> None:
    storm.breaks(12)
    storm.run_until(lambda: len(storm.cards(NoticeKind.OPENED)) == 12)
    waiting = brake.seen(storm.inner).work
    last = max(waiting, key=lambda one: (one.severity, -one.alerts, one.opened_at))
    storm.say(IncidentAcknowledged("olga"), last.incident_id)
    storm.settle()
    storm.round()
    assert last.incident_id not in {one.incident_id for one in brake.seen(storm.inner).work}
    by_hand = derive_id("by hand")
    storm.say(IncidentRequested("olga", "Nobody can pay", "shop", Severity.SEV1), by_hand)
    storm.settle()
    assert brake.read(storm.inner).on
    assert by_hand in storm.desk.tickets
    asked = next(one for one in brake.seen(storm.inner).work)
    storm.say(InvestigationRequested("olga"), asked.incident_id)
    storm.settle()
    loaded = incidents.load(storm.inner, asked.incident_id)
    assert loaded is not None
    assert loaded.incident.diagnosis is not None


def test_B2_without_a_storm_an_approval_over_the_limit_waits_and_says_why(store: SqliteStore) -> None:
    world = StormWorld(store, braked(open_approvals=2))
    world.breaks(5)
    world.settle()
    world.pass_time(timedelta(minutes=3))
    assert not brake.read(store).episode
    assert len(world.open_approvals()) == 2
    assert len(world.cards(NoticeKind.APPROVAL)) == 2
    waiting = {one.incident_id for one in brake.seen(store).asking}
    assert len(waiting) == 3
    assert all(incidents.held(store, name)[0].reason == brake.FULL for name in waiting)
    assert world.decide(Choice.REJECT) == 2
    world.pass_time(timedelta(seconds=15))
    assert len(world.open_approvals()) == 2
    (last,) = brake.seen(store).asking
    assert last.severity is Severity.SEV3, "the worst are asked first"
    finish(world, 5)
    assert world.most_open == 2


def test_B2_who_waited_for_long_gets_the_whole_time_to_decide(store: SqliteStore) -> None:
    world = StormWorld(store, braked(open_approvals=1).model_copy(deep=True))
    world.configure(approvals={"expires_s": 600, "poll_s": 60})
    world.breaks(2)
    world.settle()
    world.pass_time(timedelta(seconds=590))
    assert len(brake.seen(store).asking) == 1
    world.pass_time(timedelta(seconds=60))  # the first one ran out of time
    (name,) = world.open_approvals()
    assert len(world.cards(NoticeKind.APPROVAL)) == 2
    assert not [card for card in world.cards(NoticeKind.ESCALATED) if "Too late" in card]
    world.pass_time(timedelta(seconds=500))
    assert world.open_approvals() == [name]
    world.decide()
    world.settle()
    assert len(world.fleet.runs) == 1


def test_B2_a_person_may_let_one_more_through(store: SqliteStore) -> None:
    world = StormWorld(store, braked(open_approvals=1))
    world.breaks(2)
    world.settle()
    (one,) = brake.seen(store).asking
    event = journal.release(store, incidents.held(store, one.incident_id)[0], "olga", world.now)
    assert event is not None
    world.run_until(lambda: len(world.open_approvals()) == 2, timedelta(minutes=3))


def test_B1_a_person_puts_it_on_and_off_with_a_reason(store: SqliteStore) -> None:
    world = StormWorld(store)
    world.breaks(1)
    world.settle()
    brake.put_on(store, "a drill", world.now, "olga")
    world.pass_time(timedelta(seconds=6))
    world.breaks(4, first=1)
    world.settle()
    assert len(brake.seen(store).work) > 0
    world.pass_time(timedelta(minutes=10))
    assert brake.read(store).on, "what a person puts on, a person puts off"
    brake.put_off(store, "the drill is over", world.now, "olga")
    world.run_until(world.calm)
    assert [(e.what, e.person, e.why) for e in world.switched()] == [
        (brake.ON, "olga", "a drill"), (brake.OFF, "olga", "the drill is over"),
    ]  # fmt: skip
    assert world.cards(NoticeKind.STORM)[0] == "Storm brake on: a drill"
    assert len(world.desk.tickets) == 5


def test_B3_two_hosts_at_once_make_one_audit_entry_and_one_digest(storm: StormWorld) -> None:
    storm.breaks(3)
    storm.settle()
    known = brake.read(storm.inner)
    assert not known.on
    first, mine = brake.put_on(storm.inner, "a storm", storm.now, carrier=storm.ids()[0])
    second, theirs = brake.put_on(storm.inner, "a storm", storm.now + timedelta(milliseconds=1), carrier=storm.ids()[1])
    assert (mine, theirs, second.episode) == (True, False, first.episode)
    dispatch.work_off(storm.engine)
    dispatch.work_off(storm.engine)
    brake.change(storm.inner, lambda known: replace(known, owed="on"))  # nobody noted that it went
    dispatch.work_off(storm.engine)
    storm.settle()
    assert len(storm.cards(NoticeKind.STORM)) == 1
    assert len(storm.switched()) == 1


def test_B1_a_brake_that_cannot_be_put_on_stops_no_incident(storm: StormWorld) -> None:
    def broken(table: Table, key: str) -> None:
        if table is Table.LEASES and key == brake.STATE and len(storm.ids()) < 6:
            raise TransientError("this row cannot be read")

    storm.breaks(2)
    storm.settle()
    storm.store.poison = broken
    storm.breaks(4, first=2)
    storm.settle()
    assert len(storm.cards(NoticeKind.OPENED)) == 6


OURS = ("write leases state", "write leases places", "write leases waiting", "write incidents audit|")


def story(world: StormWorld) -> None:
    world.breaks(6)
    world.run_until(lambda: len(world.everything()) == 6)
    world.run_until(lambda: worked_off(world))
    finish(world, 6)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Points:
    store = SqliteStore(tmp_path_factory.mktemp("calm") / "store.db")
    world = StormWorld(store, braked(**SMALL))
    story(world)
    assert_whole(world, 6)
    assert len(world.cards(NoticeKind.STORM)) == 2
    store.close()
    return world.points


def test_B1_B2_B3_a_crash_at_any_write_of_the_brake_changes_nothing_in_the_end(
    undisturbed: Points, tmp_path: Path
) -> None:
    seen: dict[str, list[int]] = {}
    for number, name in enumerate(undisturbed.trace, 1):
        if name.startswith(OURS):
            seen.setdefault(name[:26], []).append(number)
    assert len(seen) >= 5
    chosen = [(numbers[len(numbers) // 2], when) for numbers in seen.values() for when in ("before", "after")]
    for number, when in chosen:
        points = Points(before={number} if when == "before" else (), after={number} if when == "after" else ())
        store = SqliteStore(tmp_path / f"{when}{number}.db")
        world = StormWorld(store, braked(**SMALL), points)
        story(world)
        assert world.crashes, number
        assert_whole(world, 6)
        assert world.most_open <= 2, (number, when)
        titles = world.cards(NoticeKind.STORM)
        assert len([title for title in titles if title.startswith("Storm brake on:")]) == 1, (number, when, titles)
        assert len([title for title in titles if title.startswith("Storm brake off:")]) == 1, (number, when, titles)
        store.close()


@pytest.mark.parametrize("seed", range(3))
def test_B1_B2_any_order_doubled_deliveries_and_crashes_end_the_same(
    undisturbed: Points, tmp_path: Path, seed: int
) -> None:
    chosen = random.Random(seed)
    points = Points(before=set(chosen.sample(range(1, undisturbed.count), 6)))
    store = SqliteStore(tmp_path / "store.db")
    world = StormWorld(store, braked(**SMALL), points, seed)
    story(world)
    assert_whole(world, 6)
    assert world.most_open <= 2
    store.close()
