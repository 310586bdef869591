"""Rows of `incidentindex` and `alertindex`: what lists show, newest first.

In: incidents and alerts as they were committed. Out: projections that never go back in time (rule P1).
"""

from __future__ import annotations

import hashlib
import heapq
from dataclasses import dataclass
from datetime import datetime

from shared.model.alert import Alert
from shared.model.incident import Incident
from shared.model.lifecycle import State
from shared.model.signal import Severity
from shared.ports.store import Conflict, Insert, Properties, Replace, Store, Table
from shared.records.rows import number, pack, shard, unpack

SHARDS = 16
_FAR_FUTURE_MS = 10**14  # year 5138; keys count down from it so that the newest row sorts first


@dataclass(frozen=True, slots=True)
class IncidentLine:
    """One line of the incident list."""

    id: str
    title: str
    service: str
    severity: Severity
    state: State
    opened_at: datetime
    updated_at: datetime
    version: int
    acknowledged_by: str = ""
    assignee: str = ""
    ticket: str = ""
    alert_count: int = 0
    closed_at: datetime | None = None
    awaiting: str = ""


@dataclass(frozen=True, slots=True)
class AlertLine:
    """One line of the alert list: an alert, and what became of it.

    Attributes:
        incident_id: the incident it belongs to; empty when it opened none.
        why: the router's reason.
    """

    alert: Alert
    incident_id: str
    why: str
    first_at: datetime


def line_of(incident: Incident) -> IncidentLine:
    """The list line of an incident."""
    return IncidentLine(
        id=incident.id,
        title=incident.title,
        service=incident.service,
        severity=incident.severity,
        state=incident.state,
        opened_at=incident.opened_at,
        updated_at=incident.updated_at,
        version=incident.version,
        acknowledged_by=incident.acknowledged_by,
        assignee=incident.assignee,
        ticket=incident.ticket.number if incident.ticket else "",
        alert_count=incident.alert_count,
        closed_at=incident.closed_at,
        awaiting=incident.approval.id if incident.approval and incident.approval.verdict is None else "",
    )


def put_incident(store: Store, incident: Incident) -> None:
    """Show this version, unless a newer one is shown already (rule P1)."""
    partition = f"{incident.tenant}-{shard(incident.id, SHARDS)}"
    key = _key(incident.opened_at, incident.id)
    _put_newer(store, Table.INCIDENT_INDEX, partition, key, pack(line_of(incident), version=incident.version))


def put_alert(store: Store, line: AlertLine, tenant: str = "default") -> None:
    """Show this state of an alert, unless a newer one is shown already.

    The row is keyed by the alert's identity and the beginning of this firing, so that a repeat updates its line.
    """
    identity = hashlib.sha256(line.alert.fingerprint.encode()).hexdigest()[:24]
    partition = f"{tenant}-{shard(identity, SHARDS)}"
    version = int(line.alert.at.timestamp() * 1000)
    key = _key(line.alert.starts_at, identity)
    _put_newer(store, Table.ALERT_INDEX, partition, key, pack(line, version=version))


def incidents(store: Store, limit: int = 200, tenant: str = "default") -> tuple[IncidentLine, ...]:
    """The newest incidents, newest first."""
    return tuple(unpack(IncidentLine, values) for values in _newest(store, Table.INCIDENT_INDEX, limit, tenant))


def alerts(store: Store, limit: int = 200, tenant: str = "default") -> tuple[AlertLine, ...]:
    """The newest alerts, newest first, whether they opened an incident or not."""
    return tuple(unpack(AlertLine, values) for values in _newest(store, Table.ALERT_INDEX, limit, tenant))


def _key(at: datetime, identity: str) -> str:
    return f"{_FAR_FUTURE_MS - int(at.timestamp() * 1000):015d}|{identity}"


def _put_newer(store: Store, table: Table, partition: str, key: str, values: Properties) -> None:
    while True:
        row = store.get(table, partition, key)
        try:
            if row is None:
                store.write(table, partition, Insert(key, values))
            elif number(row.values, "version") <= int(str(values["version"])):
                store.write(table, partition, Replace(key, values, row.etag))
        except Conflict:
            continue
        return


def _newest(store: Store, table: Table, limit: int, tenant: str) -> list[Properties]:
    pages = [store.query(table, f"{tenant}-{i:02x}", limit=min(limit, 1000)).rows for i in range(SHARDS)]
    rows = heapq.merge(*pages, key=lambda row: row.key)
    return [row.values for _, row in zip(range(limit), rows, strict=False)]
