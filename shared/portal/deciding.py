"""The rules of a vote, and the vote itself (rule D1).

In: a signed-in person's choice. Out: a stored vote and its event, or the reason why not.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from shared.model import codec
from shared.model.approval import ApprovalRequest, Choice, Decision, Verdict, Vote
from shared.model.errors import ArgusError
from shared.model.event import Event, VoteCast, derive_id
from shared.model.pipeline import DESTINATION
from shared.portal.read_model import ApprovalView
from shared.portal.words import VERDICTS, utc
from shared.ports import Ports
from shared.ports.bus import Message
from shared.ports.identity import Person
from shared.records import approvals


@dataclass(frozen=True, slots=True)
class No:
    """Why a vote is not accepted.

    Attributes:
        rule: a short name of the rule; one record per person, rule and choice is kept.
        why: one sentence for the person.
    """

    status: int
    rule: str
    why: str


def refusal(
    request: ApprovalRequest,
    decision: Decision | None,
    votes: Sequence[Vote],
    person: Person,
    plan_hash: str,
    now: datetime,
) -> No | None:
    """Whether this person's vote on this plan counts now.

    Args:
        votes: those stored already.
        plan_hash: hash of the plan the person saw.

    Returns:
        The first rule that stands against it, or ``None``.
    """
    if request.group not in person.groups:
        return No(403, "group", f"Only members of {request.group} decide this; you are not one of them.")
    if request.plan.proposed_by in (person.user, f"person:{person.user}", f"/people/{person.user}"):
        return No(403, "proposer", "You proposed this plan; somebody else has to decide.")
    if decision is not None:
        status = 410 if decision.verdict in (Verdict.EXPIRED, Verdict.CANCELLED) else 409
        return No(status, "decided", f"This was settled at {utc(decision.at)}: {VERDICTS[decision.verdict].lower()}.")
    if now >= closes_at(request):
        return No(410, "expired", f"The time to decide ended at {utc(closes_at(request))}.")
    if not intact(request):
        return No(409, "plan_damaged", "The stored plan does not match its hash; it must not be decided.")
    if plan_hash != request.plan_hash:
        return No(409, "plan_changed", "The plan is not the one you were shown. Read it again, then decide.")
    given = next((vote for vote in votes if vote.user == person.user), None)
    if given is not None:
        return No(
            409, "voted", f"You have voted already ({given.choice} at {utc(given.at)}); each person has one vote."
        )
    return None


def closes_at(request: ApprovalRequest) -> datetime:
    """When voting ends: at the deadline, or when the plan expires if that is earlier."""
    return min(request.deadline, request.plan.expires_at)


def intact(request: ApprovalRequest) -> bool:
    """Whether the stored plan is the one its hash was made of."""
    return approvals.plan_hash(request.plan) == request.plan_hash


def cast(ports: Ports, view: ApprovalView, person: Person, ballot: Vote) -> tuple[No | None, bool]:
    """Keep a vote and tell the orchestration; a refused attempt is told as well, for the audit trail.

    Args:
        view: the approval as just read.
        ballot: what the person says; ``at`` is now.

    Returns:
        Why not (``None`` when the vote is kept), and whether the event was sent. The orchestration reads the store
        by itself, so an event that was not sent delays a kept vote and loses nothing.

    Raises:
        TransientError: the store cannot be reached; nothing was kept.
    """
    request = view.request
    no = refusal(request, view.decision, view.votes, person, ballot.plan_hash, ballot.at)
    if no is None and not approvals.vote(ports.store, request.id, ballot):
        no = No(409, "voted", "You have voted already; each person has one vote.")
    if no is None:
        return None, _tell(ports, request, ballot, "", (request.id, "vote", ballot.user))
    mine = next((vote for vote in view.votes if vote.user == ballot.user), None)
    if no.rule == "voted" and (mine is None or mine.choice is ballot.choice):
        # A double click, or a repeat after the queue was down: say the kept vote again, under its own id.
        kept = mine or next((v for v in approvals.votes_of(ports.store, request.id) if v.user == ballot.user), ballot)
        return no, _tell(ports, request, kept, "", (request.id, "vote", ballot.user))
    parts = (request.id, "vote", ballot.user, "refused", no.rule, ballot.choice)
    return no, _tell(ports, request, ballot, no.why, parts)


def _tell(ports: Ports, request: ApprovalRequest, vote: Vote, refused: str, parts: tuple[str, ...]) -> bool:
    event = Event(
        id=derive_id(*parts),
        source=f"/people/{vote.user}",
        subject=request.incident_id,
        time=vote.at,
        data=VoteCast(request.id, vote, refused),
    )
    try:
        ports.bus.send(
            DESTINATION[VoteCast], [Message(event.message_id, codec.encode_event(event), subject=event.subject)]
        )
    except ArgusError:
        return False
    return True


def choice_of(text: str) -> Choice | None:
    """The choice a form names, or ``None``."""
    return Choice(text) if text in tuple(Choice) else None
