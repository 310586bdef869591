"""Rows of `incidentindex` and `alertindex`: what lists show, newest first.

In: incidents and alerts as they were committed. Out: projections that never go back in time (rule P1).
"""

from __future__ import annotations

import hashlib
import heapq
import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from shared.model.alert import Alert
from shared.model.incident import Incident
from shared.model.lifecycle import State
from shared.model.signal import Severity, Status
from shared.ports.store import (
    Conflict,
    Delete,
    Insert,
    Operation,
    Properties,
    Replace,
    Store,
    Table,
    Upsert,
    Value,
)
from shared.records.rows import key_of, number, pack, shard, text, unpack

SHARDS = 16
MAX_KNOWN = 1024
MAX_INCIDENTS_TOGETHER = 25  # of up to four rows each
MAX_LINES_TOGETHER = 50  # a line is below 60 KB, and a transaction below 4 MiB
OPEN, TICKET = "open", "ticket"  # properties of a line: which rows it has beside it
OPEN_PREFIX, CLOSED_PREFIX, NAME_PREFIX = "open|", "closed|", "name|"  # rows beside lines; a line begins with a digit
LINES_END = ":"
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
    missing: tuple[str, ...] = ()


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
        missing=tuple(missing.says for missing in incident.missing),
    )


def put_incident(store: Store, incident: Incident) -> None:
    """Show this version, unless a newer one is shown already (rule P1)."""
    _put_line(store, incident)


def put_new_incidents(store: Store, incidents: Sequence[Incident]) -> None:
    """Show many new incidents, in as few transactions as there are shards; one that is there already as always."""
    shards: dict[str, list[Incident]] = {}
    for incident in incidents:
        shards.setdefault(place_of(incident)[0], []).append(incident)
    for partition, mine in shards.items():
        for begin in range(0, len(mine), MAX_INCIDENTS_TOGETHER):
            some = mine[begin : begin + MAX_INCIDENTS_TOGETHER]
            operations: list[Operation] = []
            for incident in some:
                values = _values(incident)
                operations += _operations(incident, values, Insert(place_of(incident)[1], values), {})
            try:
                store.transact(Table.INCIDENT_INDEX, partition, operations)
            except Conflict:
                for incident in some:
                    _put_line(store, incident)


def seen(line: IncidentLine) -> IncidentLine:
    """What people see of a line; a commit that changes nothing of it leaves the line as it is."""
    return replace(line, version=0, updated_at=line.opened_at)


class Shown:
    """Lines of the incident list as this process wrote them last, so that the next one costs a single write."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: OrderedDict[str, tuple[int, str, Properties]] = OrderedDict()

    def put(self, store: Store, before: Incident | None, incident: Incident) -> None:
        """Show an incident after a commit, unless its line says all of it already (rule P1).

        Args:
            before: the incident this commit changed; ``None`` when it is new.
        """
        if before is not None and seen(line_of(before)) == seen(line_of(incident)):
            return
        partition, key = place_of(incident)
        values = _values(incident)
        with self._lock:
            version, etag, last = self._known.get(incident.id, (0, "", {}))
        if version > incident.version:
            return
        try:
            if before is None:
                operations = _operations(incident, values, Insert(key, values), {})
                etag = store.transact(Table.INCIDENT_INDEX, partition, operations)[0]
            elif etag:
                operations = _operations(incident, values, Replace(key, values, etag), last)
                etag = store.transact(Table.INCIDENT_INDEX, partition, operations)[0]
            else:
                etag = _put_line(store, incident)
        except Conflict:  # another process showed it meanwhile: look which is newer
            etag = _put_line(store, incident)
        with self._lock:
            if self._known.get(incident.id, (0, ""))[0] <= incident.version:
                self._known[incident.id] = (incident.version, etag, {name: values[name] for name in (OPEN, TICKET)})
                self._known.move_to_end(incident.id)
            while len(self._known) > MAX_KNOWN:
                self._known.popitem(last=False)


def put_missing(store: Store, incident: Incident) -> None:
    """Show an incident where its line is missing or says something else; a line that is right is left alone."""
    partition, key = place_of(incident)
    row = store.get(Table.INCIDENT_INDEX, partition, key)
    if row is None or OPEN not in row.values or seen(unpack(IncidentLine, row.values)) != seen(line_of(incident)):
        put_incident(store, incident)


def place_of(incident: Incident) -> tuple[str, str]:
    """Partition and key of an incident's line; they never change."""
    return f"{incident.tenant}-{shard(incident.id, SHARDS)}", _key(incident.opened_at, incident.id)


