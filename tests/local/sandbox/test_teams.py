"""The Teams stand-in takes what Teams takes."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import pymsteams
import pytest
from starlette.testclient import TestClient

from local.sandbox.cards import card_problem, card_warning, readable
from local.sandbox.teams import CARD_TYPE, MAX_MESSAGE_BYTES, Throttle
from tests.local.sandbox.processes import SECRETS

URL = f"/teams/workflows/oncall?sig={SECRETS['ARGUS_SANDBOX_TEAMS_SIG']}"


def card(**changes: Any) -> dict[str, Any]:
    return {
        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
        "type": "AdaptiveCard",
        "version": "1.4",
        "msteams": {"width": "Full"},
        "body": [
            {
                "type": "TextBlock",
                "text": "Sev1: checkout fails",
                "weight": "Bolder",
                "color": "Attention",
                "wrap": True,
            },
            {"type": "FactSet", "facts": [{"title": "Service", "value": "shop"}]},
            {"type": "Container", "items": [{"type": "TextBlock", "text": "**63 %** of requests"}]},
        ],
        "actions": [{"type": "Action.OpenUrl", "title": "Open", "url": "http://127.0.0.1:7071/incidents/1"}],
        **changes,
    }


def message(content: Any) -> dict[str, Any]:
    return {"type": "message", "attachments": [{"contentType": CARD_TYPE, "contentUrl": None, "content": content}]}


def last(client: TestClient) -> dict[str, Any]:
    entry: dict[str, Any] = client.get("/api/received/teams").json()["received"][0]
    return entry


def test_a_good_card_gets_202_with_an_empty_body_and_is_shown(client: TestClient) -> None:
    reply = client.post(URL, json=message(card()))
    assert (reply.status_code, reply.content) == (202, b"")
    assert (last(client)["verdict"], last(client)["title"]) == ("accepted", "Sev1: checkout fails")
    page = client.get("/").text
    assert "<strong>63 %</strong> of requests" in page
    assert 'href="http://127.0.0.1:7071/incidents/1"' in page


def test_pymsteams_delivers_an_assigned_payload(live: str) -> None:
    post = pymsteams.connectorcard(live + URL, http_timeout=10)
    post.payload = message(card())
    assert post.send() is True
    assert post.last_http_response.status_code == 202


def test_pymsteams_raises_on_a_wrong_signature(live: str) -> None:
    post = pymsteams.connectorcard(f"{live}/teams/workflows/oncall?sig=guess", http_timeout=10)
    post.payload = message(card())
    with pytest.raises(pymsteams.TeamsWebhookException):
        post.send()
    assert post.last_http_response.status_code == 401


@pytest.mark.parametrize(
    ("body", "status"),
    [
        pytest.param(b"{", 400, id="not-json"),
        pytest.param(b"[" * 20_000, 400, id="json-nested-without-end"),
        pytest.param(b"[]", 400, id="not-an-object"),
        pytest.param(b'{"title": "old MessageCard"}', 400, id="not-a-message"),
        pytest.param(json.dumps(message(card()) | {"attachments": "x"}).encode(), 400, id="attachments-no-list"),
        pytest.param(json.dumps({"type": "message", "attachments": [{}]}).encode(), 400, id="no-content-type"),
        pytest.param(json.dumps(message("text")).encode(), 400, id="card-is-text"),
        pytest.param(json.dumps(message(card(version="9.9"))).encode(), 400, id="unknown-version"),
        pytest.param(json.dumps(message(card(body=[{"type": "TextBlock"}]))).encode(), 400, id="card-breaks-schema"),
        pytest.param(b" " * (MAX_MESSAGE_BYTES + 1), 413, id="over-28-kb"),
    ],
)
def test_refused(client: TestClient, body: bytes, status: int) -> None:
    reply = client.post(URL, content=body)
    assert reply.status_code == status
    assert reply.json()["error"]["message"]
    assert last(client)["verdict"] == "refused"


@pytest.mark.parametrize(
    "body",
    [
        pytest.param({"type": "message"}, id="attachments-missing"),
        pytest.param({"type": "message", "attachments": None}, id="attachments-null"),
        pytest.param({"type": "message", "attachments": []}, id="attachments-empty"),
    ],
)
def test_what_fails_inside_the_flow_still_gets_202(client: TestClient, body: dict[str, Any]) -> None:
    assert client.post(URL, json=body).status_code == 202
    assert last(client)["verdict"] == "failed"
    assert "flow" in client.get("/").text


@pytest.mark.parametrize("path", ["/teams/workflows/oncall", "/teams/workflows/oncall?sig=", URL + "x"])
def test_a_missing_or_wrong_signature_is_401(client: TestClient, path: str) -> None:
    assert client.post(path, json=message(card())).status_code == 401


def test_the_signature_is_never_shown(client: TestClient) -> None:
    client.post(URL, json=message(card()))
    secret = SECRETS["ARGUS_SANDBOX_TEAMS_SIG"]
    assert secret not in client.get("/").text + client.get("/api/received/teams").text


def test_the_fifth_request_in_a_second_is_429_with_retry_after(client: TestClient) -> None:
    replies = [client.post(URL, json={"type": "message", "attachments": []}) for _ in range(5)]
    assert [reply.status_code for reply in replies] == [202, 202, 202, 202, 429]
    assert replies[-1].headers["Retry-After"] == "1"


def test_the_throttle_forgets_after_a_second_and_counts_webhooks_apart() -> None:
    now = [0.0]
    throttle = Throttle(lambda: now[0])
    assert [throttle.admits("a") for _ in range(5)] == [True] * 4 + [False]
    assert throttle.admits("b")
    now[0] = 1.0
    assert throttle.admits("a")


def _without_text(c: dict[str, Any]) -> None:
    del c["body"][0]["text"]


def _script_url(c: dict[str, Any]) -> None:
    c["actions"][0]["url"] = "javascript:alert(1)"


def _deep(c: dict[str, Any]) -> None:
    for _ in range(80):
        c["body"] = [{"type": "Container", "items": c["body"]}]


@pytest.mark.parametrize(
    ("spoil", "expected"),
    [
        pytest.param(_without_text, "content.body[0] (TextBlock)", id="text-missing"),
        pytest.param(lambda c: c["body"][1]["facts"][0].update(value=3), "content.body[1] (FactSet)", id="fact-number"),
        pytest.param(lambda c: c["body"].append({"type": "Bogus"}), "Bogus is no element", id="unknown-element"),
        pytest.param(lambda c: c["body"][0].update(color="Purple"), "content.body[0]", id="unknown-colour"),
        pytest.param(lambda c: c.update(extra=1), "published schema 1.4", id="unknown-key-of-the-card"),
        pytest.param(_script_url, "http or https", id="script-address"),
        pytest.param(_deep, "nested more than", id="nested-without-end"),
        pytest.param(lambda c: c.update(type="MessageCard"), "AdaptiveCard", id="not-a-card"),
    ],
)
def test_card_problem_names_the_element(spoil: Callable[[dict[str, Any]], None], expected: str) -> None:
    content = card()
    spoil(content)
    assert expected in card_problem(content)


def test_the_teams_key_and_every_version_pass() -> None:
    assert [card_problem(card(version=version)) for version in ("1.2", "1.3", "1.4", "1.5", "1.6")] == [""] * 5


def test_a_submit_button_is_accepted_with_a_warning(client: TestClient) -> None:
    content = card(actions=[{"type": "Action.Submit", "title": "Approve"}])
    assert "Action.Submit" in card_warning(content)
    assert client.post(URL, json=message(content)).status_code == 202
    assert "does nothing" in last(client)["reason"]


def test_text_of_a_card_cannot_become_markup_or_a_script_link(client: TestClient) -> None:
    hostile = "<script>alert(1)</script> [x](javascript:alert(2)) ![p](http://127.0.0.1/p.png)"
    content = card(
        body=[
            {"type": "TextBlock", "text": hostile},
            {"type": "FactSet", "facts": [{"title": hostile, "value": hostile}]},
        ]
    )
    assert client.post(URL, json=message(content)).status_code == 202
    page = client.get("/")
    assert "<script" not in page.text
    assert 'href="javascript' not in page.text
    assert "<img" not in page.text
    assert "default-src 'none'" in page.headers["content-security-policy"]


def test_readable_keeps_reading_order_and_flattens_columns() -> None:
    columns = [{"type": "Column", "items": [{"type": "TextBlock", "text": text}]} for text in ("left", "right")]
    content = card(
        body=[{"type": "ColumnSet", "columns": columns}, {"type": "Image", "url": "http://x/y", "altText": "chart"}]
    )
    texts = [block.get("text") for block in readable(content) if block["kind"] == "text"]
    assert texts == ["left", "right", "[image: chart]"]
    assert readable("no card") == []


def test_checking_a_card_is_quick() -> None:
    content = card()
    card_problem(content)
    started = time.thread_time()  # of the processor: what others do on the machine does not count
    card_problem(content)
    assert time.thread_time() - started < 1.0
