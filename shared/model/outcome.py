"""What a micro-agent answers: changes, events, and why.

In: nothing. Out: values that `dispatch` commits in one transaction (rules H4 and H5).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from shared.model.diagnosis import Evidence
from shared.model.event import Payload
from shared.model.lifecycle import Moment


@dataclass(frozen=True, slots=True)
class Put:
    """Set one named field of the incident."""

    field: str
    value: object


@dataclass(frozen=True, slots=True)
class Append:
    """Add one item to a tuple field of the incident, as it is at commit time."""

    field: str
    item: object


@dataclass(frozen=True, slots=True)
class Revise:
    """Change one named field by a function of its value as it is at commit time."""

    field: str
    how: Callable[[Any], object]


@dataclass(frozen=True, slots=True)
class Happened:
    """A lifecycle moment; it applies to the state as it is at commit time."""

    moment: Moment


Change = Put | Append | Revise | Happened


@dataclass(frozen=True, slots=True)
class Emit:
    """An event to send; who consumes it is `pipeline`'s business, not the emitter's."""

    data: Payload
    not_before: datetime | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """The answer of one micro-agent.

    Attributes:
        what: a few words in the past tense for the timeline, such as ``ticket INC0010001 opened``.
        reason: why, for the timeline and the audit trail; never empty.
        person: the person behind it, if any.
        evidence: to keep with the incident, in the same transaction where it fits.
        texts: written texts to keep likewise, under the ids their content gives them.
    """

    what: str
    reason: str
    changes: tuple[Change, ...] = ()
    events: tuple[Emit, ...] = ()
    person: str = ""
    evidence: tuple[Evidence, ...] = ()
    texts: tuple[str, ...] = ()


class Go(StrEnum):
    """What the policy answers before a micro-agent runs (rule H1)."""

    GO = "go"
    HOLD = "hold"
    SKIP = "skip"
    ESCALATE = "escalate"


@dataclass(frozen=True, slots=True)
class Ruling:
    """The policy's answer with its reason.

    Attributes:
        until: for ``hold``: when it is looked at again.
        release_by: for ``hold``: the group that may release it.
    """

    go: Go
    reason: str
    until: datetime | None = None
    release_by: str = ""
