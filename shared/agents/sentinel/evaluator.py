"""Evaluator: judges signals; an alert passes as it is, a sample goes through every rule that looks at it.

In: one signal. Out: alerts for the router, and the windows to save once those are on their way (rule S2).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from shared.agents.sentinel.alerts import (
    MAX_LABELS_CHARS,
    MAX_NAME_CHARS,
    MAX_RESOURCE_CHARS,
    alert_of,
    cut,
    cut_labels,
)
from shared.agents.sentinel.rules import Verdict, advance, burn_rate, judge_burn, judge_threshold
from shared.config.schema import BurnRateRule, Settings, ThresholdRule
from shared.model.alert import Alert
from shared.model.event import derive_id
from shared.model.signal import Signal, SignalKind, Status
from shared.ports import Ports
from shared.ports.store import Store
from shared.records import windows
from shared.records.rows import labels_text
from shared.records.windows import Phase, Reading, ReadingState, Series, Standing, Track, Window, WindowWrite, health

__all__ = ["Evaluation", "Reading", "ReadingState", "burn_rate", "evaluate", "health", "save"]

MAX_TRACKS = 20  # labelled counters that one burn-rate rule adds up for one resource


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What one signal leads to.

    Attributes:
        windows: to be saved after the router has sent everything for this signal, so that a crash says it again.
        reason: what was judged, for people.
    """

    alerts: tuple[Alert, ...]
    windows: tuple[WindowWrite, ...]
    reason: str


def evaluate(signal: Signal, ports: Ports, now: datetime) -> Evaluation:
    """Judge one signal.

    Args:
        signal: service and environment are set by its source.
        now: a sample from the future is taken as one of now, or a wrong clock would stop its rules.

    Raises:
        TransientError: the store cannot be reached.
    """
    if signal.kind is SignalKind.ALERT:
        return Evaluation((alert_of(signal),), (), f"{signal.source} has judged {signal.name}")
    if signal.value is None or not math.isfinite(signal.value):
        return Evaluation((), (), f"a sample of {signal.name} without a number says nothing")
    at = min(signal.at, now)
    wanted = {name: rule for name, rule in ports.settings.rules.items() if _looks_at(rule, signal)}
    if not wanted:
        return _keep(signal, at, ports)
    alerts, writes, reasons = [], [], []
    for rule_id, rule in wanted.items():
        read = windows.load(ports.store, _series(rule_id, rule, signal), ports.settings.tenant)
        window = _with_sample(read.window, rule, signal, at, ports.settings)
        if window is read.window:
            reasons.append(f"{rule_id}: seen before, or too old")
            continue
        before = window.standing
        window = _judged(window, rule, signal, at, ports.settings.closing.stale_s)
        writes.append(WindowWrite(window, read.etag))
        if window.standing is before:
            reasons.append(f"{rule_id}: nothing new to judge")
            continue
        reasons.append(f"{rule_id}: {window.standing.text} ({window.standing.phase})")
        alert = _alert(rule_id, rule, signal, window, before)
        if alert is not None:
            alerts.append(alert)
    return Evaluation(tuple(alerts), tuple(writes), "; ".join(reasons))


def save(evaluation: Evaluation, store: Store) -> bool:
    """Save the windows of an evaluation.

    Returns:
        False when one changed meanwhile; evaluate the signal again. What is saved by then counts the sample once.
    """
    return all(windows.save(store, write) for write in evaluation.windows)


def _looks_at(rule: ThresholdRule | BurnRateRule, signal: Signal) -> bool:
    metrics = (rule.metric,) if isinstance(rule, ThresholdRule) else (rule.errors, rule.total)
    return signal.name in metrics and rule.service in ("", signal.service)


def _series(rule_id: str, rule: ThresholdRule | BurnRateRule, signal: Signal) -> Series:
    # Errors and total meet in one row although their labels differ, such as by status.
    labels = labels_text(signal.labels) if isinstance(rule, ThresholdRule) else ""
    return Series(
        rule=rule_id,
        service=cut(signal.service, MAX_NAME_CHARS),
        environment=cut(signal.environment, MAX_NAME_CHARS),
        resource=cut(signal.resource, MAX_RESOURCE_CHARS),
        labels=cut(labels, MAX_LABELS_CHARS),
    )


