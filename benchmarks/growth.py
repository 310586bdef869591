"""Ten times as many alerts must not cost more each, nor hold more memory: ``python -m benchmarks growth``.

In: options. Out: cost of an alert and memory at 10,000 and 100,000 alerts; exit code 1 when a gate was missed.
"""

from __future__ import annotations

import asyncio
from argparse import Namespace
from collections.abc import Sequence
from functools import partial

from benchmarks.load import options
from benchmarks.load.sink import listening
from benchmarks.load.storms import Storm, Weather, weather
from benchmarks.load.tables import Figure, Table
from benchmarks.load.targets import argus

SMALL, LARGE, SERVICES = 10_000, 100_000, 200


def main(arguments: Sequence[str]) -> int:
    """Command line entry; see the module."""
    given = options.parser("growth", __doc__).parse_args(arguments)
    return options.run(given, [partial(_case, given)])


async def _case(given: Namespace) -> Table:
    small, large, services, runs = (200, 2_000, 20, 1) if given.quick else (SMALL, LARGE, SERVICES, given.runs)
    few: list[Weather] = []
    many: list[Weather] = []
    for run in range(runs):
        for found, alerts in ((few, small), (many, large)):
            async with listening() as sink:
                with argus(sink.url) as target:
                    await asyncio.sleep(1.0)
                    storm = Storm("prometheus", alerts, services, 64, 4, seed=given.seed)
                    found.append(await weather(target, storm, sink))
        options.say(f"run {run + 1} of {runs}: {_each(few[-1]):.3f} and {_each(many[-1]):.3f} ms an alert")
    table = Table(f"Growth: {large:,} alerts against {small:,}, over {services} services, 64 per POST", runs)
    add = table.figures.append
    add(Figure(f"processor time an alert, {small:,}", "ms", [_each(w) for w in few]))
    add(Figure(f"processor time an alert, {large:,}", "ms", [_each(w) for w in many]))
    costs = [_each(m) / _each(f) for f, m in zip(few, many, strict=True)]
    add(Figure("times the cost", "", costs, most=1.3))
    add(Figure(f"memory at the end, {small:,}", "MB", [w.calm.now_mb for w in few]))
    add(Figure(f"memory at the end, {large:,}", "MB", [w.calm.now_mb for w in many]))
    memory = [m.calm.now_mb / f.calm.now_mb for f, m in zip(few, many, strict=True)]
    add(Figure("times the memory", "", memory, most=1.2))
    add(Figure("alerts lost", "", [w.lost for w in (*few, *many)], exactly=0))
    return table


def _each(found: Weather) -> float:
    """Processor milliseconds an alert, until nothing is left in the queues."""
    return 1e3 * found.calm.cpu_s / found.played.alerts
