"""What becomes of work that fails: another attempt, or quarantine with its reason (PROTOCOL, rule H10).

In: a piece of work and what it raises. Out: the same event scheduled again, or kept where people see it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta

from shared.dispatch import lacking
from shared.dispatch.engine import Engine
from shared.dispatch.showing import show
from shared.model import codec
from shared.model.errors import PermanentError, Reason, TransientError
from shared.model.event import Event, derive_id
from shared.model.pipeline import STAGES, Queue
from shared.ports.telemetry import Ending
from shared.records import envelopes, incidents, letters, quarantine
from shared.records.redaction import redact

log = logging.getLogger("argus.dispatch")

MAX_BUGS = 3
BACK_OFF_FIRST = timedelta(seconds=2)  # half of it is jitter, so nothing comes back within a second
BACK_OFF_MOST = timedelta(minutes=15)


def watched(engine: Engine, queue: Queue, event: Event, work: Callable[[], Ending]) -> None:
    """Do the work of one delivery, and let telemetry see how it ends."""
    with engine.telemetry.hop(queue, event) as seen:
        seen.end(*_guarded(engine, queue, event, work))


def _guarded(engine: Engine, queue: Queue, event: Event, work: Callable[[], Ending]) -> tuple[Ending, str]:
    """Do the work; what it raises becomes another attempt or a quarantine row (rule H10)."""
    try:
        return work(), ""
    except PermanentError as error:
        return _quarantine(engine, queue, event, error.reason, str(error))
    except TransientError as error:
        return _again(engine, queue, event, error)
    except Exception as error:
        log.exception("%s failed on %s", event.type, queue)
        if quarantine.strike(engine.ports.store, event.id, engine.clock()) > MAX_BUGS:
            why = f"{type(error).__name__} in the code; see the log"
            return _quarantine(engine, queue, event, Reason.BUG, why)
        return _again(engine, queue, event, TransientError(type(error).__name__, Reason.BUG, sent=None))


def _again(engine: Engine, queue: Queue, event: Event, error: TransientError) -> tuple[Ending, str]:
    """Schedule the same event again, or give up after a day (rule H10)."""
    now, store = engine.clock(), engine.ports.store
    if now - _began(engine, event) > timedelta(hours=engine.ports.settings.host.retry_hours):
        return _quarantine(engine, queue, event, error.reason, f"gave up after {event.attempt} attempts: {error}")
    back_off = min(BACK_OFF_FIRST * 2 ** min(event.attempt, 10), BACK_OFF_MOST) * (0.5 + engine.jitter() / 2)
    delay = max(error.retry_after or timedelta(0), back_off)
    show(STAGES[queue].chain[0], f"again in {delay.total_seconds():.0f} s", str(error), event.subject)
    later = replace(event, attempt=event.attempt + 1, not_before=now + delay)
    letters.send(store, engine.ports.bus, later, queue)
    lacking.note(engine, queue, event, error, delay)
    return Ending.AGAIN, str(error)


def _began(engine: Engine, event: Event) -> datetime:
    """When its attempts began; a store that cannot tell must not use up the deliveries a queue allows (rule H10)."""
    try:
        store = engine.ports.store
        return max(incidents.began(store, event), quarantine.replayed_at(store, event))
    except TransientError:
        return engine.clock()


def _quarantine(engine: Engine, queue: Queue, event: Event, reason: Reason, message: str) -> tuple[Ending, str]:
    """Keep an event that cannot be worked off, with its reason, and say so in the timeline."""
    store, now = engine.ports.store, engine.clock()
    kept = quarantine.keep_event(store, event, str(queue), reason, message, now)
    log.error("quarantined %s from %s: %s (%s)", event.id, queue, message, reason)
    body = codec.encode_event(event)
    short = body if len(body) <= letters.MAX_SIGNALS_BYTES else codec.encode_reference(event, kept.payload)
    engine.ports.bus.send(Queue.QUARANTINE, (quarantine.copy_for_queue(kept, short, event.traceparent),))
    ended = (Ending.QUARANTINED, f"{reason}: {message}")
    if queue is Queue.SIGNALS:
        return ended
    try:
        lacking.give_up(engine, queue, event, reason, message)
    except PermanentError as error:
        log.error("the timeline of %s cannot say so: %s", event.subject, error)
    return ended


def quarantine_body(engine: Engine, queue: Queue, body: bytes, error: PermanentError) -> None:
    """Keep a message that is no event, or none of this queue."""
    now = engine.clock()
    identity = derive_id("body", body.hex())
    raw = not envelopes.is_ours(body)  # one of ours is kept as it is, to be sent again after a deployment
    kept = quarantine.keep_body(engine.ports.store, identity, str(queue), error.reason, str(error), body, now, raw=raw)
    log.error("quarantined a message from %s: %s", queue, error)
    shown = (redact(body) if raw else body)[: letters.MAX_SIGNALS_BYTES]
    engine.ports.bus.send(Queue.QUARANTINE, (quarantine.copy_for_queue(kept, shown),))
