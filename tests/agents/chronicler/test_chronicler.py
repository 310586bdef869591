"""The chronicler counts once, writes what the trail proves, publishes everywhere, and the next incident profits."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from shared.adapters.knowledge.library import FolderLibrary
from shared.agents.chronicler import aggregator, doc_writer, publisher
from shared.agents.triage import rca, recommender
from shared.model.action import ActionResult, ActionState
from shared.model.approval import Choice, Decision, Verdict, Vote
from shared.model.audit import TimelineEntry
from shared.model.diagnosis import Evidence
from shared.model.document import DocumentKind
from shared.model.errors import PermanentError, Reason, TransientError
from shared.model.event import ApprovalRequested, NotificationRequested
from shared.model.incident import Incident, Theme
from shared.model.lifecycle import State
from shared.model.notice import NoticeKind
from shared.model.outcome import Outcome
from shared.ports import Ports
from shared.ports.store import Insert, Store, Table
from shared.records import approvals, knowledge
from shared.records import evidence as texts
from shared.records.knowledge import Case
from shared.records.rows import pack
from shared.records.runbook import parse
from tests.agents.cases import NOW, T0, alert, apply, bad_release, closed, event, incident, investigate
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
    of = apply(rca.handle(investigate(of), of, NOW, there), of)
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
        of = apply(outcome, of)
        outcomes.append(outcome)
    return of, outcomes


def text(store: Store, of: Incident, kind: DocumentKind) -> str:
    ref = next(draft for draft in of.drafts if draft.kind == kind)
    found = texts.get_text(store, of.id, ref.text)
    assert found is not None
    return found


def test_a_theme_is_counted_once_per_incident(store: Store) -> None:
    there = given(store)
    of, _ = chronicle(lived(store), there)
    of, _ = chronicle(of, there)
    assert of.theme == Theme("shop/release", 1, (), "deploy_hook", 1, 0)
    second, _ = chronicle(lived(store, 2), there)
    assert second.theme == Theme("shop/release", 2, (of.id,), "deploy_hook", 2, 0)


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"resolved_at": None}, id="never-recovered"),
        pytest.param({"resolved_at": T0}, id="recovered-before-it"),
        pytest.param({"unclear": True}, id="nobody-knows"),
    ],
)
def test_an_action_without_recovery_after_it_did_not_work(store: Store, changes: dict[str, Any]) -> None:
    of = lived(store)
    if changes.pop("unclear", False):
        of = replace(of, actions=(replace(of.actions[0], state=ActionState.UNCLEAR),))
    of, _ = chronicle(replace(of, **changes), given(store))
    assert of.theme is not None
    assert (of.theme.successes, of.theme.failures) == (0, 1)
    assert [draft.kind for draft in of.drafts] == ["review"]


def test_without_a_cause_the_theme_is_the_first_alert(store: Store) -> None:
    alerts = (alert("Later", starts_at=T0 + timedelta(seconds=9)), alert("Service Stopped"))
    of, _ = chronicle(incident(state=State.CLOSED, closed_at=NOW, alerts=alerts), given(store))
    assert of.theme is not None
    assert of.theme.key == "shop/Service Stopped"


def test_the_review_states_what_the_trail_proves(store: Store) -> None:
    of, outcomes = chronicle(lived(store), given(store))
    review = text(store, of, DocumentKind.REVIEW)
    assert of.diagnosis is not None
    for line in (
        "| t5 | 2026-11-20 12:00:50 | solicitor for ana | approved | ana approved |",
        "| Time to detect (trouble began → incident opened) | 11 s | [t1] |",
        "| Time to diagnose (opened → diagnosis) | 19 s | [t1] [t2] |",
        "| Time to decide (plan proposed → decision) | 30 s | [t4] [t5] |",
        "| Time to act (decision → action done) | 2.0 s | [t6] |",
        "| Time to recover (action, or opening without one → recovered) | 13 s | [t7] |",
        "- Approved by `ana`. [t5]",
    ):
        assert line in review.splitlines()
    assert "nobody acknowledged it" in review
    for item in of.diagnosis.hypotheses[0].evidence:
        assert f"[e:{item[:8]}]" in review
    assert "`payment gateway timed out" in review or "payment gateway timed out" in review
    assert "t1" in of.drafts[0].cites
    assert "7 timeline lines" in outcomes[1].reason


def test_every_citation_points_at_something(store: Store) -> None:
    of, _ = chronicle(lived(store), given(store))
    known = {f"t{number}" for number in range(1, len(TRAIL) + 1)}
    known |= {f"e:{item.id[:8]}" for item in texts.all_of(store, of.id)}
    for draft in of.drafts:
        written = texts.get_text(store, of.id, draft.text) or ""
        found = set(re.findall(r"\[(t\d+|e:[0-9a-f]+)\]", written))
        assert found
        assert found <= known
        assert set(draft.cites) == found


def test_the_same_incident_gives_the_same_text(store: Store) -> None:
    there = given(store)
    of, _ = chronicle(lived(store), there)
    again, _ = chronicle(of, there)
    assert again.drafts == of.drafts
    assert again.documents == of.documents


def test_the_learned_runbook_is_the_executed_action_made_general(store: Store) -> None:
    of, _ = chronicle(lived(store), given(store))
    runbook = parse(text(store, of, DocumentKind.RUNBOOK))
    assert runbook.id == "learned-shop-release-deploy-hook"
    assert (runbook.matches.alerts, runbook.matches.causes) == (("HighErrorRatio",), ("release",))
    assert runbook.matches.services == ("shop",)
    assert [(item.name, str(item.source)) for item in runbook.inputs] == [("previous", "hypothesis.previous")]
    action = runbook.actions[0]
    assert (action.action, action.target) == ("deploy_hook", "{service}")
    assert action.parameters == {"to": "{previous}"}
    assert runbook.needs_cause
    assert f"- {of.id}" in runbook.body


def test_a_second_identical_incident_is_recommended_the_learned_runbook_first(store: Store) -> None:
    there = given(store)
    first = lived(store)
    assert first.recommendation is not None
    assert first.recommendation.options[0].runbook == "roll-back-bad-release"
    first, _ = chronicle(first, there)
    second = lived(store, 2)
    assert second.recommendation is not None
    assert second.recommendation.options[0].runbook == "learned-shop-release-deploy-hook"
    assert "learned from an incident like this" in second.recommendation.options[0].why
    assert second.recommendation.options[0].link == next(d.url for d in first.documents if d.kind == "runbook")
    assert second.recommendation.similar == (first.id,)
    request = approvals.request_of(store, second.recommendation.approval_id)
    assert request is not None
    assert {p.name: p.value for p in request.plan.parameters} == {"to": "2.4.0"}


def test_the_learned_runbook_is_also_found_in_the_repository_it_was_published_to(store: Store, tmp_path: Path) -> None:
    of, _ = chronicle(lived(store), given(store))
    for draft in of.drafts:
        (tmp_path / f"{draft.slug}.md").write_text(texts.get_text(store, of.id, draft.text) or "", encoding="utf-8")
    folder = FolderLibrary([Path(__file__).parents[3] / "runbooks", tmp_path])
    ids = [runbook.id for runbook in folder.runbooks()]
    assert "learned-shop-release-deploy-hook" in ids
    second = incident(2, state=State.INVESTIGATING)
    there = given(store, library=folder)
    second = apply(rca.handle(investigate(second), second, NOW, there), second)
    second = apply(recommender.handle(event(second), second, NOW, there), second)
    assert second.recommendation is not None
    names = [option.runbook for option in second.recommendation.options]
    assert names[0] == "learned-shop-release-deploy-hook"
    assert len(names) == len(set(names))


def test_a_learned_runbook_that_fails_loses_its_place(store: Store) -> None:
    chronicle(lived(store), given(store))
    for number in range(3):
        knowledge.put_case(
            store,
            Case(
                f"old-{number}",
                "shop",
                "shop/release",
                "x",
                T0,
                "deploy_hook",
                "learned-shop-release-deploy-hook",
                "failed",
            ),
        )
    last = lived(store, 9)
    assert last.recommendation is not None
    options = last.recommendation.options
    assert [option.runbook for option in options[:2]] == ["roll-back-bad-release", "learned-shop-release-deploy-hook"]
    assert "it worked 0 of 3 times here" in options[1].why


def test_alert_names_and_incidents_are_kept_over_time(store: Store) -> None:
    there = given(store)
    first, _ = chronicle(lived(store), there)
    second, _ = chronicle(lived(store, 2, alerts=(alert("SlowCheckout"),)), there)
    learned = knowledge.runbook_of(store, "shop", "learned-shop-release-deploy-hook")
    assert learned is not None
    assert learned.runbook.matches.alerts == ("HighErrorRatio", "SlowCheckout")
    assert learned.incidents == (first.id, second.id)


def test_a_cancelled_incident_teaches_nothing(store: Store) -> None:
    of, outcomes = chronicle(lived(store, cancelled=True), given(store))
    assert [draft.kind for draft in of.drafts] == ["review"]
    assert knowledge.cases(store, "shop") == ()
    assert outcomes[0].what == "counted nothing"


@pytest.mark.parametrize(
    ("said", "kinds"),
    [
        pytest.param(
            "restarted the payment proxy on node 3, then the queue drained", ["review", "runbook"], id="steps-told"
        ),
        pytest.param("fixed", ["review"], id="nothing-to-follow"),
    ],
)
def test_what_a_person_did_becomes_a_runbook_for_people(store: Store, said: str, kinds: list[str]) -> None:
    of = incident(state=State.CLOSED, closed_at=NOW, resolution=said)
    trail(store, of, (TRAIL[0], ("remediator", "closer", "closed by hand", said, "ana")))
    of, _ = chronicle(of, given(store))
    assert [draft.kind for draft in of.drafts] == kinds
    if "runbook" in kinds:
        runbook = parse(text(store, of, DocumentKind.RUNBOOK))
        assert runbook.id == "learned-shop-higherrorratio-manual"
        assert runbook.actions == ()
        assert f"`ana` closed it and said: `{said}`. [t2]" in runbook.body


def test_every_draft_goes_to_every_destination_and_people_are_told(store: Store) -> None:
    wiki, git = FakeKnowledge(), FakeKnowledge()
    of, outcomes = chronicle(lived(store), given(store, destinations={"wiki": wiki, "git": git}))
    assert [(d.kind, d.destination) for d in of.documents] == [
        ("review", "wiki"),
        ("review", "git"),
        ("runbook", "wiki"),
        ("runbook", "git"),
    ]
    assert sorted(wiki.pages) == sorted(git.pages) == sorted(draft.id for draft in of.drafts)
    told = [emit.data for emit in outcomes[2].events]
    assert len(told) == 1
    assert isinstance(told[0], NotificationRequested)
    assert (told[0].channel, told[0].notice.kind, told[0].notice.thread) == ("chat", NoticeKind.PUBLISHED, of.id)
    assert told[0].notice.links[0].url == of.documents[0].url


def test_a_page_a_person_edited_stops_nothing_else(store: Store) -> None:
    wiki = FakeKnowledge(failures=[PermanentError("edited by bo", Reason.CONFLICT)])
    of, outcomes = chronicle(lived(store), given(store, destinations={"wiki": wiki, "git": FakeKnowledge()}))
    assert len(of.documents) == 3
    assert "edited by bo (conflict)" in outcomes[2].reason
    assert "published to git, wiki" in outcomes[2].reason


def test_a_destination_that_is_away_is_tried_again(store: Store) -> None:
    away = FakeKnowledge(failures=[TransientError("no answer")])
    with pytest.raises(TransientError):
        chronicle(lived(store), given(store, destinations={"wiki": FakeKnowledge(), "git": away}))


def test_a_destination_nobody_configured_is_named(store: Store) -> None:
    of, outcomes = chronicle(lived(store), given(store, destinations={"wiki": FakeKnowledge()}))
    assert "git: not configured" in outcomes[2].reason
    assert {document.destination for document in of.documents} == {"wiki"}


def test_without_destinations_the_runbook_is_learned_all_the_same(store: Store) -> None:
    there = replace(given(store), settings=settings())
    of, outcomes = chronicle(lived(store), there)
    assert of.documents == ()
    assert outcomes[2].events == ()
    assert knowledge.runbook_of(store, "shop", "learned-shop-release-deploy-hook") is not None


def test_foreign_text_is_quoted_in_the_documents(store: Store) -> None:
    evil = "x` [click](http://evil.example) <script>alert(1)</script> | a\n# Head\n---\nid: other"
    of = lived(store)
    hostile = replace(of, title=evil, alerts=(alert(evil, summary=evil),), resolution=evil)
    hostile, _ = chronicle(hostile, given(store))
    review, runbook = (text(store, hostile, kind) for kind in (DocumentKind.REVIEW, DocumentKind.RUNBOOK))
    for body in (review, parse(runbook).body):
        outside = "".join(re.split(r"`[^`\n]*`", body))
        assert "](" not in outside
        assert "<script>" not in outside
        assert "\n# Head" not in body
    assert parse(runbook).id == "learned-shop-release-deploy-hook"
