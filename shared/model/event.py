"""What travels on the queues: a CloudEvents envelope and its typed payloads.

In: what a micro-agent emits. Out: messages with deterministic ids (rules M1 to M5).
"""

from __future__ import annotations

import hashlib
import uuid
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import ClassVar

from shared.model.alert import Alert
from shared.model.approval import ApprovalRequest, Vote
from shared.model.notice import Notice
from shared.model.signal import Severity, Signal

NAMESPACE = uuid.UUID("b0a7a1c2-5e0d-5c53-9d0a-0a6d5f2f7e11")  # ARGUS's own, so that ids never meet others'
_NAMESPACE_BYTES = NAMESPACE.bytes
_VARIANTS = {digit: "89ab"[int(digit, 16) & 3] for digit in "0123456789abcdef"}


def derive_id(*parts: str) -> str:
    """UUIDv5 over the parts (rule M2).

    Args:
        parts: whatever makes the thing what it is, in a fixed order.

    Returns:
        The same canonical UUID text for the same parts, always.
    """
    name = "\x1f".join(parts).encode("utf-8", "replace")  # half a surrogate pair must not stop an alert
    # What `uuid.uuid5` gives (RFC 9562, 5.5), at a third of its price: each signal and each message has one.
    found = hashlib.sha1(_NAMESPACE_BYTES + name, usedforsecurity=False).hexdigest()
    variant = _VARIANTS[found[16]]
    return f"{found[:8]}-{found[8:12]}-5{found[13:16]}-{variant}{found[17:20]}-{found[20:32]}"


class GroupChangeKind(StrEnum):
    """What the router says to an incident."""

    OPEN = "open"
    JOIN = "join"


class ClosingKind(StrEnum):
    """Why the closer looks at an incident."""

    AFTER_ACTION = "after_action"
    RESOLVED_AT_SOURCE = "resolved_at_source"
    RECHECK = "recheck"
    MANUAL = "manual"
    SETTLE = "settle"


class UpdateKind(StrEnum):
    """What to do to a ticket."""

    NOTE = "note"
    RESOLVE = "resolve"
    REOPEN = "reopen"


@dataclass(frozen=True, slots=True)
class SignalsReceived:
    """A receipt's signals, up to 192 KB inline (rule M5)."""

    TYPE: ClassVar[str] = "argus.signals.received.v1"
    signals: tuple[Signal, ...]


@dataclass(frozen=True, slots=True)
class GroupJoins:
    """Alerts of another group that travel in the same message."""

    group_key: str
    generation: int
    alerts: tuple[Alert, ...]


@dataclass(frozen=True, slots=True)
class GroupChanged:
    """A group opens an incident, or alerts of it join one.

    Attributes:
        more: alerts after ``alert``, in the order in which the router saw them.
        beside: joins of other groups; each is worked off as an event of its own.
    """

    TYPE: ClassVar[str] = "argus.group.changed.v1"
    kind: GroupChangeKind
    group_key: str
    generation: int
    alert: Alert
    more: tuple[Alert, ...] = ()
    beside: tuple[GroupJoins, ...] = ()

    @property
    def alerts(self) -> tuple[Alert, ...]:
        """All of them, in order."""
        return (self.alert, *self.more)


@dataclass(frozen=True, slots=True)
class GroupsOpened:
    """Several groups open incidents; each is worked off as an event of its own.

    Attributes:
        creations: CloudEvents JSON of a `GroupChanged`, as it is kept in the claim of its group.
    """

    TYPE: ClassVar[str] = "argus.groups.opened.v1"
    creations: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class IncidentRequested:
    """A person opens an incident by hand."""

    TYPE: ClassVar[str] = "argus.incident.requested.v1"
    by: str
    title: str
    service: str
    severity: Severity
    summary: str = ""


@dataclass(frozen=True, slots=True)
class IncidentAcknowledged:
    """A person says: I have seen it."""

    TYPE: ClassVar[str] = "argus.incident.acknowledged.v1"
    by: str


@dataclass(frozen=True, slots=True)
class IncidentAssigned:
    """A person gives it to a person."""

    TYPE: ClassVar[str] = "argus.incident.assigned.v1"
    by: str
    assignee: str


