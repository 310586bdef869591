"""One storm at one target: posted, waited for, measured.

In: what to play. Out: what it cost until every service was told of, and afterwards; what became of every alert.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import httpx2

from benchmarks.load.identities import bodies, identities
from benchmarks.load.player import Played, play
from benchmarks.load.sink import Sink
from benchmarks.load.targets import Target
from benchmarks.load.usage import Usage, forget_peaks, usage
from shared.adapters.stores.sqlite import SqliteStore
from shared.model.pipeline import Queue
from shared.ports.store import Table
from shared.records import brake

TELL_S = 120.0
DRAIN_S = 900.0
SAMPLE_S = 0.05


@dataclass(frozen=True, slots=True)
class Storm:
    """What is played.

    Attributes:
        over_s: spread over so many seconds; 0 is as fast as possible.
    """

    format: str
    alerts: int
    services: int
    batch: int
    connections: int
    over_s: float = 0.0
    seed: int = 1


@dataclass
class Weather:
    """What came of it.

    Attributes:
        told: processor time and memory until the last service was first told of.
        calm: the same until nothing was left in the queues.
        first_s: from the first post to the first notification; ``last_s`` to the last first one.
        latest_s: the longest that a service waited from its first alert until it was told of.
        lost: alerts that were accepted and are nowhere.
    """

    played: Played
    told: Usage
    calm: Usage
    services: int
    notifications: int
    first_s: float
    last_s: float
    latest_s: float
    lost: int
    kinds: dict[str, int] = field(default_factory=dict)

    @property
    def per_1000(self) -> float:
        """Processor milliseconds per 1,000 alerts until the last first notification."""
        return 1e6 * self.told.cpu_s / self.played.alerts


async def weather(target: Target, storm: Storm, sink: Sink, settle_s: float = 0.0, calm: bool = True) -> Weather:
    """Play one storm.

    Args:
        settle_s: wait until so long after the last notification; a peer that waits for groups needs it.
        calm: wait until ARGUS has nothing left in its queues.
    """
    alerts = identities(storm.seed, storm.alerts, storm.services)
    ready = bodies(storm.format, alerts, storm.alerts, storm.batch)
    forget_peaks(target.pids)
    before = usage(target.pids)
    playing = asyncio.create_task(
        play(target.urls[storm.format], target.headers, ready, storm.connections, storm.over_s)
    )
    watching = asyncio.create_task(_until_told(target, sink, storm.services, settle_s))
    played = await playing
    after = await watching
    if target.stack is not None and calm:
        await drained(target)
    end = usage(target.pids)
    lost = await asyncio.to_thread(_lost, target, storm.alerts) if target.stack is not None else 0
    return Weather(
        played,
        _between(before, after),
        _between(before, end),
        len(sink.first),
        sink.posts,
        min(sink.first.values(), default=0.0) - played.began,
        max(sink.first.values(), default=0.0) - played.began,
        max((at - played.first.get(service, at) for service, at in sink.first.items()), default=0.0),
        lost,
        dict(sink.kinds),
    )


async def _until_told(target: Target, sink: Sink, services: int, settle_s: float) -> Usage:
    await sink.quiet(services, settle_s, TELL_S)
    return usage(target.pids)


def _between(before: Usage, after: Usage) -> Usage:
    return Usage(after.cpu_s - before.cpu_s, after.peak_mb, after.now_mb)


async def drained(target: Target) -> None:
    """Wait until no queue has a message that is due, and no join waits to be heard.

    What else is scheduled for later does not count.

    Raises:
        TimeoutError: something still waits; what was measured then would be no end.
    """
    assert target.stack is not None
    url, deadline = f"{target.stack.url('stats')}/queues", time.monotonic() + DRAIN_S
    async with httpx2.AsyncClient(trust_env=False) as client:
        while True:
            queues = (await client.get(url)).json()
            busy = [q for q in queues if q["name"] != "quarantine" and (q["active"] or q["locked"])]
            busy += [q for q in queues if q["name"] == Queue.INCIDENTS and q["scheduled"]]
            if not busy:
                return
            if time.monotonic() > deadline:
                left = ", ".join(f"{q['name']} {q['active'] + q['locked'] + q['scheduled']}" for q in busy)
                raise TimeoutError(f"after {DRAIN_S:g} s messages still wait: {left}")
            await asyncio.sleep(SAMPLE_S)


async def worked_off(target: Target, most_s: float = 900.0) -> dict[str, int]:
    """Wait until the storm brake has let everything through and it is done; plans that wait for people may be left.

    Returns:
        How many incidents the brake let through, how many plans are asked of people, and how many wait for a place.
    """
    deadline = time.monotonic() + most_s
    with store_of(target) as store:
        while time.monotonic() < deadline:
            await drained(target)
            seen = await asyncio.to_thread(brake.seen, store)
            if not (seen.work or seen.brake.in_work or seen.brake.owed):
                await drained(target)
                return {"let_go": seen.brake.let_go, "asked": len(seen.places), "asking": len(seen.asking)}
            await asyncio.sleep(0.5)
    raise TimeoutError(f"the storm brake has not let everything through within {most_s:g} s")


def _lost(target: Target, alerts: int) -> int:
    with store_of(target) as store:
        listed = sum(_rows(store, Table.ALERT_INDEX, partition) for partition in store.partitions(Table.ALERT_INDEX))
    return alerts - listed


@contextmanager
def store_of(target: Target) -> Iterator[SqliteStore]:
    """The store of a running stack, read beside it."""
    store = SqliteStore(target.data / "store.db", 30.0)
    try:
        yield store
    finally:
        store.close()


def _rows(store: SqliteStore, table: Table, partition: str) -> int:
    count, start = 0, ""
    while True:
        page = store.query(table, partition, start)
        count += len(page.rows)
        if page.next_key is None:
            return count
        start = page.next_key
