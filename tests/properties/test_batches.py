"""Signals and joins in batches: any division of them ends in the same state and effects as one after the other."""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from shared import dispatch
from shared.adapters.stores.sqlite import SqliteStore
from shared.model.errors import TransientError
from shared.model.pipeline import Queue
from shared.model.signal import Severity, Signal, Status
from tests.pipeline.broker import LOCK, Entry
from tests.pipeline.faults import Points
from tests.pipeline.world import START, World
from tests.properties.depth import examples
from tests.properties.ending import assert_whole, end_of

TOGETHER = (Queue.SIGNALS, Queue.INCIDENTS)


class Batched(World):
    """A world whose triggers take as many messages as are there, at most as many as the next number says."""

    def __init__(self, store: SqliteStore, sizes: Sequence[int], points: Points | None = None) -> None:
        super().__init__(store, points=points)
        self.sizes = itertools.cycle(sizes)

    def _work_once(self) -> bool:
        ready = [e for e in self.bus.entries if e.visible_at <= self.now and e.queue not in self.bus.kept]
        if not ready or ready[0].queue not in TOGETHER:
            return super()._work_once()
        batch = [entry for entry in ready if entry.queue is ready[0].queue][: next(self.sizes)]
        for entry in batch:
            entry.visible_at = self.now + LOCK
        self.clock[0] += timedelta(milliseconds=5)
        self._alive(lambda: self.invoke_all(batch))
        return True

    def invoke_all(self, batch: Sequence[Entry]) -> None:
        """One invocation of a trigger; its messages are settled as a whole."""
        bodies = [entry.message.body for entry in batch]
        try:
            if batch[0].queue is Queue.SIGNALS:
                dispatch.signals(self.engine, bodies)
            else:
                dispatch.hop_many(self.engine, batch[0].queue, bodies)
        except TransientError:
            for entry in batch:
                self.bus.abandon(entry)
            return
        for entry in batch:
            self.bus.complete(entry)


@contextmanager
def world_of(sizes: Sequence[int], points: Points | None = None) -> Iterator[Batched]:
    """A world over an empty store."""
    with tempfile.TemporaryDirectory() as folder:
        store = SqliteStore(Path(folder) / "store.db")
        try:
            yield Batched(store, sizes, points)
        finally:
            store.close()


def storm(world: World) -> list[Signal]:
    """Three services; repeats, raises, resolves before and after their firings, a Sev4, and a flap in one second."""
    told: list[Signal] = []
    for name, service in itertools.product(("HighErrorRatio", "Latency", "Saturation"), ("shop", "billing", "search")):
        told.append(world.signal(name, service=service, fingerprint=f"{service} {name}"))
    later = [START + timedelta(seconds=10 * n) for n in range(9)]
    more: list[dict[str, Any]] = [
        {"name": "Latency", "service": "shop", "at": later[1]},
        {"name": "Latency", "service": "billing", "at": later[2], "severity": Severity.SEV1},
        {"name": "Saturation", "service": "search", "at": later[3], "status": Status.RESOLVED},
        {"name": "Blip", "service": "shop", "at": later[1], "status": Status.RESOLVED},
        {"name": "Blip", "service": "shop", "at": START},
        {"name": "Info", "service": "shop", "severity": Severity.SEV4},
        {"name": "Flap", "service": "search", "at": later[4], "starts_at": later[4]},
        {"name": "Flap", "service": "search", "at": later[5], "starts_at": later[4], "status": Status.RESOLVED},
        {"name": "Flap", "service": "search", "at": later[6], "starts_at": later[6]},
    ]
    for changes in more:
        told.append(world.signal(fingerprint=f"{changes['service']} {changes['name']}", **changes))
    return told


def divided(sizes: Sequence[int], messages: Sequence[int], twice: Sequence[int] = ()) -> dict[str, Any]:
    """The end of the storm.

    Args:
        sizes: how many messages triggers take, again and again.
        messages: how many signals are in one message, again and again.
        twice: numbers of messages that come again a minute later, in another division.
    """
    with world_of(sizes) as world:
        signals, counts = storm(world), itertools.cycle(messages)
        parts: list[Sequence[Signal]] = []
        while signals:
            count = next(counts)
            parts.append(signals[:count])
            signals = signals[count:]
        for part in parts:
            world.deliver(*part)
        world.pass_time(timedelta(seconds=7))
        for number in twice:
            world.deliver(*parts[number % len(parts)][::2], *parts[(number + 1) % len(parts)])
            world.pass_time(timedelta(seconds=3))
        world.settle()
        world.pass_time(timedelta(minutes=2))
        assert_whole(world)
        return end_of(world, but=("notes",))


@lru_cache
def one_by_one() -> dict[str, Any]:
    """The end when every signal is a message and every message an invocation."""
    return divided((1,), (1,))


few = st.lists(st.integers(1, 12), min_size=1, max_size=4)


@given(sizes=few, messages=few, twice=st.lists(st.integers(0, 20), max_size=2))
@examples(10)
def test_S1_S5_any_division_into_batches_ends_the_same(sizes: list[int], messages: list[int], twice: list[int]) -> None:
    """However signals are divided into messages and messages into batches, and whatever of it comes again."""
    assert divided(sizes, messages, twice) == one_by_one()
