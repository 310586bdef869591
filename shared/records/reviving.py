"""Open incidents that lost their messages with the queues are asked to look again.

In: a store that was restored without its queues. Out: outbox rows, which the sweep sends.
"""

from __future__ import annotations

from datetime import datetime

from shared.model.errors import PermanentError
from shared.model.event import ClosingKind, ClosingRequested, Event, InvestigationRequested, Payload, derive_id
from shared.model.incident import Incident
from shared.model.lifecycle import State
from shared.model.pipeline import MicroAgent, source_of
from shared.ports.store import Store, Table, Upsert
from shared.records import incidents


def look_again(store: Store, cause: str, now: datetime) -> int:
    """Write an event for every open incident whose next step may have been a message.

    One that waits for people is gone on with by the sweep. A check that is under way takes over from one of these, and
    a second investigation ends in the same plan, whose approval is the same one.

    Args:
        cause: what was restored; the same one writes the same events (rule M2).

    Returns:
        How many events.
    """
    count = 0
    for partition in store.partitions(Table.INCIDENTS):
        try:
            loaded = incidents.load(store, partition)
        except (PermanentError, ValueError):
            continue
        payload = _step(loaded.incident) if loaded is not None else None
        if payload is None:
            continue
        identity = derive_id("restored", cause, payload.TYPE, partition)
        event = Event(identity, source_of(MicroAgent.CONDUCTOR), partition, now, payload)
        row = incidents.outbox_row(event, now)
        incidents.mark_pending(store, partition, now)
        store.write(Table.INCIDENTS, partition, Upsert(row.key, row.values))
        count += 1
    return count


def _step(incident: Incident) -> Payload | None:
    match incident.state:
        case State.OPEN | State.INVESTIGATING:
            return InvestigationRequested()
        case State.VERIFYING | State.RESOLVED:
            return ClosingRequested(ClosingKind.RECHECK)
        case _:
            return None
