"""Solicitor: asks the right people, waits for them, and carries their decision into the incident.

In: a plan; votes; the end of a wait. Out: a question, a decision written once, and an action only if it was approved.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import replace
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
from shared.model.recommendation import Plan
from shared.ports import Ports
from shared.ports.store import Store
from shared.ports.waits import Enact, Look, Looked, Sleep, Step
from shared.records import approvals, incidents

JUST_ASKED = timedelta(seconds=5)


def wait(first: datetime | None = None) -> Generator[Step, Looked | None, None]:
    """The wait for people as plain steps; Durable, the local host and a loop in a test drive it alike.

    The store is read first, after every wake-up and on a timer (rule D2), so a lost vote event costs minutes only.

    Args:
        first: when to look first, where the hop that began the wait has written the question itself just now.
    """
    told = (yield Sleep(first)) if first is not None else None
    while told is None or not told.decided:  # else the hop of a vote carries the decision on (rule D3)
        looked = yield Look()
        if looked is None or looked.decided:
            yield Enact()
            return
        told = yield Sleep(looked.wake_at)


def look(store: Store, approval_id: str, poll: timedelta, now: datetime) -> Looked:
    """Count the votes and write the decision when there is one (rule D1).

    Args:
        poll: look again at least this often.
        now: the caller's time; votes stored after the deadline do not count, however late this runs.

    Raises:
        PermanentError: there is no such request.
    """
    record = approvals.read(store, approval_id)
    request = record.request
    if request is None:
        raise PermanentError(f"there is no approval {approval_id}", Reason.NOT_FOUND)
    if record.decision is not None:
        return Looked(True, now, request.incident_id)
    if not record.votes and now < min(request.deadline, request.requested_at + JUST_ASKED):
        return Looked(
            False, min(request.deadline, now + poll), request.incident_id
        )  # its hop has just seen that the incident is not over
    loaded = incidents.load(store, request.incident_id)
    over = loaded is not None and loaded.incident.over
    if not _settled(store, request, record, over, now):
        return Looked(False, min(request.deadline, now + poll), request.incident_id)
    return Looked(True, now, request.incident_id)


def _settled(store: Store, request: ApprovalRequest, record: approvals.Record, over: bool, now: datetime) -> bool:
    """Whether there is a decision, which is written here when the votes make one; nobody else writes it (rule D1)."""
    if record.decision is not None:
        return True
    decision = tally(request, record.votes, over, now)
    if decision is None:
        return False
    approvals.decide(store, decision)
    return True


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
            return _voted(cast, incident, now, ports)
        case ApprovalDecided(approval_id):
            return _decided(approval_id, incident, ports)
        case _:
            raise PermanentError(f"{event.type} is nothing to ask about", Reason.BAD_INPUT)


def _ask(request: ApprovalRequest, incident: Incident, now: datetime, ports: Ports) -> Outcome:
    plan = request.plan
    if approvals.plan_hash(plan) != request.plan_hash:
        raise PermanentError("the plan does not have the hash it claims", Reason.BAD_INPUT)
    already = _asked_already(request, incident, now, ports)
    if already is not None:
        return already
    new = approvals.create(ports.store, request)
    summary = _summary(request, None)
    changes: tuple[Put | Happened, ...] = (Put("approval", summary), Happened(Moment.APPROVAL_REQUESTED))
    if incident.recommendation is not None and incident.recommendation.approval_id != request.id:  # it has waited
        changes = (*changes, Put("recommendation", replace(incident.recommendation, approval_id=request.id)))
    if plan.automatic and all(parameter.trusted for parameter in plan.parameters):
        reason = "the policy lets this run by itself"
        approvals.decide(
            ports.store, Decision(request.id, Verdict.APPROVED, now, ("policy",), request.plan_hash, reason)
        )
        return Outcome(f"approved by policy: {plan.title}", reason, changes, (Emit(ApprovalDecided(request.id)),))
    decision = None if new else approvals.decision_of(ports.store, request.id)
    if decision is not None:  # an earlier attempt started the wait and could not commit; the wait has ended since
        reason = f"{decision.verdict} by {', '.join(decision.by)} before it could be asked: {decision.reason}"
        return Outcome(f"not asked again: {plan.title}", reason, (Put("approval", _summary(request, decision)),))
    if now >= request.deadline:
        reason = f"its deadline was {request.deadline:%H:%M:%S} UTC, and it arrived here only now"
        told = notices.tell(
            NoticeKind.ESCALATED, f"Too late to ask: {plan.title}", f"{reason}.", incident, ports.settings
        )
        return Outcome(f"too late to ask: {plan.title}", reason, (Happened(Moment.ESCALATED),), told)
    # Nobody has voted on what was written a moment ago; a wait that is begun again looks at once.
    poll = timedelta(seconds=ports.settings.approvals.poll_s)
    ports.waits.start(request.id, min(request.deadline - now, poll) if new else timedelta(0))
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


def _asked_already(request: ApprovalRequest, incident: Incident, now: datetime, ports: Ports) -> Outcome | None:
    """Two investigations at once may propose the same; people are asked once, or it might be done twice."""
    pending = incident.approval
    if pending is None or pending.verdict is not None or pending.id == request.id or pending.deadline <= now:
        return None
    if now >= request.deadline or approvals.decision_of(ports.store, request.id) is not None:
        return None  # there is nothing to ask any more
    before = approvals.request_of(ports.store, pending.id)
    if request.plan.automatic or before is None or _deed(before.plan) != _deed(request.plan):
        return None
    reason = f"{pending.title!r} is the same and waits for people already"
    made = incident.recommendation
    changes = (Put("recommendation", replace(made, approval_id=pending.id)),) if made is not None else ()
    return Outcome(f"not asked again: {request.plan.title}", reason, changes)


def _deed(plan: Plan) -> tuple[str, str, tuple[tuple[str, str], ...]]:
    """What a plan would do, whenever and by whomever it was proposed."""
    return plan.action, plan.target, tuple(sorted((parameter.name, parameter.value) for parameter in plan.parameters))


def _summary(request: ApprovalRequest, decision: Decision | None) -> ApprovalSummary:
    plan = request.plan
    verdict, by = (None, ()) if decision is None else (decision.verdict, decision.by)
    return ApprovalSummary(
        request.id, request.plan_hash, plan.title, plan.action, plan.target, request.deadline, verdict, by
    )


def _voted(cast: VoteCast, incident: Incident, now: datetime, ports: Ports) -> Outcome:
    """Take note of a vote, and carry the decision on when the votes make one; the wait does so where this is lost."""
    vote = cast.vote
    if cast.refused:
        return Outcome(f"{vote.user} may not {vote.choice}", cast.refused, person=vote.user)
    record = approvals.read(ports.store, cast.approval_id)
    request, asked = record.request, incident.approval
    carried = asked is not None and asked.id == cast.approval_id and asked.verdict is not None
    decided = (
        request is not None
        and request.incident_id == incident.id
        and not carried
        and _settled(ports.store, request, record, incident.over, now)
    )
    if decided or carried:
        ports.waits.wake(cast.approval_id, decided=True)
    events = (Emit(ApprovalDecided(cast.approval_id)),) if decided else ()
    why = vote.comment or f"on the {vote.via}"
    return Outcome(f"{vote.user} voted to {vote.choice}", why, events=events, person=vote.user)


def _decided(approval_id: str, incident: Incident, ports: Ports) -> Outcome:
    record = approvals.read(ports.store, approval_id)
    decision, request = record.decision, record.request
    if decision is None:
        raise PermanentError(f"approval {approval_id} has no decision", Reason.NOT_FOUND)
    if request is None:
        raise PermanentError(f"there is no approval {approval_id}", Reason.NOT_FOUND)
    names, title = ", ".join(decision.by), request.plan.title
    approved = decision.verdict is Verdict.APPROVED
    changes: list[Put | Happened] = [Happened(Moment.APPROVED if approved else Moment.NOT_APPROVED)]
    if incident.approval is None or incident.approval.id == approval_id:
        changes.insert(0, Put("approval", _summary(request, decision)))
    text = f"{decision.verdict.capitalize()} by {names}: {title}. {decision.reason}"
    told = (
        Emit(TicketUpdateRequested(UpdateKind.NOTE, text)),
        *notices.tell(NoticeKind.DECIDED, f"{decision.verdict.capitalize()}: {title}", text, incident, ports.settings),
    )
    at_once = approved and _follows_at_once(incident, ports)
    events = (*((Emit(ActionApproved(approval_id)),) if approved else ()), *(() if at_once else told))
    person = names if names not in ("policy", "deadline") else ""
    return Outcome(f"{decision.verdict}: {title}", decision.reason, tuple(changes), events, person)


def _follows_at_once(incident: Incident, ports: Ports) -> bool:
    """Whether what came of an approved plan is told within moments, with who approved it, so that this need not be."""
    held = ports.settings.execution.kill_switch or MicroAgent.EXECUTOR in ports.settings.policy.hold
    return not held and not incident.over
