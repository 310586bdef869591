"""A question to people: the plan, the votes, the decision.

In: a plan and votes. Out: one decision, written once.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from shared.model.recommendation import Plan


class Choice(StrEnum):
    """What a person can say."""

    APPROVE = "approve"
    REJECT = "reject"


class Verdict(StrEnum):
    """How an approval ends. Silence ends in ``expired``, never in consent (rule D1)."""

    APPROVED = "approved"
    REJECTED = "rejected"
    EXPIRED = "expired"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True)
class ApprovalRequest:
    """What is asked, of whom, until when.

    Attributes:
        id: UUIDv5 of incident and plan hash; also the id of the durable instance (rule D2).
        plan_hash: SHA-256 over the canonical JSON of the plan.
        group: people who may decide.
        needed: how many approvals it takes; one rejection ends it.
    """

    id: str
    incident_id: str
    plan: Plan
    plan_hash: str
    group: str
    needed: int
    requested_at: datetime
    deadline: datetime


@dataclass(frozen=True, slots=True)
class Vote:
    """One person's word; each has one."""

    user: str
    choice: Choice
    at: datetime
    plan_hash: str
    comment: str = ""
    via: str = "page"


@dataclass(frozen=True, slots=True)
class Decision:
    """The end of an approval.

    Attributes:
        by: users whose votes decided, or ``policy`` or ``deadline``.
    """

    approval_id: str
    verdict: Verdict
    at: datetime
    by: tuple[str, ...]
    plan_hash: str
    reason: str
