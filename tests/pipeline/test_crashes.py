"""The whole loop, with a process that dies at every point of it: nothing is lost, nothing is done twice.

In: one story, and where it is disturbed. Out: what an undisturbed run leaves.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest

from shared.adapters.stores.sqlite import SqliteStore
from shared.model.errors import PermanentError, TransientError
from shared.model.lifecycle import State
from shared.records import groups, incidents
from tests.pipeline.faults import Points
from tests.pipeline.world import GROUP, World

ALERTS = ("HighErrorRatio", "Latency")


@dataclass(frozen=True)
class End:
    """What must be the same, however the run was disturbed."""

    incidents: int
    state: State
    alerts: frozenset[tuple[str, str]]
    ticket: str
    ticket_state: dict[str, str]
    actions: tuple[str, ...]
    version: str
    verdict: str
    documents: frozenset[str]
    notices: frozenset[str]
    claim: groups.Claim


def play(world: World) -> None:
    """Two alerts, a repeat, an approval, and the end."""
    for name in (*ALERTS, ALERTS[0]):
        world.fires(name)
    world.run_until(lambda: bool(world.ids()))
    world.run_until(lambda: world.incident().state is State.AWAITING_APPROVAL)
    world.settle()
    world.vote()
    world.run_until(lambda: bool(world.incident().actions))
    world.settle()
    for name in ALERTS:
        world.resolves(name)
    world.run_until(lambda: world.incident().state is State.CLOSED)
    world.settle()
    world.pass_time(timedelta(minutes=10))


def end_of(world: World) -> End:
    incident = world.incident()
    group = groups.state_of(world.inner, GROUP)
    assert incident.ticket is not None
    assert incident.approval is not None
    assert group is not None
    return End(
        incidents=len(world.ids()),
        state=incident.state,
        alerts=frozenset((alert.name, alert.status) for alert in incident.alerts),
        ticket=incident.ticket.number,
        ticket_state=dict(world.desk.state),
        actions=tuple(result.state for result in incident.actions),
        version=world.workload.version,
        verdict=str(incident.approval.verdict),
        documents=frozenset(document.id.partition("-")[0] for document in incident.documents),
        notices=frozenset(str(notice.kind) for _, notice, _ in world.chat.posts),
        claim=group.state,
    )


def assert_whole(world: World) -> None:
    """No effect twice, no link broken, nothing left over."""
    assert len(world.workload.runs) == 1
    assert len(world.desk.tickets) == 1
    assert not world.chat.twice()
    assert not world.desk.twice()
    assert not world.bus.quarantined
    assert not world.bus.entries
    assert not world.audit_problem()
    assert not world.rows(incidents.OUTBOX)
    assert not world.rows(incidents.HELD)
    assert not list(incidents.pending(world.inner))
    assert len(world.rows(incidents.TIMELINE)) == world.incident().entries
    done = {key.removeprefix(incidents.INBOX) for key in world.rows(incidents.INBOX)}
    assert done <= {entry.event_id for entry in world.timeline()}


@pytest.fixture(scope="module", params=[4, 0], ids=["at-once", "through-queues"])
def undisturbed(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[World]:
    """Both ways an event may go (rule H7): in the invocation that asked for it, or through its queue."""
    store = SqliteStore(tmp_path_factory.mktemp("calm") / "store.db")
    world = World(store, at_once=request.param)
    play(world)
    yield world
    store.close()


def run(folder: Path, points: Points, at_once: int) -> World:
    store = SqliteStore(folder / f"{sorted(points.before)}{sorted(points.after)}.db")
    world = World(store, points=points, at_once=at_once)
    play(world)
    store.close()
    return world


def test_the_undisturbed_run_is_worth_comparing_with(undisturbed: World) -> None:
    end = end_of(undisturbed)
    assert_whole(undisturbed)
    assert (end.incidents, end.state, end.actions, end.version) == (1, State.CLOSED, ("done",), "2.4.0")
    assert end.documents == {"review", "learned"}
    assert end.claim is groups.Claim.CLOSED
    assert undisturbed.points.count > 80


def points_of(world: World, *, skip: tuple[str, ...] = (), only: tuple[str, ...] = ("",)) -> list[int]:
    """Numbers of the points of an undisturbed run, by their names."""
    named = enumerate(world.points.trace, 1)
    return [number for number, name in named if name.startswith(only) and not name.startswith(skip)]


# Rows that are written over with the same again; a crash before them is a crash before what follows.
REPEATED = ("write pending", "write incidentindex", "write alertindex", "write incidents evidence")


@pytest.mark.parametrize("part", range(6))
def test_H2_H5_H7_D4_a_crash_at_any_point_changes_nothing_in_the_end(
    undisturbed: World, tmp_path: Path, part: int
) -> None:
    for number in points_of(undisturbed, skip=REPEATED)[part::6]:
        world = run(tmp_path, Points(before={number}), undisturbed.at_once)
        assert world.crashes, number
        assert end_of(world) == end_of(undisturbed), (number, undisturbed.points.trace[number - 1])
        assert_whole(world)


def test_H2_D4_a_crash_right_after_an_effect_changes_nothing(undisturbed: World, tmp_path: Path) -> None:
    effects = ("post", "open", "note", "ticket", "publish", "run", "start", "wake")
    for number in points_of(undisturbed, only=effects):
        world = run(tmp_path, Points(after={number}), undisturbed.at_once)
        assert world.crashes, number
        assert end_of(world) == end_of(undisturbed), (number, undisturbed.points.trace[number - 1])
        assert_whole(world)


def troubles(chosen: random.Random) -> list[PermanentError | TransientError]:
    """What a far side does now and then: it says no for the moment, or does it and nobody hears of it."""
    sent = (False, None)
    return [TransientError("now and then", sent=chosen.choice(sent)) for _ in range(chosen.randint(0, 3))]


@pytest.mark.parametrize("seed", range(16))
def test_any_order_doubled_deliveries_crashes_and_lost_answers_end_the_same(
    undisturbed: World, tmp_path: Path, seed: int
) -> None:
    chosen = random.Random(seed)
    points = chosen.sample(range(1, undisturbed.points.count + 40), 4)
    store = SqliteStore(tmp_path / "store.db")
    world = World(store, points=Points(before=set(points)), seed=seed, at_once=undisturbed.at_once)
    world.waits.lossy = chosen.random() < 0.3
    for side in (world.chat, world.desk, world.wiki, world.workload):
        side.failures = troubles(chosen)
    play(world)
    assert end_of(world) == end_of(undisturbed), points
    assert_whole(world)
    store.close()
