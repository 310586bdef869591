"""The incident: everything that must change together, without its timeline and audit rows.

In: patches from micro-agents, applied by `dispatch`. Out: what agents, portal and command line read.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from shared.model.action import ActionResult
from shared.model.alert import Alert
from shared.model.approval import Verdict
from shared.model.audit import GENESIS
from shared.model.diagnosis import Diagnosis
from shared.model.document import Document
from shared.model.lifecycle import State
from shared.model.missing import Missing
from shared.model.recommendation import Recommendation
from shared.model.signal import Severity, Status
from shared.model.ticket import Ticket

MAX_ALERTS_HELD = 20  # the group's rows keep every member; the incident keeps some whole, for people


@dataclass(frozen=True, slots=True)
class ApprovalSummary:
    """The approval an incident is waiting for, or last waited for."""

    id: str
    plan_hash: str
    title: str
    action: str
    target: str
    deadline: datetime
    verdict: Verdict | None = None
    decided_by: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Recovery:
    """What the closer has measured so far.

    Attributes:
        good_since: since when every reading was good; ``None`` after a bad or unknown one.
        checks: how many readings were taken since the last bad one.
    """

    good_since: datetime | None
    last_reading: str
    measured_at: datetime
    checks: int = 0


@dataclass(frozen=True, slots=True)
class Theme:
    """Where this incident stands among similar ones, as the aggregator counted it."""

    key: str
    occurrences: int
    similar: tuple[str, ...]
    action: str
    successes: int
    failures: int


@dataclass(frozen=True, slots=True)
class DraftRef:
    """A written draft that awaits publishing; its text is the evidence row ``text``."""

    id: str
    kind: str
    slug: str
    title: str
    text: str
    cites: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Incident:
    """One incident.

    Attributes:
        id: UUIDv5 of group key and generation, or of a person's request (rule S3).
        version: grows by one with every commit; lists never show an older one over a newer (rule P1).
        group_key: the group that claimed it; empty for a manual incident.
        alerts: newest state of alerts in it, at most ``MAX_ALERTS_HELD``: the first, those that fire, the newest.
        heard: newest state of every alert in it, in a few characters each; see `shared.records.heard`.
        entries: how many timeline rows there are; the audit chain has as many.
        audit_head: hash of the last audit entry.
        purged_before: working rows older than this are gone (rule H11).
        missing: parts of the outside that could not be reached, and what waits for them.
    """

    id: str
    title: str
    service: str
    severity: Severity
    state: State
    opened_at: datetime
    updated_at: datetime
    version: int = 0
    environment: str = ""
    summary: str = ""
    source: str = ""
    tenant: str = "default"
    group_key: str = ""
    generation: int = 1
    alerts: tuple[Alert, ...] = ()
    alert_count: int = 0
    acknowledged_by: str = ""
    acknowledged_at: datetime | None = None
    assignee: str = ""
    assigned_at: datetime | None = None
    ticket: Ticket | None = None
    diagnosis: Diagnosis | None = None
    recommendation: Recommendation | None = None
    approval: ApprovalSummary | None = None
    actions: tuple[ActionResult, ...] = ()
    recovery: Recovery | None = None
    theme: Theme | None = None
    drafts: tuple[DraftRef, ...] = ()
    documents: tuple[Document, ...] = ()
    resolution: str = ""
    resolved_at: datetime | None = None
    closed_at: datetime | None = None
    cancelled: bool = False
    entries: int = 0
    audit_head: str = GENESIS
    purged_before: datetime | None = None
    missing: tuple[Missing, ...] = ()
    heard: Mapping[str, str] = field(default_factory=dict)

    @property
    def over(self) -> bool:
        """Closed or cancelled: effects are skipped from here on (rule H1)."""
        return self.state is State.CLOSED

    @property
    def firing(self) -> tuple[Alert, ...]:
        """Alerts that have not resolved at their source."""
        return tuple(alert for alert in self.alerts if alert.status is Status.FIRING)

    @property
    def handle(self) -> str:
        """The short name people say; the first eight digits of the id."""
        return self.id[:8]
