"""Collector: takes in what monitoring systems send, asks the ones that wait to be asked, and makes one shape of it.

In: webhook bodies and timer ticks. Out: signals on the bus; raw bodies kept for people.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime

import orjson

from shared.agents.sentinel import bodies
from shared.model.errors import PermanentError, Reason
from shared.model.event import Event, SignalsReceived, derive_id
from shared.model.pipeline import MicroAgent, source_of
from shared.model.signal import Severity, Signal, SignalKind, Status
from shared.ports import Ports
from shared.ports.source import Delivery, Poller
from shared.records import letters, payloads
from shared.records.redaction import redact

MAX_BODY_BYTES = 1024 * 1024
MAX_BATCH_BYTES = 160 * 1024  # leaves room for the envelope within the 192 KB of rule M5
MAX_POLLERS_AT_ONCE = 8
MAX_DESCRIPTION_CHARS = 2000


@dataclass(frozen=True, slots=True)
class Received:
    """What a sender is told.

    Attributes:
        receipt: id of this delivery; the same delivery has the same one.
        signals: how many signals it became.
        recognised: false when no known shape fitted and it is kept as an alert of its own.
    """

    receipt: str
    signals: int
    recognised: bool


def receive(
    name: str, raw: bytes, headers: Mapping[str, str], now: datetime, ports: Ports, blind: bool = False
) -> Received:
    """Take in one webhook call. When this returns, the bus has every signal of it.

    Args:
        name: configured source name.
        raw: the body as it came, at most 1 MB.
        blind: do not ask the source what it says; it is passed on as something nobody recognises.

    Raises:
        PermanentError: it is not JSON (kept in quarantine), or too large.
        TransientError: bus or store cannot be reached; the sender should try again.
    """
    source = ports.sources[name]
    digest = hashlib.sha256(raw).hexdigest()
    if len(raw) > MAX_BODY_BYTES:
        raise PermanentError(f"the body has {len(raw)} bytes, {MAX_BODY_BYTES} are allowed", Reason.TOO_LARGE)
    try:
        body = bodies.read(raw)
    except PermanentError as error:
        payloads.quarantine(ports.store, derive_id(name, digest), name, error.reason, str(error), "", raw, now)
        raise
    receipt = derive_id(name, digest if blind else source.receipt(body, headers, digest, now))
    reference = payloads.put(ports.store, receipt, raw, now)
    signals = () if blind else source.parse(Delivery(body, headers, receipt, now, reference))
    recognised = bool(signals)
    if not signals:
        signals = (_unknown(name, receipt, digest, raw, reference, now),)
    _send(signals, receipt, now, ports)
    return Received(receipt, len(signals), recognised)


def poll(timer: str, due: datetime, now: datetime, ports: Ports) -> int:
    """Ask every poller once.

    Args:
        timer: name of the timer; with ``due`` it is the cause of the ids (rule M2).

    Returns:
        How many signals were sent.
    """
    pollers: list[Poller] = [ports.pollers[name] for name in sorted(ports.pollers)]
    if not pollers:
        return 0
    with ThreadPoolExecutor(min(len(pollers), MAX_POLLERS_AT_ONCE), "poll") as pool:
        answers = list(pool.map(lambda poller: poller.poll(due), pollers))
    signals = tuple(signal for answer in answers for signal in answer)
    if signals:
        _send(signals, derive_id(timer, due.isoformat()), now, ports)
    return len(signals)


def _unknown(name: str, receipt: str, digest: str, raw: bytes, reference: str, now: datetime) -> Signal:
    """A body whose shape nobody knows, as a low-severity alert of its own."""
    return Signal(
        id=derive_id(receipt, "0"),
        source=name,
        kind=SignalKind.ALERT,
        name=f"Unrecognised message from {name}",
        at=now,
        fingerprint=derive_id(name, digest),
        severity=Severity.SEV4,
        status=Status.FIRING,
        starts_at=now,
        summary=f"A message from {name} has a shape that ARGUS does not know; the raw body is kept.",
        description=redact(raw).decode("utf-8", "replace").removeprefix("\ufeff")[:MAX_DESCRIPTION_CHARS],
        payload=reference,
        recognised=False,
    )


def _send(signals: tuple[Signal, ...], cause: str, now: datetime, ports: Ports) -> None:
    """Put signals on the bus, as many a message as fit (rule M5)."""
    batch: list[Signal] = []
    size = ordinal = 0
    for signal in signals:
        weight = len(orjson.dumps(signal, default=dict))  # as long as the codec's text, and a tenth of the work
        if batch and size + weight > MAX_BATCH_BYTES:
            _send_batch(tuple(batch), cause, ordinal, now, ports)
            batch, size, ordinal = [], 0, ordinal + 1
        batch.append(signal)
        size += weight
    _send_batch(tuple(batch), cause, ordinal, now, ports)


def _send_batch(batch: tuple[Signal, ...], cause: str, ordinal: int, now: datetime, ports: Ports) -> None:
    identity = derive_id(cause, SignalsReceived.TYPE, "", str(ordinal))
    event = Event(identity, source_of(MicroAgent.COLLECTOR), "", now, SignalsReceived(batch))
    letters.send(ports.store, ports.bus, event)
