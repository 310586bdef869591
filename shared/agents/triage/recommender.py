"""Recommender: offers the runbooks that fit and asks for the approval of a plan when one can be made.

In: DiagnosisMade. Out: a recommendation, and ApprovalRequested when the best runbook has an action possible now.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from shared.agents.triage.plan import Filled, Missing, filled, hypothesis_for, moot
from shared.agents.triage.runbook_match import Fit, candidates, rank
from shared.model.action import ActionRequest, ActionState
from shared.model.approval import ApprovalRequest
from shared.model.errors import PermanentError
from shared.model.event import ApprovalRequested, Event
from shared.model.incident import Incident
from shared.model.lifecycle import State
from shared.model.outcome import Emit, Outcome, Put
from shared.model.recommendation import Option, Plan, Recommendation
from shared.model.runbook import Runbook, RunbookAction
from shared.ports import Ports
from shared.records import approvals, knowledge
from shared.records.knowledge import Learned

MAX_OPTIONS = 3
MAX_SIMILAR = 5


@dataclass(frozen=True, slots=True)
class Offer:
    """A request for approval, or an approval that is open already, with the reason."""

    request: ApprovalRequest | None
    reason: str
    open_approval: str = ""


def handle(event: Event, incident: Incident, now: datetime, ports: Ports) -> Outcome:
    """Recommend runbooks, and ask for a plan to be approved when the best one allows it.

    Args:
        event: DiagnosisMade.

    Raises:
        TransientError: the live state of the target cannot be read now.
    """
    known = knowledge.of_service(ports.store, incident.service)
    learned, cases = known.runbooks, known.cases
    runbooks = candidates(ports.library.runbooks(), learned)
    fits = rank(incident, runbooks, learned, cases, ports.settings.knowledge.min_score)[:MAX_OPTIONS]
    offer = _offer(event, incident, now, ports, fits)
    theme = knowledge.theme_of(incident)
    alike = [case.incident_id for case in cases if case.theme == theme and case.incident_id != incident.id]
    request = offer.request
    recommendation = Recommendation(
        made_at=now,
        options=tuple(_option(fit, learned) for fit in fits),
        summary=offer.reason,
        approval_id=request.id if request else offer.open_approval,
        similar=tuple(reversed(alike))[:MAX_SIMILAR],
    )
    if request is None:
        what = f"{len(fits)} runbook(s) offered, no plan" if fits else "no runbook to offer"
        return Outcome(what, offer.reason, changes=(Put("recommendation", recommendation),))
    return Outcome(
        f"plan proposed: {request.plan.title}",
        offer.reason,
        changes=(Put("recommendation", recommendation),),
        events=(Emit(ApprovalRequested(request)),),
    )


def _offer(event: Event, incident: Incident, now: datetime, ports: Ports, fits: Sequence[Fit]) -> Offer:
    if not fits:
        return Offer(None, "no runbook matches this incident")
    best = fits[0]
    if incident.state in (State.EXECUTING, State.RESOLVED, State.CLOSED):
        return Offer(None, f"the best match is {best.runbook.title!r}; no plan while the incident is {incident.state}")
    if not best.runbook.actions:
        return Offer(None, f"{best.runbook.title!r} is for people: it has no action")
    reasons: list[str] = []
    for action in best.runbook.actions:
        answer = _possible(event, incident, ports, best.runbook, action)
        if isinstance(answer, Missing):
            reasons.append(answer.reason)
            continue
        return _asked(event, incident, now, ports, best, *answer)
    return Offer(None, f"{best.runbook.title!r} matches best, but no plan: {'; '.join(reasons)}")


def _possible(
    event: Event, incident: Incident, ports: Ports, runbook: Runbook, action: RunbookAction
) -> tuple[Filled, dict[str, str]] | Missing:
    """The filled action with the live facts of its target, or why it is not possible now."""
    adapter = ports.actions.get(action.action)
    if adapter is None:
        return Missing(f"the action {action.action!r} is not configured")
    ready = filled(runbook, action, incident, incident.service in ports.settings.services)
    if isinstance(ready, Missing):
        return ready
    request = ActionRequest(event.id, ready.action, ready.target, ready.values, incident.id)
    try:
        refusal = adapter.allowed(request)
        facts = {} if refusal else dict(adapter.facts(ready.target))
    except PermanentError as exc:
        return Missing(f"{ready.target} cannot be read: {exc}")
    if refusal:
        return Missing(f"{action.action} is not allowed: {refusal}")
    pointless = moot(ready, facts, hypothesis_for(runbook, incident))
    if pointless:
        return Missing(pointless)
    if not facts and any(
        done.state is ActionState.DONE and (done.action, done.target) == (ready.action, ready.target)
        for done in incident.actions
    ):
        return Missing(f"{ready.action} was done for {ready.target} in this incident already")
    return ready, facts


def _asked(
    event: Event, incident: Incident, now: datetime, ports: Ports, best: Fit, ready: Filled, facts: dict[str, str]
) -> Offer:
    pending = incident.approval
    if pending is not None and pending.verdict is None and pending.deadline > now:
        same = (pending.action, pending.target) == (ready.action, ready.target)
        if same or incident.state is State.AWAITING_APPROVAL:
            return Offer(None, f"{pending.title!r} waits for people already", pending.id)
    rules = ports.settings.approvals
    life = timedelta(seconds=rules.expires_s)
    # From the event's time, not from now, so that a repeated delivery asks for the very same plan; whole lives later
    # when the event itself is old, so that no plan is dead when it is asked.
    proposed_at = event.time + max(0, math.floor((now - event.time) / life)) * life
    plan = Plan(
        incident_id=incident.id,
        runbook=best.runbook.id,
        title=_title(best.runbook, ready, facts),
        action=ready.action,
        target=ready.target,
        parameters=ready.parameters,
        preconditions=facts,
        blast_radius=_blast_radius(incident, ready),
        risk=best.runbook.risk,
        rollback=best.runbook.rollback,
        proposed_at=proposed_at,
        expires_at=proposed_at + life,
        proposed_by="recommender",
    )
    digest = approvals.plan_hash(plan)
    request = ApprovalRequest(
        id=approvals.approval_id(incident.id, digest),
        incident_id=incident.id,
        plan=plan,
        plan_hash=digest,
        group=rules.group,
        needed=rules.needed,
        requested_at=proposed_at,
        deadline=plan.expires_at,
    )
    return Offer(request, f"{best.runbook.title!r} fits best: {best.why}")


def _title(runbook: Runbook, ready: Filled, facts: dict[str, str]) -> str:
    goal = ready.values.get("to", "")
    if not goal:
        return f"{runbook.title}: {ready.target}"
    live = facts.get("version", "")
    return f"{runbook.title}: {ready.target} {f'from {live} ' if live else ''}to {goal}"


def _blast_radius(incident: Incident, ready: Filled) -> str:
    where = f" in {incident.environment}" if incident.environment else ""
    values = ", ".join(f"{name} {value}" for name, value in sorted(ready.values.items()))
    return (
        f"All of {ready.target}{where}, through {ready.action}{f' ({values})' if values else ''}; "
        f"whoever calls {ready.target} notices while it happens."
    )


def _option(fit: Fit, learned: Sequence[Learned]) -> Option:
    return Option(
        runbook=fit.runbook.id,
        title=fit.runbook.title,
        score=fit.score,
        why=fit.why,
        link=next((item.url for item in learned if item.runbook.id == fit.runbook.id), ""),
        risk=fit.runbook.risk,
    )
