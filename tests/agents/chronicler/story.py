"""One closed incident and what the chronicler is given; shared by the tests of this folder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

from shared.adapters.knowledge.library import FolderLibrary
from shared.agents.chronicler import aggregator, doc_writer, publisher
from shared.agents.triage import rca, recommender
from shared.model.action import ActionResult, ActionState
from shared.model.approval import Choice, Decision, Verdict, Vote
from shared.model.audit import TimelineEntry
from shared.model.diagnosis import Evidence
from shared.model.document import DocumentKind
from shared.model.event import ApprovalRequested
from shared.model.incident import Incident
from shared.model.lifecycle import State
from shared.model.outcome import Outcome
from shared.ports import Ports
from shared.ports.store import Insert, Store, Table
from shared.records import approvals
from shared.records import evidence as texts
from shared.records.rows import pack
from tests.agents.cases import NOW, T0, apply, bad_release, closed, event, incident, investigate
from tests.fakes import FakeAction, FakeInvestigator, FakeKnowledge, ports, settings

LIBRARY = FolderLibrary([Path(__file__).parents[3] / "runbooks"])
PUBLISHING = {"knowledge": {"publish_to": ["wiki", "git"]}, "notify": {"channels": ["chat"]}}
TRAIL = (
    ("sentinel", "incident_creator", "incident opened", "a new group", ""),
    ("triage", "rca", "most likely cause: release 2.4.1 (95%)", "the log says `timed out | after 4 ms`", ""),
    ("triage", "recommender", "plan proposed", "it fits best", ""),
    ("remediator", "solicitor", "asked oncall", "the plan needs 1 approval", ""),
    ("remediator", "solicitor", "approved", "ana approved", "ana"),
    ("executor", "executor", "deploy_hook done", "rolled back", ""),
    ("remediator", "closer", "incident closed", "good for 10 s", ""),
)


def trail(store: Store, of: Incident, lines: Sequence[tuple[str, str, str, str, str]] = TRAIL) -> None:
    for number, (agent, micro_agent, what, why, person) in enumerate(lines, 1):
        entry = TimelineEntry(number, T0 + timedelta(seconds=10 * number), agent, micro_agent, what, why, person)
        store.write(Table.INCIDENTS, of.id, Insert(f"timeline|{number:08d}", pack(entry)))


def given(store: Store, **overrides: Any) -> Ports:
    return ports(
        store,
        settings(**PUBLISHING),
        **{
            "library": LIBRARY,
            "investigator": FakeInvestigator(evidence=bad_release()),
            "actions": {"deploy_hook": FakeAction(live={"version": "2.4.1"}), "noop": FakeAction()},
            "destinations": {"wiki": FakeKnowledge(), "git": FakeKnowledge()},
            **overrides,
        },
    )


def lived(store: Store, number: int = 1, gathered: tuple[Evidence, ...] | None = None, **changes: Any) -> Incident:
    """An incident that went through triage, approval and execution, and was closed after recovery."""
    of = incident(number, state=State.INVESTIGATING)
    there = given(store) if gathered is None else given(store, investigator=FakeInvestigator(evidence=gathered))
    of = apply(rca.handle(investigate(of), of, NOW, there), of, store)
    proposed = recommender.handle(event(of), of, NOW, there)
    of = apply(proposed, of)
    data = proposed.events[0].data
    assert isinstance(data, ApprovalRequested)
    request = data.request
    approvals.create(store, request)
    at = NOW + timedelta(seconds=30)
    approvals.vote(store, request.id, Vote("ana", Choice.APPROVE, at, request.plan_hash))
    approvals.decide(store, Decision(request.id, Verdict.APPROVED, at, ("ana",), request.plan_hash, "one vote"))
    done = ActionResult(
        request.id, request.plan.action, request.plan.target, ActionState.DONE, at + timedelta(seconds=2), "HTTP 200"
    )
    trail(store, of)
    over: dict[str, Any] = {
        "state": State.CLOSED,
        "actions": (done,),
        "resolved_at": at + timedelta(seconds=15),
        "closed_at": at + timedelta(seconds=15),
        "resolution": "good for 10 s",
    }
    return replace(of, **{**over, **changes})


def chronicle(of: Incident, there: Ports) -> tuple[Incident, list[Outcome]]:
    """What dispatch does with the knowledge queue: three micro-agents, one invocation."""
    outcomes = []
    for micro_agent in (aggregator, doc_writer, publisher):
        outcome = micro_agent.handle(closed(of), of, NOW + timedelta(hours=len(outcomes)), there)
        of = apply(outcome, of, there.store)
        outcomes.append(outcome)
    return of, outcomes


def text(store: Store, of: Incident, kind: DocumentKind) -> str:
    ref = next(draft for draft in of.drafts if draft.kind == kind)
    found = texts.get_text(store, of.id, ref.text)
    assert found is not None
    return found
