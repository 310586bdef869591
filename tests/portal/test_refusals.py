"""The order of refusals, and requests that lie about where they come from."""

from __future__ import annotations

import json

import pytest

from shared.adapters.stores.sqlite import SqliteStore
from tests.portal.world import INCIDENT, World, incident, keep, story, world

HUGE = b'{"reason": "' + b"x" * 300_000 + b'"}'


@pytest.mark.parametrize("body", [b"{", HUGE, b"[]"], ids=["not-json", "too-large", "a-list"])
def test_who_and_what_come_before_the_body(site: World, body: bytes) -> None:
    keep(site.store, incident())
    maya = site.browser("maya")
    csrf = maya.csrf()
    for address in ("/api/incidents", f"/api/incidents/{INCIDENT}/close", "/api/approvals/nothing"):
        assert site.browser().api(address, body).status == 401
        assert maya.api(address, body, x_csrf_token="wrong").status == 403
    for address in ("/api/incidents/nothing/close", "/api/approvals/nothing"):
        assert maya.api(address, body, x_csrf_token=csrf).status == 404
    answer = maya.api(f"/api/incidents/{INCIDENT}/close", body, x_csrf_token=csrf)
    assert (answer.status, answer.content_type) == (413 if body is HUGE else 400, "application/problem+json")
    assert not site.bus.sent


@pytest.mark.parametrize("plan_hash", ["\\ud800", "x" * 101, "\\u0000"], ids=["half-a-character", "long", "zero"])
def test_a_plan_hash_that_is_none_is_a_bad_request(site: World, plan_hash: str) -> None:
    _, request = story(site.store)
    maya = site.browser("maya")
    body = f'{{"choice": "approve", "plan_hash": "{plan_hash}"}}'.encode()
    answer = maya.api(f"/api/approvals/{request.id}", body, x_csrf_token=maya.csrf())
    assert (answer.status, json.loads(answer.body)["title"][:19]) == (400, "The field plan_hash")
    assert not site.bus.sent


@pytest.mark.parametrize("origin", ["http://[", "null", "http://evil.example", "http://127.0.0.1:7071@evil.example"])
def test_another_origin_changes_nothing(site: World, origin: str) -> None:
    keep(site.store, incident())
    maya = site.browser("maya")
    form = {"csrf": maya.csrf()}
    assert maya.post(f"/incidents/{INCIDENT}/acknowledge", form, origin=origin).status == 403
    assert not site.bus.sent


@pytest.mark.parametrize(
    ("host", "shown"),
    [
        ("127.0.0.1:7071", True), ("localhost:9", True), ("[::1]:7071", True), ("argus.example", True), ("", True),
        ("evil.example", False), ("127.0.0.1.evil.example", False), ("[", False), ("evil.example:7071", False),
    ],
)  # fmt: skip
def test_reading_without_sign_in_needs_our_own_address(store: SqliteStore, host: str, shown: bool) -> None:
    browser = world(store, anonymous_read=True, base_url="https://argus.example").browser()
    browser.host = host
    assert (browser.get("/").status == 200) is shown
    assert (browser.get("/api/incidents").status == 200) is shown
