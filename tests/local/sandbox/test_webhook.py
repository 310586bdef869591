"""The plain webhook receiver trusts only signed calls and tells repeats."""

from __future__ import annotations

import base64

import pytest
from starlette.testclient import TestClient

from local.sandbox.webhook import signature
from tests.local.sandbox.conftest import Clock
from tests.local.sandbox.processes import SECRETS

SECRET = SECRETS["ARGUS_SANDBOX_WEBHOOK_SECRET"]
BODY = b'{"incident": "INC-1"}'


def headers(clock: Clock, message_id: str = "msg-1", body: bytes = BODY, secret: str = SECRET) -> dict[str, str]:
    sent_at = str(int(clock().timestamp()))
    return {
        "webhook-id": message_id,
        "webhook-timestamp": sent_at,
        "webhook-signature": signature(secret, message_id, sent_at, body),
    }


def test_a_signed_call_is_kept_and_a_repeat_is_shown_as_one(client: TestClient, clock: Clock) -> None:
    first = client.post("/webhook/ops", content=BODY, headers=headers(clock))
    second = client.post("/webhook/ops", content=BODY, headers=headers(clock))
    assert (first.json(), second.json()) == (
        {"received": True, "duplicate": False},
        {"received": True, "duplicate": True},
    )
    entries = client.get("/api/received/webhook").json()["received"]
    assert [entry["verdict"] for entry in entries] == ["duplicate", "accepted"]
    assert entries[1]["body"] == {"incident": "INC-1"}


def test_one_of_several_signatures_is_enough_while_a_secret_changes(client: TestClient, clock: Clock) -> None:
    sent = headers(clock)
    sent["webhook-signature"] = "v1,b2xk " + sent["webhook-signature"]
    assert client.post("/webhook/ops", content=BODY, headers=sent).status_code == 200


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"webhook-signature": "v1,bm8="}, id="wrong-signature"),
        pytest.param({"webhook-signature": ""}, id="no-signature"),
        pytest.param({"webhook-id": "other"}, id="other-id"),
        pytest.param({"webhook-timestamp": "soon"}, id="time-is-no-number"),
        pytest.param({"webhook-timestamp": "9" * 5000}, id="time-without-end"),
        pytest.param({"webhook-timestamp": "1"}, id="time-long-past"),
    ],
)
def test_an_unsigned_call_is_401(client: TestClient, clock: Clock, change: dict[str, str]) -> None:
    assert client.post("/webhook/ops", content=BODY, headers=headers(clock) | change).status_code == 401
    assert client.get("/api/received/webhook").json()["received"][0]["verdict"] == "refused"


def test_a_call_older_than_five_minutes_is_401(client: TestClient, clock: Clock) -> None:
    sent = headers(clock)
    clock.forward(301)
    assert client.post("/webhook/ops", content=BODY, headers=sent).status_code == 401


def test_a_signed_body_that_is_not_json_is_400(client: TestClient, clock: Clock) -> None:
    sent = headers(clock, body=b"text")
    assert client.post("/webhook/ops", content=b"text", headers=sent).status_code == 400


def test_a_whsec_secret_is_base64() -> None:
    raw = base64.b64encode(b"key").decode()
    assert signature(f"whsec_{raw}", "id", "1", b"") == signature("key", "id", "1", b"")
    assert signature("whsec_***", "id", "1", b"") != signature("key", "id", "1", b"")
