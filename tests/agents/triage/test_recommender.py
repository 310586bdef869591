"""The recommender offers what fits, and asks only for a plan that is complete, allowed and not pointless."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from shared.adapters.knowledge.library import FolderLibrary
from shared.agents.triage import rca, recommender
from shared.model.action import ActionResult, ActionState
from shared.model.approval import ApprovalRequest
from shared.model.errors import PermanentError, TransientError
from shared.model.event import ApprovalRequested
from shared.model.incident import ApprovalSummary, Incident
from shared.model.lifecycle import State
from shared.model.outcome import Outcome, Put
from shared.model.recommendation import Recommendation
from shared.ports import Ports
from shared.ports.store import Store
from shared.records import approvals
from tests.agents.cases import NOW, T0, alert, apply, bad_release, change, event, incident, investigate, log, series
from tests.fakes import FakeAction, FakeInvestigator, ports

LIBRARY = FolderLibrary([Path(__file__).parents[3] / "runbooks"])


def there(store: Store, **overrides: Any) -> Ports:
    actions = {"deploy_hook": FakeAction(live={"version": "2.4.1"}), "noop": FakeAction()}
    return ports(store, **{"library": LIBRARY, "actions": actions, **overrides})


def diagnosed(store: Store, *gathered: Any, **changes: Any) -> Incident:
    of = incident(**{"state": State.INVESTIGATING, **changes})
    given = ports(store, investigator=FakeInvestigator(evidence=gathered or bad_release()))
    return apply(rca.handle(investigate(of), of, NOW, given), of, store)


def recommend(store: Store, of: Incident, **overrides: Any) -> Outcome:
    return recommender.handle(event(of), of, NOW, there(store, **overrides))


def made(outcome: Outcome) -> Recommendation:
    put = next(step for step in outcome.changes if isinstance(step, Put) and step.field == "recommendation")
    assert isinstance(put.value, Recommendation)
    return put.value


def asked(outcome: Outcome) -> ApprovalRequest | None:
    data = [emit.data for emit in outcome.events]
    return data[0].request if data and isinstance(data[0], ApprovalRequested) else None


def test_the_blamed_release_is_proposed_to_be_rolled_back(store: Store) -> None:
    of = diagnosed(store)
    outcome = recommend(store, of)
    request = asked(outcome)
    assert request is not None
    plan = request.plan
    assert (plan.runbook, plan.action, plan.target) == ("roll-back-bad-release", "deploy_hook", "shop")
    assert {p.name: (p.value, p.trusted) for p in plan.parameters} == {"to": ("2.4.0", False)}
    assert of.diagnosis is not None
    assert plan.parameters[0].provenance == f"evidence:{of.diagnosis.hypotheses[0].evidence[0]}"
    assert plan.preconditions == {"version": "2.4.1"}
    assert plan.title == "Roll back a bad release: shop from 2.4.1 to 2.4.0"
    assert (plan.proposed_at, plan.expires_at) == (NOW, NOW + timedelta(seconds=3600))
    assert request.plan_hash == approvals.plan_hash(plan)
    assert request.id == approvals.approval_id(of.id, request.plan_hash) == made(outcome).approval_id
    assert (request.group, request.needed, request.deadline) == ("oncall", 1, plan.expires_at)
    assert made(outcome).options[0].runbook == "roll-back-bad-release"
    assert len(made(outcome).options) <= 3
    assert all(0 <= option.score <= 1 and option.why for option in made(outcome).options)


def test_a_repeated_delivery_asks_for_the_same_plan(store: Store) -> None:
    of = diagnosed(store)
    first = asked(recommender.handle(event(of), of, NOW, there(store)))
    later = asked(recommender.handle(event(of, attempt=1), of, NOW + timedelta(minutes=30), there(store)))
    assert first == later


def test_a_plan_asked_for_late_is_not_dead_already(store: Store) -> None:
    of = diagnosed(store)
    now = NOW + timedelta(hours=5, minutes=10)
    request = asked(recommender.handle(event(of), of, now, there(store)))
    assert request is not None
    assert request.plan.proposed_at <= now < request.deadline


@pytest.mark.parametrize(
    ("changes", "overrides", "reason"),
    [
        pytest.param({}, {"actions": {}}, "not configured", id="action-not-configured"),
        pytest.param(
            {},
            {"actions": {"deploy_hook": FakeAction(refusal="host is not listed")}},
            "host is not listed",
            id="not-allowed",
        ),
        pytest.param(
            {},
            {"actions": {"deploy_hook": FakeAction(live={"version": "2.4.0"})}},
            "at version 2.4.0 already",
            id="done-already",
        ),
        pytest.param(
            {},
            {"actions": {"deploy_hook": FakeAction(live={"version": "9.9.9"})}},
            "runs 9.9.9 now, not the blamed 2.4.1",
            id="another-release-is-live",
        ),
        pytest.param({"state": State.RESOLVED}, {}, "while the incident is resolved", id="resolved-meanwhile"),
        pytest.param({"state": State.EXECUTING}, {}, "while the incident is executing", id="an-action-runs"),
    ],
)
def test_no_plan_that_cannot_or_need_not_be(
    store: Store, changes: dict[str, Any], overrides: dict[str, Any], reason: str
) -> None:
    of = replace(diagnosed(store), **changes)
    outcome = recommend(store, of, **overrides)
    assert asked(outcome) is None
    assert reason in outcome.reason
    assert made(outcome).summary == outcome.reason
    assert made(outcome).options[0].runbook == "roll-back-bad-release"


def test_a_missing_input_is_named(store: Store) -> None:
    of = diagnosed(store, *bad_release()[:3], change(previous=""))
    outcome = recommend(store, of)
    assert asked(outcome) is None
    assert "'previous' (hypothesis.previous) is missing" in outcome.reason


def test_a_doubtful_cause_is_shown_and_not_acted_upon(store: Store) -> None:
    of = diagnosed(store, series("error ratio", 0, 1), change(lines=(), summary="x"))
    outcome = recommend(store, of)
    request = asked(outcome)
    assert request is None or request.plan.runbook != "roll-back-bad-release"


def test_a_rollback_is_not_offered_without_a_release_to_blame(store: Store) -> None:
    of = diagnosed(store, series("error ratio", 0, 1), log("error connection refused by upstream"))
    outcome = recommend(store, of)
    assert "roll-back-bad-release" not in [option.runbook for option in made(outcome).options]


@pytest.mark.parametrize(
    ("name", "summary", "runbook"),
    [
        pytest.param(
            "test-availabilityTest-shop", "Alert rule description", "availability-test-failing", id="azure-probe"
        ),
        pytest.param("Service Stopped", "", "service-stopped", id="exact-name"),
        pytest.param("test-metricAlertRule", "Alert rule description", "metric-threshold-crossed", id="azure-metric"),
        pytest.param("test-logAlertRule-v2", "Alert rule description", "metric-threshold-crossed", id="azure-log"),
        pytest.param("NodeFilesystemAlmostOutOfSpace", "", "disk-filling-up", id="disk"),
        pytest.param("Percentage CPU above 90", "", "metric-threshold-crossed", id="cpu"),
        pytest.param("KubePodCrashLooping", "Pod is crash looping", "pod-crash-looping", id="pod"),
        pytest.param("tls-expiry", "The certificate expires in 3 days", "certificate-expiring", id="certificate"),
        pytest.param("pg", "remaining connection slots are reserved", "database-connections-exhausted", id="database"),
    ],
)
def test_an_alert_alone_finds_its_runbook(store: Store, name: str, summary: str, runbook: str) -> None:
    of = incident(title=f"{name} on shop", alerts=(alert(name, summary=summary),))
    outcome = recommend(store, of)
    assert made(outcome).options[0].runbook == runbook
    request = asked(outcome)
    assert request is not None
    assert request.plan.action == "noop"


def test_a_solid_cause_counts_more_than_the_name_of_the_alert(store: Store) -> None:
    of = diagnosed(store, alerts=(alert("HighErrorRate"),))
    assert [option.runbook for option in made(recommend(store, of)).options][:2] == [
        "roll-back-bad-release",
        "metric-threshold-crossed",
    ]


def test_nothing_is_recommended_for_words_nobody_wrote(store: Store) -> None:
    of = incident(title="qwxz", alerts=(alert("qwxz", summary="zzyzx", source="q"),))
    outcome = recommend(store, of)
    assert made(outcome).options == ()
    assert asked(outcome) is None
    assert "no runbook matches" in outcome.reason


def test_an_unreachable_target_is_tried_again(store: Store) -> None:
    @dataclass
    class Away(FakeAction):
        def facts(self, target: str) -> Mapping[str, str]:
            raise TransientError("no answer")

    with pytest.raises(TransientError):
        recommend(store, diagnosed(store), actions={"deploy_hook": Away()})


def test_a_target_that_refuses_to_be_read_gives_no_plan(store: Store) -> None:
    @dataclass
    class Closed(FakeAction):
        def facts(self, target: str) -> Mapping[str, str]:
            raise PermanentError("not yours")

    outcome = recommend(store, diagnosed(store), actions={"deploy_hook": Closed()})
    assert asked(outcome) is None
    assert "not yours" in outcome.reason


def test_a_question_that_waits_already_is_not_asked_twice(store: Store) -> None:
    waiting = ApprovalSummary("approval-1", "hash", "Roll back", "deploy_hook", "shop", NOW + timedelta(minutes=5))
    of = replace(diagnosed(store), approval=waiting, state=State.AWAITING_APPROVAL)
    outcome = recommend(store, of)
    assert asked(outcome) is None
    assert made(outcome).approval_id == "approval-1"


def test_what_was_done_already_and_leaves_no_facts_is_not_proposed_again(store: Store) -> None:
    done = ActionResult("a", "noop", "shop", ActionState.DONE, T0, "ok")
    of = incident(alerts=(alert("Service Stopped"),), actions=(done,))
    assert "already" in recommend(store, of).reason


def test_a_service_nobody_configured_is_no_trusted_value(store: Store) -> None:
    of = replace(diagnosed(store), service="other")
    request = asked(recommend(store, of))
    assert request is not None
    assert request.plan.target == "other"


def test_an_incident_without_a_service_has_no_target(store: Store) -> None:
    of = incident(service="", alerts=(alert("Service Stopped", service=""),))
    outcome = recommend(store, of)
    assert asked(outcome) is None
    assert "names no service" in outcome.reason
