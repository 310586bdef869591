"""A storm of distinct alerts, played at Alertmanager and at ARGUS in turn: ``python -m benchmarks storm``.

In: options. Out: one table for each way of sending it; exit code 1 when a gate was missed.
"""

from __future__ import annotations

import asyncio
import time
from argparse import Namespace
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import partial

from benchmarks.load import options
from benchmarks.load.sink import listening
from benchmarks.load.storms import Storm, Weather, weather, worked_off
from benchmarks.load.tables import Figure, Table
from benchmarks.load.targets import Target, alertmanager, argus
from benchmarks.load.usage import usage

BATCH = Storm("alertmanager", 10_000, 200, 64, 4)
SINGLE = Storm("azure", 10_000, 200, 1, 8)
SPREAD = Storm("azure", 10_000, 200, 1, 8, over_s=60.0)
CASES = {"batch": BATCH, "mixed": replace(BATCH, format="prometheus"), "single": SINGLE, "spread": SPREAD}
TOLD_WITHIN_S = 2.0
MEMORY_MB = 400.0

Start = Callable[[str], AbstractContextManager[Target]]


def main(arguments: Sequence[str]) -> int:
    """Command line entry; see the module."""
    parser = options.parser("storm", __doc__)
    parser.add_argument(
        "--cases",
        default="batch,mixed,single,spread",
        help="batch: 64 of a service per POST; mixed: 64 of any service; single: one per POST; spread: over 60 s",
    )
    given = parser.parse_args(arguments)
    names = given.cases.split(",")
    if unknown := [name for name in names if name not in CASES]:
        parser.error(f"no case {unknown[0]!r}; there are {', '.join(CASES)}")
    return options.run(given, [partial(_case, name, _storm(name, given), given) for name in names])


def _storm(name: str, given: Namespace) -> Storm:
    storm = replace(CASES[name], seed=given.seed)
    return replace(storm, alerts=400, services=20, over_s=min(storm.over_s, 5.0)) if given.quick else storm


async def _case(name: str, storm: Storm, given: Namespace) -> Table:
    ours, theirs, runs, whole = [], [], 1 if given.quick else given.runs, None
    wait, every = ("0s", "5s") if storm.over_s else ("5s", "5m")
    for run in range(runs):
        if not given.no_peer:
            peer = partial(alertmanager, group_wait=wait, group_interval=every)
            theirs.append(await _run(peer, replace(storm, format="prometheus"), 1.0))
        if name == "batch" and run == 0 and not given.quick:
            seen, whole = await _to_the_end(storm)
            ours.append(seen)
        else:
            ours.append(await _run(argus, storm, 0.0))
        against = f", Alertmanager {theirs[-1].per_1000:,.0f}" if theirs else ""
        options.say(f"{name}: run {run + 1} of {runs}: {ours[-1].per_1000:,.0f} ms per 1,000{against}")
    table = _table(name, storm, ours, theirs)
    if whole is not None:
        table.figures.extend(whole.figures)
    return table


@dataclass(frozen=True, slots=True)
class Whole:
    """What it takes until the storm brake has let every incident through, and all that is done."""

    cpu_s: float
    took_s: float
    let_go: int
    asked: int
    incidents: int

    @property
    def figures(self) -> list[Figure]:
        """Lines of the table; without a gate."""
        each = 1000 * self.cpu_s / self.incidents
        return [
            Figure("whole loop, all incidents: processor time", "s", [self.cpu_s]),
            Figure("whole loop, each incident: processor time", "ms", [each]),
            Figure("whole loop, all incidents: took", "s", [self.took_s]),
            Figure("incidents that the brake held and let through", "", [self.let_go]),
            Figure("approvals open at the end", "", [self.asked]),
        ]


async def _to_the_end(storm: Storm) -> tuple[Weather, Whole]:
    """One storm, and everything that the brake has held: tickets, investigations, plans."""
    async with listening() as sink:
        with argus(sink.url) as target:
            await asyncio.sleep(1.0)
            before, began = usage(target.pids).cpu_s, time.monotonic()
            seen = await weather(target, storm, sink, 0.0)
            options.say("batch: the brake lets its incidents through, some minutes")
            done = await worked_off(target)
            cpu, took = usage(target.pids).cpu_s - before, time.monotonic() - began
    return seen, Whole(cpu, took, done["let_go"], done["asked"], storm.services)


async def _run(start: Start, storm: Storm, settle_s: float) -> Weather:
    async with listening() as sink:
        with start(sink.url) as target:
            await asyncio.sleep(1.0)  # what a start costs is not the storm's
            return await weather(target, storm, sink, settle_s)


def _table(name: str, storm: Storm, ours: Sequence[Weather], theirs: Sequence[Weather]) -> Table:
    how = f"{storm.batch} per POST, {storm.connections} connections, {storm.format} schema"
    spread = f", spread over {storm.over_s:.0f} s" if storm.over_s else ""
    title = f"Storm, {name}: {storm.alerts:,} distinct alerts over {storm.services} services, {how}{spread}"
    table = Table(title, len(ours))
    most, stretch = {"single": (15.0, 8.0), "spread": (None, None)}.get(name, (10.0, 5.0))
    add = table.figures.append
    peers = [w.per_1000 for w in theirs]
    add(Figure("processor time per 1,000 alerts", "ms", [w.per_1000 for w in ours], peers, most, stretch, ratio=True))
    calm = [1e6 * w.calm.cpu_s / w.played.alerts for w in ours]
    add(Figure("the same until the queues are empty", "ms", calm))
    add(Figure("services told", "", [w.services for w in ours], [w.services for w in theirs], exactly=storm.services))
    add(Figure("alerts lost", "", [w.lost for w in ours], exactly=0))
    add(Figure("posts refused", "", [w.played.failed for w in ours], exactly=0))
    notified = [w.notifications for w in ours]
    gate = 2.0 * storm.services if storm.over_s else None
    add(Figure("notifications", "", notified, [w.notifications for w in theirs], gate))
    add(Figure("first notification after", "s", [w.first_s for w in ours], [w.first_s for w in theirs]))
    add(Figure("last first notification after", "s", [w.last_s for w in ours], [w.last_s for w in theirs]))
    if storm.over_s:
        late = [w.latest_s for w in ours]
        add(Figure("latest service after its first alert", "s", late, most=TOLD_WITHIN_S))
    add(Figure("memory, peak", "MB", [w.calm.peak_mb for w in ours], [w.calm.peak_mb for w in theirs], MEMORY_MB))
    add(Figure("posting took", "s", [w.played.wall_s for w in ours], [w.played.wall_s for w in theirs]))
    return table
