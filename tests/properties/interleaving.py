"""Every way in which two hosts can get into each other's way with at most two preemptions, one after the other.

In: a scene, two pieces of work, and what must hold afterwards. Out: silence, or the schedule that breaks it.

Each piece of work runs in a thread of its own, but only one of them at a time: a thread stops before every call to the
store that the other one's calls can matter to, and goes on when the schedule says so. Calls to rows that only one of
the two touches are no places to stop, because nothing there can differ.
"""

from __future__ import annotations

import copy
import copyreg
import tempfile
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from hypothesis import settings

from shared.adapters.stores.sqlite import SqliteStore
from shared.config.schema import Settings
from tests.properties.hosts import Call, Hosts

Work = Callable[[Hosts], object]
TO_THE_END = 10**9
DOUBLES = 5  # about so many of them in an ordinary run, spread evenly
PATIENCE_S = 30.0


class Stuck(AssertionError):
    """A thread neither stopped nor ended."""


class _Runner:
    """A thread that runs until it has made so many steps, and waits to be let on."""

    def __init__(self, work: Callable[[], object]) -> None:
        self._go, self._stopped = threading.Semaphore(0), threading.Semaphore(0)
        self._steps_left = self.thread = 0
        self._pool = ThreadPoolExecutor(1)
        self._work = work
        self._end = self._pool.submit(self._run)

    def _run(self) -> None:
        self._go.acquire()
        self.thread = threading.get_ident()
        try:
            self._work()
        finally:
            self._stopped.release()

    def stop_here(self) -> None:
        """Called by the thread itself before a call that matters."""
        if self._steps_left == 0:
            self._stopped.release()
            self._go.acquire()
        self._steps_left -= 1

    def let_on(self, steps: int) -> None:
        """Run until ``steps`` calls that matter have been made and the next one is due, or to the end."""
        if self._end.done():
            return
        self._steps_left = steps
        self._go.release()
        if not self._stopped.acquire(timeout=PATIENCE_S):
            raise Stuck("it neither stopped nor ended")

    def result(self) -> None:
        """Wait for the end; raises what it raised."""
        self._end.result(PATIENCE_S)
        self._pool.shutdown()


@dataclass
class Scene:
    """A prepared world, put back as it was for each run."""

    rows: bytes
    chosen: Settings | None
    clock: datetime
    swept_at: datetime
    parts: dict[str, Any]
    own: tuple[dict[str, Any], dict[str, Any]]
    folder: Path
    runs: int = field(default=0)

    @contextmanager
    def again(self) -> Iterator[Hosts]:
        """The world as it was prepared."""
        self.runs += 1
        path = self.folder / f"{self.runs}.db"
        if self.rows:
            path.write_bytes(self.rows)
        store = SqliteStore(path)
        world = Hosts(store, self.chosen)
        world.clock[0], world._swept_at = self.clock, self.swept_at
        for name, values in copy.deepcopy(self.parts).items():
            vars(getattr(world, name)).update(values)
        world.own = copy.deepcopy(self.own)
        for queue in world.bus.kept:
            world.stash[queue] = [message for _, message in world.waiting(queue)]
        world.bus.kept.clear()
        try:
            yield world
        finally:
            store.close()
            for left in self.folder.glob(f"{self.runs}.db*"):
                left.unlink()


_KEPT = {
    "bus": ("entries", "sent", "quarantined", "_seen", "kept"),
    "chat": ("posts",),
    "desk": ("tickets", "drafts", "notes", "state"),
    "wiki": ("pages", "changes"),
    "workload": ("version", "runs"),
    "anchor": ("heads",),
}
for _lock in (threading.Lock, threading.RLock):  # what a process remembers is copied with locks of its own
    copyreg.pickle(type(_lock()), lambda _, new=_lock: (new, ()))  # type: ignore[misc]


