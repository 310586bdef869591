"""Conductor: at every hop it says go, hold, skip or escalate, and why.

In: an event, the micro-agent it is for, the incident as it stands. Out: a ruling; nothing is done here.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from datetime import datetime, timedelta

from shared.agents import brake, notices
from shared.agents.brake import Braked
from shared.config.schema import Settings
from shared.model import event as ev
from shared.model.action import ActionState
from shared.model.approval import Verdict
from shared.model.incident import Incident
from shared.model.lifecycle import Moment
from shared.model.notice import NoticeKind
from shared.model.outcome import Go, Happened, Outcome, Ruling
from shared.model.pipeline import MicroAgent

GO = Ruling(Go.GO, "")
_AFTER_THE_END = (
    ev.TicketRequested,  # a crash in its hop may have left it open over there, where nobody would ever close it
    ev.TicketUpdateRequested,
    ev.IncidentClosed,
    ev.ClosingRequested,
    ev.GroupChanged,
    ev.VoteCast,
    ev.ApprovalDecided,
    ev.IncidentAcknowledged,
    ev.IncidentAssigned,
    ev.SignalsReceived,
)


def rule(
    payload: ev.Payload,
    chain: Sequence[MicroAgent],
    incident: Incident | None,
    settings: Settings,
    now: datetime,
    released: Collection[str] = (),
) -> Ruling:
    """What should happen to an event that has arrived (rule H1).

    Args:
        chain: the micro-agents of this hop; one of them on hold holds the event.
        incident: as loaded; ``None`` while it does not exist yet.
        released: reasons to hold that a person released this event from; they do not hold again (rule H9).

    Returns:
        ``skip`` for effects on an incident that is over, for actions whose approval ended otherwise, and for the
        documents of an incident that was reopened before they were written; ``hold`` for
        micro-agents that are on hold and for actions under the kill switch; ``escalate`` for a plan that has used up
        its attempts; ``go`` otherwise.
    """
    if incident is not None and incident.over and not _allowed_after_the_end(payload):
        return Ruling(Go.SKIP, "the incident is cancelled" if incident.cancelled else "the incident is closed")
    for reason in _reasons_to_hold(payload, chain, settings):
        if reason not in released:
            until = now + timedelta(seconds=settings.policy.hold_s)
            return Ruling(Go.HOLD, reason, until, settings.approvals.group)
    if isinstance(payload, ev.ActionApproved):
        return _rule_action(payload, incident)
    if isinstance(payload, ev.ApprovalRequested) and incident is not None:
        return _rule_plan(payload, incident, settings)
    if isinstance(payload, ev.IncidentClosed) and incident is not None and not incident.over:
        return Ruling(Go.SKIP, "the incident was reopened; it is written down when it closes again")
    return GO


def judge(payload: ev.Payload, incident: Incident, braked: Braked | None = None) -> Ruling:
    """What should happen to an event that a micro-agent wants to emit (rule H5).

    Args:
        braked: that the storm brake is on; ``None`` while it is off (rule B1).
    """
    if incident.over and not _allowed_after_the_end(payload):
        return Ruling(Go.SKIP, "the incident is over")
    return GO if braked is None else brake.judge(payload, incident, braked)


def instead(ruling: Ruling, payload: ev.Payload, incident: Incident, settings: Settings) -> Outcome:
    """What is recorded when a micro-agent does not run: a skip, or an escalation that tells people."""
    if ruling.go is Go.SKIP:
        return Outcome(f"skipped {payload.TYPE}", ruling.reason)
    return Outcome(
        "escalated to people",
        ruling.reason,
        changes=(Happened(Moment.ESCALATED),),
        events=notices.tell(NoticeKind.ESCALATED, "A person must look", ruling.reason, incident, settings),
    )


def _allowed_after_the_end(payload: ev.Payload) -> bool:
    if isinstance(payload, ev.NotificationRequested):
        return payload.notice.kind in (NoticeKind.CLOSED, NoticeKind.PUBLISHED, NoticeKind.ESCALATED, NoticeKind.STORM)
    return isinstance(payload, _AFTER_THE_END)


def _reasons_to_hold(payload: ev.Payload, chain: Sequence[MicroAgent], settings: Settings) -> Iterator[str]:
    for name in chain:
        if name in settings.policy.hold:
            yield f"{name} is on hold in the configuration"
    if isinstance(payload, ev.ActionApproved) and settings.execution.kill_switch:
        yield "the kill switch is on"


def _rule_action(payload: ev.ActionApproved, incident: Incident | None) -> Ruling:
    if incident is not None and incident.approval is not None and incident.approval.id == payload.approval_id:
        verdict = incident.approval.verdict
        if verdict not in (None, Verdict.APPROVED):
            return Ruling(Go.SKIP, f"the approval ended as {verdict}")
    return GO


def _rule_plan(payload: ev.ApprovalRequested, incident: Incident, settings: Settings) -> Ruling:
    target = payload.request.plan.target
    tried = [r for r in incident.actions if r.target == target and r.state is not ActionState.REFUSED]
    if len(tried) >= settings.execution.max_attempts:
        return Ruling(Go.ESCALATE, f"{len(tried)} actions on {target} did not end this incident; a person must look")
    return GO
