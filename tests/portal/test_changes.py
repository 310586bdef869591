"""What people do becomes events on the queues, and only when they meant it."""

from __future__ import annotations

import json

import pytest

from shared.model.errors import TransientError
from shared.model.event import (
    ClosingKind,
    ClosingRequested,
    IncidentAcknowledged,
    IncidentAssigned,
    IncidentRequested,
    InvestigationRequested,
    Payload,
    derive_id,
)
from shared.model.pipeline import Queue
from shared.model.signal import Severity
from shared.records import approvals
from tests.portal.world import HISTORY, INCIDENT, NOW, World, ask, incident, keep

ACTS = [
    pytest.param("acknowledge", {}, Queue.INCIDENTS, IncidentAcknowledged("maya"), id="acknowledge"),
    pytest.param("assign", {"assignee": " liam "}, Queue.INCIDENTS, IncidentAssigned("maya", "liam"), id="assign"),
    pytest.param(
        "close",
        {"reason": "a drill"},
        Queue.CLOSING,
        ClosingRequested(ClosingKind.MANUAL, "maya", "a drill"),
        id="close",
    ),
    pytest.param(
        "close", {}, Queue.CLOSING, ClosingRequested(ClosingKind.MANUAL, "maya", "closed by hand"), id="close-silently"
    ),
    pytest.param("investigate", {}, Queue.INVESTIGATIONS, InvestigationRequested("maya"), id="look-again"),
]


@pytest.mark.parametrize(("verb", "fields", "queue", "data"), ACTS)
def test_a_form_becomes_an_event(site: World, verb: str, fields: dict[str, str], queue: Queue, data: Payload) -> None:
    keep(site.store, incident(), HISTORY[:1])
    browser = site.browser("maya")
    answer = browser.post(f"/incidents/{INCIDENT}/{verb}", {**fields, "csrf": browser.csrf()})
    assert answer.status == 303
    (event,) = site.bus.events(queue)
    assert event.data == data
    assert (event.subject, event.source, event.time) == (INCIDENT, "/people/maya", NOW)
    assert event.id == derive_id("person", "maya", INCIDENT, data.TYPE, NOW.isoformat())
    assert "Accepted." in browser.get(answer.headers["Location"]).body.decode()


@pytest.mark.parametrize(("verb", "fields", "queue", "data"), ACTS)
def test_json_becomes_the_same_event(
    site: World, verb: str, fields: dict[str, str], queue: Queue, data: Payload
) -> None:
    keep(site.store, incident())
    browser = site.browser("maya")
    token = json.loads(browser.get("/api/session").body)["csrf"]
    body = json.dumps(fields).encode() if fields else b""
    answer = browser.api(f"/api/incidents/{INCIDENT[:8]}/{verb}", body, x_csrf_token=token)
    assert answer.status == 202
    assert json.loads(answer.body)["incident"] == INCIDENT
    assert answer.headers["Location"] == f"/api/incidents/{INCIDENT}"
    assert [event.data for event in site.bus.events(queue)] == [data]


OPENING = {"title": "Customers cannot pay", "service": "shop", "severity": "SEV1", "summary": "since 02:00"}


def test_a_person_opens_an_incident(site: World) -> None:
    browser = site.browser("maya")
    answer = browser.post("/open", {**OPENING, "csrf": browser.csrf("/open")})
    (event,) = site.bus.events(Queue.INCIDENTS)
    assert event.data == IncidentRequested("maya", "Customers cannot pay", "shop", Severity.SEV1, "since 02:00")
    assert event.subject == derive_id("manual", "maya", NOW.isoformat())
    assert answer.headers["Location"] == f"/incidents/{event.subject}?note=opened"
    assert browser.get(answer.headers["Location"]).status == 202


def test_a_person_opens_an_incident_with_json(site: World) -> None:
    browser = site.browser("maya")
    answer = browser.api("/api/incidents", json.dumps(OPENING).encode(), x_csrf_token=browser.csrf())
    assert answer.status == 202
    assert json.loads(answer.body)["incident"] == site.bus.events(Queue.INCIDENTS)[0].subject


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"title": " "}, "The field title is missing"), ({"service": ""}, "The field service is missing"),
        ({"title": "x" * 201}, "The field title is too long"), ({"severity": "sev4"}, "opens no incident"),
        ({"severity": "urgent"}, "opens no incident"), ({"summary": "a\x00b"}, "is not valid text"),
    ],
)  # fmt: skip
def test_a_wrong_form_comes_back_with_what_was_filled_in(site: World, changes: dict[str, str], words: str) -> None:
    browser = site.browser("maya")
    answer = browser.post("/open", {**OPENING, **changes, "csrf": browser.csrf("/open")})
    assert answer.status == 400
    page = answer.body.decode()
    assert words in page.replace("&#39;", "'")
    assert "Customers cannot pay" in page
    assert not site.bus.sent


