"""What the edge does with webhook calls: understand each alone, count repeats in memory, keep the rest together.

In: bodies and their headers. Out: an answer for each call; when it is a receipt, the bus has every signal, or the
signal is a repeat that is counted (rules M2, M5, S6).
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from shared.agents.sentinel import collector, repeats
from shared.agents.sentinel.collector import Received, Taken
from shared.agents.sentinel.fold_memory import FRESH, Firing
from shared.dispatch.engine import Engine
from shared.dispatch.showing import show
from shared.model.errors import ArgusError, PermanentError, TransientError
from shared.model.pipeline import MicroAgent
from shared.model.signal import Signal
from shared.records import groups

log = logging.getLogger("argus.dispatch")


@dataclass(frozen=True, slots=True)
class Repeat:
    """A firing that is known, in this generation of its group since ``at``."""

    firing: Firing
    generation: int
    at: datetime


@dataclass(frozen=True, slots=True)
class Call:
    """A webhook call that is understood.

    Attributes:
        firings: by position of the signal; ``None`` for what never is a repeat.
    """

    taken: Taken
    firings: tuple[Firing | None, ...]


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of a call.

    Attributes:
        received: what to tell its sender; ``None`` when ``error`` says why not.
        repeats: counted; they are taken back when the sender is told otherwise: a refused call comes again, whole.
    """

    received: Received | None = None
    error: ArgusError | None = None
    repeats: tuple[Repeat, ...] = ()


def by_heart(engine: Engine, name: str, digest: bytes, now: datetime) -> Received | None:
    """Take in a body that came a moment ago and held nothing but repeats, which it still does; ``None`` otherwise."""
    known = engine.bodies.find(name, digest, now)
    if known is None:
        return None
    generations = [engine.memory.repeated(firing, now) for firing in known.firings]
    if not all(generations):
        return None
    for firing, generation in zip(known.firings, generations, strict=True):
        engine.memory.add(firing, generation, now)
    engine.telemetry.received(name, len(generations))
    return known.received


def understand(engine: Engine, name: str, raw: bytes, headers: Mapping[str, str], turn: int) -> Call:
    """Read a webhook call; what breaks its source is taken as something nobody knows.

    Args:
        turn: calls of one turn are kept in one partition.

    Raises:
        PermanentError: it is not JSON, or too large; nothing is kept yet.
    """
    now, ports = engine.clock(), engine.ports
    try:
        return _call(engine, collector.understand(name, raw, headers, now, ports, turn=turn))
    except ArgusError:
        raise
    except Exception:  # the sender would say the same again until it gives up, and nobody would hear of it
        log.exception("source %s cannot read what it was sent", name)
        return _call(engine, collector.understand(name, raw, headers, now, ports, blind=True, turn=turn))


def refuse(engine: Engine, name: str, raw: bytes, error: PermanentError) -> None:
    """Keep what nobody can read.

    Raises:
        TransientError: the store cannot be reached.
    """
    collector.keep_unreadable(name, raw, error, engine.clock(), engine.ports)


def fold(engine: Engine, call: Call) -> Received | None:
    """Take in a call of nothing but repeats: they are counted in memory (rule S6); ``None`` when anything is new."""
    now = engine.clock()
    found = _repeats(engine, call, now)
    if len(found) < len(call.firings):
        return None
    count(engine, found.values())
    _learn_body(engine, call)
    engine.telemetry.received(call.taken.source, len(found))
    return call.taken.received


def count(engine: Engine, found: Iterable[Repeat], back: bool = False) -> None:
    """Count repeats.

    Args:
        back: take the count back, because their sender is told to come again.
    """
    for one in found:
        engine.memory.add(one.firing, one.generation, one.at, back)


