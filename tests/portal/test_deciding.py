"""Who may decide, when, on what (rule D1)."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from shared.model.approval import ApprovalRequest, Choice, Decision, Verdict, Vote
from shared.model.errors import TransientError
from shared.model.event import VoteCast, derive_id
from shared.model.pipeline import Queue
from shared.portal.deciding import refusal
from shared.ports.identity import Person
from shared.records import approvals
from tests.portal.world import INCIDENT, NOW, World, ask, plan, settled, voted

MAYA = Person("maya", "Maya", frozenset({"oncall"}), "s")
RUTH = Person("ruth", "Ruth", frozenset({"finance"}), "s")


def _request(**changes: Any) -> ApprovalRequest:
    proposal = plan()
    digest = approvals.plan_hash(proposal)
    whole = ApprovalRequest("a1", INCIDENT, proposal, digest, "oncall", 1, NOW, NOW + timedelta(minutes=42))
    return replace(whole, **changes)


def _by(proposer: str) -> ApprovalRequest:
    proposal = plan(proposed_by=proposer)
    return _request(plan=proposal, plan_hash=approvals.plan_hash(proposal))


def _decision(verdict: Verdict) -> Decision:
    return Decision("a1", verdict, NOW, ("liam",), "h", "because")


GIVEN = Vote("maya", Choice.REJECT, NOW, "h")
SHORT_PLAN = plan(expires_at=NOW)


@pytest.mark.parametrize(
    ("request_", "decision", "votes", "person", "shown", "after", "status", "rule"),
    [
        pytest.param(_request(), None, (), MAYA, "", 0, 0, "", id="a-member-of-the-group-may-decide"),
        pytest.param(_request(), None, (), MAYA, "", 2519, 0, "", id="up-to-the-last-second"),
        pytest.param(_request(), None, (), RUTH, "", 0, 403, "group", id="others-may-not"),
        pytest.param(_by("maya"), None, (), MAYA, "", 0, 403, "proposer", id="not-the-proposer"),
        pytest.param(_by("person:maya"), None, (), MAYA, "", 0, 403, "proposer", id="not-the-proposer-as-provenance"),
        pytest.param(_by("/people/maya"), None, (), MAYA, "", 0, 403, "proposer", id="not-the-proposer-as-source"),
        pytest.param(_by("mayan"), None, (), MAYA, "", 0, 0, "", id="a-similar-name-is-somebody-else"),
        pytest.param(_request(), None, (), MAYA, "f" * 64, 0, 409, "plan_changed", id="only-the-plan-that-was-shown"),
        pytest.param(_request(), None, (GIVEN,), MAYA, "", 0, 409, "voted", id="one-vote-per-person"),
        pytest.param(_request(), _decision(Verdict.APPROVED), (), MAYA, "", 0, 409, "decided", id="not-twice"),
        pytest.param(_request(), _decision(Verdict.EXPIRED), (), MAYA, "", 0, 410, "decided", id="not-after-expiry"),
        pytest.param(_request(), _decision(Verdict.CANCELLED), (), MAYA, "", 0, 410, "decided", id="not-after-cancel"),
        pytest.param(_request(), None, (), MAYA, "", 2520, 410, "expired", id="not-at-the-deadline"),
        pytest.param(_request(), None, (), MAYA, "", 9999, 410, "expired", id="silence-is-not-consent"),
        pytest.param(
            _request(plan=SHORT_PLAN, plan_hash=approvals.plan_hash(SHORT_PLAN)), None, (), MAYA, "", 0, 410, "expired",
            id="an-expired-plan-cannot-be-approved",
        ),
        pytest.param(
            _request(plan=plan(target="vault")), None, (), MAYA, "", 0, 409, "plan_damaged",
            id="not-a-plan-changed-later"
        ),
    ],
)  # fmt: skip
def test_who_may_decide(
    request_: ApprovalRequest, decision: Decision | None, votes: tuple[Vote, ...], person: Person, shown: str,
    after: int, status: int, rule: str,
) -> None:  # fmt: skip
    no = refusal(request_, decision, votes, person, shown or request_.plan_hash, NOW + timedelta(seconds=after))
    assert (no.status, no.rule) == (status, rule) if no else status == 0


def _ballot(site: World, user: str, request: ApprovalRequest, **changes: str) -> Any:
    browser = site.browser(user)
    form = {"choice": "approve", "plan_hash": request.plan_hash, "comment": "looks right", "csrf": browser.csrf()}
    return browser.post(f"/approvals/{request.id}", {**form, **changes})


def test_d1_the_vote_is_stored_and_then_told(site: World) -> None:
    request = ask(site.store)
    answer = _ballot(site, "maya", request)
    assert (answer.status, answer.headers["Location"]) == (303, f"/approvals/{request.id}?note=voted")
    (vote,) = approvals.votes_of(site.store, request.id)
    assert (vote.user, vote.choice, vote.comment, vote.at) == ("maya", Choice.APPROVE, "looks right", NOW)
    (event,) = site.bus.events(Queue.DECISIONS)
    assert event.data == VoteCast(request.id, vote)
    assert (event.id, event.subject) == (derive_id(request.id, "vote", "maya"), INCIDENT)
    assert event.source == "/people/maya"
    assert approvals.decision_of(site.store, request.id) is None


def test_d1_a_vote_outlives_a_bus_that_is_down(site: World) -> None:
    request = ask(site.store)
    site.bus.failures.append(TransientError("the bus is down"))
    answer = _ballot(site, "maya", request)
    assert answer.headers["Location"].endswith("?note=kept")
    assert len(approvals.votes_of(site.store, request.id)) == 1
    page = site.browser("maya").get(answer.headers["Location"]).body.decode()
    assert "the vote will be counted within a minute" in page


def test_a_refused_attempt_is_told_and_not_stored(site: World) -> None:
    request = ask(site.store)
    answer = _ballot(site, "ruth", request)
    assert answer.status == 403
    assert "Only members of oncall decide this" in answer.body.decode()
    assert approvals.votes_of(site.store, request.id) == ()
    (event,) = site.bus.events(Queue.DECISIONS)
    assert isinstance(event.data, VoteCast)
    assert (event.data.vote.user, event.data.refused) == (
        "ruth",
        "Only members of oncall decide this; you are not one of them.",
    )


def test_refused_attempts_are_told_once_per_person_and_rule(site: World) -> None:
    request = ask(site.store)
    for _ in range(3):
        _ballot(site, "ruth", request)
    assert len(site.bus.delivered(Queue.DECISIONS)) == 1


def test_a_second_vote_never_replaces_the_first(site: World) -> None:
    request = ask(site.store)
    _ballot(site, "maya", request)
    answer = _ballot(site, "maya", request, choice="reject")
    assert answer.status == 409
    assert "You have voted already (approve at 2026-11-20 02:13:05 UTC)" in answer.body.decode()
    assert [vote.choice for vote in approvals.votes_of(site.store, request.id)] == [Choice.APPROVE]
    last = site.bus.events(Queue.DECISIONS)[-1].data
    assert isinstance(last, VoteCast)
    assert last.refused


def test_a_double_click_says_the_kept_vote_again(site: World) -> None:
    request = ask(site.store)
    _ballot(site, "maya", request)
    site.clock.now = NOW + timedelta(seconds=1)
    assert _ballot(site, "maya", request).status == 409
    assert len(site.bus.sent[Queue.DECISIONS]) == 2
    (event,) = site.bus.delivered(Queue.DECISIONS)
    assert event.data == VoteCast(request.id, approvals.votes_of(site.store, request.id)[0])


@pytest.mark.parametrize(
    ("verdict", "status"), [(Verdict.APPROVED, 409), (Verdict.REJECTED, 409), (Verdict.EXPIRED, 410)]
)
def test_no_vote_after_the_decision(site: World, verdict: Verdict, status: int) -> None:
    request = ask(site.store)
    settled(site.store, request, verdict)
    assert _ballot(site, "maya", request).status == status
    assert approvals.votes_of(site.store, request.id) == ()


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        pytest.param({"csrf": ""}, 403, id="a-form-without-token"),
        pytest.param({"csrf": "0" * 64}, 403, id="a-form-with-a-made-up-token"),
        pytest.param({"choice": "maybe"}, 400, id="neither-yes-nor-no"),
        pytest.param({"choice": ""}, 400, id="no-choice"),
        pytest.param({"comment": "x" * 4001}, 400, id="a-comment-too-long"),
        pytest.param({"plan_hash": ""}, 409, id="no-plan-hash"),
    ],
)
def test_a_broken_ballot_is_not_stored(site: World, changes: dict[str, str], status: int) -> None:
    request = ask(site.store)
    assert _ballot(site, "maya", request, **changes).status == status
    assert approvals.votes_of(site.store, request.id) == ()


def test_a_token_of_another_session_does_not_work(site: World) -> None:
    request = ask(site.store)
    assert _ballot(site, "maya", request, csrf=site.browser("liam").csrf()).status == 403
    assert _ballot(site, "maya", request, csrf=site.browser("maya").csrf()).status == 403


def test_nobody_decides_without_a_sign_in(site: World) -> None:
    request = ask(site.store)
    form = {"choice": "approve", "plan_hash": request.plan_hash}
    assert site.browser().post(f"/approvals/{request.id}", form, x_functions_key="key-for-tests-only").status == 401


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("query", ["", "?choice=approve", "?choice=approve&plan_hash={hash}&csrf={csrf}"])
def test_d1_looking_changes_nothing(site: World, method: str, query: str) -> None:
    """Link scanners open every link in a message, some with the person's own session."""
    request = ask(site.store)
    browser = site.browser("maya")
    address = f"/approvals/{request.id}" + query.format(hash=request.plan_hash, csrf=browser.csrf())
    assert browser._send(method, address, {}, {}).status == 200
    assert approvals.votes_of(site.store, request.id) == ()
    assert not site.bus.sent


def test_the_page_shows_who_voted(site: World) -> None:
    request = ask(site.store, needed=2)
    voted(site.store, request, "liam")
    page = site.browser("maya").get(f"/approvals/{request.id}").body.decode()
    assert "2 approvals from <strong>oncall</strong> needed, 1 given" in page
    assert "<strong>liam</strong>" in page
