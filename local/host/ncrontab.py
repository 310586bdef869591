"""NCrontab: six fields (second minute hour day month weekday), all of which must match, in UTC.

In: an expression and a moment. Out: the next moment it names. Pure.

Source: github.com/atifaziz/NCrontab, the parser of the Functions timer extension.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_FIELDS = (
    ("second", 0, 59, ()),
    ("minute", 0, 59, ()),
    ("hour", 0, 23, ()),
    ("day", 1, 31, ()),
    ("month", 1, 12, _MONTHS),
    ("weekday", 0, 6, _DAYS),
)
_HORIZON_DAYS = 366 * 41  # 29 February on a given weekday returns within 40 years, over a skipped leap year too


class ScheduleError(ValueError):
    """An expression is malformed, or names a moment that never comes."""


def _number(text: str, label: str, low: int, high: int, names: tuple[str, ...]) -> int:
    lowered = text.lower()
    if len(lowered) >= 3:
        for index, name in enumerate(names):
            if lowered[:3] == name and lowered.isalpha():
                return index + low
    if not text.isdecimal() or not low <= int(text) <= high:
        raise ScheduleError(f"{label} {text!r} is not within {low}-{high}")
    return int(text)


def _values(text: str, label: str, low: int, high: int, names: tuple[str, ...]) -> frozenset[int]:
    chosen: set[int] = set()
    for part in text.split(","):
        span, slash, step_text = part.partition("/")
        if slash and (not step_text.isdecimal() or int(step_text) == 0):
            raise ScheduleError(f"{label}: step {step_text!r} is not a positive number")
        step = int(step_text) if slash else 1
        first_text, dash, last_text = span.partition("-")
        if span == "*":
            first, last = low, high
        else:
            first = _number(first_text, label, low, high, names)
            last = _number(last_text, label, low, high, names) if dash else (high if slash else first)
        if last < first:
            raise ScheduleError(f"{label}: range {span!r} runs backwards")
        chosen.update(range(first, last + 1, step))
    return frozenset(chosen)


@dataclass(frozen=True, slots=True)
class Schedule:
    """A parsed expression; see `parse`."""

    text: str
    seconds: tuple[int, ...]
    minutes: tuple[int, ...]
    hours: tuple[int, ...]
    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int]

    def matches(self, moment: datetime) -> bool:
        """Whether the expression names this second (an aware datetime; fractions are ignored)."""
        at = moment.astimezone(UTC)
        return at.second in self.seconds and at.minute in self.minutes and at.hour in self.hours and self._on(at)

    def _on(self, at: datetime) -> bool:
        return at.month in self.months and at.day in self.days and (at.weekday() + 1) % 7 in self.weekdays

    def next_after(self, moment: datetime) -> datetime:
        """The first occurrence strictly later than `moment`.

        Args:
            moment: aware datetime.

        Returns:
            Aware datetime in UTC, whole seconds.

        Raises:
            ScheduleError: there is none (30 February).
        """
        start = moment.astimezone(UTC).replace(microsecond=0) + timedelta(seconds=1)
        day = start.replace(hour=0, minute=0, second=0)
        for _ in range(_HORIZON_DAYS):
            if self._on(day):
                found = self._within(day, start)
                if found is not None:
                    return found
            day += timedelta(days=1)
        raise ScheduleError(f"{self.text!r} never comes")

    def _within(self, day: datetime, start: datetime) -> datetime | None:
        for hour in self.hours:
            if day.replace(hour=hour, minute=59, second=59) < start:
                continue
            for minute in self.minutes:
                if day.replace(hour=hour, minute=minute, second=59) < start:
                    continue
                for second in self.seconds:
                    candidate = day.replace(hour=hour, minute=minute, second=second)
                    if candidate >= start:
                        return candidate
        return None


def parse(text: str) -> Schedule:
    """Parses an expression; five fields mean second 0.

    Raises:
        ScheduleError: malformed, a time span (which Azure allows on dedicated plans only), or never comes.
    """
    fields = text.split()
    if len(fields) == 1 and ":" in text:
        raise ScheduleError(f"{text!r} is a time span; only NCrontab expressions are supported")
    if len(fields) == 5:
        fields.insert(0, "0")
    if len(fields) != 6:
        raise ScheduleError(f"{text!r} must have six fields: second minute hour day month weekday")
    sets = [_values(field, *limits) for field, limits in zip(fields, _FIELDS, strict=True)]
    second, minute, hour, day, month, weekday = sets
    schedule = Schedule(text, tuple(sorted(second)), tuple(sorted(minute)), tuple(sorted(hour)), day, month, weekday)
    schedule.next_after(datetime(2026, 1, 1, tzinfo=UTC))
    return schedule
