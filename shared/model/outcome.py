"""What a micro-agent answers: changes, events, and why.

In: nothing. Out: values that `dispatch` commits in one transaction (rules H4 and H5).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

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
class Happened:
    """A lifecycle moment; it applies to the state as it is at commit time."""

    moment: Moment


Change = Put | Append | Happened


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
    """

    what: str
    reason: str
    changes: tuple[Change, ...] = ()
    events: tuple[Emit, ...] = ()
    person: str = ""


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