@contextmanager
def scene(prepare: Work, chosen: Settings | None = None) -> Iterator[Scene]:
    """Prepare a world once, for many runs; messages of queues it keeps are put into its ``stash``."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "first.db"
        store = SqliteStore(path)
        world = Hosts(store, chosen)
        prepare(world)
        parts = {
            part: {n: copy.deepcopy(vars(getattr(world, part))[n]) for n in names} for part, names in _KEPT.items()
        }
        own = copy.deepcopy(world.own)
        store.close()
        rows = path.read_bytes() if path.exists() else b""
        yield Scene(rows, world.settings, world.now, world._swept_at, parts, own, Path(folder))


@dataclass(frozen=True, slots=True)
class _Plan:
    """Whose turn it is for how many calls that matter; whoever is left over then ends, first one first."""

    turns: tuple[tuple[int, int], ...]


def explore(prepared: Scene, one: Work, two: Work, check: Callable[[Hosts], None]) -> int:
    """Run both works in every order of one and two preemptions, and check each end.

    An ordinary run takes every single preemption and some of the doubles; a deep one takes them all.

    Args:
        check: called when both are through; lets the world settle itself.

    Returns:
        How many schedules there were.
    """
    matters = _where_they_meet(prepared, one, two)
    lengths = [_run(prepared, one, two, _Plan(((who, TO_THE_END),)), matters, check)[who] for who in (0, 1)]
    singles = [_Plan(((who, steps), (1 - who, TO_THE_END))) for who in (0, 1) for steps in range(1, lengths[who])]
    doubles = [
        _Plan(((who, first), (1 - who, second), (who, TO_THE_END)))
        for who in (0, 1)
        for first in range(1, lengths[who])
        for second in range(1, lengths[1 - who])
    ]
    deep = settings.get_current_profile_name() == "deep"
    plans = [*singles, *doubles[:: 1 if deep else max(1, len(doubles) // DOUBLES)]]
    for plan in plans:
        _run(prepared, one, two, plan, matters, check)
    return len(plans) + 2


def _where_they_meet(prepared: Scene, one: Work, two: Work) -> frozenset[str]:
    """Places that both touch and at least one of them writes, whichever comes first."""
    touched: list[dict[str, bool]] = [{}, {}]
    for first in (0, 1):
        with prepared.again() as world:
            for who in (first, 1 - first):
                seen = touched[who]
                world.listener = lambda call, seen=seen: seen.update(  # type: ignore[misc]
                    {call.place: seen.get(call.place, False) or call.writes} if call.kind != "effect" else {}
                )
                world.on(who)
                (one, two)[who](world)
    both = touched[0].keys() & touched[1].keys()
    return frozenset(place for place in both if touched[0][place] or touched[1][place])


def _run(
    prepared: Scene, one: Work, two: Work, plan: _Plan, matters: frozenset[str], check: Callable[[Hosts], None]
) -> list[int]:
    """One schedule; how many calls that matter each of them made."""
    with prepared.again() as world:
        counts = [0, 0]
        told: list[str] = []
        runners: list[_Runner] = []

        def before(call: Call) -> None:
            mine = threading.get_ident()
            who = next((n for n, runner in enumerate(runners) if runner.thread == mine), None)
            if who is not None and call.place in matters:
                runners[who].stop_here()
                counts[who] += 1
                told.append(f"{'AB'[who]} {call.kind} {call.place} {call.key}")

        def started(who: int, work: Work) -> Callable[[], object]:
            def body() -> object:
                world.on(who)
                return work(world)

            return body

        world.listener = before
        runners += [_Runner(started(who, work)) for who, work in enumerate((one, two))]
        for who, steps in (*plan.turns, (0, TO_THE_END), (1, TO_THE_END)):
            runners[who].let_on(steps)
        world.listener = lambda call: None
        try:
            for runner in runners:
                runner.result()
            check(world)
        except BaseException as error:
            error.add_note("\n".join([f"schedule {plan.turns}:", *told]))
            raise
        return counts
