"""What a run has measured, as text for people and as JSON.

In: kills, verdict. Out: a coverage table, recovery times, and one line for each thing that is wrong or odd.
"""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Iterable, Sequence

from benchmarks.crash.choose import table
from benchmarks.crash.compare import Verdict
from benchmarks.crash.killer import Kill, Killer
from benchmarks.crash.points import Point

ALL = "all"


def report(census: Iterable[Point], killer: Killer, verdict: Verdict, performances: int) -> str:
    """Everything but the last line."""
    lines = ["kills by sort of point"]
    lines.append(table({point.sort for point in census}, Counter(kill.point for kill in killer.kills)))
    lines.append(f"  not reached in time and drawn anew: {len(killer.misses)}")
    lines.append("seconds from the restart until it answers, and until what was interrupted is worked off")
    for name, (middle, most, longest) in recovery(killer.kills).items():
        lines.append(f"  {name:<22} median {middle:6.1f}   95 % {most:6.1f}   longest {longest:6.1f}")
    lines.append(
        f"{performances} performances; {verdict.repeats} cards came again and say so; {verdict.rewritten} reviews were "
        f"written again on their page; ARGUS opened {verdict.own} incidents about itself"
    )
    for kind, found in (("NOTE", verdict.notes), ("LOST", verdict.lost), ("DOUBLE", verdict.doubled)):
        lines += [f"{kind:<8}{sentence}" for sentence in found]
    return "\n".join(lines)


def recovery(kills: Sequence[Kill]) -> dict[str, tuple[float, float, float]]:
    """Median, 95th percentile and maximum of each recovery time, in seconds, by whose it is."""
    found = {}
    for whose in (ALL, *sorted({_whose(kill.point) for kill in kills})):
        those = [kill for kill in kills if whose in (ALL, _whose(kill.point))]
        worked_off = [kill.worked_off_s for kill in those if kill.worked_off_s is not None]
        for name, times in (("answers", [kill.answers_s for kill in those]), ("worked off", worked_off)):
            if times:
                found[f"{whose} {name}"] = _spread(times)
    return found


def measured(killer: Killer, verdict: Verdict) -> dict[str, object]:
    """The same as JSON-ready values."""
    kills = [
        {
            "number": kill.number,
            "spec": kill.spec,
            "about": kill.about,
            "interrupted": [message.message_id for message in kill.interrupted],
            "answers_s": round(kill.answers_s, 3),
            "worked_off_s": None if kill.worked_off_s is None else round(kill.worked_off_s, 3),
        }
        for kill in killer.kills
    ]
    return {
        "recovery_s": {name: [round(value, 2) for value in times] for name, times in recovery(killer.kills).items()},
        "not_reached": [str(point) for point in killer.misses],
        "repeats": verdict.repeats,
        "rewritten": verdict.rewritten,
        "own": verdict.own,
        "notes": verdict.notes,
        "lost": verdict.lost,
        "doubled": verdict.doubled,
        "kills": kills,
    }


def _whose(point: Point) -> str:
    return point.process if point.process in ("broker", "sandbox") else "host"


def _spread(times: Sequence[float]) -> tuple[float, float, float]:
    ordered = sorted(times)
    return statistics.median(ordered), ordered[round(0.95 * (len(ordered) - 1))], ordered[-1]
