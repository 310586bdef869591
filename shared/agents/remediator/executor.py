"""Executor: does what was approved, once, and says honestly what came of it.

In: the id of an approval; nothing else in the message is trusted. Out: a result that is never guessed (rule D4).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial

from shared.agents import notices
from shared.config.schema import Execution
from shared.model.action import ActionRequest, ActionResult, ActionState
from shared.model.approval import ApprovalRequest, Decision, Verdict
from shared.model.errors import PermanentError, Reason, TransientError
from shared.model.event import (
    ActionApproved,
    ClosingKind,
    ClosingRequested,
    Event,
    TicketUpdateRequested,
    UpdateKind,
)
from shared.model.incident import Incident
from shared.model.lifecycle import Moment
from shared.model.notice import Fact, NoticeKind
from shared.model.outcome import Append, Emit, Happened, Outcome
from shared.ports import Ports
from shared.ports.action import Action, Settled
from shared.records import approvals, leases, windows

_UNTIL = "the incident closes when its alerts resolve at their source, or by hand"
_SETTLED = {
    Settled.DONE: (ActionState.DONE, "an earlier attempt had already done it"),
    Settled.UNKNOWN: (ActionState.UNCLEAR, "an earlier attempt began and nobody can tell whether it happened"),
}


@dataclass(frozen=True, slots=True)
class _Job:
    approval: ApprovalRequest
    request: ActionRequest
    action: Action


def handle(event: Event, incident: Incident, now: datetime, ports: Ports) -> Outcome:
    """Execute an approved plan.

    Raises:
        TransientError: another action holds the target, or the far side cannot be reached; ``sent`` tells whether
            anything may have happened.
        PermanentError: there is no such approval.
    """
    if not isinstance(event.data, ActionApproved):
        raise PermanentError(f"{event.type} is nothing to execute", Reason.BAD_INPUT)
    record = approvals.read(ports.store, event.data.approval_id)
    approval = record.request
    if approval is None:
        raise PermanentError(f"there is no approval {event.data.approval_id}", Reason.NOT_FOUND)
    plan = approval.plan
    action = ports.actions.get(plan.action)
    parameters = {parameter.name: parameter.value for parameter in plan.parameters}
    request = ActionRequest(event.id, plan.action, plan.target, parameters, incident.id)
    limits = limits_of(ports.settings.execution)
    ended = partial(_ended, approval, record.decision, incident, now, ports)
    if ports.repeat or event.id in record.executed_by:
        settled = Settled.UNKNOWN if action is None else action.settle(request)
        if action is None or settled is not Settled.NOT_DONE:
            leases.release(ports.store, plan.target, event.id, limits, now)
            return ended(*_SETTLED[settled], _facts(action, plan.target, settled))
    if action is None:
        text = f"no action {plan.action!r} is configured here"
        return ended(ActionState.REFUSED, text, {})
    job = _Job(approval, request, action)
    moved = _moved(job, record.decision, incident, now, ports)
    if moved:
        leases.release(ports.store, plan.target, event.id, limits, now)
        return ended(ActionState.REFUSED, moved, {})
    grant = leases.acquire(ports.store, plan.target, event.id, limits, now)
    if not grant.given and grant.retry_at is not None:
        raise TransientError(grant.reason, Reason.CONFLICT, grant.retry_at - now, sent=False)
    if not grant.given:
        return ended(ActionState.REFUSED, grant.reason, {})
    state, message = _act(job, record.decision, event, incident, now, ports)
    leases.release(ports.store, plan.target, event.id, limits, now, grant)
    settled = Settled.DONE if state is ActionState.DONE else Settled.UNKNOWN
    return ended(state, message, _facts(action, plan.target, settled))


def limits_of(execution: Execution) -> leases.Limits:
    """The guardrails as the lease keeps them."""
    return leases.Limits(
        lease=timedelta(seconds=execution.lease_s),
        cooldown=timedelta(seconds=execution.cooldown_s),
        max_attempts=execution.max_attempts,
        window=timedelta(seconds=execution.attempt_window_s),
    )


def _refusal(approval: ApprovalRequest, decision: Decision | None, incident: Incident, ports: Ports) -> str:
    """Why the store does not allow it, whatever the message says; empty when it does."""
    if decision is None:
        return "nobody has decided it"
    if decision.verdict is not Verdict.APPROVED:
        return f"it was {decision.verdict}"
    if not decision.plan_hash == approval.plan_hash == approvals.plan_hash(approval.plan):
        return "the plan is not the one that was approved"
    if approval.incident_id != incident.id:
        return "the approval belongs to another incident"
    if ports.settings.execution.kill_switch:
        return "the kill switch is on"
    return ""


def _act(
    job: _Job, decision: Decision | None, event: Event, incident: Incident, now: datetime, ports: Ports
) -> tuple[ActionState, str]:
    """Do it once. What may change is read again under the lease, because the last action may just have ended.

    A decision is a row that is created once and never changes (rule D1), so it is not.
    """
    moved = _moved(job, decision, incident, now, ports)
    if moved:
        return ActionState.REFUSED, moved
    if approvals.mark_executed(ports.store, job.approval.id, event.id) is approvals.Mark.OTHER:
        return ActionState.REFUSED, "another event has executed this approval already"
    try:
        return ActionState.DONE, job.action.run(job.request)
    except PermanentError as error:
        return ActionState.FAILED, str(error)
    except TransientError as error:
        if error.sent is False:
            raise
        if job.action.settle(job.request) is Settled.DONE:
            return ActionState.DONE, f"done, though the answer was lost ({error})"
        raise  # settled again on the next attempt; only the state of the target decides


def _facts(action: Action | None, target: str, settled: Settled) -> dict[str, str]:
    """Proof of what was done; the result stands also where it cannot be read."""
    if action is None or settled is not Settled.DONE:
        return {}
    try:
        return dict(action.facts(target))
    except (PermanentError, TransientError):
        return {}


def _moved(job: _Job, decision: Decision | None, incident: Incident, now: datetime, ports: Ports) -> str:
    """What forbids it, or changed since it was approved; empty when nothing did."""
    forbidden = _refusal(job.approval, decision, incident, ports)
    if forbidden:
        return forbidden
    plan = job.approval.plan
    if incident.over:
        return "the incident is over"
    if now >= plan.expires_at + timedelta(seconds=60):
        return f"the plan expired at {plan.expires_at:%H:%M:%S} UTC"
    outside = job.action.allowed(job.request)
    if outside:
        return outside
    live = job.action.facts(plan.target)
    changed = [name for name, value in plan.preconditions.items() if live.get(name) != value]
    if changed:
        name = changed[0]
        return f"{name} was {plan.preconditions[name]!r} when it was proposed and is {live.get(name)!r} now"
    return ""


def _ended(
    approval: ApprovalRequest,
    decision: Decision | None,
    incident: Incident,
    now: datetime,
    ports: Ports,
    state: ActionState,
    message: str,
    facts: dict[str, str],
) -> Outcome:
    plan = approval.plan
    result = ActionResult(approval.id, plan.action, plan.target, state, now, message, facts)
    done = state is ActionState.DONE
    kind = NoticeKind.EXECUTED if done else NoticeKind.ESCALATED
    title = f"{'Executed' if done else state.capitalize()}: {plan.title}"
    # Nobody was told of the approval by itself, as this follows it at once: it is told here.
    decided = f"{decision.verdict.capitalize()} by {', '.join(decision.by)}: {decision.reason}" if decision else ""
    shown = tuple(Fact(name, value) for name, value in facts.items())
    by = (Fact("Decision", decided),) if decided else ()
    measured = windows.judged(ports.settings, incident.service)
    wait = "" if measured or not done else f"Nothing here measures {incident.service or 'it'}: {_UNTIL}"
    note = "\n".join(filter(None, (f"{title}. {message}", decided, wait)))
    look = done and (measured or not incident.firing)
    events = (
        Emit(TicketUpdateRequested(UpdateKind.NOTE, note)),
        *notices.tell(kind, title, message, incident, ports.settings, (*by, *shown)),
        *((Emit(ClosingRequested(ClosingKind.AFTER_ACTION)),) if look else ()),
    )
    changes = (Append("actions", result), Happened(Moment.EXECUTED if done else Moment.NOT_EXECUTED))
    return Outcome(f"{state}: {plan.title}", f"{message} ({wait})" if wait else message, changes, events)
