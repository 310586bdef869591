"""The conductor's sweep: makes good what a crash left undone.

In: markers of incidents that may have something to send. Out: sent events, released holds, started waits, shown
projections, anchored audit heads (rules H8, H9, D2, P1).
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime, timedelta

from shared.model import codec
from shared.model.event import ApprovalDecided, Event, derive_id
from shared.model.incident import Incident
from shared.model.pipeline import MicroAgent, source_of
from shared.ports import Ports
from shared.ports.anchor import Anchor, Head
from shared.ports.store import Conflict, Delete, Table
from shared.records import approvals, incidents, index, journal, letters

RESEND_AFTER = timedelta(minutes=1)
MARKER_MARGIN = timedelta(minutes=5)


@dataclass(slots=True)
class Swept:
    """What one sweep did."""

    sent: int = 0
    released: int = 0
    waits: int = 0
    markers: int = 0


def run(ports: Ports, anchor: Anchor, now: datetime) -> Swept:
    """Go once over every marker."""
    done = Swept()
    keep_for = timedelta(seconds=ports.settings.host.function_timeout_s) + MARKER_MARGIN
    known = anchor.latest()
    heads: list[Head] = []
    for incident_id, at, shard, etag in incidents.pending(ports.store):
        loaded = incidents.load(ports.store, incident_id)
        if loaded is None:
            if now - at >= keep_for:
                _forget(ports, shard, incident_id, etag, done)
            continue
        incident = loaded.incident
        index.put_incident(ports.store, incident)
        head = Head(incident.id, incident.entries, incident.audit_head, now)
        if incident.id not in known or known[incident.id].number < head.number:
            heads.append(head)
        busy = _send_left(ports, incident, now, done)
        busy = _release_due(ports, incident, now, done) or busy
        busy = _care_for_wait(ports, incident, now, done) or busy
        if not busy and now - at >= keep_for:
            _forget(ports, shard, incident_id, etag, done)
    anchor.add(heads)
    return done


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
            continue
        event = journal.release(ports.store, held, "timer", now)
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
        done.waits += 1
    elif now - decision.at >= RESEND_AFTER:
        identity = derive_id(waiting.id, "decision", ApprovalDecided.TYPE, incident.id, "0")
        source = source_of(MicroAgent.SOLICITOR)
        letters.send(ports.store, ports.bus, Event(identity, source, incident.id, now, ApprovalDecided(waiting.id)))
        done.waits += 1
    return True


def _forget(ports: Ports, shard: str, incident_id: str, etag: str, done: Swept) -> None:
    """Delete a marker by ETag, so that one written meanwhile stays."""
    try:
        ports.store.write(Table.PENDING, shard, Delete(incident_id, etag))
    except Conflict:
        return
    done.markers += 1


def note_configuration(ports: Ports, now: datetime) -> bool:
    """Write a changed configuration into the system chain, by its hash (rule H12); False when it is the known one."""
    digest = hashlib.sha256(codec.canonical(ports.settings.model_dump(mode="json")).encode()).hexdigest()
    for back in range(2):
        entries = incidents.audit(ports.store, f"system-{now - timedelta(days=back):%Y%m%d}")
        loaded = [entry for entry in entries if entry.what == "configuration loaded"]
        if loaded and loaded[-1].why == digest:
            return False
    journal.system(ports.store, "configuration loaded", digest, "", digest, now)
    return True
