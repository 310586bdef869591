"""The conductor's sweep: makes good what a crash left undone.

In: markers of incidents that may have something to send. Out: sent events, released holds, started waits, shown
projections, finished closings, anchored audit heads (rules C2, D2, H8, H9, H12, P1).
"""

from __future__ import annotations

import hashlib
import logging
from dataclasses import dataclass
from datetime import datetime, timedelta

from shared.config.schema import Settings
from shared.model import codec
from shared.model.errors import ArgusError
from shared.model.event import ApprovalDecided, ClosingKind, ClosingRequested, Event, Payload, derive_id
from shared.model.incident import Incident
from shared.model.pipeline import MicroAgent, source_of
from shared.ports import Ports
from shared.ports.anchor import Anchor
from shared.ports.store import Conflict, Delete, Table
from shared.records import anchoring, approvals, brake, groups, incidents, index, journal, letters

log = logging.getLogger("argus.sweep")

RESEND_AFTER = timedelta(minutes=1)
CLOSING_LEFT = timedelta(minutes=2)  # rule C2
MARKER_MARGIN = timedelta(minutes=5)


@dataclass(slots=True)
class Swept:
    """What one sweep did; ``failed`` incidents are looked at again by the next one."""

    sent: int = 0
    released: int = 0
    waits: int = 0
    closings: int = 0
    markers: int = 0
    failed: int = 0

    @property
    def worth_telling(self) -> str:
        """What a person would want to know of it; empty when all was in order."""
        counts = {"sent": self.sent, "released": self.released, "closings": self.closings, "failed": self.failed}
        return ", ".join(f"{count} {name}" for name, count in counts.items() if count)


def run(ports: Ports, anchor: Anchor, now: datetime) -> Swept:
    """Go once over every marker; an incident that cannot be cared for stops none of the others."""
    done, marked = Swept(), list(incidents.pending(ports.store))
    for incident_id, at, shard, etag in marked:
        try:
            loaded = incidents.load(ports.store, incident_id)
            busy = loaded is not None and _care(ports, loaded.incident, now, done)
            if not busy and now - at >= _timeout(ports) + MARKER_MARGIN:
                _forget(ports, shard, incident_id, etag, done)
        except ArgusError as error:
            log.warning("incident %s is left to the next sweep: %s", incident_id, error)
            done.failed += 1
    for chain, problem in anchoring.run(ports.store, anchor, now, marked=[name for name, *_ in marked]).problems:
        log.error("the audit chain %s is broken: %s", chain, problem)
    return done


def _care(ports: Ports, incident: Incident, now: datetime, done: Swept) -> bool:
    """Do what is left to do for one incident; whether its marker must stay."""
    index.put_missing(ports.store, incident)
    busy = _send_left(ports, incident, now, done)
    busy = _release_due(ports, incident, now, done) or busy
    busy = _care_for_wait(ports, incident, now, done) or busy
    return _care_for_claim(ports, incident, now, done) or busy


def _timeout(ports: Ports) -> timedelta:
    return timedelta(seconds=ports.settings.host.function_timeout_s)


def _send_left(ports: Ports, incident: Incident, now: datetime, done: Swept) -> bool:
    """Send what has been in the outbox for a minute; its row goes with it."""
    left = incidents.outbox(ports.store, incident.id)
    for event, written, etag in left:
        if now - written < RESEND_AFTER:
            continue
        letters.send(ports.store, ports.bus, event)
        try:
            ports.store.write(Table.INCIDENTS, incident.id, Delete(incidents.OUTBOX + event.id, etag))
        except Conflict:
            continue  # its hop committed meanwhile
        done.sent += 1
    return bool(left)


def _release_due(ports: Ports, incident: Incident, now: datetime, done: Swept) -> bool:
    kept = incidents.held(ports.store, incident.id)
    for held in kept:
        if held.until > now:
            if now - held.since >= RESEND_AFTER and brake.wait_again(ports.store, incident, held, now):
                log.warning("incident %s is in the storm brake's queue again", incident.id)
            continue
        event = journal.release(ports.store, held, incidents.TIMER, now)
        if event is not None:
            letters.send(ports.store, ports.bus, event)
            done.released += 1
    return bool(kept)


def _care_for_wait(ports: Ports, incident: Incident, now: datetime, done: Swept) -> bool:
    """Start a wait that never started, and send its end again where the hop got lost (rule D2)."""
    waiting = incident.approval
    if waiting is None or waiting.verdict is not None:
        return False
    decision = approvals.decision_of(ports.store, waiting.id)
    if decision is None:
        ports.waits.start(waiting.id)
        if now - waiting.deadline >= RESEND_AFTER + timedelta(seconds=ports.settings.approvals.poll_s):
            ports.waits.wake(waiting.id)  # it should have ended by itself: its timer got lost, or it is suspended
        done.waits += 1
    elif now - decision.at >= RESEND_AFTER:
        identity = approvals.decided_id(waiting.id, incident.id)
        _say(ports, MicroAgent.SOLICITOR, identity, incident, now, ApprovalDecided(waiting.id))
        done.waits += 1
    return True


def _care_for_claim(ports: Ports, incident: Incident, now: datetime, done: Swept) -> bool:
    """Finish a closing from the incident's state, where its closer did not (rule C2)."""
    group = groups.state_of(ports.store, incident.group_key) if incident.group_key else None
    if group is None or group.generation != incident.generation:
        return False
    if incident.over and group.state is not groups.Claim.CLOSED:
        closed_at = incident.closed_at or incident.updated_at
        if now - closed_at >= CLOSING_LEFT:
            identity = derive_id(incident.id, "left closing", closed_at.isoformat())
            _say(ports, MicroAgent.CONDUCTOR, identity, incident, now, ClosingRequested(ClosingKind.SETTLE))
            done.closings += 1
        return True
    if not incident.over and group.state is groups.Claim.CLOSING:
        # Its closer may still be at work until the function time-out; afterwards the incident is known not to be over.
        if now - (group.closing_at or now) >= max(CLOSING_LEFT, _timeout(ports)):
            groups.reopen_claim(ports.store, incident.group_key, incident.generation)
            done.closings += 1
        return True
    return False


def _say(ports: Ports, who: MicroAgent, identity: str, incident: Incident, now: datetime, payload: Payload) -> None:
    event = Event(identity, source_of(who), incident.id, now, payload)
    letters.send(ports.store, ports.bus, event)


def _forget(ports: Ports, shard: str, incident_id: str, etag: str, done: Swept) -> None:
    """Delete a marker by ETag, so that one written meanwhile stays."""
    try:
        ports.store.write(Table.PENDING, shard, Delete(incident_id, etag))
    except Conflict:
        return
    done.markers += 1


def digest_of(settings: Settings) -> str:
    """What the audit trail knows a configuration by."""
    return hashlib.sha256(codec.canonical(settings.model_dump(mode="json")).encode()).hexdigest()


def note_configuration(ports: Ports, now: datetime) -> bool:
    """Write a changed configuration into the system chain, by its hash (rule H12); False when it is the known one."""
    digest = digest_of(ports.settings)
    for back in range(2):
        entries = incidents.audit(ports.store, journal.system_chain(now - timedelta(days=back)))
        loaded = [entry for entry in entries if entry.what == "configuration loaded"]
        if loaded and loaded[-1].why == digest:
            return False
    journal.system(ports.store, "configuration loaded", digest, "", digest, now)
    return True