def _with_sample(
    window: Window, rule: ThresholdRule | BurnRateRule | None, signal: Signal, at: datetime, settings: Settings
) -> Window:
    name = signal.name
    if isinstance(rule, BurnRateRule) and signal.labels:
        name = f"{signal.name}{{{cut(labels_text(signal.labels), MAX_NAME_CHARS)}}}"
    if name not in window.tracks and len(window.tracks) >= MAX_TRACKS:
        return window
    track = window.tracks.get(name, Track(signal.name))
    sample = windows.Sample(windows.ms_of(at), float(signal.value or 0), signal.id.replace("-", "")[: windows.ID_CHARS])
    keep_s = windows.keep_seconds(settings, windows.longest_window_s(rule))
    room = min(windows.MAX_TRACK_SAMPLES, windows.MAX_ROW_SAMPLES // max(1, len(window.tracks)))
    samples = windows.add(track.samples, sample, keep_s, room)
    if samples == track.samples:
        return window
    return replace(window, tracks={**window.tracks, name: replace(track, samples=samples)})


def _judged(window: Window, rule: ThresholdRule | BurnRateRule, signal: Signal, at: datetime, stale_s: float) -> Window:
    """The window after judging; its standing is the same object when there is nothing later to judge than before."""
    standing = window.standing
    for_s = resolve_s = 0.0
    if isinstance(rule, ThresholdRule):
        verdict = judge_threshold(rule, float(signal.value or 0))
        for_s, resolve_s = rule.for_s, rule.resolve_s
    else:
        answer = _burn(window.tracks, rule)
        if answer is None:
            return window  # one half of the poll; the other one brings the judgement
        verdict, end_ms = answer
        at = at if windows.ms_of(at) == end_ms else windows.time_of(end_ms)
    if standing.at is not None and at <= standing.at:
        return window
    after = advance(standing, verdict, at, for_s, resolve_s, max(stale_s, for_s))
    return replace(window, standing=after)


def _burn(tracks: Mapping[str, Track], rule: BurnRateRule) -> tuple[Verdict, int] | None:
    errors = [track.samples for track in tracks.values() if track.metric == rule.errors and track.samples]
    totals = [track.samples for track in tracks.values() if track.metric == rule.total and track.samples]
    if not errors or not totals:
        return None
    end_ms = min(max(samples[-1].ms for samples in side) for side in (errors, totals))
    return judge_burn(rule, errors, totals, end_ms), end_ms


def _alert(
    rule_id: str, rule: ThresholdRule | BurnRateRule, signal: Signal, window: Window, before: Standing
) -> Alert | None:
    """The alert of a firing, at every evaluation, and of its end; the router folds what repeats."""
    standing = window.standing
    if standing.at is None or Phase.FIRING not in (standing.phase, before.phase):
        return None
    firing = standing.phase is Phase.FIRING
    starts_at = (standing if firing else before).since or standing.at
    return Alert(
        fingerprint=derive_id("rule", window.series.identity),
        name=rule_id,
        service=window.series.service,
        environment=window.series.environment,
        severity=rule.severity,
        status=Status.FIRING if firing else Status.RESOLVED,
        at=standing.at,
        starts_at=starts_at,
        source=signal.source,
        signal_id=derive_id(signal.id, rule_id),  # one sample may move several rules, and each of them is a cause
        summary=rule.summary or f"{window.series.service or signal.name}: {standing.text}",
        description=standing.text,
        resource=window.series.resource,
        labels=cut_labels(signal.labels) if isinstance(rule, ThresholdRule) else {},
        rule=rule_id,
        value=standing.value,
        unit=signal.unit if isinstance(rule, ThresholdRule) else "",
        link=signal.link,
        payload=signal.payload,
    )


def _keep(signal: Signal, at: datetime, ports: Ports) -> Evaluation:
    """A sample no rule wants is kept as evidence, if it is of a service we look after."""
    if signal.service not in ports.settings.services:
        return Evaluation((), (), f"no rule looks at {signal.name} of {signal.service or 'nobody'}")
    series = Series(
        rule=windows.KEPT,
        service=signal.service,
        environment=cut(signal.environment, MAX_NAME_CHARS),
        resource=cut(signal.resource, MAX_RESOURCE_CHARS),
        labels=cut(f"{signal.name} {labels_text(signal.labels)}".strip(), MAX_LABELS_CHARS),
    )
    read = windows.load(ports.store, series, ports.settings.tenant)
    window = _with_sample(read.window, None, signal, at, ports.settings)
    writes = () if window is read.window else (WindowWrite(window, read.etag),)
    return Evaluation((), writes, f"no rule looks at {signal.name}; kept as evidence")
