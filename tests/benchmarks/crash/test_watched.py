"""Every write, send and effect of the host passes its points, under a name that tells them apart."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.crash.points import Point, Points, arm, census
from benchmarks.crash.queues import Queues
from benchmarks.crash.trail import Trail
from benchmarks.crash.watched import RAN, WatchedAction, WatchedStore, doing
from shared.adapters.stores.sqlite import SqliteStore
from shared.model.action import ActionRequest
from shared.ports.store import Conflict, Delete, Insert, Operation, Table, Upsert


class Died(Exception):
    """In the place of the death."""


@pytest.fixture
def points(tmp_path: Path) -> Points:
    def die() -> None:
        raise Died

    return Points(tmp_path, "host", die)


@pytest.mark.parametrize(
    ("table", "operations", "name"),
    [
        (Table.INCIDENTS, (Insert("intent|e1", {"state": "started"}),), "intent:{}:tickets.started"),
        (Table.INCIDENTS, (Insert("incident", {}), Insert("inbox|e1", {})), "commit:{}:tickets"),
        (Table.INCIDENTS, (Insert("held|e1", {}),), "write:{}:incidents.held"),
        (Table.APPROVALS, (Insert("vote|olga", {}),), "write:{}:approvals.vote"),
        (Table.PENDING, (Upsert("incident-1", {}),), "write:{}:pending"),
        (Table.WINDOWS, (Insert("rule|service|x", {}),), "write:{}:windows"),
    ],
    ids=["intent", "commit", "row of an incident", "vote", "marker", "window"],
)
def test_a_write_is_named_by_what_it_is(
    store: SqliteStore, points: Points, tmp_path: Path, table: Table, operations: tuple[Operation, ...], name: str
) -> None:
    with doing("tickets"):
        WatchedStore(store, points).transact(table, "p", operations)
    assert {str(point) for point in census(tmp_path)} == {f"host:{name.format(when)}" for when in ("before", "after")}


@pytest.mark.parametrize(("when", "there"), [("before", False), ("after", True)])
def test_a_death_before_a_write_leaves_nothing_and_after_it_everything(
    store: SqliteStore, points: Points, tmp_path: Path, when: str, there: bool
) -> None:
    arm(tmp_path, 1, Point("host", "write", when, "leases"), 1)
    with pytest.raises(Died):
        WatchedStore(store, points).write(Table.LEASES, "p", Insert("lease", {"owner": "x"}))
    assert (store.get(Table.LEASES, "p", "lease") is not None) is there


def test_a_refused_write_is_not_passed(store: SqliteStore, points: Points, tmp_path: Path) -> None:
    watched = WatchedStore(store, points)
    with pytest.raises(Conflict):
        watched.write(Table.LEASES, "p", Delete("lease", None))
    assert {point.when for point in census(tmp_path)} == {"before"}


class Depot:
    """Recognises repeats, as real far sides do."""

    def __init__(self) -> None:
        self.done: set[str] = set()

    def run(self, request: ActionRequest) -> str:
        self.done.add(request.key)
        return "done"


def test_a_second_run_shows_though_the_far_side_recognises_it(points: Points, tmp_path: Path) -> None:
    depot = Depot()
    action = WatchedAction("depot_hook", depot, points)  # type: ignore[arg-type]
    for _ in range(2):
        action.run(ActionRequest("key-1", "depot_hook", "depot", {}, "incident-1"))
    assert (tmp_path / "log-host.jsonl").read_text().count(f'"{RAN}"') == 2
    assert depot.done == {"key-1"}, "by its own books it happened once"
    assert Trail(tmp_path, ("host",), Queues(tmp_path / "broker.db")).executed() == {"key-1": 2}
