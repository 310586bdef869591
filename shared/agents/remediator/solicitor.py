"""Solicitor: asks the right people, waits for them, and carries their decision into the incident.

In: a plan; votes; the end of a wait. Out: a question, a decision written once, and an action only if it was approved.
"""

from __future__ import annotations

from collections.abc import Generator
from datetime import datetime, timedelta

from shared.agents import notices
from shared.model.approval import ApprovalRequest, Choice, Decision, Verdict, Vote
from shared.model.errors import PermanentError, Reason
from shared.model.event import (
    ActionApproved,
    ApprovalDecided,
    ApprovalRequested,
    Event,
    TicketUpdateRequested,
    UpdateKind,
    VoteCast,
)
from shared.model.incident import ApprovalSummary, Incident
from shared.model.lifecycle import Moment
from shared.model.notice import Fact, Link, NoticeKind
from shared.model.outcome import Emit, Happened, Outcome, Put
from shared.model.pipeline import MicroAgent, source_of
from shared.ports import Ports
from shared.ports.store import Store
from shared.ports.waits import Enact, Look, Looked, Sleep, Step
from shared.records import approvals, incidents


def wait() -> Generator[Step, Looked | None, None]:
    """The wait for people as plain steps; Durable, the local host and a loop in a test drive it alike.

    The store is read first, after every wake-up and on a timer (rule D2), so a lost vote event costs minutes only.
    """
    while True:
        looked = yield Look()
        if looked is None or looked.decided:
            break
        yield Sleep(looked.wake_at)
    yield Enact()


def look(store: Store, approval_id: str, poll: timedelta, now: datetime) -> Looked:
    """Count the votes and write the decision when there is one (rule D1).

    Args:
        poll: look again at least this often.
        now: the caller's time; votes stored after the deadline do not count, however late this runs.

    Raises:
        PermanentError: there is no such request.
    """
    if approvals.decision_of(store, approval_id) is not None:
        return Looked(True, now)
    request = approvals.request_of(store, approval_id)
    if request is None:
        raise PermanentError(f"there is no approval {approval_id}", Reason.NOT_FOUND)
    loaded = incidents.load(store, request.incident_id)
    over = loaded is not None and loaded.incident.over
    decision = tally(request, approvals.votes_of(store, approval_id), over, now)
    if decision is None:
        return Looked(False, min(request.deadline, now + poll))
    approvals.decide(store, decision)
    return Looked(True, now)


def tally(request: ApprovalRequest, votes: tuple[Vote, ...], over: bool, now: datetime) -> Decision | None:
    """The decision that follows from votes, deadline and incident, or ``None`` while it is open.

    Args:
        votes: oldest first; those after the deadline or for another plan do not count.
        over: the incident has ended, so there is nothing left to approve.
    """
    valid = [vote for vote in votes if vote.at <= request.deadline and vote.plan_hash == request.plan_hash]
    against = [vote for vote in valid if vote.choice is Choice.REJECT]
    in_favour = [vote for vote in valid if vote.choice is Choice.APPROVE]

    def decision(verdict: Verdict, by: tuple[str, ...], reason: str) -> Decision:
        return Decision(request.id, verdict, now, by, request.plan_hash, reason)

    if against:
        first = against[0]
        return decision(Verdict.REJECTED, (first.user,), first.comment or f"{first.user} rejected it")
    if over:
        return decision(Verdict.CANCELLED, ("policy",), "the incident ended before anybody decided")
    if len(in_favour) >= request.needed:
        names = tuple(vote.user for vote in in_favour[: request.needed])
        return decision(Verdict.APPROVED, names, in_favour[0].comment or f"approved by {', '.join(names)}")
    if now >= request.deadline:
        return decision(Verdict.EXPIRED, ("deadline",), "nobody decided in time; silence is not consent")
    return None


def decided_event(approval_id: str, incident_id: str, now: datetime) -> Event:
    """The hop that ends the wait; its cause is (approval id, decision) (rules M2 and D3)."""
    identity = approvals.decided_id(approval_id, incident_id)
    return Event(identity, source_of(MicroAgent.SOLICITOR), incident_id, now, ApprovalDecided(approval_id))


def handle(event: Event, incident: Incident, now: datetime, ports: Ports) -> Outcome:
    """Ask, take note of a vote, or carry the decision on.

    Raises:
        TransientError: the wait cannot be started or woken right now.
    """
    match event.data:
        case ApprovalRequested(request):
            return _ask(request, incident, now, ports)
        case VoteCast() as cast:
            return _voted(cast, incident, ports)
        case ApprovalDecided(approval_id):
            return _decided(approval_id, incident, ports)
        case _:
            raise PermanentError(f"{event.type} is nothing to ask about", Reason.BAD_INPUT)


