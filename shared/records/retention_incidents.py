"""Retention of incidents: working rows of closed ones, and, where it is configured, closed ones as a whole.

In: incidents that have been over for long enough. Out: rows that are gone, with `purged_before` on the incident, so
that an older event is refused instead of run a second time (rules H11 and H12).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from shared.model.errors import PermanentError
from shared.model.incident import Incident
from shared.ports.store import Conflict, Delete, Replace, Row, Store, Table
from shared.records import incidents, index, journal
from shared.records.removals import WHAT, Removal
from shared.records.retention import MOST_OPERATIONS, SKEW, Broom, Tally, all_rows, batches
from shared.records.rows import moment, pack

MAX_TRIES = 20
WORKING = (incidents.INBOX, incidents.INTENT, incidents.RELEASED)
WAITING = "has events that are not sent or are held"
_AT = {incidents.INBOX: "at", incidents.INTENT: "lease_until", incidents.RELEASED: "at"}


def purge(broom: Broom) -> None:
    """Look at every incident once."""
    working = broom.tally(Table.INCIDENTS, "working rows of closed incidents")
    whole = broom.tally(Table.INCIDENTS, "closed incidents") if broom.rules.closed_incidents else None
    for partition in broom.due(Table.INCIDENTS):
        try:
            loaded = incidents.load(broom.store, partition)
        except (PermanentError, ValueError):  # for `argus audit verify` to say
            working.keep("cannot be read")
            continue
        if loaded is None:
            continue  # a chain of the system, or an incident that is being created
        over = _over_since(loaded.incident)
        if over is None:
            continue
        if whole is not None and over < broom.now - (broom.rules.closed_incidents or timedelta(0)):
            _purge_whole(broom, whole, partition)
        elif broom.rules.working_rows is not None and over < broom.now - broom.rules.working_rows:
            _purge_working(broom, working, partition, broom.now - broom.rules.working_rows)


def _over_since(incident: Incident) -> datetime | None:
    return (incident.closed_at or incident.updated_at) if incident.over else None


def _purge_working(broom: Broom, tally: Tally, incident_id: str, before: datetime) -> None:
    """Delete what was written before ``before``; what is younger has its turn later.

    Not the moment of closing but this time becomes ``purged_before``, so that an event which is still on its way after
    the end, such as a ticket's last note, is never refused as too old.
    """
    rows = [
        row
        for prefix in WORKING
        for row in incidents.rows(broom.store, incident_id, prefix)
        if (moment(row.values, _AT[prefix]) or before) < before - SKEW
    ]
    if not rows:
        return
    if _waits(broom.store, incident_id, before):
        tally.keep(WAITING)
        return
    tally.units += 1
    if broom.dry:
        tally.rows += len(rows)
        return
    broom.begin()
    for batch in batches(rows, MOST_OPERATIONS - 1):
        if broom.enough():
            return
        tally.rows += _with_incident(broom.store, incident_id, batch, lambda held: _marked(held, before))


def _waits(store: Store, incident_id: str, before: datetime) -> bool:
    """Whether an event that would be too old afterwards waits to be sent or released."""
    left = (event for event, _, _ in incidents.outbox(store, incident_id))
    kept = (held.event for held in incidents.held(store, incident_id))
    return any(event.time < before for events in (left, kept) for event in events)


def _marked(incident: Incident, before: datetime) -> Incident:
    return replace(incident, purged_before=max(before, incident.purged_before or before))


def _with_incident(store: Store, incident_id: str, rows: Sequence[Row], change: Callable[[Incident], Incident]) -> int:
    """Delete rows in one transaction with the incident's own row, as long as it is over.

    Returns:
        How many went; 0 when the incident is not over any more or changes all the time.
    """
    for _ in range(MAX_TRIES):
        loaded = incidents.load(store, incident_id)
        if loaded is None or not loaded.incident.over:
            return 0
        known = [row for row in rows if store.get(Table.INCIDENTS, incident_id, row.key) is not None]
        after = Replace(incidents.INCIDENT, pack(change(loaded.incident)), loaded.etag)
        try:
            store.transact(Table.INCIDENTS, incident_id, [after, *(Delete(row.key, None) for row in known)])
        except Conflict:
            continue
        return len(known)
    return 0


def _purge_whole(broom: Broom, tally: Tally, incident_id: str) -> None:
    """Take an incident out: everything but a stub that keeps its id from being used again, and its approvals.

    The system chain says so first, with the last hash: without that, verifying would call it a theft. A crash leaves an
    incident of which some rows are gone; the next run takes the rest.
    """
    rows = [row for row in all_rows(broom.store, Table.INCIDENTS, incident_id) if row.key != incidents.INCIDENT]
    loaded = incidents.load(broom.store, incident_id)
    if loaded is None or not loaded.incident.over or (not rows and loaded.incident == _stub(loaded.incident)):
        return
    if any(row.key.startswith((incidents.OUTBOX, incidents.HELD)) for row in rows):
        tally.keep(WAITING)
        return
    tally.units += 1
    if broom.dry:
        tally.rows += len(rows)
        return
    broom.begin()
    held = loaded.incident
    removal = Removal(incident_id, held.entries, held.audit_head)
    if rows:  # without any, it was said by a run that died at the very end
        journal.system(broom.store, WHAT, removal.why, "", removal.why, broom.clock())
    # By ETag: whoever writes to this incident now makes the run stop here, and the next one begins anew.
    first = Replace(incidents.INCIDENT, pack(_marked(held, broom.now)), loaded.etag)
    try:
        broom.store.transact(Table.INCIDENTS, incident_id, [first])
    except Conflict:
        return
    known = {row.key for row in rows}
    for batch in batches(rows):
        tally.rows += broom.delete(Table.INCIDENTS, incident_id, batch)
    index.remove_incident(broom.store, held)
    later = [row for row in all_rows(broom.store, Table.INCIDENTS, incident_id) if row.key not in known]
    if len(later) == 1:  # the incident alone: nobody wrote to it meanwhile
        _with_incident(broom.store, incident_id, (), _stub)


def _stub(incident: Incident) -> Incident:
    """What stays of an incident that was taken out: who it was, and where its chain ended."""
    return Incident(
        id=incident.id,
        title="(removed by retention)",
        service=incident.service,
        severity=incident.severity,
        state=incident.state,
        opened_at=incident.opened_at,
        updated_at=incident.updated_at,
        version=incident.version,
        tenant=incident.tenant,
        group_key=incident.group_key,
        generation=incident.generation,
        closed_at=incident.closed_at,
        cancelled=incident.cancelled,
        entries=incident.entries,
        audit_head=incident.audit_head,
        purged_before=incident.purged_before,
    )
