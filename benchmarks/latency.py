"""From the POST of an alert to its notification, one at a time, idle: ``python -m benchmarks latency``.

In: options. Out: percentiles over fresh services; exit code 1 when a gate was missed.
"""

from __future__ import annotations

import asyncio
import time
from argparse import Namespace
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from functools import partial

from benchmarks.load import options
from benchmarks.load.identities import bodies, identities
from benchmarks.load.player import Connection
from benchmarks.load.sink import listening
from benchmarks.load.tables import Figure, Table
from benchmarks.load.targets import Target, alertmanager, argus

COUNT, MOST_S, REST_S = 200, 10.0, 0.2
Start = Callable[[str], AbstractContextManager[Target]]


def main(arguments: Sequence[str]) -> int:
    """Command line entry; see the module."""
    given = options.parser("latency", __doc__).parse_args(arguments)
    return options.run(given, [partial(_case, given)])


async def _case(given: Namespace) -> Table:
    count, runs = (20, 1) if given.quick else (COUNT, given.runs)
    ours, theirs = [], []
    for run in range(runs):
        if not given.no_peer:
            peer = partial(alertmanager, group_wait="0s", group_interval="5s")
            theirs.append(await _run(peer, "prometheus", count, given.seed))
        ours.append(await _run(argus, "azure", count, given.seed))
        options.say(f"run {run + 1} of {runs}: median {percentile(ours[-1], 50):.1f} ms")
    table = Table(f"Latency: POST to notification, idle, {count} fresh services, one alert each", runs)
    for name, share, most in (("p50", 50, 50.0), ("p90", 90, None), ("p99", 99, 250.0), ("longest", 100, None)):
        mine, peers = [percentile(r, share) for r in ours], [percentile(r, share) for r in theirs]
        table.figures.append(Figure(name, "ms", mine, peers, most))
    table.figures.append(Figure("never told", "", [count - len(r) for r in ours], exactly=0))
    return table


async def _run(start: Start, format_: str, count: int, seed: int) -> list[float]:
    """Milliseconds of every alert that was told of."""
    alerts = [alert for alert in identities(seed, count * 4, count * 4, "idle") if alert.severity != "info"][:count]
    took = []
    async with listening() as sink:
        with start(sink.url) as target:
            await asyncio.sleep(3.0)
            connection = Connection(target.urls[format_], target.headers)
            for body in bodies(format_, alerts, len(alerts), 1):
                (alert,) = body.alerts
                posted = time.time()
                await connection.post(body.content)
                deadline = posted + MOST_S
                while alert.service not in sink.first and time.time() < deadline:
                    await asyncio.sleep(0.001)
                if alert.service in sink.first:
                    took.append(1e3 * (sink.first[alert.service] - posted))
                await asyncio.sleep(REST_S)
            connection.close()
    return took


def percentile(values: Sequence[float], share: float) -> float:
    """The value that so many per cent of the values do not exceed; 0 without values."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share / 100 * len(ordered)))] if ordered else 0.0
