"""Rule H1: go, hold, skip or escalate, and why, for every event and every state."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any, get_args

import pytest

from shared.agents import conductor, notices
from shared.model import event as ev
from shared.model.action import ActionResult, ActionState
from shared.model.approval import Verdict
from shared.model.incident import ApprovalSummary, Incident
from shared.model.lifecycle import State
from shared.model.notice import Notice, NoticeKind
from shared.model.outcome import Go
from shared.model.pipeline import DESTINATION, STAGES, MicroAgent
from shared.model.signal import Severity
from tests.agents.cases import NOW, incident
from tests.agents.remediator.test_solicitor import request
from tests.fakes import settings

ACTION = ev.ActionApproved("a1")


def notice(kind: NoticeKind) -> ev.NotificationRequested:
    return ev.NotificationRequested("chat", Notice(kind, "t", "t", Severity.SEV2, "i"))


SAMPLES: dict[type[Any], ev.Payload] = {
    ev.NotificationRequested: notice(NoticeKind.INFO),
    ev.TicketRequested: ev.TicketRequested("desk"),
    ev.TicketUpdateRequested: ev.TicketUpdateRequested(ev.UpdateKind.NOTE, "t"),
    ev.InvestigationRequested: ev.InvestigationRequested(),
    ev.DiagnosisMade: ev.DiagnosisMade(1),
    ev.ApprovalRequested: ev.ApprovalRequested(request()),
    ev.ApprovalDecided: ev.ApprovalDecided("a1"),
    ev.ActionApproved: ACTION,
    ev.ClosingRequested: ev.ClosingRequested(ev.ClosingKind.SETTLE),
    ev.IncidentClosed: ev.IncidentClosed("over"),
    ev.IncidentAcknowledged: ev.IncidentAcknowledged("olga"),
    ev.IncidentAssigned: ev.IncidentAssigned("olga", "sam"),
}
AFTER_THE_END = {
    ev.TicketRequested,
    ev.TicketUpdateRequested,
    ev.ApprovalDecided,
    ev.ClosingRequested,
    ev.IncidentClosed,
    ev.IncidentAcknowledged,
    ev.IncidentAssigned,
}


def rule(payload: ev.Payload, of: Incident | None, released: tuple[str, ...] = (), **sections: Any) -> Any:
    chain = STAGES[DESTINATION[type(payload)]].chain
    return conductor.rule(payload, chain, of, settings(**sections), NOW, released)


@pytest.mark.parametrize("kind", SAMPLES, ids=lambda kind: kind.TYPE)
def test_H1_what_goes_on_after_the_end(kind: type[Any]) -> None:
    assert kind in get_args(ev.Payload)
    over = incident(state=State.CLOSED)
    assert rule(SAMPLES[kind], over).go is (Go.GO if kind in AFTER_THE_END else Go.SKIP)
    assert conductor.judge(SAMPLES[kind], over).go is (Go.GO if kind in AFTER_THE_END else Go.SKIP)


@pytest.mark.parametrize("kind", NoticeKind)
def test_H1_closing_notices_go_out_after_the_end_and_no_others(kind: NoticeKind) -> None:
    told = {NoticeKind.CLOSED, NoticeKind.PUBLISHED, NoticeKind.ESCALATED, NoticeKind.STORM}
    assert rule(notice(kind), incident(state=State.CLOSED)).go is (Go.GO if kind in told else Go.SKIP)


@pytest.mark.parametrize("state", [state for state in State if state is not State.CLOSED])
@pytest.mark.parametrize(
    "kind", [kind for kind in SAMPLES if kind is not ev.IncidentClosed], ids=lambda kind: kind.TYPE
)
def test_H1_before_the_end_everything_goes(kind: type[Any], state: State) -> None:
    assert rule(SAMPLES[kind], incident(state=state)).go is Go.GO


def test_H1_a_skip_says_whether_the_incident_is_closed_or_cancelled() -> None:
    assert rule(ACTION, incident(state=State.CLOSED)).reason == "the incident is closed"
    assert rule(ACTION, incident(state=State.CLOSED, cancelled=True)).reason == "the incident is cancelled"


def test_H1_a_held_micro_agent_holds_until_then_and_says_who_may_release() -> None:
    ruling = rule(ev.DiagnosisMade(1), incident(), policy={"hold": ["recommender"], "hold_s": 60})
    assert (ruling.go, ruling.reason) == (Go.HOLD, "recommender is on hold in the configuration")
    assert (ruling.until, ruling.release_by) == (NOW + timedelta(seconds=60), "oncall")


def test_H9_released_reasons_do_not_hold_again_and_others_do() -> None:
    sections = {"policy": {"hold": ["executor"]}, "execution": {"kill_switch": True}}
    first, second = "executor is on hold in the configuration", "the kill switch is on"
    assert rule(ACTION, incident(), **sections).reason == first
    assert rule(ACTION, incident(), (first,), **sections).reason == second
    assert rule(ACTION, incident(), (first, second), **sections).go is Go.GO


@pytest.mark.parametrize(
    ("verdict", "go"),
    [
        pytest.param(None, Go.GO, id="not-yet-in-the-incident"),
        pytest.param(Verdict.APPROVED, Go.GO, id="approved"),
        pytest.param(Verdict.REJECTED, Go.SKIP, id="rejected"),
        pytest.param(Verdict.EXPIRED, Go.SKIP, id="expired"),
        pytest.param(Verdict.CANCELLED, Go.SKIP, id="cancelled"),
    ],
)
def test_H1_an_action_whose_approval_ended_otherwise_is_skipped(verdict: Verdict | None, go: Go) -> None:
    waiting = ApprovalSummary("a1", "h", "t", "undo", "shop", NOW, verdict)
    assert rule(ACTION, incident(approval=waiting)).go is go
    assert rule(ACTION, incident(approval=replace(waiting, id="another"))).go is Go.GO


@pytest.mark.parametrize(
    ("states", "target", "go"),
    [
        pytest.param([], "shop", Go.GO, id="nothing-tried"),
        pytest.param([ActionState.DONE], "shop", Go.GO, id="one-of-two"),
        pytest.param([ActionState.DONE, ActionState.FAILED], "shop", Go.ESCALATE, id="two-of-two"),
        pytest.param([ActionState.DONE, ActionState.UNCLEAR], "shop", Go.ESCALATE, id="unclear-counts"),
        pytest.param([ActionState.DONE, ActionState.REFUSED], "shop", Go.GO, id="a-refusal-was-no-attempt"),
        pytest.param([ActionState.DONE, ActionState.DONE], "billing", Go.GO, id="another-target"),
    ],
)
def test_H1_a_plan_that_used_up_its_attempts_escalates(states: list[ActionState], target: str, go: Go) -> None:
    tried = tuple(ActionResult("a", "undo", target, state, NOW, "") for state in states)
    ruling = rule(ev.ApprovalRequested(request()), incident(actions=tried), execution={"max_attempts": 2})
    assert ruling.go is go


def test_H1_an_escalation_tells_people_and_a_skip_does_not() -> None:
    chosen = settings(channels={"chat": {}}, notify={"channels": ["chat"]})
    escalate = conductor.Ruling(Go.ESCALATE, "used up")
    told = conductor.instead(escalate, ACTION, incident(), chosen)
    assert [type(emit.data) for emit in told.events] == [ev.NotificationRequested]
    skipped = conductor.instead(conductor.Ruling(Go.SKIP, "over"), ACTION, incident(), chosen)
    assert (skipped.events, skipped.changes, skipped.reason) == ((), (), "over")


def test_every_channel_hears_and_approvals_have_their_own() -> None:
    chosen = settings(channels={"a": {}, "b": {}, "c": {}}, notify={"channels": ["a", "b"], "approvals": ["c"]})
    for kind, channels in ((NoticeKind.OPENED, ["a", "b"]), (NoticeKind.APPROVAL, ["c"])):
        told = notices.tell(kind, "t", "m", incident(), chosen)
        data = [emit.data for emit in told if isinstance(emit.data, ev.NotificationRequested)]
        assert [one.channel for one in data] == channels
        assert data[0].notice.links[-1].url == f"http://127.0.0.1:7071/incidents/{incident().id}"


def test_H1_a_chain_is_held_by_any_of_its_micro_agents() -> None:
    for name in (MicroAgent.AGGREGATOR, MicroAgent.DOC_WRITER, MicroAgent.PUBLISHER):
        over = incident(state=State.CLOSED)
        assert rule(ev.IncidentClosed("over"), over, policy={"hold": [name]}).go is Go.HOLD
