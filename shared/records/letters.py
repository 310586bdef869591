"""Events as messages: inline, or as a reference into `payloads` when they are large.

In: events. Out: messages on the queue of their type, and events read back (rules M1 to M5).
"""

from __future__ import annotations

from dataclasses import replace

from shared.model import codec
from shared.model.errors import PermanentError, Reason
from shared.model.event import Event, GroupChanged, GroupsOpened, SignalsReceived
from shared.model.pipeline import DESTINATION, Queue
from shared.ports import telemetry
from shared.ports.bus import Bus, Message
from shared.ports.store import Store
from shared.records import payloads

MAX_INLINE_BYTES = 48 * 1024
MAX_SIGNALS_BYTES = 192 * 1024


def send(store: Store, bus: Bus, event: Event, queue: Queue | None = None) -> None:
    """Put an event on the queue of its type.

    Args:
        queue: another queue, for a delayed retry of an event that two queues may carry.

    Raises:
        TransientError: bus or store cannot be reached.
    """
    bus.send(queue or DESTINATION[type(event.data)], (message_of(store, event),))


def message_of(store: Store, event: Event) -> Message:
    """The message that carries an event; a large one is kept in ``payloads`` first (rule M5).

    Raises:
        TransientError: the store cannot be reached.
    """
    if not event.traceparent:
        event = replace(event, traceparent=telemetry.traceparent())
    body = codec.encode_event(event)
    several = isinstance(event.data, GroupChanged) and event.data.beside
    many = isinstance(event.data, SignalsReceived | GroupsOpened) or several
    limit = MAX_SIGNALS_BYTES if many else MAX_INLINE_BYTES
    if len(body) > limit:
        reference = payloads.put(store, f"event-{event.id}", body, event.time, raw=False)
        body = codec.encode_reference(event, reference)
    return Message(event.message_id, body, event.subject, event.traceparent, event.not_before)


def read(store: Store, body: bytes) -> Event:
    """Read an event, and its data from ``payloads`` where it travels as a reference.

    Raises:
        PermanentError: nobody can read it, or the referenced payload has expired.
    """
    try:
        reference = codec.reference_of(body)
        attempt = codec.attempt_of(body) if reference else 0
    except (ValueError, TypeError, RecursionError):
        raise PermanentError("the message is no CloudEvents envelope", Reason.BAD_INPUT) from None
    if not reference:
        return codec.decode_event(body)
    kept = payloads.get(store, reference)
    if kept is None:
        raise PermanentError("the referenced payload has expired", Reason.NOT_FOUND)
    return replace(codec.decode_event(kept), attempt=attempt)
