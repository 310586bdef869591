"""Rows of `windows`: samples keyed by signal id, how a rule stands on them, and what they say about a service.

In: samples and judgements of the evaluator (rule S2). Out: state that repeats cannot change, readings, and series.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum

from shared.config.schema import BurnRateRule, Settings
from shared.model.diagnosis import Point
from shared.ports.store import Conflict, Insert, Replace, Row, Store, Table
from shared.records.rows import key_of, pack, unpack

MAX_TRACK_SAMPLES = 900
MAX_ROW_SAMPLES = 2000  # about 40 characters each: a row stays below 100 KB
ID_CHARS = 12  # enough of a UUID to tell 900 signals apart
KEPT = "(kept)"  # in the place of a rule: samples that no rule wants, kept as evidence


class Phase(StrEnum):
    """Where a rule stands on one series."""

    OK = "ok"
    PENDING = "pending"
    FIRING = "firing"


@dataclass(frozen=True, slots=True)
class Sample:
    """One measurement; ``id`` is the beginning of its signal's id."""

    ms: int
    value: float
    id: str = ""


@dataclass(frozen=True, slots=True)
class Standing:
    """The last evaluation of a rule.

    Attributes:
        since: when it began to breach; of the firing, once it fires.
        good_since: since when a firing rule has been good again.
        at: source time of the last evaluation; older samples do not turn it back.
        breaching: what the last evaluation said; ``None`` when it could not tell.
    """

    phase: Phase = Phase.OK
    since: datetime | None = None
    good_since: datetime | None = None
    at: datetime | None = None
    breaching: bool | None = None
    value: float = 0.0
    text: str = ""


@dataclass(frozen=True, slots=True)
class Series:
    """What one window row is about."""

    rule: str
    service: str
    environment: str
    resource: str
    labels: str

    @property
    def identity(self) -> str:
        """The same for the same series, always."""
        return "\x1f".join((self.rule, self.service, self.environment, self.resource, self.labels))


@dataclass(frozen=True, slots=True)
class Track:
    """Samples of one metric, oldest first; counters of one rule may come as several labelled tracks."""

    metric: str
    samples: tuple[Sample, ...] = ()


@dataclass(frozen=True, slots=True)
class Window:
    """A row: its series, its samples by metric and labels, and how the rule stands."""

    series: Series
    tracks: Mapping[str, Track] = field(default_factory=dict)
    standing: Standing = field(default_factory=Standing)

    @property
    def newest(self) -> datetime | None:
        """Source time of the newest sample."""
        last = [track.samples[-1].ms for track in self.tracks.values() if track.samples]
        return time_of(max(last)) if last else None


@dataclass(frozen=True, slots=True)
class WindowWrite:
    """A window to save; ``etag`` is what it was read with, empty when there was no row."""

    window: Window
    etag: str


@dataclass(frozen=True, slots=True)
class _Kept:
    """A track as it is stored: ``offset in ms:value:id`` by semicolons, counted from ``start_ms``."""

    metric: str
    start_ms: int
    samples: str


@dataclass(frozen=True, slots=True)
class _Doc:
    series: Series
    tracks: Mapping[str, _Kept]
    standing: Standing


class ReadingState(StrEnum):
    """What can be said about a service; unknown is not good."""

    GOOD = "good"
    BAD = "bad"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Reading:
    """How a service is, by its own rules.

    Attributes:
        facts: what each rule said last, by rule id.
        text: one sentence for people.
        measured_at: source time of the newest sample; ``None`` when nothing measures this service.
    """

    state: ReadingState
    facts: Mapping[str, str]
    text: str
    measured_at: datetime | None


def ms_of(at: datetime) -> int:
    """Milliseconds since 1970."""
    return round(at.timestamp() * 1000)


def time_of(ms: int) -> datetime:
    """The moment of milliseconds since 1970."""
    return datetime.fromtimestamp(ms / 1000, UTC)


def load(store: Store, series: Series, tenant: str = "default") -> WindowWrite:
    """The window of a series as it is, or a new one."""
    row = store.get(Table.WINDOWS, _partition(series.rule, series.service, tenant), _key(series))
    return WindowWrite(Window(series), "") if row is None else WindowWrite(window_of(row), row.etag)


def save(store: Store, write: WindowWrite, tenant: str = "default") -> bool:
    """Write a window back.

    Returns:
        False when somebody else changed it since it was read.
    """
    series, key = write.window.series, _key(write.window.series)
    tracks = {name: _Kept(t.metric, *_dump(t.samples)) for name, t in write.window.tracks.items()}
    values = pack(_Doc(series, tracks, write.window.standing))
    operation = Replace(key, values, write.etag) if write.etag else Insert(key, values)
    try:
        store.write(Table.WINDOWS, _partition(series.rule, series.service, tenant), operation)
    except Conflict:
        return False
    return True


def add(samples: Sequence[Sample], sample: Sample, keep_s: float, room: int = MAX_TRACK_SAMPLES) -> tuple[Sample, ...]:
    """Samples with one more; the same samples when it was there already, or is too old to keep (rule S2).

    Args:
        samples: oldest first.
        keep_s: age from the newest sample at which samples go.
        room: most samples to keep; the older half is thinned when there are more.
    """
    if any(known.id == sample.id for known in reversed(samples)):
        return tuple(samples)
    merged = [*samples, sample]
    if samples and samples[-1].ms > sample.ms:
        merged.sort(key=lambda known: known.ms)
    oldest = merged[-1].ms - int(keep_s * 1000)
    kept = [known for known in merged if known.ms >= oldest]
    while len(kept) > room:
        half = len(kept) // 2
        kept = [*kept[:half:2], *kept[half:]]
    return tuple(kept)