def keys_of(incident: Incident) -> frozenset[str]:
    """Every row key that an incident has in its partition of the index."""
    _, key = place_of(incident)
    return frozenset((key, _listed(incident.state is not State.CLOSED) + key, *_beside(incident)))


def id_of(row_key: str) -> str:
    """The incident a row of the index belongs to."""
    return row_key.rpartition("|")[2]


def _listed(opened: object) -> str:
    return OPEN_PREFIX if opened else CLOSED_PREFIX


def _beside(incident: Incident) -> tuple[str, ...]:
    """Keys by which an incident is found by name: its id, and its ticket's number."""
    numbers = (incident.ticket.number,) if incident.ticket and incident.ticket.number else ()
    return tuple(name_key(name, incident.id) for name in (incident.id, *numbers))


def name_key(name: str, incident_id: str = "") -> str:
    """Key of the row that leads from a name to an incident; without an id, what such keys begin with."""
    return f"{NAME_PREFIX}{key_of(name.casefold())}" + (f"|{incident_id}" if incident_id else "")


def _values(incident: Incident) -> dict[str, Value]:
    names = _beside(incident)
    opened = incident.state is not State.CLOSED
    beside: dict[str, Value] = {OPEN: opened, TICKET: names[1] if len(names) > 1 else ""}
    return {**pack(line_of(incident), version=incident.version), **beside}


def _operations(
    incident: Incident, values: Properties, line: Insert | Replace, last: Properties, whole: bool = False
) -> list[Operation]:
    """The line and the rows beside it, in one transaction that the line's ETag guards (rule P1).

    Args:
        last: properties of the line that is replaced; empty for a new one.
        whole: write every row beside it, whatever the last line says.
    """
    _, key = place_of(incident)
    operations: list[Operation] = [line]
    operations.append(Upsert(_listed(values[OPEN]) + key, values))
    if OPEN in last and last[OPEN] != values[OPEN]:
        operations.append(Delete(_listed(last[OPEN]) + key, None))
    old = text(last, TICKET)
    if whole or not last or old != values[TICKET]:
        operations += [Upsert(name, {"key": key}) for name in _beside(incident)]
    if old and old != values[TICKET]:
        operations.append(Delete(old, None))
    return operations


def _put_line(store: Store, incident: Incident) -> str:
    """Write an incident's rows unless newer ones are there; gives the line's ETag, empty when they were not written."""
    partition, key = place_of(incident)
    values, gone = _values(incident), set[str]()
    while True:
        row = store.get(Table.INCIDENT_INDEX, partition, key)
        if row is not None and number(row.values, "version") > incident.version:
            return ""
        line = Insert(key, values) if row is None else Replace(key, values, row.etag)
        operations = _operations(incident, values, line, {} if row is None else row.values, whole=True)
        operations = [one for one in operations if not (isinstance(one, Delete) and one.key in gone)]
        try:
            return store.transact(Table.INCIDENT_INDEX, partition, operations)[0]
        except Conflict as conflict:
            if conflict.row_key != key:
                gone.add(conflict.row_key)  # the last line names a row that is not there


def remove_incident(store: Store, incident: Incident) -> None:
    """Take an incident off the list."""
    partition, key = place_of(incident)
    row = store.get(Table.INCIDENT_INDEX, partition, key)
    if row is None:
        return
    keys = {key, *(_beside(incident) if OPEN in row.values else ())}
    keys |= {_listed(row.values[OPEN]) + key} if OPEN in row.values else set()
    keys |= {text(row.values, TICKET)} if text(row.values, TICKET) else set()
    try:
        store.transact(Table.INCIDENT_INDEX, partition, [Delete(one, None) for one in sorted(keys)])
    except Conflict:  # not all of them are there
        for one in sorted(keys):
            with suppress(Conflict):
                store.write(Table.INCIDENT_INDEX, partition, Delete(one, None))


