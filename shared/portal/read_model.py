"""What pages and JSON show, read from the store.

In: a store and an id or a filter. Out: frozen views; the JSON interface answers with exactly these.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import quote

from shared.model.alert import Alert
from shared.model.approval import ApprovalRequest, Decision, Vote
from shared.model.audit import AuditEntry, TimelineEntry
from shared.model.diagnosis import Evidence, EvidenceKind
from shared.model.incident import Incident
from shared.portal.kept import HeldView, held_of
from shared.ports.store import Store
from shared.records import approvals, audit_chain, evidence, incidents, lists, payloads
from shared.records.index import AlertLine, IncidentLine
from shared.records.lists import AlertFilter, Filter, Found
from shared.records.redaction import redact

LISTED = 1000  # the most lines in one answer
FOUND, NAMED = 25, 5  # the most lines in each part of a search
MOST_LOOKED_AT, MOST_S = 4000, 0.06  # lines and seconds for each part of a search
LIST_S = 0.12  # the longest that a list with a filter looks, on a busy machine or over a slow network
SEARCHED = ("incidents", "alerts")
MIN_NAME = 4
MOST_NAMED = 20
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
    held: tuple[HeldView, ...]
    audit: AuditView


@dataclass(frozen=True, slots=True)
class IncidentList:
    """Lines of incidents, open ones first and newest first; ``count`` is how many are in this answer.

    Attributes:
        next: where the next page begins; empty at the end.
        read: how many lines were looked at for this answer.
        back_to: how far back that was; ``None`` when nothing was looked at.
        early: stopped because enough was looked at: there may be more, and ``next`` goes on.
    """

    incidents: tuple[IncidentLine, ...]
    count: int
    next: str = ""
    read: int = 0
    back_to: datetime | None = None
    early: bool = False


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
    """Lines of alerts, newest first; the rest as in `IncidentList`."""

    alerts: tuple[AlertView, ...]
    count: int
    next: str = ""
    read: int = 0
    back_to: datetime | None = None
    early: bool = False


@dataclass(frozen=True, slots=True)
class SearchAnswer:
    """What a search found.

    Attributes:
        named: incidents of any age whose id or ticket number begins with the words, at most ``NAMED``.
        incidents: those that have all the words, open ones first, as far back as was looked.
        alerts: the same of alerts, newest first.
    """

    query: str
    named: tuple[IncidentLine, ...]
    incidents: IncidentList
    alerts: AlertList


def incident_list(store: Store, wanted: Filter, limit: int = LISTED, cursor: str = "") -> IncidentList:
    """Incidents that match, those that are not closed first, each newest first."""
    return _incidents(lists.incidents(store, wanted, cursor, limit, late=after(LIST_S)))


def after(seconds: float) -> Callable[[], bool]:
    """Whether so many seconds are over, from now on."""
    until = time.monotonic() + seconds
    return lambda: time.monotonic() > until


def any_incident(store: Store) -> bool:
    """Whether there ever was one."""
    return bool(lists.incidents(store, Filter("all"), size=1).lines)


def alert_list(store: Store, limit: int = 200, wanted: AlertFilter | None = None, cursor: str = "") -> AlertList:
    """Alerts that match, newest first, whether they opened an incident or not."""
    return _alerts(lists.alerts(store, wanted or AlertFilter(), cursor, limit, late=after(LIST_S)))


def search(store: Store, words: str, inside: str = "", cursor: str = "", limit: int = FOUND) -> SearchAnswer:
    """Look for words.

    Args:
        inside: one of ``SEARCHED``, to look there alone; empty for both, from the newest on.
        cursor: where the page before ended, when ``inside`` says of what.
    """
    named: tuple[IncidentLine, ...] = ()
    if not cursor and inside != "alerts" and len(words) >= MIN_NAME and _ID.fullmatch(words):
        named = lists.lines_named(store, words, NAMED)
    open_and_closed, both = Filter("all", text=words), AlertFilter(text=words)
    incidents_found: Found[IncidentLine] = Found()
    alerts_found: Found[AlertLine] = Found()
    if inside != "alerts":
        at = cursor if inside else ""
        incidents_found = lists.incidents(store, open_and_closed, at, limit, MOST_LOOKED_AT, after(MOST_S))
    if inside != "incidents":
        alerts_found = lists.alerts(store, both, cursor if inside else "", limit, MOST_LOOKED_AT, after(MOST_S))
    return SearchAnswer(words, named, _incidents(incidents_found), _alerts(alerts_found))


def _incidents(found: Found[IncidentLine]) -> IncidentList:
    return IncidentList(found.lines, len(found.lines), found.next, found.read, found.back_to, found.early)


def _alerts(found: Found[AlertLine]) -> AlertList:
    lines = tuple(
        AlertView(line.alert, line.incident_id, line.why, line.first_at, raw_address(line.alert.payload))
        for line in found.lines
    )
    return AlertList(lines, len(lines), found.next, found.read, found.back_to, found.early)


def raw_address(reference: str) -> str:
    """Address of a kept body; empty when there is none."""
    return f"/alerts/raw?ref={quote(reference, safe='')}" if reference else ""


def raw_body(store: Store, reference: str) -> bytes | None:
    """A body as it arrived, values that look like secrets replaced; ``None`` when there is none of that name."""
    kept = payloads.get(store, reference) if _REFERENCE.fullmatch(reference) else None
    return None if kept is None else redact(kept)  # our own messages are kept as they are


def find_incident(store: Store, name: str) -> str:
    """The id of an incident.

    Args:
        name: its id, the first six or more characters of it when no other incident begins so, or the whole number of
            its ticket.

    Returns:
        Empty when there is none, or more than one.
    """
    if not _ID.fullmatch(name):
        return ""
    if incidents.load(store, name) is not None:
        return name
    if len(name) < MIN_PREFIX:
        return ""
    found = [one for whole, one in lists.named(store, name, MOST_NAMED) if whole in (one, name.casefold())]
    return found[0] if len(set(found)) == 1 else ""


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
        held=held_of(store, incident_id),
        audit=AuditView(not problem, problem, entries),
    )


def approval_view(store: Store, approval_id: str) -> ApprovalView | None:
    """An approval with its votes and decision, or ``None``."""
    if not _ID.fullmatch(approval_id):
        return None
    record = approvals.read(store, approval_id)
    return None if record.request is None else ApprovalView(record.request, record.votes, record.decision)


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
