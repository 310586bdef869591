"""A process dies where it was told to, when it was told to, and nowhere else."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.crash.points import Point, Points, arm, armed_file, census, deaths_file, parse
from local.stack.places import ROOT

COMMIT = Point("host", "commit", "after", "tickets")


class Died(Exception):
    """In the place of the death."""


def _die() -> None:
    raise Died


@pytest.fixture
def points(tmp_path: Path) -> Points:
    return Points(tmp_path, "host", _die)


def _pass(points: Points, times: int) -> None:
    for _ in range(times):
        with points.around("commit", "tickets", "incident-1"):
            pass


def test_it_dies_at_the_nth_pass_and_says_where(points: Points, tmp_path: Path) -> None:
    _pass(points, 5)
    arm(tmp_path, 7, COMMIT, 3)
    _pass(points, 2)
    with pytest.raises(Died):
        _pass(points, 1)
    [death] = [json.loads(line) for line in deaths_file(tmp_path).read_text().splitlines()]
    assert (death["number"], death["point"], death["about"]) == (7, "host:commit:after:tickets", "incident-1")


def test_before_is_not_after_and_another_process_is_not_this_one(points: Points, tmp_path: Path) -> None:
    arm(tmp_path, 1, Point("broker", "commit", "after", "tickets"), 1)
    _pass(points, 3)
    arm(tmp_path, 2, Point("host", "commit", "before", "tickets"), 1)
    happened: list[int] = []
    with pytest.raises(Died), points.around("commit", "tickets"):
        happened.append(1)
    assert not happened, "it had not begun"


def test_an_order_that_was_taken_back_kills_nobody(points: Points, tmp_path: Path) -> None:
    arm(tmp_path, 1, COMMIT, 2)
    _pass(points, 1)
    armed_file(tmp_path, "host").unlink()
    _pass(points, 3)
    arm(tmp_path, 2, COMMIT, 2)
    _pass(points, 1)
    with pytest.raises(Died):
        _pass(points, 1)


def test_what_failed_is_not_passed(points: Points, tmp_path: Path) -> None:
    arm(tmp_path, 1, COMMIT, 1)
    with pytest.raises(ValueError, match="conflict"), points.around("commit", "tickets"):
        raise ValueError("conflict")
    assert census(tmp_path) == {Point("host", "commit", "before", "tickets"): 1}


def test_the_census_counts_up_to_three_over_all_lives(points: Points, tmp_path: Path) -> None:
    _pass(points, 9)
    Points(tmp_path, "host", _die).passed("send", "before", "closing")
    Points(tmp_path, "broker", _die).passed("commit", "before", "put.closing")
    assert census(tmp_path) == {
        COMMIT: 3,
        Point("host", "commit", "before", "tickets"): 3,
        Point("host", "send", "before", "closing"): 1,
        Point("broker", "commit", "before", "put.closing"): 1,
    }


@pytest.mark.parametrize("text", ["host:commit:after:tickets", "host:commit:after:tickets:1"])
def test_a_point_in_words_is_read_back(text: str) -> None:
    assert parse(text) == (COMMIT, 1)


@pytest.mark.parametrize("text", ["", "host:commit", "host:commit:during:tickets", "a:b:after:c:0", "a:b:after:c:x"])
def test_what_is_no_point_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"is not process:kind:before\|after:name"):
        parse(text)


def test_the_death_is_kill_9(tmp_path: Path) -> None:
    arm(tmp_path, 1, Point("x", "send", "before", "q"), 1)
    program = (
        "import sys, pathlib\nfrom benchmarks.crash.points import Points\n"
        "Points(pathlib.Path(sys.argv[1]), 'x').passed('send', 'before', 'q')\nprint('alive')"
    )
    command = [sys.executable, "-c", program, str(tmp_path)]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, timeout=30, check=False)
    assert (ended.returncode, ended.stdout) == (-signal.SIGKILL, b"")
    assert deaths_file(tmp_path).read_text().count("\n") == 1