def keep(engine: Engine, calls: Sequence[Call]) -> list[Answer]:
    """Keep calls together, and send what is new in them; one that cannot be kept fails alone.

    Returns:
        One answer for each call, in order.
    """
    with engine.telemetry.work(MicroAgent.COLLECTOR):
        try:
            return _together(engine, calls)
        except TransientError as error:
            return [Answer(error=error) for _ in calls]
        except PermanentError as error:
            if len(calls) == 1:
                return [Answer(error=error)]
        except Exception:  # the senders would say the same again until they give up, and nobody would hear of it
            log.exception("what %d webhook call(s) said cannot be kept", len(calls))
            if len(calls) == 1:
                return [_blindly(engine, calls[0].taken)]
    return [answer for call in calls for answer in keep(engine, [call])]  # one of them; the others must not suffer


def _blindly(engine: Engine, taken: Taken) -> Answer:
    """Take a call as something nobody knows."""
    try:
        blind = collector.understand(taken.source, taken.raw, taken.headers, taken.at, engine.ports, blind=True)
        return _together(engine, [_call(engine, blind)])[0]
    except ArgusError as error:
        return Answer(error=error)


def _together(engine: Engine, calls: Sequence[Call]) -> list[Answer]:
    _look(engine, calls)
    now = engine.clock()
    found = [_repeats(engine, call, now) for call in calls]
    new = [
        (call.taken, [signal for position, signal in enumerate(call.taken.signals) if position not in known])
        for call, known in zip(calls, found, strict=True)
        if len(known) < len(call.taken.signals)
    ]
    for known in found:
        count(engine, known.values())
    if new:
        try:
            collector.keep(new, now, engine.ports)
        except BaseException:
            for known in found:
                count(engine, known.values(), back=True)
            raise
        _say(engine, new)
    for call, known in zip(calls, found, strict=True):
        engine.telemetry.received(call.taken.source, len(call.taken.signals))
        for position, firing in enumerate(call.firings):
            if firing is not None and position not in known:
                engine.memory.said(firing)
    return [
        Answer(call.taken.received, repeats=tuple(known.values())) for call, known in zip(calls, found, strict=True)
    ]


def _look(engine: Engine, calls: Sequence[Call]) -> None:
    """Read the groups of what may be a repeat, each at most once in 10 s."""
    now = engine.clock()
    firings = (firing for call in calls for firing in call.firings if firing is not None)
    for key in sorted({firing.group_key for firing in firings if engine.memory.worth_reading(firing, now)}):
        began = engine.clock()
        engine.memory.learn_group(key, groups.load(engine.ports.store, key), began)


def _repeats(engine: Engine, call: Call, now: datetime) -> dict[int, Repeat]:
    found = {}
    for position, firing in enumerate(call.firings):
        generation = 0 if firing is None else engine.memory.repeated(firing, now)
        if firing is not None and generation:
            found[position] = Repeat(firing, generation, now)
    return found


def _say(engine: Engine, new: Sequence[tuple[Taken, Sequence[Signal]]]) -> None:
    for name in sorted({taken.source for taken, _ in new}):
        mine = [(taken, signals) for taken, signals in new if taken.source == name]
        size, odd = sum(len(taken.raw) for taken, _ in mine), any(not taken.recognised for taken, _ in mine)
        why = f"webhook of {size} bytes" if len(mine) == 1 else f"{len(mine)} webhooks of {size} bytes together"
        why += " in a shape nobody knows" if odd else ""
        show(MicroAgent.COLLECTOR, f"{sum(len(each) for _, each in mine)} signal(s) from {name}", why, "")


def _call(engine: Engine, taken: Taken) -> Call:
    routing = engine.ports.settings.routing
    return Call(taken, tuple(repeats.firing_of(signal, routing) for signal in taken.signals))


def _learn_body(engine: Engine, call: Call) -> None:
    """Know a body by heart for as long as a repeat may be folded, if it would be read the same until then."""
    taken, firings = call.taken, tuple(firing for firing in call.firings if firing is not None)
    until = taken.at + FRESH
    if len(firings) <= repeats.MAX_SIGNALS and collector.reads_the_same(taken, until, engine.ports):
        engine.bodies.learn(taken.source, taken.digest, repeats.Known(taken.received, firings, until))
