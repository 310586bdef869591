"""A store with years in it, written through the records layer and the same every time.

In: how much of what. Out: incidents with their lines, and lines of alerts.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from shared.model.alert import Alert
from shared.model.audit import AuditEntry, TimelineEntry
from shared.model.event import derive_id
from shared.model.incident import Incident
from shared.model.lifecycle import State
from shared.model.signal import Severity, Status
from shared.model.ticket import Ticket
from shared.ports.store import Operation, Store, Table, Upsert
from shared.records import incidents, index
from shared.records.rows import pack

SERVICES, TOGETHER = 200, 4000
OPEN_FOR, CLOSED_FOR, ALERTED_FOR = timedelta(days=14), timedelta(days=700), timedelta(days=30)
_WHAT = ("error ratio is high", "latency p99 above its target", "disk almost full", "probe fails", "queue grows")
_STATES = (State.OPEN, State.INVESTIGATING, State.AWAITING_APPROVAL, State.VERIFYING)
_SEVERITIES = (Severity.SEV0, Severity.SEV1, Severity.SEV2, Severity.SEV3)


def fill(store: Store, opened: int, closed: int, alerts: int, seed: int, now: datetime) -> tuple[str, ...]:
    """Write incidents, those of the last days open, and alerts.

    Args:
        store: where to; should be empty.
        now: aware UTC; the newest of everything is about as old as this.

    Returns:
        The ids of the open incidents, oldest first.
    """
    dice = random.Random(seed)  # noqa: S311
    found: list[str] = []
    made: list[Incident] = []
    for number in range(closed + opened):
        if number < closed:
            at = now - OPEN_FOR - CLOSED_FOR * ((closed - number) / closed)
            made.append(_incident(dice, number, at, None))
            store.write(Table.INCIDENTS, made[-1].id, Upsert(incidents.INCIDENT, pack(made[-1])))
        else:
            at = now - OPEN_FOR * ((closed + opened - number) / opened)
            made.append(_write(store, _incident(dice, number, at, dice.choice(_STATES))))
            found.append(made[-1].id)
        if len(made) == TOGETHER:
            index.put_new_incidents(store, made)
            made = []
    index.put_new_incidents(store, made)
    lines: list[index.AlertLine] = []
    for line in _alerts(dice, alerts, found, now):
        lines.append(line)
        if len(lines) == TOGETHER:
            index.put_alerts(store, lines)
            lines = []
    index.put_alerts(store, lines)
    return tuple(found)


def _incident(dice: random.Random, number: int, at: datetime, state: State | None) -> Incident:
    service = f"svc-{dice.randrange(SERVICES):03d}"
    ended = at + timedelta(minutes=dice.randrange(3, 600))
    return Incident(
        id=derive_id("filled", str(number)),
        title=f"{service}: {dice.choice(_WHAT)}",
        service=service,
        severity=dice.choice(_SEVERITIES),
        state=state or State.CLOSED,
        opened_at=at,
        updated_at=at if state else ended,
        version=3,
        summary="Written by a benchmark.",
        alert_count=dice.randrange(1, 9),
        ticket=Ticket("servicenow", f"sys{number}", f"INC{number:07d}", f"https://snow.example/INC{number:07d}"),
        acknowledged_by="" if state else "olga",
        closed_at=None if state else ended,
    )


def _write(store: Store, incident: Incident) -> Incident:
    """An incident with one entry in its chain."""
    what, why = "incident opened", "an alert fired"
    entry = incidents.seal(
        AuditEntry(
            incident.id, 1, incident.opened_at, "sentinel", "incident_creator", "", what, why, "0" * 64,
            incident.audit_head,
        )
    )  # fmt: skip
    line = TimelineEntry(1, incident.opened_at, "sentinel", "incident_creator", what, why, "", "filled")
    whole = replace(incident, entries=1, audit_head=entry.hash)
    rows: list[Operation] = [incidents.timeline_row(line), incidents.audit_row(entry)]
    store.transact(Table.INCIDENTS, incident.id, [Upsert(incidents.INCIDENT, pack(whole)), *rows])
    return whole


def _alerts(dice: random.Random, count: int, opened: list[str], now: datetime) -> Iterator[index.AlertLine]:
    for number in range(count):
        at = now - ALERTED_FOR * ((count - number) / count)
        service, severity = f"svc-{dice.randrange(SERVICES):03d}", dice.choice((*_SEVERITIES, Severity.SEV4))
        alert = Alert(
            fingerprint=f"filled-{number}",
            name=f"Rule{number % 500:03d}{dice.choice(('Errors', 'Latency', 'Disk', 'Probe'))}",
            service=service,
            severity=severity,
            status=dice.choice((Status.FIRING, Status.RESOLVED)),
            at=at,
            starts_at=at,
            source="alertmanager",
            signal_id=f"signal-{number}",
            environment="production",
            summary=f"{service}: {dice.choice(_WHAT)} for {dice.randrange(1, 60)} min",
            resource=f"vm-{number % 997:03d}",
            labels={"region": "west", "team": f"team-{number % 17}", "instance": f"10.0.{number % 250}.7:9090"},
        )
        joined = dice.choice(opened) if opened and severity is not Severity.SEV4 else ""
        yield index.AlertLine(alert, joined, f"joined the incident of service={service}", at)


def moment() -> datetime:
    """Now, to the second."""
    return datetime.now(UTC).replace(microsecond=0)