def test_only_known_people_can_be_assigned(site: World) -> None:
    keep(site.store, incident())
    browser = site.browser("maya")
    answer = browser.post(f"/incidents/{INCIDENT}/assign", {"assignee": "santa", "csrf": browser.csrf()})
    assert answer.status == 400
    assert "Known people: liam, maya, ruth." in answer.body.decode()


@pytest.mark.parametrize("address", [f"/incidents/{INCIDENT}/acknowledge", "/open", "/signout"])
def test_nothing_happens_without_person_token_or_own_page(site: World, address: str) -> None:
    keep(site.store, incident())
    browser = site.browser("maya")
    token = browser.csrf()
    assert site.browser().post(address, {**OPENING, "csrf": token}).status == 401
    assert browser.post(address, OPENING).status == 403
    assert browser.post(address, {**OPENING, "csrf": token}, sec_fetch_site="cross-site").status == 403
    assert browser.post(address, {**OPENING, "csrf": token}, origin="https://evil.example").status == 403
    assert browser.post(address, {**OPENING, "csrf": token}, origin="null").status == 403
    assert not site.bus.sent
    own = {"sec_fetch_site": "same-origin", "origin": "http://127.0.0.1:7071"}
    assert browser.post(address, {**OPENING, "csrf": token}, **own).status == 303


def test_an_unknown_incident_is_a_404(site: World) -> None:
    browser = site.browser("maya")
    assert browser.post("/incidents/abcdef0/acknowledge", {"csrf": browser.csrf()}).status == 404


def test_a_bus_that_is_down_is_a_503_and_nothing_happened(site: World) -> None:
    keep(site.store, incident())
    browser = site.browser("maya")
    site.bus.failures.append(TransientError("down"))
    answer = browser.post(f"/incidents/{INCIDENT}/acknowledge", {"csrf": browser.csrf()})
    assert answer.status == 503
    assert "Try again" in answer.body.decode()


def test_a_vote_with_json(site: World) -> None:
    request = ask(site.store)
    browser = site.browser("maya")
    body = json.dumps({"choice": "reject", "plan_hash": request.plan_hash}).encode()
    answer = browser.api(f"/api/approvals/{request.id}", body, x_csrf_token=browser.csrf())
    assert (answer.status, json.loads(answer.body)["queued"]) == (202, True)
    assert len(approvals.votes_of(site.store, request.id)) == 1
    again = browser.api(f"/api/approvals/{request.id}", body, x_csrf_token=browser.csrf())
    assert (again.status, again.content_type) == (409, "application/problem+json")
    assert "voted already" in json.loads(again.body)["detail"]


@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [
        (b"{", "application/json", 400), (b"[]", "application/json", 400), (b'{"a": 1}', "application/json", 400),
        (b"[" * 100_000, "application/json", 400), (b"\xff", "application/json", 400), (b"{}", "text/plain", 415),
        (b"a=b", "application/x-www-form-urlencoded", 415), (b'{"assignee": "\\ud800"}', "application/json", 400),
    ],
    ids=["cut-off", "a-list", "a-number", "deep", "not-utf-8", "undeclared", "a-form", "half-a-character"],
)  # fmt: skip
def test_bodies_that_are_no_json_object_of_texts(site: World, body: bytes, kind: str, status: int) -> None:
    keep(site.store, incident())
    browser = site.browser("maya")
    answer = browser.api(f"/api/incidents/{INCIDENT}/assign", body, x_csrf_token=browser.csrf(), content_type=kind)
    problem = json.loads(answer.body)
    assert (answer.status, problem["status"], answer.content_type) == (status, status, "application/problem+json")


def test_the_key_reads_json_and_changes_nothing(site: World) -> None:
    keep(site.store, incident())
    stranger = site.browser()
    assert stranger.get("/api/incidents").status == 401
    assert stranger.get("/api/incidents", x_functions_key="wrong").status == 401
    assert stranger.get("/api/incidents", x_functions_key="key-for-tests-only").status == 200
    answer = stranger.api(f"/api/incidents/{INCIDENT}/acknowledge", b"", x_functions_key="key-for-tests-only")
    assert answer.status == 401
    assert stranger.get("/api/session", x_functions_key="key-for-tests-only").status == 401


def test_signing_out_ends_the_session(site: World) -> None:
    browser = site.browser("maya")
    answer = browser.post("/signout", {"csrf": browser.csrf()})
    assert answer.status == 303
    assert browser.get("/").headers["Location"].startswith("/signin")
