"""Collector: takes in what monitoring systems send, asks the ones that wait to be asked, and makes one shape of it.

In: webhook bodies and timer ticks. Out: signals on the bus; raw bodies kept for people.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime

import orjson

from shared.agents.sentinel import bodies
from shared.model.errors import PermanentError, Reason
from shared.model.event import Event, SignalsReceived, derive_id
from shared.model.pipeline import DESTINATION, MicroAgent, source_of
from shared.model.signal import Severity, Signal, SignalKind, Status
from shared.ports import Ports
from shared.ports.bus import Message
from shared.ports.source import Delivery, Poller
from shared.records import letters, payloads, quarantine
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


@dataclass(frozen=True, slots=True)
class Taken:
    """A webhook call that is understood and not kept yet.

    Attributes:
        digest: SHA-256 of the body.
        reference: where the body will be kept; its signals name it.
    """

    source: str
    receipt: str
    raw: bytes
    digest: bytes
    headers: Mapping[str, str]
    signals: tuple[Signal, ...]
    recognised: bool
    reference: str
    at: datetime

    @property
    def received(self) -> Received:
        """What its sender is told."""
        return Received(self.receipt, len(self.signals), self.recognised)


def understand(
    name: str,
    raw: bytes,
    headers: Mapping[str, str],
    now: datetime,
    ports: Ports,
    blind: bool = False,
    turn: int | None = None,
) -> Taken:
    """Read one webhook call; nothing is kept or sent yet.

    Args:
        name: configured source name.
        raw: the body as it came, at most 1 MB.
        blind: do not ask the source what it says; it is passed on as something nobody recognises.
        turn: see `payloads.address`.

    Raises:
        PermanentError: it is not JSON, or too large.
    """
    source = ports.sources[name]
    if len(raw) > MAX_BODY_BYTES:
        raise PermanentError(f"the body has {len(raw)} bytes, {MAX_BODY_BYTES} are allowed", Reason.TOO_LARGE)
    digest = hashlib.sha256(raw)
    body = bodies.read(raw)
    receipt = derive_id(name, digest.hexdigest() if blind else source.receipt(body, headers, digest.hexdigest(), now))
    reference = payloads.address(receipt, now, turn)
    signals = () if blind else source.parse(Delivery(body, headers, receipt, now, reference))
    recognised = bool(signals)
    if not signals:
        signals = (_unknown(name, receipt, digest.hexdigest(), raw, reference, now),)
    return Taken(name, receipt, raw, digest.digest(), headers, signals, recognised, reference, now)


def reads_the_same(taken: Taken, later: datetime, ports: Ports) -> bool:
    """Whether the same bytes would be the same delivery with the same signals at another time.

    A body without a time of its own is another delivery each time, and the end that some alerts announce passes.
    """
    source, body = ports.sources[taken.source], bodies.read(taken.raw)
    receipt = derive_id(taken.source, source.receipt(body, taken.headers, taken.digest.hex(), later))
    return receipt == taken.receipt and taken.signals == source.parse(
        Delivery(body, taken.headers, receipt, later, taken.reference)
    )


def keep_unreadable(name: str, raw: bytes, error: PermanentError, now: datetime, ports: Ports) -> None:
    """Keep a body that is not JSON in quarantine; one that is too large is only refused."""
    if error.reason is not Reason.TOO_LARGE:
        kept_as = derive_id(name, hashlib.sha256(raw).hexdigest())
        quarantine.keep_body(ports.store, kept_as, name, error.reason, str(error), raw, now)


def keep(batch: Sequence[tuple[Taken, Sequence[Signal]]], now: datetime, ports: Ports) -> None:
    """Keep bodies and send their signals; when this returns, the bus has every signal.

    Args:
        batch: calls, each with those of its signals that are to be sent, at least one.

    Raises:
        TransientError: bus or store cannot be reached; the senders should try again.
    """
    payloads.put_all(ports.store, (payloads.Body(taken.reference, taken.raw) for taken, _ in batch), now)
    _send([signal for _, signals in batch for signal in signals], now, ports)


def receive(
    name: str, raw: bytes, headers: Mapping[str, str], now: datetime, ports: Ports, blind: bool = False
) -> Received:
    """Take in one webhook call by itself. When this returns, the bus has every signal of it.

    Args:
        blind: see `understand`.

    Raises:
        PermanentError: it is not JSON (kept in quarantine), or too large.
        TransientError: bus or store cannot be reached; the sender should try again.
    """
    try:
        taken = understand(name, raw, headers, now, ports, blind)
    except PermanentError as error:
        keep_unreadable(name, raw, error, now, ports)
        raise
    keep([(taken, taken.signals)], now, ports)
    return taken.received


def poll(timer: str, due: datetime, now: datetime, ports: Ports) -> int:
    """Ask every poller once.

    Args:
        due: what the ids of samples derive from, beside their poller (rule M2).

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
        _send(signals, now, ports)
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


def _send(signals: Sequence[Signal], now: datetime, ports: Ports) -> None:
    """Put signals on the bus by one call, as many a message as fit (rule M5)."""
    messages: list[Message] = []
    batch: list[Signal] = []
    size = 0
    for signal in signals:
        weight = len(orjson.dumps(signal, default=dict))  # as long as the codec's text, and a tenth of the work
        if batch and size + weight > MAX_BATCH_BYTES:
            messages.append(_message(tuple(batch), now, ports))
            batch, size = [], 0
        batch.append(signal)
        size += weight
    messages.append(_message(tuple(batch), now, ports))
    ports.bus.send(DESTINATION[SignalsReceived], messages)


def _message(batch: tuple[Signal, ...], now: datetime, ports: Ports) -> Message:
    # Named by its signals, whose ids derive from their receipts: calls that come again may come with others, and the
    # cut between two messages may lie elsewhere; a message must not be taken for one that held less (rule M2).
    identity = derive_id(SignalsReceived.TYPE, *(signal.id for signal in batch))
    event = Event(identity, source_of(MicroAgent.COLLECTOR), "", now, SignalsReceived(batch))
    return letters.message_of(ports.store, event)
