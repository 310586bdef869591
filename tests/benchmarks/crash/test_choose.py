"""Kills are drawn by the seed, and every sort of point gets its share."""

from __future__ import annotations

from collections import Counter

from benchmarks.crash.choose import Chooser, table
from benchmarks.crash.points import AFTER, BEFORE, Point

CENSUS = {
    Point(process, kind, when, name): 3
    for process, kind, names in (
        ("host", "send", [f"queue-{i}" for i in range(30)]),
        ("host", "intent", ["tickets.started"]),
        ("broker", "commit", ["put.a", "drop.a"]),
        ("sandbox", "commit", ["teams.post"]),
    )
    for name in names
    for when in (BEFORE, AFTER)
}


def _draw(seed: int, kills: int, unreachable: str = "") -> list[tuple[Point, int]]:
    chooser, drawn = Chooser(CENSUS, seed), []
    while len(drawn) < kills:
        point, nth = chooser.next()
        if point.name == unreachable:
            chooser.missed(point)
            continue
        chooser.reached(point)
        drawn.append((point, nth))
    return drawn


def test_the_same_seed_draws_the_same_points_and_another_one_others() -> None:
    assert _draw(5, 40) == _draw(5, 40)
    assert _draw(5, 40) != _draw(6, 40)


def test_every_sort_is_killed_equally_often_however_many_places_it_has() -> None:
    drawn = Counter(point.sort for point, _ in _draw(1, 80))
    assert set(drawn.values()) == {10}
    assert len(drawn) == 8


def test_places_of_a_sort_take_turns() -> None:
    sends = [point for point, _ in _draw(1, 240) if point.sort == ("host send", BEFORE)]
    assert len(sends) == len(set(sends)) == 30


def test_a_place_where_nobody_comes_by_holds_up_none_of_the_others() -> None:
    drawn = Counter(point.name for point, _ in _draw(1, 80, unreachable="put.a"))
    assert drawn["put.a"] == 0
    assert drawn["drop.a"] == 20


def test_the_table_shows_what_was_not_covered() -> None:
    shown = table({point.sort for point in CENSUS}, Counter([Point("host", "send", "after", "closing")]))
    rows = {" ".join(line.split()[:-3]): line.split()[-3:] for line in shown.splitlines()[1:]}
    assert rows["host send"] == ["0", "1", "1"]
    assert rows["sandbox commit"] == ["0", "0", "0"]


def test_edge_core_and_exec_are_hosts() -> None:
    assert {Point(name, "send", "before", "x").sort[0] for name in ("host", "edge", "core", "exec")} == {"host send"}
