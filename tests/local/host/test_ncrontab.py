"""NCrontab parsing and next occurrences, against a second-by-second search."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from local.host.ncrontab import ScheduleError, parse

START = datetime(2026, 11, 20, 10, 0, 30, 500_000, tzinfo=UTC)  # a Friday


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("*/15 * * * * *", "2026-11-20T10:00:45", id="every-15-seconds"),
        pytest.param("30 0 10 * * *", "2026-11-21T10:00:30", id="an-occurrence-that-has-begun-is-past"),
        pytest.param("0 */5 * * * *", "2026-11-20T10:05:00", id="every-5-minutes"),
        pytest.param("*/5 * * * *", "2026-11-20T10:05:00", id="five-fields-mean-second-0"),
        pytest.param("0 30 9 * * mon-fri", "2026-11-23T09:30:00", id="weekday-names"),
        pytest.param("0 0 0 * * 0", "2026-11-22T00:00:00", id="sunday-is-0"),
        pytest.param("0 0 0 1 jan,JULY *", "2027-01-01T00:00:00", id="month-names-in-any-case-and-full"),
        pytest.param("0 0 0 29 2 *", "2028-02-29T00:00:00", id="leap-day"),
        pytest.param("0 0 0 13 * fri", "2027-08-13T00:00:00", id="day-and-weekday-must-both-match"),
        pytest.param("5/20 * * * * *", "2026-11-20T10:00:45", id="start-slash-step-runs-to-the-end"),
        pytest.param("0 10-20/5 * * * *", "2026-11-20T10:10:00", id="range-with-step"),
        pytest.param("0 0 0 31 12 *", "2026-12-31T00:00:00", id="last-day-of-the-year"),
    ],
)
def test_next(text: str, expected: str) -> None:
    assert parse(text).next_after(START) == datetime.fromisoformat(expected).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("", "six fields"),
        ("* * * *", "six fields"),
        ("00:05:00", "time span"),
        ("60 * * * * *", "second '60' is not within 0-59"),
        ("* * * 0 * *", "day '0' is not within 1-31"),
        ("* * * * * 7", "weekday '7' is not within 0-6"),
        ("* * * * foo *", "month 'foo'"),
        ("*/0 * * * * *", "step '0'"),
        ("30-10 * * * * *", "runs backwards"),
        ("1, * * * * *", "second ''"),
        ("0 0 0 30 2 *", "never comes"),
        ("0 0 0 ? * *", "day '?'"),
    ],
)
def test_errors_say_what_is_wrong(text: str, error: str) -> None:
    with pytest.raises(ScheduleError, match=error.replace("?", r"\?")):
        parse(text)


def test_another_zone_is_the_same_moment() -> None:
    there = START.astimezone(timezone(timedelta(hours=-7)))
    assert parse("0 0 12 * * *").next_after(there) == datetime(2026, 11, 20, 12, tzinfo=UTC)


def fields(low: int, high: int) -> st.SearchStrategy[str]:
    number = st.integers(low, high)
    span = st.tuples(number, number).map(lambda pair: f"{min(pair)}-{max(pair)}")
    step = st.tuples(st.one_of(st.just("*"), span), st.integers(1, high)).map(lambda pair: f"{pair[0]}/{pair[1]}")
    one = st.one_of(number.map(str), span, step)
    return st.one_of(st.just("*"), st.lists(one, min_size=1, max_size=3).map(",".join))


MOMENTS = st.datetimes(datetime(2024, 1, 1), datetime(2030, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001


@settings(max_examples=60, deadline=None)
@given(seconds=fields(0, 59), minutes=fields(0, 59), hours=fields(0, 23), start=MOMENTS)
def test_no_occurrence_is_skipped_within_a_day(seconds: str, minutes: str, hours: str, start: datetime) -> None:
    schedule = parse(f"{seconds} {minutes} {hours} * * *")
    found = schedule.next_after(start)
    assert schedule.matches(found)
    assert timedelta(0) < found - start <= timedelta(days=1)
    step = start.replace(microsecond=0) + timedelta(seconds=1)
    while step < min(found, start + timedelta(minutes=30)):
        assert not schedule.matches(step)
        step += timedelta(seconds=1)


@settings(max_examples=100, deadline=None)
@given(days=fields(1, 28), months=fields(1, 12), weekdays=fields(0, 6), start=MOMENTS)
def test_no_day_is_skipped(days: str, months: str, weekdays: str, start: datetime) -> None:
    schedule = parse(f"0 0 0 {days} {months} {weekdays}")
    found = schedule.next_after(start)
    assert schedule.matches(found)
    day = start.replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=1)
    while day < found:
        assert not schedule.matches(day)
        day += timedelta(days=1)
    assert schedule.next_after(found) > found