def put_alert(store: Store, line: AlertLine, tenant: str = "default") -> None:
    """Show this state of an alert, unless a newer one is shown already."""
    put_alerts(store, (line,), tenant)


def put_alerts(store: Store, lines: Sequence[AlertLine], tenant: str = "default") -> None:
    """Show these states of alerts, each unless a newer one is shown already; as few transactions as there are shards.

    A row is keyed by the alert's identity and the beginning of this firing, so that a repeat updates its line. Of
    several states of one firing the newest is shown, of equally new ones the last.
    """
    shards: dict[str, dict[str, Properties]] = {}
    listed: set[str] = set()
    for line in lines:
        identity = hashlib.sha256(line.alert.fingerprint.encode()).hexdigest()[:24]
        rows = shards.setdefault(f"{tenant}-{shard(identity, SHARDS)}", {})
        key, version = _key(line.alert.starts_at, identity), int(line.alert.at.timestamp() * 1000)
        if key not in rows or number(rows[key], "version") <= version:
            rows[key] = pack(line, version=version)
        if line.alert.status is Status.RESOLVED:
            listed.add(key)  # its firing is on the list, but for one that was never heard of
    for partition, rows in shards.items():
        keys = [key for key in rows if key not in listed]
        for key in rows.keys() - keys:
            _put_newer(store, Table.ALERT_INDEX, partition, key, rows[key])
        for begin in range(0, len(keys), MAX_LINES_TOGETHER):
            _put_alerts(store, partition, {key: rows[key] for key in keys[begin : begin + MAX_LINES_TOGETHER]})


def _put_alerts(store: Store, partition: str, rows: Mapping[str, Properties]) -> None:
    """New lines at once; where one is there already, each by itself (rule P1)."""
    try:
        if len(rows) == 1:
            store.write(Table.ALERT_INDEX, partition, Insert(*next(iter(rows.items()))))
        else:
            store.transact(Table.ALERT_INDEX, partition, [Insert(key, values) for key, values in rows.items()])
    except Conflict:
        for key, values in rows.items():
            _put_newer(store, Table.ALERT_INDEX, partition, key, values)


def incidents(store: Store, limit: int = 200, tenant: str = "default") -> tuple[IncidentLine, ...]:
    """The newest incidents, newest first."""
    return tuple(unpack(IncidentLine, values) for values in _newest(store, Table.INCIDENT_INDEX, limit, tenant))


def alerts(store: Store, limit: int = 200, tenant: str = "default") -> tuple[AlertLine, ...]:
    """The newest alerts, newest first, whether they opened an incident or not."""
    return tuple(unpack(AlertLine, values) for values in _newest(store, Table.ALERT_INDEX, limit, tenant))


def moment_of(key: str) -> datetime:
    """When the incident was opened, or the alert began, whose line has this key."""
    return datetime.fromtimestamp(0, UTC) + timedelta(milliseconds=_FAR_FUTURE_MS - int(key.partition("|")[0]))


def _key(at: datetime, identity: str) -> str:
    return f"{_FAR_FUTURE_MS - int(at.timestamp() * 1000):015d}|{identity}"


def _put_newer(store: Store, table: Table, partition: str, key: str, values: Properties) -> str:
    """Write a line unless a newer one is there; gives its ETag, empty when it was not written."""
    while True:
        row = store.get(table, partition, key)
        try:
            if row is None:
                return store.write(table, partition, Insert(key, values))
            if number(row.values, "version") <= int(str(values["version"])):
                return store.write(table, partition, Replace(key, values, row.etag))
        except Conflict:
            continue
        return ""


def _newest(store: Store, table: Table, limit: int, tenant: str) -> list[Properties]:
    pages = [store.query(table, f"{tenant}-{i:02x}", "", LINES_END, min(limit, 1000)).rows for i in range(SHARDS)]
    rows = heapq.merge(*pages, key=lambda row: row.key)
    return [row.values for _, row in zip(range(limit), rows, strict=False)]
