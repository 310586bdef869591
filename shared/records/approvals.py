"""Rows of `approvals`: the request, the votes, the decision, and the mark of an execution.

In: model values. Out: rows that are created once and never changed (rules D1 to D4).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum

from shared.model import codec
from shared.model.approval import ApprovalRequest, Decision, Vote
from shared.model.event import ApprovalDecided, derive_id
from shared.model.recommendation import Plan
from shared.ports.store import Conflict, Insert, Store, Table
from shared.records.rows import key_of, pack, unpack

REQUEST = "request"
DECISION = "decision"
VOTE = "vote|"
EXECUTED = "executed|"
EXECUTION = "execution"
WORTH_RENEWING = 0.05


class Mark(StrEnum):
    """What `mark_executed` found: it is the first, this event was here before, or another event was."""

    FIRST = "first"
    AGAIN = "again"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class Record:
    """An approval with everything that belongs to it.

    Attributes:
        votes: oldest first.
        executed_by: ids of events that began to execute it; one, or none.
    """

    request: ApprovalRequest | None
    decision: Decision | None
    votes: tuple[Vote, ...]
    executed_by: frozenset[str]


def read(store: Store, approval: str) -> Record:
    """An approval, by one query."""
    request, decision, votes, executed_by = None, None, [], set()
    start: str | None = ""
    while start is not None:
        page = store.query(Table.APPROVALS, approval, start)
        for row in page.rows:
            if row.key == REQUEST:
                request = unpack(ApprovalRequest, row.values)
            elif row.key == DECISION:
                decision = unpack(Decision, row.values)
            elif row.key.startswith(VOTE):
                votes.append(unpack(Vote, row.values))
            elif row.key.startswith(EXECUTED):
                executed_by.add(row.key.removeprefix(EXECUTED))
        start = page.next_key
    return Record(request, decision, _in_order(votes), frozenset(executed_by))


def plan_hash(plan: Plan) -> str:
    """SHA-256 over the canonical JSON of a plan; this is what people approve."""
    return hashlib.sha256(codec.canonical(plan).encode()).hexdigest()


def approval_id(incident_id: str, hash_of_plan: str) -> str:
    """Id of the approval of one plan for one incident; also the id of its durable wait (rule D2)."""
    return derive_id("approval", incident_id, hash_of_plan)


def renewed(request: ApprovalRequest, now: datetime) -> ApprovalRequest:
    """The same question with its whole time before it, for one that has waited; it is another approval.

    Until ``WORTH_RENEWING`` of its time have passed it stays as it is.
    """
    life = request.deadline - request.requested_at
    if now - request.requested_at < life * WORTH_RENEWING:
        return request
    plan = replace(request.plan, proposed_at=now, expires_at=now + (request.plan.expires_at - request.plan.proposed_at))
    digest = plan_hash(plan)
    identity = approval_id(request.incident_id, digest)
    return replace(request, id=identity, plan=plan, plan_hash=digest, requested_at=now, deadline=now + life)


def decided_id(approval: str, incident_id: str) -> str:
    """Id of the event that carries the decision into the incident; its cause is the decision (rules M2 and D3)."""
    return derive_id(approval, "decision", ApprovalDecided.TYPE, incident_id, "0")


def create(store: Store, request: ApprovalRequest) -> bool:
    """Keep a request.

    Returns:
        False when it is there already.
    """
    return _insert(store, request.id, REQUEST, request)


def vote(store: Store, approval: str, ballot: Vote) -> bool:
    """Keep a vote; the first one of each person counts.

    Returns:
        False when this person has voted already.
    """
    return _insert(store, approval, VOTE + key_of(ballot.user), ballot)


def decide(store: Store, decision: Decision) -> bool:
    """Write the decision; only the first one stands.

    Returns:
        False when there is one already.
    """
    return _insert(store, decision.approval_id, DECISION, decision)


def request_of(store: Store, approval: str) -> ApprovalRequest | None:
    """The request, or ``None``."""
    row = store.get(Table.APPROVALS, approval, REQUEST)
    return None if row is None else unpack(ApprovalRequest, row.values)


def decision_of(store: Store, approval: str) -> Decision | None:
    """The decision, or ``None`` while it is open."""
    row = store.get(Table.APPROVALS, approval, DECISION)
    return None if row is None else unpack(Decision, row.values)


def votes_of(store: Store, approval: str) -> tuple[Vote, ...]:
    """All votes, oldest first."""
    rows = store.query(Table.APPROVALS, approval, VOTE, VOTE[:-1] + "}").rows
    return _in_order(unpack(Vote, row.values) for row in rows)


def _in_order(votes: Iterable[Vote]) -> tuple[Vote, ...]:
    return tuple(sorted(votes, key=lambda ballot: (ballot.at, ballot.user)))


def mark_executed(store: Store, approval: str, event_id: str) -> Mark:
    """Say for ever that this event executes the approval (rule H11), which one event alone can do."""
    rows = (Insert(EXECUTED + event_id, {"event": event_id}), Insert(EXECUTION, {"event": event_id}))
    try:
        store.transact(Table.APPROVALS, approval, rows)
    except Conflict as conflict:
        return Mark.AGAIN if conflict.row_key == EXECUTED + event_id else Mark.OTHER
    return Mark.FIRST


def begun(store: Store, approval: str) -> bool:
    """Whether any event has begun to execute the approval."""
    return store.get(Table.APPROVALS, approval, EXECUTION) is not None


def executed(store: Store, approval: str, event_id: str) -> bool:
    """Whether this event was executed before."""
    return store.get(Table.APPROVALS, approval, EXECUTED + event_id) is not None


def _insert(store: Store, partition: str, key: str, value: object) -> bool:
    try:
        store.write(Table.APPROVALS, partition, Insert(key, pack(value)))
    except Conflict:
        return False
    return True
