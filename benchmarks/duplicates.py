"""Repeats of alerts that are open, one per POST: ``python -m benchmarks duplicates``.

In: options. Out: what a repeat costs beside Alertmanager, in processor time and in store calls; exit code 1 when a gate
was missed.
"""

from __future__ import annotations

import asyncio
import json
from argparse import Namespace
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial

from benchmarks.load import counting, options
from benchmarks.load.identities import Body, Identity, bodies, identities
from benchmarks.load.player import Played, play
from benchmarks.load.sink import Sink, listening
from benchmarks.load.storms import store_of, worked_off
from benchmarks.load.tables import Figure, Table
from benchmarks.load.targets import Target, alertmanager, argus
from benchmarks.load.usage import Usage, forget_peaks, usage
from shared.records import counters, groups

REPEATS, DISTINCT, SERVICES, CONNECTIONS = 100_000, 1_000, 200, 8
IDLE_S = 10.0  # what timers ask of the store by themselves is not the repeats'
SETTLE_S = 7.0  # counts are written every 5 s
Start = Callable[[str], AbstractContextManager[Target]]


@dataclass
class Repeated:
    """What the repeats cost."""

    played: Played
    cost: Usage
    notifications: int
    calls: float = 0.0
    counted: int = 0

    @property
    def per_1000(self) -> float:
        """Processor milliseconds per 1,000 repeats."""
        return 1e6 * self.cost.cpu_s / self.played.alerts


def main(arguments: Sequence[str]) -> int:
    """Command line entry; see the module."""
    given = options.parser("duplicates", __doc__).parse_args(arguments)
    return options.run(given, [partial(_case, given)])


async def _case(given: Namespace) -> Table:
    repeats, distinct, services = (2_000, 100, 20) if given.quick else (REPEATS, DISTINCT, SERVICES)
    runs, ours, theirs = 1 if given.quick else given.runs, [], []
    for run in range(runs):
        if not given.no_peer:
            peer = partial(alertmanager, group_wait="0s", group_interval="5m")
            theirs.append(await _run(peer, "prometheus", repeats, distinct, services, given.seed))
        ours.append(await _run(argus, "azure", repeats, distinct, services, given.seed))
        against = f", Alertmanager {theirs[-1].per_1000:,.0f}" if theirs else ""
        options.say(f"run {run + 1} of {runs}: {ours[-1].per_1000:,.0f} ms per 1,000{against}")
    counted = await _run(partial(argus, counting=True), "azure", repeats, distinct, services, given.seed)
    return _table(repeats, distinct, ours, theirs, counted)


async def _run(start: Start, format_: str, repeats: int, distinct: int, services: int, seed: int) -> Repeated:
    alerts = identities(seed, distinct, services)
    async with listening() as sink:
        with start(sink.url) as target:
            await asyncio.sleep(1.0)
            connect = (target.urls[format_], target.headers)
            at = datetime.now(UTC)
            await play(*connect, bodies(format_, alerts, distinct, 1, at), CONNECTIONS)
            await sink.quiet(services, 1.0, 120.0)
            if target.stack is not None:
                await worked_off(target)  # what the storm brake says and does is not the repeats'
                await asyncio.sleep(SETTLE_S)
            return await _repeat(target, sink, connect, alerts, bodies(format_, alerts, repeats, 1, at))


async def _repeat(
    target: Target,
    sink: Sink,
    connect: tuple[str, Mapping[str, str]],
    alerts: Sequence[Identity],
    ready: Sequence[Body],
) -> Repeated:
    idle = await _idle_calls_per_s(target)
    told, calls = sink.posts, _calls(target)
    forget_peaks(target.pids)
    before = usage(target.pids)
    played = await play(*connect, ready, CONNECTIONS)
    after = usage(target.pids)
    found = Repeated(played, Usage(after.cpu_s - before.cpu_s, after.peak_mb, after.now_mb), sink.posts - told)
    if target.stack is None:
        return found
    if calls is not None:
        await asyncio.sleep(SETTLE_S)
        found.calls = max(0.0, (_calls(target) or 0) - calls - idle * (played.wall_s + SETTLE_S))
    await asyncio.to_thread(target.stack.down)  # a clean stop writes what was counted
    with store_of(target) as store:
        states = [groups.state_of(store, key) for key in {f"service={alert.service}" for alert in alerts}]
        found.counted = sum(counters.read(store, s.group_key, s.generation).count for s in states if s is not None)
    return found


async def _idle_calls_per_s(target: Target) -> float:
    before = _calls(target)
    if before is None:
        return 0.0
    await asyncio.sleep(IDLE_S)
    return ((_calls(target) or 0) - before) / IDLE_S


def _calls(target: Target) -> int | None:
    file = target.data / counting.FILE
    return sum(json.loads(file.read_bytes()).values()) if file.exists() else None


def _table(
    repeats: int, distinct: int, ours: Sequence[Repeated], theirs: Sequence[Repeated], counted: Repeated
) -> Table:
    title = f"Duplicates: {repeats:,} repeats of {distinct:,} open alerts, one per POST, {CONNECTIONS} connections"
    table = Table(title, len(ours))
    add = table.figures.append
    mine, peers = [r.per_1000 for r in ours], [r.per_1000 for r in theirs]
    add(Figure("processor time per 1,000 repeats", "ms", mine, peers, 6.0, 3.0, ratio=True))
    add(Figure("store calls per repeat", "", [counted.calls / counted.played.alerts], most=0.02))
    add(Figure("notifications", "", [r.notifications for r in ours], [r.notifications for r in theirs], exactly=0))
    missing = [r.played.alerts - r.counted for r in ours]
    add(Figure("repeats that were not counted", "", missing, exactly=0))
    add(Figure("posts refused", "", [r.played.failed for r in ours], exactly=0))
    add(Figure("memory, peak", "MB", [r.cost.peak_mb for r in ours], [r.cost.peak_mb for r in theirs]))
    add(Figure("posting took", "s", [r.played.wall_s for r in ours], [r.played.wall_s for r in theirs]))
    return table
