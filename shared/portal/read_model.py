"""What pages and JSON show, read from the store.

In: a store and an id or a filter. Out: frozen views; the JSON interface answers with exactly these.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import quote

from shared.model.alert import Alert
from shared.model.approval import ApprovalRequest, Decision, Vote
from shared.model.audit import AuditEntry, TimelineEntry
from shared.model.diagnosis import Evidence, EvidenceKind
from shared.model.incident import Incident
from shared.model.lifecycle import State
from shared.ports.store import Store
from shared.records import approvals, audit_chain, evidence, incidents, index, payloads
from shared.records.index import IncidentLine

LISTED = 1000  # the newest incidents and alerts that lists and prefixes look at
MIN_PREFIX = 6
_REFERENCE = re.compile(r"\d{8}-[0-9a-f]{2}/[^/\\#?\x00-\x1f\x7f-\x9f]{1,200}")
_ID = re.compile(r"[A-Za-z0-9._~-]{1,200}")
_KIND_ORDER = {EvidenceKind.CHANGE: 0, EvidenceKind.METRIC: 1, EvidenceKind.LOG: 2, EvidenceKind.ALERT: 3}


@dataclass(frozen=True, slots=True)
class AuditView:
    """The audit chain of one incident and whether it is whole; ``problem`` names the first broken link."""

    verified: bool
    problem: str
    entries: tuple[AuditEntry, ...]


@dataclass(frozen=True, slots=True)
class ApprovalView:
    """A question, the votes so far, and the decision if there is one."""

    request: ApprovalRequest
    votes: tuple[Vote, ...]
    decision: Decision | None


@dataclass(frozen=True, slots=True)
class IncidentView:
    """Everything about one incident."""

    incident: Incident
    timeline: tuple[TimelineEntry, ...]
    evidence: tuple[Evidence, ...]
    approvals: tuple[ApprovalView, ...]
    audit: AuditView


@dataclass(frozen=True, slots=True)
class IncidentList:
    """Lines of incidents, open ones first and newest first; ``count`` is how many are in this answer."""

    incidents: tuple[IncidentLine, ...]
    count: int


@dataclass(frozen=True, slots=True)
class AlertView:
    """An alert, and what became of it.

    Attributes:
        incident_id: the incident it belongs to; empty when it opened none.
        why: the router's reason.
        raw: address of the body it came in, as it was received; empty when it came in none.
    """

    alert: Alert
    incident_id: str
    why: str
    first_at: datetime
    raw: str


@dataclass(frozen=True, slots=True)
class AlertList:
    """Lines of alerts, newest first; ``count`` is how many are in this answer."""

    alerts: tuple[AlertView, ...]
    count: int


@dataclass(frozen=True, slots=True)
class QuarantinedView:
    """Something nobody could work off.

    Attributes:
        origin: the source or queue it came from.
        reason: kind of failure; ``message`` says what was wrong.
        subject: the incident concerned; empty for what arrived from outside.
        raw: address of what was kept.
    """

    id: str
    at: datetime
    origin: str
    reason: str
    message: str
    subject: str
    raw: str


@dataclass(frozen=True, slots=True)
class QuarantineList:
    """What is in quarantine, newest first; ``count`` is how many are in this answer, ``days`` how far back it goes."""

    quarantined: tuple[QuarantinedView, ...]
    count: int
    days: int


@dataclass(frozen=True, slots=True)
class Filter:
    """What a list shows.

    Attributes:
        state: ``open`` (everything not closed), ``closed``, ``all``, or one state of the lifecycle.
        text: words that must all occur in id, title, service, ticket or people, whatever their case.
    """

    state: str = "open"
    service: str = ""
    text: str = ""

    def matches(self, line: IncidentLine) -> bool:
        """Whether the line is shown."""
        if self.state == "open" and line.state is State.CLOSED:
            return False
        if self.state not in ("open", "all") and line.state != self.state:
            return False
        if self.service and line.service.casefold() != self.service.casefold():
            return False
        held = " ".join((line.id, line.title, line.service, line.ticket, line.assignee, line.acknowledged_by))
        return all(word in held.casefold() for word in self.text.casefold().split())


def incident_list(store: Store, wanted: Filter, limit: int = LISTED) -> IncidentList:
    """The newest incidents that match, those that are not closed first."""
    lines = [line for line in index.incidents(store, LISTED) if wanted.matches(line)]
    lines.sort(key=lambda line: line.state is State.CLOSED)  # the sort is stable, so newest stays first
    return IncidentList(tuple(lines[:limit]), min(len(lines), limit))


def alert_list(store: Store, limit: int = 200) -> AlertList:
    """The newest alerts, whether they opened an incident or not."""
    lines = tuple(
        AlertView(line.alert, line.incident_id, line.why, line.first_at, raw_address(line.alert.payload))
        for line in index.alerts(store, limit)
    )
    return AlertList(lines, len(lines))


def quarantine_list(store: Store, now: datetime, limit: int = 200) -> QuarantineList:
    """What nobody could work off in the last days."""
    found = tuple(
        QuarantinedView(
            entry.id, entry.at, entry.origin, entry.reason, entry.message, entry.subject, raw_address(entry.payload)
        )
        for entry in payloads.quarantined(store, now, limit)
    )
    return QuarantineList(found, len(found), payloads.DAYS_LISTED)


def raw_address(reference: str) -> str:
    """Address of a kept body; empty when there is none."""
    return f"/alerts/raw?ref={quote(reference, safe='')}" if reference else ""


def raw_body(store: Store, reference: str) -> bytes | None:
    """A body as it arrived, values that look like secrets replaced; ``None`` when there is none of that name."""
    return payloads.get(store, reference) if _REFERENCE.fullmatch(reference) else None


def find_incident(store: Store, name: str) -> str:
    """The id of an incident.

    Args:
        name: its id, or the first six or more characters of it when no other listed incident begins so.

    Returns:
        Empty when there is none, or more than one.
    """
    if not _ID.fullmatch(name):
        return ""
    if incidents.load(store, name) is not None:
        return name
    if len(name) < MIN_PREFIX:
        return ""
    found = [line.id for line in index.incidents(store, LISTED) if line.id.startswith(name.lower())]
    return found[0] if len(found) == 1 else ""


def incident_view(store: Store, incident_id: str) -> IncidentView | None:
    """Everything about one incident, or ``None``."""
    # The incident first: rows that a commit adds in between are then newer than it, never missing.
    loaded = incidents.load(store, incident_id) if _ID.fullmatch(incident_id) else None
    if loaded is None:
        return None
    incident = loaded.incident
    entries = incidents.audit(store, incident_id)
    problem = audit_chain.verify_incident(entries, incident_id, incident.entries, incident.audit_head)
    asked = (approval_view(store, approval) for approval in _approval_ids(incident))
    return IncidentView(
        incident=incident,
        timeline=incidents.timeline(store, incident_id),
        evidence=_ranked(evidence.all_of(store, incident_id), incident),
        approvals=tuple(view for view in asked if view is not None),
        audit=AuditView(not problem, problem, entries),
    )


def approval_view(store: Store, approval_id: str) -> ApprovalView | None:
    """An approval with its votes and decision, or ``None``."""
    if not _ID.fullmatch(approval_id):
        return None
    request = approvals.request_of(store, approval_id)
    if request is None:
        return None
    return ApprovalView(request, approvals.votes_of(store, approval_id), approvals.decision_of(store, approval_id))


def cited(incident: Incident) -> dict[str, int]:
    """Numbers of evidence, strongest first, as hypotheses and pages refer to it."""
    if incident.diagnosis is None:
        return {}
    ids = [item for hypothesis in incident.diagnosis.hypotheses for item in hypothesis.evidence]
    return {item: number for number, item in enumerate(dict.fromkeys([*ids, *incident.diagnosis.evidence]), start=1)}


def _ranked(found: Sequence[Evidence], incident: Incident) -> tuple[Evidence, ...]:
    order = cited(incident)
    last = len(order) + 1
    return tuple(sorted(found, key=lambda item: (order.get(item.id, last), _KIND_ORDER[item.kind], item.title)))


def _approval_ids(incident: Incident) -> tuple[str, ...]:
    recommended = incident.recommendation.approval_id if incident.recommendation else ""
    current = incident.approval.id if incident.approval else ""
    known = [*(action.approval_id for action in incident.actions), recommended, current]
    return tuple(dict.fromkeys(item for item in known if item))
