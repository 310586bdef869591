"""Rows of `approvals`: the request, the votes, the decision, and the mark of an execution.

In: model values. Out: rows that are created once and never changed (rules D1 to D4).
"""

from __future__ import annotations

import hashlib

from shared.model import codec
from shared.model.approval import ApprovalRequest, Decision, Vote
from shared.model.event import derive_id
from shared.model.recommendation import Plan
from shared.ports.store import Conflict, Insert, Store, Table
from shared.records.rows import key_of, pack, unpack

REQUEST = "request"
DECISION = "decision"
VOTE = "vote|"
EXECUTED = "executed|"


def plan_hash(plan: Plan) -> str:
    """SHA-256 over the canonical JSON of a plan; this is what people approve."""
    return hashlib.sha256(codec.canonical(plan).encode()).hexdigest()


def approval_id(incident_id: str, hash_of_plan: str) -> str:
    """Id of the approval of one plan for one incident; also the id of its durable wait (rule D2)."""
    return derive_id("approval", incident_id, hash_of_plan)


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
    return tuple(sorted((unpack(Vote, row.values) for row in rows), key=lambda ballot: (ballot.at, ballot.user)))


def mark_executed(store: Store, approval: str, event_id: str) -> bool:
    """Say for ever that this event was executed (rule H11); False when it was said already."""
    try:
        store.write(Table.APPROVALS, approval, Insert(EXECUTED + event_id, {"event": event_id}))
    except Conflict:
        return False
    return True


def executed(store: Store, approval: str, event_id: str) -> bool:
    """Whether this event was executed before."""
    return store.get(Table.APPROVALS, approval, EXECUTED + event_id) is not None


def _insert(store: Store, partition: str, key: str, value: object) -> bool:
    try:
        store.write(Table.APPROVALS, partition, Insert(key, pack(value)))
    except Conflict:
        return False
    return True