def _ask(request: ApprovalRequest, incident: Incident, now: datetime, ports: Ports) -> Outcome:
    plan = request.plan
    if approvals.plan_hash(plan) != request.plan_hash:
        raise PermanentError("the plan does not have the hash it claims", Reason.BAD_INPUT)
    approvals.create(ports.store, request)
    summary = _summary(request, None)
    changes = (Put("approval", summary), Happened(Moment.APPROVAL_REQUESTED))
    if plan.automatic and all(parameter.trusted for parameter in plan.parameters):
        reason = "the policy lets this run by itself"
        approvals.decide(
            ports.store, Decision(request.id, Verdict.APPROVED, now, ("policy",), request.plan_hash, reason)
        )
        return Outcome(f"approved by policy: {plan.title}", reason, changes, (Emit(ApprovalDecided(request.id)),))
    decision = approvals.decision_of(ports.store, request.id)
    if decision is not None:  # an earlier attempt started the wait and could not commit; the wait has ended since
        reason = f"{decision.verdict} by {', '.join(decision.by)} before it could be asked: {decision.reason}"
        return Outcome(f"not asked again: {plan.title}", reason, (Put("approval", _summary(request, decision)),))
    if now >= request.deadline:
        reason = f"its deadline was {request.deadline:%H:%M:%S} UTC, and it arrived here only now"
        told = notices.tell(
            NoticeKind.ESCALATED, f"Too late to ask: {plan.title}", f"{reason}.", incident, ports.settings
        )
        return Outcome(f"too late to ask: {plan.title}", reason, (Happened(Moment.ESCALATED),), told)
    ports.waits.start(request.id)
    page = f"{ports.settings.portal.base_url.rstrip('/')}/approvals/{request.id}"
    facts = (
        Fact("Action", plan.action),
        Fact("Target", plan.target),
        Fact("Risk", plan.risk or "not stated"),
        Fact("Rollback", plan.rollback or "none"),
        Fact("Decide by", f"{request.deadline:%Y-%m-%d %H:%M:%S} UTC"),
    )
    links = (Link("Review and approve", f"{page}?intent=approve"), Link("Review and reject", f"{page}?intent=reject"))
    why = incident.diagnosis.summary if incident.diagnosis else plan.title
    told = notices.tell(
        NoticeKind.APPROVAL, f"Approval needed: {plan.title}", why, incident, ports.settings, facts, links
    )
    asked = f"{request.needed} of group {request.group} must approve before {request.deadline:%H:%M:%S} UTC"
    return Outcome(f"asked for approval: {plan.title}", asked, changes, told)


def _summary(request: ApprovalRequest, decision: Decision | None) -> ApprovalSummary:
    plan = request.plan
    verdict, by = (None, ()) if decision is None else (decision.verdict, decision.by)
    return ApprovalSummary(
        request.id, request.plan_hash, plan.title, plan.action, plan.target, request.deadline, verdict, by
    )


def _voted(cast: VoteCast, incident: Incident, ports: Ports) -> Outcome:
    vote = cast.vote
    if cast.refused:
        return Outcome(f"{vote.user} may not {vote.choice}", cast.refused, person=vote.user)
    ports.waits.wake(cast.approval_id)
    return Outcome(f"{vote.user} voted to {vote.choice}", vote.comment or f"on the {vote.via}", person=vote.user)


def _decided(approval_id: str, incident: Incident, ports: Ports) -> Outcome:
    decision = approvals.decision_of(ports.store, approval_id)
    if decision is None:
        raise PermanentError(f"approval {approval_id} has no decision", Reason.NOT_FOUND)
    request = approvals.request_of(ports.store, approval_id)
    if request is None:
        raise PermanentError(f"there is no approval {approval_id}", Reason.NOT_FOUND)
    names, title = ", ".join(decision.by), request.plan.title
    approved = decision.verdict is Verdict.APPROVED
    changes: list[Put | Happened] = [Happened(Moment.APPROVED if approved else Moment.NOT_APPROVED)]
    if incident.approval is None or incident.approval.id == approval_id:
        changes.insert(0, Put("approval", _summary(request, decision)))
    text = f"{decision.verdict.capitalize()} by {names}: {title}. {decision.reason}"
    events = (
        *((Emit(ActionApproved(approval_id)),) if approved else ()),
        Emit(TicketUpdateRequested(UpdateKind.NOTE, text)),
        *notices.tell(NoticeKind.DECIDED, f"{decision.verdict.capitalize()}: {title}", text, incident, ports.settings),
    )
    person = names if names not in ("policy", "deadline") else ""
    return Outcome(f"{decision.verdict}: {title}", decision.reason, tuple(changes), events, person)
