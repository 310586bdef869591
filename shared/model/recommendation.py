"""A fix that fits, and the plan a person is asked to approve.

In: a diagnosis and the runbooks. Out: what the approval page shows, and its hash.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Parameter:
    """A value for an action, and where it came from.

    Attributes:
        provenance: ``config``, ``runbook``, ``evidence:<id>`` or ``person:<user>``.
        trusted: false for text that came from alerts, logs or tickets; such a plan never skips approval.
    """

    name: str
    value: str
    provenance: str
    trusted: bool = False


@dataclass(frozen=True, slots=True)
class Plan:
    """Exactly what would be done. Its hash is what people approve (ARCHITECTURE, section 5).

    Attributes:
        action: configured action name.
        target: what it acts on; the lease is on this.
        preconditions: facts read from the target at proposal time; they must still hold at execution.
        expires_at: after this it can neither be approved nor executed.
        automatic: true when policy lets it run without a person.
    """

    incident_id: str
    runbook: str
    title: str
    action: str
    target: str
    parameters: tuple[Parameter, ...]
    preconditions: Mapping[str, str]
    blast_radius: str
    risk: str
    rollback: str
    proposed_at: datetime
    expires_at: datetime
    proposed_by: str
    automatic: bool = False


@dataclass(frozen=True, slots=True)
class Option:
    """A runbook that matched.

    Attributes:
        score: 0 to 1, comparable within one recommendation only.
        why: the words that matched, for people.
    """

    runbook: str
    title: str
    score: float
    why: str
    link: str
    risk: str = ""


@dataclass(frozen=True, slots=True)
class Recommendation:
    """What the recommender offers: options, and the id of the approval asked for, if any."""

    made_at: datetime
    options: tuple[Option, ...]
    summary: str
    approval_id: str = ""
    similar: tuple[str, ...] = field(default_factory=tuple)
