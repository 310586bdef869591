"""Heartbeats: every run of a timer, and every part that fails or works again, leaves a mark.

In: runs and failures. Out: rows the watch judges. A mark that cannot be written changes nothing else.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Concatenate, ParamSpec, TypeVar

from shared.agents.watch import round as watch_round
from shared.dispatch.engine import Engine
from shared.model.errors import ArgusError
from shared.records import heartbeats
from shared.records.heartbeats import TIMER

log = logging.getLogger("argus.watch")
P = ParamSpec("P")
R = TypeVar("R")


@contextmanager
def beating(engine: Engine, timer: str) -> Iterator[None]:
    """Around one run of a timer: it worked, or it failed with what it raises, or it said itself what it left undone."""
    name = f"{TIMER} {timer}"
    engine.pulse.undone.pop(name, None)
    try:
        yield
    except Exception as error:  # the words of a stranger's exception may hold anything
        failed(engine, name, str(error) if isinstance(error, ArgusError) else type(error).__name__)
        raise
    why = engine.pulse.undone.pop(name, "")
    if why:
        failed(engine, name, why)
    else:
        worked(engine, name)


def beats(timer: str) -> Callable[[Callable[Concatenate[Engine, P], R]], Callable[Concatenate[Engine, P], R]]:
    """The round of a timer, with a heartbeat."""

    def around(run: Callable[Concatenate[Engine, P], R]) -> Callable[Concatenate[Engine, P], R]:
        @wraps(run)
        def with_beat(engine: Engine, /, *given: P.args, **more: P.kwargs) -> R:
            with beating(engine, timer):
                return run(engine, *given, **more)

        return with_beat

    return around


def undone(engine: Engine, timer: str, why: str) -> None:
    """Say inside a timer's run that it went on, but did not do everything; such a run counts as a failure."""
    engine.pulse.undone[f"{TIMER} {timer}"] = why


def failed(engine: Engine, name: str, why: str) -> None:
    """Something failed; an earlier process's count goes on."""
    now = engine.clock()
    try:
        if not engine.pulse.known(name):
            before = heartbeats.beat_of(engine.ports.store, name)
            if before is not None:
                engine.pulse.remember(before)
        beat = engine.pulse.failed(name, why, now)
        heartbeats.put_beat(engine.ports.store, beat)
        engine.pulse.written(beat, now)
    except ArgusError as error:
        log.warning("%s failed (%s), and that cannot be written: %s", name, why, error)


def worked(engine: Engine, name: str) -> None:
    """Something worked; it is written when that is news, and for timers now and then."""
    now = engine.clock()
    beat = engine.pulse.worked(name, now)
    if beat is None:
        return
    try:
        heartbeats.put_beat(engine.ports.store, beat)
        engine.pulse.written(beat, now)
    except ArgusError as error:
        log.warning("%s works, and that cannot be written: %s", name, error)


def part_works(engine: Engine, part: str, waited: bool) -> None:
    """A part of the outside took something; news only when it had failed here, or an incident had waited for it."""
    if waited or engine.pulse.failing(part):
        worked(engine, part)


@beats("watch")
def watch(engine: Engine) -> None:
    """ARGUS looks at itself."""
    watch_round.run(engine.ports, engine.pulse, engine.clock)
