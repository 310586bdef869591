"""Incidents and evidence for the tests of triage and chronicler: a shop whose payments time out after a release.

In: what a test wants different. Out: model values at fixed times.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from shared.model.alert import Alert
from shared.model.diagnosis import Evidence, EvidenceKind, EvidenceStatus, Point
from shared.model.event import DiagnosisMade, Event, IncidentClosed, InvestigationRequested, Payload, derive_id
from shared.model.incident import Incident
from shared.model.lifecycle import State
from shared.model.outcome import Append, Happened, Outcome, Put, Revise
from shared.model.signal import Severity, Status
from shared.model.ticket import Ticket
from shared.ports.store import Store
from shared.records import evidence as evidence_rows

T0 = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)  # the alert
DEPLOYED = T0 - timedelta(seconds=12)
ONSET = T0 - timedelta(seconds=10)
NOW = T0 + timedelta(seconds=20)
COMMIT_TAKES = timedelta(seconds=10)
TICKET = Ticket("desk", "abc", "INC0000001", "https://tickets.example/INC0000001")

DIFF = (
    "--- a/shop/config.ini",
    "+++ b/shop/config.ini",
    "@@ -2,3 +2,3 @@",
    " payment_currency = EUR",
    "-payment_timeout_ms = 800",
    "+payment_timeout_ms = 4",
    " price_cache_s = 60",
)


def alert(name: str = "HighErrorRatio", **changes: Any) -> Alert:
    """A firing alert of the shop."""
    values: dict[str, Any] = {
        "fingerprint": f"fp-{name}",
        "name": name,
        "service": "shop",
        "severity": Severity.SEV2,
        "status": Status.FIRING,
        "at": T0,
        "starts_at": T0,
        "source": "azure_monitor",
        "signal_id": f"signal-{name}",
        "summary": "Too many requests fail",
        **changes,
    }
    return Alert(**values)


def incident(number: int = 1, **changes: Any) -> Incident:
    """An incident of the shop; another number is another incident alike."""
    values: dict[str, Any] = {
        "id": derive_id("test", str(number)),
        "title": "HighErrorRatio on shop",
        "service": "shop",
        "severity": Severity.SEV2,
        "state": State.OPEN,
        "opened_at": T0 + timedelta(seconds=1),
        "updated_at": T0 + timedelta(seconds=1),
        "environment": "production",
        "alerts": (alert(),),
        "alert_count": 1,
        "ticket": TICKET,
        **changes,
    }
    return Incident(**values)


def event(of: Incident, data: Payload | None = None, **changes: Any) -> Event:
    """An event for an incident; a diagnosis unless said otherwise."""
    payload = data or DiagnosisMade(1)
    values: dict[str, Any] = {
        "id": derive_id(of.id, payload.TYPE),
        "source": "/agents/triage/rca",
        "subject": of.id,
        "time": NOW,
        "data": payload,
        **changes,
    }
    return Event(**values)


def investigate(of: Incident, **changes: Any) -> Event:
    """The request to look for the cause."""
    return event(of, InvestigationRequested(), **changes)


def closed(of: Incident) -> Event:
    """The end of an incident, as the closer's commit sends it."""
    committed = of.closed_at + COMMIT_TAKES if of.closed_at else NOW
    return event(of, IncidentClosed(of.resolution or "recovered"), time=committed)


def evidence(kind: EvidenceKind, title: str, **changes: Any) -> Evidence:
    """A piece of evidence without an id, as a source of its own might leave it."""
    values: dict[str, Any] = {
        "id": "",
        "kind": kind,
        "source": f"shop_{kind}",
        "query": f"{title}?",
        "status": EvidenceStatus.OK,
        "title": title,
        "summary": f"{title} of the shop",
        **changes,
    }
    return Evidence(**values)


def series(title: str, calm: float, bad: float, at: datetime = ONSET, unit: str = "ratio", step_s: int = 2) -> Evidence:
    """A metric that jumps at a moment, one point every ``step_s`` from a minute before the alert."""
    points = []
    moment = T0 - timedelta(seconds=60)
    while moment <= NOW:
        points.append(Point(moment, bad if moment >= at else calm))
        moment += timedelta(seconds=step_s)
    return evidence(EvidenceKind.METRIC, title, points=tuple(points), unit=unit)


def log(*messages: str, since: datetime = ONSET, title: str = "shop log") -> Evidence:
    """A log whose calm lines end where the messages begin."""
    calm = tuple(f"{(since - timedelta(seconds=30 - i)).isoformat()} info GET /products 200" for i in range(10))
    bad = tuple(f"{(since + timedelta(seconds=1 + i)).isoformat()} {message}" for i in range(3) for message in messages)
    return evidence(EvidenceKind.LOG, title, lines=calm + bad)


def change(version: str = "2.4.1", previous: str = "2.4.0", at: datetime = DEPLOYED, **changes: Any) -> Evidence:
    """A release in the deploy log."""
    values: dict[str, Any] = {
        "summary": "Tighten the payment timeout so that slow payments fail fast",
        "lines": DIFF,
        "version": version,
        "previous": previous,
        "at": at,
        **changes,
    }
    return evidence(EvidenceKind.CHANGE, f"release {version}", **values)


def bad_release() -> tuple[Evidence, ...]:
    """All that the shop shows after the bad release."""
    return (
        series("error ratio", 0.0, 0.8),
        series("requests per second", 20, 20, unit="1/s"),
        log("error payment gateway timed out after 4 ms"),
        change(),
        change("2.4.0", "2.3.9", T0 - timedelta(hours=3), lines=(), summary="Autumn assortment"),
    )


def apply(outcome: Outcome, to: Incident, store: Store | None = None) -> Incident:
    """What dispatch does with the fields, and with evidence where there is a store; without states and events."""
    if store is not None:
        evidence_rows.put_all(store, to.id, outcome.evidence)
        for text in outcome.texts:
            evidence_rows.put_text(store, to.id, text)
    for step in outcome.changes:
        match step:
            case Put(field, value):
                to = replace(to, **{field: value})  # type: ignore[arg-type]
            case Append(field, item):
                to = replace(to, **{field: (*getattr(to, field), item)})  # type: ignore[arg-type]
            case Revise(field, how):
                to = replace(to, **{field: how(getattr(to, field))})  # type: ignore[arg-type]
            case Happened():
                pass
    return to
