"""What our own rules say about samples; values in, values out.

In: samples of a metric and how a rule stood before. Out: how it stands now, and why.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import pairwise

from shared.config.schema import BurnRateRule, ThresholdRule
from shared.records.windows import Phase, Sample, Standing


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the samples say at one moment.

    Attributes:
        breaching: ``None`` when there is too little to judge by; that is unknown, not good.
        value: the measured value, or the burn rate of the long window.
        text: one sentence for people.
    """

    breaching: bool | None
    value: float
    text: str


def burn_rate(errors: Sequence[float], totals: Sequence[float], objective: float) -> float:
    """How fast the error budget is being spent; 1.0 spends it exactly on time.

    Args:
        errors: failed requests per interval, oldest first, length n >= 1.
        totals: all requests per interval, same length and order as ``errors``.
        objective: target success ratio, strictly between 0 and 1 (0.999, not 99.9).

    Returns:
        Ratio >= 0, no unit. 0.0 when there was no traffic.

    Raises:
        ValueError: the sequences differ in length or are empty, or ``objective`` is out of range.

    Source: Google SRE Workbook, ch. 5 "Alerting on SLOs".
    """
    if len(errors) != len(totals) or not errors:
        raise ValueError(f"{len(errors)} error counts cannot be compared with {len(totals)} totals")
    if not 0 < objective < 1:
        raise ValueError(f"objective {objective} is not strictly between 0 and 1")
    everything = sum(totals)
    return sum(errors) / everything / (1 - objective) if everything > 0 else 0.0


def increase(samples: Sequence[Sample], start_ms: int, end_ms: int) -> float:
    """How much a growing counter grew in ``(start, end]``.

    A value below the one before means the process restarted from zero. The interval that begins before the window
    counts by the part that lies inside, so that a window shorter than two polls still says something.

    Args:
        samples: oldest first.
        start_ms: beginning of the window, ms since 1970.
        end_ms: its end, ms since 1970.
    """
    grown = 0.0
    for before, after in pairwise(samples):
        if after.ms <= start_ms or after.ms > end_ms or after.ms == before.ms:
            continue
        step = after.value - before.value if after.value >= before.value else after.value
        grown += step * (after.ms - max(before.ms, start_ms)) / (after.ms - before.ms)
    return grown


def judge_threshold(rule: ThresholdRule, value: float) -> Verdict:
    """Compare one value with the line."""
    if rule.above is not None and value > rule.above:
        return Verdict(True, value, f"{rule.metric} is {value:g}, above {rule.above:g}")
    if rule.below is not None and value < rule.below:
        return Verdict(True, value, f"{rule.metric} is {value:g}, below {rule.below:g}")
    return Verdict(False, value, f"{rule.metric} is {value:g}, within its limits")


def judge_burn(
    rule: BurnRateRule, errors: Iterable[Sequence[Sample]], totals: Iterable[Sequence[Sample]], end_ms: int
) -> Verdict:
    """Compare the burn rates of both windows with the limit.

    Args:
        errors: series of failed requests, growing counters; they are added up.
        totals: series of all requests, likewise.
        end_ms: end of both windows, ms since 1970.
    """
    bad, all_of_them = tuple(errors), tuple(totals)
    rates: list[float] = []
    requests = 0.0
    for seconds in (rule.long_window_s, rule.short_window_s):
        start_ms = end_ms - int(seconds * 1000)
        total = sum(increase(series, start_ms, end_ms) for series in all_of_them)
        failed = sum(increase(series, start_ms, end_ms) for series in bad)
        requests = max(requests, total)
        rates.append(burn_rate([failed], [total], rule.objective))
    text = (
        f"the error budget burns {rates[0]:.1f} times too fast over {rule.long_window_s:g} s and {rates[1]:.1f} times "
        f"over {rule.short_window_s:g} s; the limit is {rule.burn:g}"
    )
    if requests < rule.min_requests:
        few = f"{requests:.0f} requests in {rule.long_window_s:g} s are too few to judge by"
        return Verdict(None, rates[0], few)
    return Verdict(min(rates) >= rule.burn, rates[0], text)


def advance(
    standing: Standing, verdict: Verdict, at: datetime, for_s: float, resolve_s: float, gap_s: float
) -> Standing:
    """How a rule stands after a verdict.

    Args:
        at: time of the verdict, later than ``standing.at``.
        for_s: how long it must breach before it fires.
        resolve_s: how long it must be good before it resolves.
        gap_s: silence longer than this breaks "how long": what was not measured was not breaching, and not good either.
    """
    gap = standing.at is not None and at - standing.at > timedelta(seconds=gap_s)
    after = replace(standing, at=at, breaching=verdict.breaching, value=verdict.value, text=verdict.text)
    if verdict.breaching is None:
        return after
    if verdict.breaching:
        if standing.phase is Phase.FIRING:
            return replace(after, good_since=None)
        since = at if standing.since is None or gap else standing.since
        phase = Phase.FIRING if at - since >= timedelta(seconds=for_s) else Phase.PENDING
        return replace(after, phase=phase, since=since, good_since=None)
    if standing.phase is Phase.FIRING:
        good_since = at if standing.good_since is None or gap else standing.good_since
        if at - good_since < timedelta(seconds=resolve_s):
            return replace(after, good_since=good_since)
    return replace(after, phase=Phase.OK, since=None, good_since=None)
