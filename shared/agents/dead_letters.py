"""The conductor's collecting of dead letters: what the bus gave up delivering comes to where people look.

In: dead letters of every queue. Out: quarantine entries, each once, with the bus's reason and the original body; a line
in the incident's timeline.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from shared.model.errors import PermanentError, TransientError
from shared.model.event import Event, derive_id
from shared.model.pipeline import STAGES, MicroAgent, Queue
from shared.ports import Ports
from shared.ports.dead_letters import DeadLetter, DeadLetters
from shared.records import envelopes, incidents, journal, letters, quarantine
from shared.records.quarantine import DEAD_LETTER, Quarantined
from shared.records.redaction import redact

log = logging.getLogger("argus.dead_letters")

MOST_AT_ONCE = 500  # of one queue in one round; the next round goes on
WHAT = "quarantined"


@dataclass(slots=True)
class Collected:
    """What one round did; ``failed`` queues are asked again by the next one."""

    kept: int = 0
    failed: int = 0


def collect(dead_letters: DeadLetters, keep: Callable[[DeadLetter], None]) -> Collected:
    """Ask every queue once, that of the quarantine included; one that cannot be asked stops none of the others.

    Args:
        keep: what to do with each letter, such as `keep`.
    """
    done = Collected()
    for queue in Queue:
        try:
            done.kept += dead_letters.collect(queue, keep, MOST_AT_ONCE)
        except TransientError as error:
            log.warning("left to the next round: %s", error)
            done.failed += 1
    return done


def keep(ports: Ports, letter: DeadLetter, now: datetime, blind: bool = False) -> Quarantined | None:
    """Keep one dead letter; the same one again is the same entry.

    Args:
        blind: do not look what it is; its bytes are kept.

    Returns:
        The entry; ``None`` for a copy of what is in quarantine already.
    """
    copy = letter.queue is Queue.QUARANTINE
    if copy and quarantine.find(ports.store, now, letter.message_id.removeprefix("q.")):
        return None
    why = ": ".join(part for part in (letter.reason, letter.description) if part) or "the bus does not say why"
    try:
        event = letters.read(ports.store, letter.body) if letter.whole and not blind else None
    except PermanentError as error:
        event, why = None, f"{why} ({error})"
    log.error("dead letter of %s: %s", letter.queue, why)
    if event is None:
        entry = _keep_body(ports, letter, why, now)
    else:
        entry = quarantine.keep_event(
            ports.store, event, str(letter.queue), DEAD_LETTER, why, now, deliveries=letter.deliveries
        )
        _say(ports, letter.queue, event, f"{DEAD_LETTER}: {entry.message}", now)
    if not copy:
        body = letter.body if event is not None or envelopes.is_ours(letter.body) else redact(letter.body)
        ports.bus.send(Queue.QUARANTINE, (quarantine.copy_for_queue(entry, body[: letters.MAX_SIGNALS_BYTES]),))
    return entry


def _keep_body(ports: Ports, letter: DeadLetter, why: str, now: datetime) -> Quarantined:
    """A message that nobody can read, today at least."""
    ours = envelopes.is_ours(letter.body)
    digest = hashlib.sha256(letter.body).hexdigest()
    return quarantine.keep_body(
        ports.store,
        derive_id(DEAD_LETTER, letter.queue, str(letter.sequence), letter.message_id, digest),
        str(letter.queue),
        DEAD_LETTER,
        why,
        letter.body,
        now,
        raw=not ours,
        recurs=False,
        came_at=letter.enqueued_at,
        message_id=letter.message_id,
        whole=letter.whole,
        deliveries=letter.deliveries,
    )


def _say(ports: Ports, queue: Queue, event: Event, why: str, now: datetime) -> None:
    """One line in the timeline of the incident, however often the letter is handed over."""
    stage = STAGES.get(queue)
    worker = stage.chain[0] if stage is not None else MicroAgent.CONDUCTOR
    try:
        if not event.subject or incidents.load(ports.store, event.subject) is None:
            return
        lines = incidents.timeline(ports.store, event.subject)
        if not any((line.event_id, line.what, line.why) == (event.id, WHAT, why) for line in lines):
            journal.note(ports.store, event, worker, WHAT, why, now)
    except PermanentError as error:
        log.error("the timeline of %s cannot say so: %s", event.subject, error)
