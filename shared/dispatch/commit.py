"""One transaction per hop on the incident's partition, and what is sent after it (PROTOCOL, rules H5 to H7).

In: an incident as loaded and what the micro-agents answered. Out: committed rows, sent events.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import timedelta

from shared.agents import conductor
from shared.dispatch.engine import Engine
from shared.dispatch.showing import show
from shared.model.errors import ArgusError, Reason, TransientError
from shared.model.event import Event
from shared.model.incident import Incident
from shared.model.outcome import Outcome
from shared.model.pipeline import MicroAgent
from shared.ports.store import Conflict, Delete, Insert, Operation, Replace, Table
from shared.records import incidents, index, journal, letters, rows

log = logging.getLogger("argus.dispatch")

MAX_COMMIT_TRIES = 50


def commit(
    engine: Engine,
    event: Event,
    loaded: incidents.Loaded,
    answers: list[tuple[MicroAgent, Outcome]],
    reads: tuple[str, ...],
) -> incidents.Loaded | None:
    """One transaction on the incident's partition (rules H5 and H6).

    Returns:
        ``None`` when it is done, or was done before; the incident as it is now when a read field changed.
    """
    store, base = engine.ports.store, loaded.incident
    for _ in range(MAX_COMMIT_TRIES):
        now = engine.clock()
        entry = journal.write(loaded.incident, event, answers, now, conductor.judge)
        operations: list[Operation] = [
            Insert(incidents.INCIDENT, rows.pack(entry.incident))
            if not loaded.etag
            else Replace(incidents.INCIDENT, rows.pack(entry.incident), loaded.etag),
            *entry.rows,
            incidents.inbox_row(event, now),
            *(incidents.outbox_row(out, now) for out in entry.events),
        ]
        if store.get(Table.INCIDENTS, event.subject, incidents.OUTBOX + event.id) is not None:
            operations.append(Delete(incidents.OUTBOX + event.id, None))
        incidents.mark_pending(store, event.subject, now)
        try:
            store.transact(Table.INCIDENTS, event.subject, operations)
        except Conflict as conflict:
            if conflict.row_key == incidents.INBOX + event.id:
                drain(engine, event.subject)
                return None
            current = incidents.load(store, event.subject)
            if current is None:
                continue
            if not loaded.etag:
                raise TransientError("somebody else created the incident", Reason.CONFLICT, timedelta(0)) from None
            loaded = current
            if any(getattr(base, name) != getattr(current.incident, name) for name in reads):
                return current
            continue
        _after(engine, entry.incident, entry.events, answers)
        return None
    raise TransientError("the incident is changed by too many at once", Reason.CONFLICT)


def _after(
    engine: Engine, incident: Incident, events: Sequence[Event], answers: list[tuple[MicroAgent, Outcome]]
) -> None:
    """Send and show what was committed; what fails here is made good by the sweep (rules H7 and H8)."""
    for name, outcome in answers:
        show(name, outcome.what, outcome.reason, incident.id, str(incident.state))
    try:
        for event in events:
            letters.send(engine.ports.store, engine.ports.bus, event)
        index.put_incident(engine.ports.store, incident)
    except ArgusError as error:
        log.warning("left to the sweep: %s", error)


def drain(engine: Engine, incident_id: str) -> None:
    """The hop was done before: send what may not have been sent, and finish (rule H6)."""
    for event, _, _ in incidents.outbox(engine.ports.store, incident_id):
        letters.send(engine.ports.store, engine.ports.bus, event)
