"""What was found about the cause, each claim with its evidence.

In: evidence gathered in a time window. Out: ranked hypotheses.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class EvidenceKind(StrEnum):
    """Where evidence comes from."""

    METRIC = "metric"
    LOG = "log"
    CHANGE = "change"
    ALERT = "alert"


class EvidenceStatus(StrEnum):
    """Absence of data is an answer, not an error."""

    OK = "ok"
    NO_DATA = "no_data"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class Point:
    """One measurement of a series."""

    at: datetime
    value: float


@dataclass(frozen=True, slots=True)
class Evidence:
    """One answer of one evidence source, kept under the hash of its content.

    Attributes:
        id: first 16 hex digits of the SHA-256 of the content; rows are content-addressed.
        query: exactly what was asked.
        summary: one sentence a person can read.
        points: series for metrics, oldest first.
        lines: log lines, or diff lines of a change, at most 40.
        at: when the thing happened (a change, the first line), if it has a moment.
        link: where a person can see it in its own system.
    """

    id: str
    kind: EvidenceKind
    source: str
    query: str
    status: EvidenceStatus
    title: str
    summary: str
    at: datetime | None = None
    points: tuple[Point, ...] = ()
    lines: tuple[str, ...] = ()
    unit: str = ""
    link: str = ""
    version: str = ""
    previous: str = ""


@dataclass(frozen=True, slots=True)
class Hypothesis:
    """A possible cause.

    Attributes:
        cause: stable class of cause, such as ``release`` or ``dependency``.
        statement: one sentence for people; every claim in it rests on ``evidence``.
        confidence: 0 to 1.
        evidence: evidence ids, strongest first; never empty.
        subject: what is blamed, such as the version of a release.
        previous: what was there before it, such as the version to go back to; empty when unknown.
    """

    cause: str
    statement: str
    confidence: float
    evidence: tuple[str, ...]
    subject: str = ""
    previous: str = ""


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """The answer of one investigation; no hypotheses means "no evidence", which is an answer too."""

    made_at: datetime
    window_start: datetime
    window_end: datetime
    hypotheses: tuple[Hypothesis, ...]
    evidence: tuple[str, ...]
    summary: str
    onset: datetime | None = None
