"""Doc writer: what the trail proves, cited; a runbook from what worked."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from shared.adapters.knowledge.library import FolderLibrary
from shared.agents.triage import rca, recommender
from shared.model.document import DocumentKind
from shared.model.lifecycle import State
from shared.ports.store import Delete, Store, Table
from shared.records import approvals, knowledge
from shared.records import evidence as texts
from shared.records.knowledge import Case
from shared.records.runbook import parse
from tests.agents.cases import NOW, T0, alert, apply, event, incident, investigate
from tests.agents.chronicler.story import TRAIL, chronicle, given, lived, text, trail


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
    second = apply(rca.handle(investigate(second), second, NOW, there), second, there.store)
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


def test_H2_what_is_told_after_the_end_does_not_publish_the_documents_anew(store: Store) -> None:
    """A host that died after publishing publishes again, and the last notices have gone out meanwhile."""
    of, there = lived(store), given(store)
    first, _ = chronicle(of, there)
    late = [*TRAIL, ("sentinel", "notifier", "told ops-teams: Closed", "closed notice", "")]
    for number in range(1, len(TRAIL) + 1):
        store.write(Table.INCIDENTS, of.id, Delete(f"timeline|{number:08d}", None))
    trail(store, of, late)
    again, _ = chronicle(of, there)
    assert [text(store, again, kind) for kind in DocumentKind] == [text(store, first, kind) for kind in DocumentKind]