@dataclass(frozen=True, slots=True)
class NotificationRequested:
    """Tell people on one configured channel."""

    TYPE: ClassVar[str] = "argus.notification.requested.v1"
    channel: str
    notice: Notice


@dataclass(frozen=True, slots=True)
class TicketRequested:
    """Open a ticket in one configured system."""

    TYPE: ClassVar[str] = "argus.ticket.requested.v1"
    system: str


@dataclass(frozen=True, slots=True)
class TicketUpdateRequested:
    """Write a note into the incident's ticket, or change its state."""

    TYPE: ClassVar[str] = "argus.ticket.update_requested.v1"
    kind: UpdateKind
    text: str


@dataclass(frozen=True, slots=True)
class InvestigationRequested:
    """Find the cause; ``by`` is a person who asks to look again, empty otherwise."""

    TYPE: ClassVar[str] = "argus.investigation.requested.v1"
    by: str = ""


@dataclass(frozen=True, slots=True)
class DiagnosisMade:
    """An investigation ended; the diagnosis is in the incident."""

    TYPE: ClassVar[str] = "argus.diagnosis.made.v1"
    hypotheses: int


@dataclass(frozen=True, slots=True)
class ApprovalRequested:
    """A plan waits for people."""

    TYPE: ClassVar[str] = "argus.approval.requested.v1"
    request: ApprovalRequest


@dataclass(frozen=True, slots=True)
class VoteCast:
    """Somebody voted, or tried to; the vote itself is in ``approvals`` already (rule D1).

    Attributes:
        refused: why the attempt was not accepted; empty for a stored vote.
    """

    TYPE: ClassVar[str] = "argus.vote.cast.v1"
    approval_id: str
    vote: Vote
    refused: str = ""


@dataclass(frozen=True, slots=True)
class ApprovalDecided:
    """The orchestration wrote the decision; this hop carries it into the incident (rule D3)."""

    TYPE: ClassVar[str] = "argus.approval.decided.v1"
    approval_id: str


@dataclass(frozen=True, slots=True)
class ActionApproved:
    """The executor may look at this approval; it trusts nothing else in the message (rule D4)."""

    TYPE: ClassVar[str] = "argus.action.approved.v1"
    approval_id: str


@dataclass(frozen=True, slots=True)
class ClosingRequested:
    """The closer should look.

    Attributes:
        by: the person who closes by hand; empty otherwise.
        reason: what that person said.
    """

    TYPE: ClassVar[str] = "argus.closing.requested.v1"
    kind: ClosingKind
    by: str = ""
    reason: str = ""


@dataclass(frozen=True, slots=True)
class IncidentClosed:
    """An incident is over and can be learned from."""

    TYPE: ClassVar[str] = "argus.incident.closed.v1"
    resolution: str


Payload = (
    SignalsReceived
    | GroupChanged
    | GroupsOpened
    | IncidentRequested
    | IncidentAcknowledged
    | IncidentAssigned
    | NotificationRequested
    | TicketRequested
    | TicketUpdateRequested
    | InvestigationRequested
    | DiagnosisMade
    | ApprovalRequested
    | VoteCast
    | ApprovalDecided
    | ActionApproved
    | ClosingRequested
    | IncidentClosed
)


@dataclass(frozen=True, slots=True)
class Event:
    """One message.

    Attributes:
        id: deterministic (rule M2); the inbox key.
        source: ``/agents/<agent>/<micro_agent>``, ``/people/<user>`` or ``/timers/<name>``.
        subject: incident id; empty for signals.
        traceparent: W3C trace context of the hop that emitted it; empty when there is none.
        attempt: 0 for the first send; a delayed retry, replay or release adds one (rule M3).
        not_before: earliest delivery (rule M4).
    """

    id: str
    source: str
    subject: str
    time: datetime
    data: Payload
    traceparent: str = ""
    attempt: int = 0
    not_before: datetime | None = None

    @property
    def type(self) -> str:
        """CloudEvents type of the payload."""
        return self.data.TYPE

    @property
    def message_id(self) -> str:
        """Service Bus MessageId (rule M3)."""
        return f"{self.id}.{self.attempt}"
