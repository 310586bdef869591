"""Role: answer what happened to a service in a time window.

In: a question. Out: evidence; "no data" and "could not ask" are answers, never exceptions.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from shared.model.diagnosis import Evidence


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked of every source.

    Attributes:
        start: beginning of the baseline before the incident.
        onset: when the trouble began as far as the alerts say.
        end: now.
    """

    service: str
    start: datetime
    onset: datetime
    end: datetime


class EvidenceSource(Protocol):
    """One source: metrics, logs or changes."""

    def gather(self, question: Question) -> tuple[Evidence, ...]:
        """Everything relevant for the question, at most 20 items."""
        ...


class Investigator(Protocol):
    """All sources of a service behind one bounded thread pool."""

    def gather(self, question: Question) -> tuple[Evidence, ...]:
        """Ask every source at once; one that fails or is late contributes an ``error`` evidence."""
        ...
