"""The signals queue: a batch, many incidents or none; each signal fails alone (PROTOCOL, rule S1).

In: message bodies. Out: routed alerts, saved windows, counted repeats.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

from shared.agents.sentinel import alert_router, evaluator
from shared.agents.sentinel.alert_router import Arrival, Routed, Settled
from shared.dispatch.engine import Engine
from shared.dispatch.failures import quarantine_body, watched
from shared.dispatch.showing import show
from shared.model.alert import Alert
from shared.model.errors import ArgusError, PermanentError, Reason, TransientError
from shared.model.event import Event, SignalsReceived, derive_id
from shared.model.pipeline import MicroAgent, Queue
from shared.model.signal import Signal, SignalKind
from shared.ports.telemetry import Ending
from shared.records import letters

log = logging.getLogger("argus.dispatch")

FIRST_TOGETHER = 500  # so many are sent before the next are looked at: a storm's first incidents do not wait for all
MAX_TOGETHER = 1600


@dataclass(frozen=True, slots=True)
class _One:
    """A signal, and the message it came in."""

    event: Event
    signal: Signal


def signals(engine: Engine, bodies: Sequence[bytes]) -> None:
    """Work off a batch of the signals queue; each signal fails alone (rule S1).

    Alerts of sources that have judged are routed together, a group at a time. Samples go through their rules one by
    one.
    """
    together: list[_One] = []
    samples: list[_One] = []
    most = FIRST_TOGETHER
    for one in _taken(engine, bodies):
        if one.signal.kind is not SignalKind.ALERT:
            samples.append(one)
            continue
        together.append(one)
        if len(together) >= most:
            _together(engine, together)
            together, most = [], MAX_TOGETHER
    if together:
        _together(engine, together)
    for one in samples:
        _alone(engine, one, partial(_one_signal, engine, one))
    engine.memory.flush(engine.ports.store, engine.clock())


def _taken(engine: Engine, bodies: Sequence[bytes]) -> Iterator[_One]:
    for body in bodies:
        try:
            event = letters.read(engine.ports.store, body)
            if not isinstance(event.data, SignalsReceived):
                raise PermanentError(f"{event.type} does not belong on {Queue.SIGNALS}", Reason.BAD_INPUT)
        except PermanentError as error:
            quarantine_body(engine, Queue.SIGNALS, body, error)
            continue
        for signal in event.data.signals:
            yield _One(event, signal)


def _together(engine: Engine, ones: Sequence[_One]) -> None:
    """Route all at once; what that leaves undone is worked off one by one, where each fails alone."""
    settled: list[Settled] = [None] * len(ones)
    arrivals: list[Arrival] = []
    try:
        now = engine.clock()
        with engine.telemetry.work(MicroAgent.EVALUATOR):
            for one in ones:
                (alert,) = evaluator.evaluate(one.signal, engine.ports, now).alerts
                arrivals.append(Arrival(alert, one.event.time, one.event.traceparent))
        with engine.telemetry.work(MicroAgent.ALERT_ROUTER):
            opened = engine.brake.rate.within(now)
            alert_router.route_all(arrivals, engine.ports, now, engine.memory, settled, opened)
    except ArgusError as error:
        log.warning("%d signals are routed one by one: %s", settled.count(None), error)
    except Exception:  # whichever it is, it fails by itself below, and the others do not
        log.exception("%d signals are routed one by one", settled.count(None))
    _show_all(arrivals, settled)
    for one, what in zip(ones, settled, strict=True):
        match what:
            case None:
                _alone(engine, one, partial(_one_signal, engine, one))
            case Routed():
                with engine.telemetry.hop(Queue.SIGNALS, one.event) as seen:
                    seen.end(Ending.DONE)
            case TransientError():
                _alone(engine, one, partial(_raise, what))


def _raise(error: TransientError) -> Ending:
    raise error


def _alone(engine: Engine, one: _One, work: Callable[[], Ending]) -> None:
    """Work off one signal as an event of its own, for its own retries; one that was split off before stays the same."""
    event = one.event
    if len(event.data.signals) > 1 or event.attempt == 0:  # type: ignore[union-attr]
        event = replace(event, id=derive_id(event.id, one.signal.id), data=SignalsReceived((one.signal,)))
    watched(engine, Queue.SIGNALS, event, work)


def _one_signal(engine: Engine, one: _One) -> Ending:
    while True:
        now = engine.clock()
        with engine.telemetry.work(MicroAgent.EVALUATOR):
            evaluation = evaluator.evaluate(one.signal, engine.ports, now)
        for alert in evaluation.alerts:
            with engine.telemetry.work(MicroAgent.ALERT_ROUTER):
                routed = alert_router.route(alert, engine.ports, now, engine.memory, one.event.time)
            _show(alert, evaluation.reason, routed)
        if evaluator.save(evaluation, engine.ports.store):
            return Ending.DONE


def _show(alert: Alert, why: str, routed: Routed) -> None:
    if routed.what == alert_router.FOLDED:
        return  # a repeat that changes nothing is counted, not told
    judged = f"rule {alert.rule} is {alert.status}" if alert.rule else f"{alert.name} is {alert.status}"
    show(MicroAgent.EVALUATOR, judged, why, routed.incident_id)
    show(MicroAgent.ALERT_ROUTER, f"{alert.name} {routed.what}", routed.reason, routed.incident_id)


def _show_all(arrivals: Sequence[Arrival], settled: Sequence[Settled]) -> None:
    """One record for all alerts of a batch that met the same end; a storm is no reason to write its every alert."""
    same: Counter[Routed] = Counter()
    first: dict[Routed, Alert] = {}
    for arrival, what in zip(arrivals, settled, strict=False):
        if isinstance(what, Routed):
            same[what] += 1
            first.setdefault(what, arrival.alert)
    for routed, count in same.items():
        alert = first[routed]
        if count == 1:
            _show(alert, f"{alert.source} has judged {alert.name}", routed)
        elif routed.what != alert_router.FOLDED:
            which = f"{count} alerts such as {alert.name}"
            show(MicroAgent.EVALUATOR, f"{which} taken as they are", f"{alert.source} has judged", routed.incident_id)
            show(MicroAgent.ALERT_ROUTER, f"{which} {routed.what}", routed.reason, routed.incident_id)
