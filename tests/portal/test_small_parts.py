"""Words and charts."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.model.diagnosis import Point
from shared.portal import words
from shared.portal.charts import HEIGHT, MAX_DRAWN, WIDTH, chart
from tests.portal.world import NOW


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-5, "0 s"), (0, "0 s"), (59, "59 s"), (60, "1 min"), (3599, "59 min"), (3600, "1 h 00 min"),
        (86_399, "23 h 59 min"), (90_000, "1 d 1 h"), (14 * 86_400, "14 d"),
    ],
)  # fmt: skip
def test_spans_say_what_matters(seconds: int, text: str) -> None:
    assert words.span(timedelta(seconds=seconds)) == text


def test_ages_and_deadlines() -> None:
    assert words.ago(NOW - timedelta(seconds=4), NOW) == "just now"
    assert words.ago(NOW - timedelta(minutes=4), NOW) == "4 min ago"
    assert words.left(NOW + timedelta(minutes=4), NOW) == "4 min left"
    assert words.left(NOW, NOW) == "time is up"


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0, "0"), (0.31234, "0.312"), (31.0, "31"), (1234.5, "1,234"), (2e9, "2,000,000,000"), (float("inf"), "inf")],
)
def test_numbers_are_short(value: float, text: str) -> None:
    assert words.number(value) == text


def test_percentages() -> None:
    assert (words.percent(0.856), words.percent(float("nan"))) == ("86 %", "?")


@pytest.mark.parametrize(
    ("line", "side"),
    [("+a", "plus"), ("-a", "minus"), (" a", "plain"), ("--- a", "plain"), ("+++ a", "plain"), ("", "plain")],
)
def test_sides_of_a_diff(line: str, side: str) -> None:
    assert words.diff_side(line) == side


@pytest.mark.parametrize("person", ["maya", "person:maya", "/people/maya"])
def test_people_lose_their_prefix(person: str) -> None:
    assert words.who(person) == "maya"


def _series(values: list[float]) -> list[Point]:
    return [Point(NOW + timedelta(seconds=i), value) for i, value in enumerate(values)]


def test_a_chart_needs_two_measurements() -> None:
    assert chart(_series([1.0])) is None
    assert chart(_series([1.0, float("nan"), float("inf")])) is None
    assert chart([Point(NOW, 1.0), Point(NOW, 2.0)]) is not None


def test_a_chart_marks_the_onset_inside_its_window_only() -> None:
    inside = chart(_series([1.0, 2.0, 3.0]), NOW + timedelta(seconds=1))
    outside = chart(_series([1.0, 2.0, 3.0]), NOW - timedelta(seconds=1))
    assert inside is not None
    assert inside.onset_x == WIDTH / 2
    assert outside is not None
    assert outside.onset_x is None


@given(st.lists(st.floats(allow_nan=True, allow_infinity=True, width=32), max_size=600))
def test_a_chart_stays_in_its_frame_and_keeps_the_peak_of_what_it_draws(values: list[float]) -> None:
    drawn = chart(_series(values))
    if drawn is None:
        return
    corners = [tuple(map(float, pair.split(","))) for pair in drawn.line.split()]
    assert len(corners) <= MAX_DRAWN + 2
    assert all(0 <= x <= WIDTH and 0 <= y <= HEIGHT for x, y in corners)
    assert [x for x, _ in corners] == sorted(x for x, _ in corners)
    assert drawn.low <= drawn.last <= drawn.high


def test_a_single_peak_survives_thinning() -> None:
    values = [0.0] * 5000
    values[2501] = 1.0
    drawn = chart(_series(values))
    assert drawn is not None
    assert drawn.high == 1.0
