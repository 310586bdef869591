"""What the rows of a group say: the claim, the members, and in which order their states follow each other.

In: alerts by their source's times. Out: values only; nothing is read or written here.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Protocol

from shared.model.alert import Alert
from shared.model.event import derive_id
from shared.model.signal import Severity, Status


class Claim(StrEnum):
    """Where the claim of a group stands."""

    CLAIMING = "claiming"
    OPEN = "open"
    CLOSING = "closing"
    CLOSED = "closed"


@dataclass(frozen=True, slots=True)
class GroupState:
    """The claim.

    Attributes:
        generation: 1 for the first incident of the group.
        creation: CloudEvents JSON of the event that opens the incident; whoever meets ``claiming`` sends it (rule S3).
        creator: the alert in it.
        closing_at: when it last began to close.
        reopened: how often closing ended in opening again; a join after that is another event than before.
        ended_at: when the generation before began to close.
    """

    group_key: str
    state: Claim
    generation: int
    incident_id: str
    creation: str
    creator: Alert
    claimed_at: datetime
    closing_at: datetime | None = None
    reopened: int = 0
    ended_at: datetime | None = None

    @property
    def live(self) -> bool:
        """The incident takes alerts."""
        return self.state in (Claim.CLAIMING, Claim.OPEN)


@dataclass(frozen=True, slots=True)
class Held:
    """A claim as it was read, and with which ETag."""

    group: GroupState
    etag: str


@dataclass(frozen=True, slots=True)
class Member:
    """Newest state of one alert by its source's times (rule S7).

    Attributes:
        generation: of the incident it was sent to; 0 for a resolve that came before its firing, a tombstone.
        noted_at: when it was written; old ones are forgotten by this.
    """

    fingerprint: str
    name: str
    severity: Severity
    status: Status
    at: datetime
    starts_at: datetime
    generation: int
    signal_id: str
    noted_at: datetime


class Stated(Protocol):
    """The state of an alert, whoever keeps it."""

    @property
    def status(self) -> Status:
        """Firing or resolved."""
        ...

    @property
    def severity(self) -> Severity:
        """How bad it is."""
        ...

    @property
    def at(self) -> datetime:
        """The source's time of this state."""
        ...

    @property
    def starts_at(self) -> datetime:
        """When this firing began."""
        ...


def incident_id_of(group_key: str, generation: int) -> str:
    """Id of the incident of one generation (rule S3)."""
    return derive_id("incident", group_key, str(generation))


def rank(state: Stated) -> tuple[datetime, int, datetime, int]:
    """Order of the states of one alert by its source's times, whatever the order of arrival (rule S7).

    A firing counts from its beginning, a resolve from its moment: a firing that began before a resolve is over, however
    late its repeats are stamped. A firing that begins in the very moment of a resolve is another one, unless the
    resolve says it ends just that. Of two equal ones the worse severity stands.
    """
    worse = -int(state.severity.value.removeprefix("sev"))
    if state.status is Status.FIRING:
        return state.starts_at, 1, state.at, worse
    return max(state.at, state.starts_at), 2 if state.starts_at >= state.at else 0, state.at, worse


def member_of(alert: Alert, generation: int, now: datetime) -> Member:
    """The state an alert brings."""
    return Member(
        fingerprint=alert.fingerprint,
        name=alert.name,
        severity=alert.severity,
        status=alert.status,
        at=alert.at,
        starts_at=alert.starts_at,
        generation=generation,
        signal_id=alert.signal_id,
        noted_at=now,
    )


def partition_of(group_key: str, tenant: str = "default") -> str:
    """The partition of a group: its claim and its members are together."""
    return f"{tenant}-{hashlib.sha256(group_key.encode()).hexdigest()[:2]}"