def judged(settings: Settings, service: str) -> tuple[str, ...]:
    """Rules that look at a service; without one, nothing here measures it."""
    return tuple(name for name, rule in settings.rules.items() if rule.service in ("", service))


def of_service(store: Store, settings: Settings, service: str, kept: bool = True) -> Iterator[Window]:
    """Every window of a service: of the rules that look at it, and (``kept``) of samples kept without a rule."""
    for rule_id in (*judged(settings, service), *((KEPT,) if kept else ())):
        start = f"{key_of(rule_id)}|{key_of(service)}|"
        begin: str | None = start
        while begin is not None:
            partition = _partition(rule_id, service, settings.tenant)
            page = store.query(Table.WINDOWS, partition, begin, start[:-1] + "}")
            yield from (window_of(row) for row in page.rows)
            begin = page.next_key


def samples_of(store: Store, settings: Settings, service: str) -> Mapping[str, tuple[Point, ...]]:
    """Kept samples of a service, oldest first, by metric; by metric and what tells them apart where there are several.

    Growing counters come as they were measured, not as rates.
    """
    found: dict[str, dict[str, tuple[Point, ...]]] = {}
    for window in of_service(store, settings, service):
        for name, track in window.tracks.items():
            apart = " ".join(filter(None, (window.series.resource, window.series.labels, name[len(track.metric) :])))
            points = tuple(Point(time_of(sample.ms), sample.value) for sample in track.samples)
            known = found.setdefault(track.metric, {})
            if len(points) > len(known.get(apart, ())):
                known[apart] = points  # several rules may keep the same series; the longest says most
    answer: dict[str, tuple[Point, ...]] = {}
    for metric, by_series in sorted(found.items()):
        for apart, points in sorted(by_series.items()):
            answer[metric if len(by_series) == 1 else f"{metric} ({apart or 'no labels'})"] = points
    return answer


def health(service: str, settings: Settings, store: Store, now: datetime) -> Reading:
    """How a service is, by its own rules: bad when one fires or breaches, unknown when nothing fresh says so.

    A rule that is firing on samples that stopped coming is unknown: nobody knows whether it is over (rule C3).
    """
    stale = timedelta(seconds=settings.closing.stale_s)
    rows: dict[str, list[tuple[Window, datetime]]] = {}
    for window in of_service(store, settings, service, kept=False):
        if window.newest is not None:
            rows.setdefault(window.series.rule, []).append((window, window.newest))
    if not rows:
        return Reading(ReadingState.UNKNOWN, {}, f"nothing measures {service or 'this'}", None)
    bad, unknown, good = [], [], []
    facts: dict[str, str] = {}
    for rule, windows in sorted(rows.items()):
        windows.sort(key=lambda pair: (_trouble(pair[0]), pair[1]))
        fresh = [window for window, newest in windows if now - newest <= stale]
        silent = [
            window for window, newest in windows if now - newest > stale and window.standing.phase is Phase.FIRING
        ]
        if fresh and _trouble(fresh[-1]):
            bad.append(rule)
        elif silent or not fresh:
            unknown.append(rule)
        else:
            good.append(rule)
        shown = fresh[-1] if fresh else windows[-1][0]
        facts[rule] = (shown.standing.text or "not judged yet") + ("" if fresh and not silent else " (silent since)")
    measured_at = max(newest for windows in rows.values() for _, newest in windows)
    chosen = bad or unknown or good
    state = ReadingState.BAD if bad else ReadingState.UNKNOWN if unknown else ReadingState.GOOD
    return Reading(state, facts, "; ".join(f"{rule}: {facts[rule]}" for rule in chosen), measured_at)


def _trouble(window: Window) -> bool:
    return window.standing.phase is Phase.FIRING or window.standing.breaching is True


def _partition(rule: str, service: str, tenant: str) -> str:
    # The hash leaves out what tells the series of a service apart, so that they can be read together.
    return f"{tenant}-{hashlib.sha256(f'{rule}|{service}'.encode()).hexdigest()[:2]}"


def _key(series: Series) -> str:
    apart = hashlib.sha256(series.identity.encode()).hexdigest()[:16]
    return f"{key_of(series.rule)}|{key_of(series.service)}|{apart}"


def window_of(row: Row) -> Window:
    """The window of a row."""
    doc = unpack(_Doc, row.values)
    tracks = {name: Track(kept.metric, _parse(kept.start_ms, kept.samples)) for name, kept in doc.tracks.items()}
    return Window(doc.series, tracks, doc.standing)


def _dump(samples: Sequence[Sample]) -> tuple[int, str]:
    start = samples[0].ms if samples else 0
    return start, ";".join(f"{sample.ms - start}:{_short(sample.value)}:{sample.id}" for sample in samples)


def _short(value: float) -> str:
    return str(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)


def _parse(start_ms: int, text: str) -> tuple[Sample, ...]:
    parts = (item.split(":") for item in text.split(";") if item)
    return tuple(Sample(start_ms + int(offset), float(value), identity) for offset, value, identity in parts)


def keep_seconds(settings: Settings, longest_s: float) -> float:
    """How long samples are kept: for the evidence, and half as long again as the longest window needs."""
    return max(settings.investigation.baseline_s, longest_s * 1.5)


def longest_window_s(rule: object) -> float:
    """The longest window a rule looks back."""
    return max(rule.long_window_s, rule.short_window_s) if isinstance(rule, BurnRateRule) else 0.0
