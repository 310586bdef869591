"""The signals queue: a batch, many incidents or none; each signal fails alone (PROTOCOL, rule S1).

In: message bodies. Out: routed alerts, saved windows, counted repeats.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from shared.agents.sentinel import alert_router, evaluator
from shared.dispatch.engine import Engine
from shared.dispatch.failures import quarantine_body, watched
from shared.dispatch.showing import show
from shared.model.errors import PermanentError, Reason
from shared.model.event import Event, SignalsReceived, derive_id
from shared.model.pipeline import MicroAgent, Queue
from shared.model.signal import Signal
from shared.ports.telemetry import Ending
from shared.records import letters


def signals(engine: Engine, bodies: Sequence[bytes]) -> None:
    """Work off a batch of the signals queue; each signal fails alone (rule S1)."""
    for body in bodies:
        try:
            event = letters.read(engine.ports.store, body)
            if not isinstance(event.data, SignalsReceived):
                raise PermanentError(f"{event.type} does not belong on {Queue.SIGNALS}", Reason.BAD_INPUT)
        except PermanentError as error:
            quarantine_body(engine, Queue.SIGNALS, body, error)
            continue
        for signal in event.data.signals:
            alone = _split(event, signal, len(event.data.signals))
            watched(engine, Queue.SIGNALS, alone, partial(_one_signal, engine, signal))
    engine.memory.flush(engine.ports.store, engine.clock())


def _split(event: Event, signal: Signal, of: int) -> Event:
    """The signal as an event of its own, for its own retries; one that was split off before stays the same."""
    if of == 1 and event.attempt > 0:
        return event
    return replace(event, id=derive_id(event.id, signal.id), data=SignalsReceived((signal,)))


def _one_signal(engine: Engine, signal: Signal) -> Ending:
    while True:
        now = engine.clock()
        with engine.telemetry.work(MicroAgent.EVALUATOR):
            evaluation = evaluator.evaluate(signal, engine.ports, now)
        for alert in evaluation.alerts:
            with engine.telemetry.work(MicroAgent.ALERT_ROUTER):
                routed = alert_router.route(alert, engine.ports, now, engine.memory)
            if routed.what != alert_router.FOLDED:  # a repeat that changes nothing is counted, not told
                judged = f"rule {alert.rule} is {alert.status}" if alert.rule else f"{alert.name} is {alert.status}"
                show(MicroAgent.EVALUATOR, judged, evaluation.reason, routed.incident_id)
                show(MicroAgent.ALERT_ROUTER, f"{alert.name} {routed.what}", routed.reason, routed.incident_id)
        if evaluator.save(evaluation, engine.ports.store):
            return Ending.DONE
