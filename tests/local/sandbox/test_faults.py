"""Planned faults: before the effect, after it, late, or with the connection cut."""

from __future__ import annotations

import time
from typing import Any

import pytest
import requests
from starlette.testclient import TestClient

from tests.local.sandbox.processes import SECRETS

BEARER = {"Authorization": f"Bearer {SECRETS['ARGUS_SANDBOX_SERVICENOW_TOKEN']}"}
TABLE = "/servicenow/api/now/table/incident"
INCIDENT = {"short_description": "x"}


def tickets(client: TestClient) -> int:
    return len(client.get("/api/received/servicenow").json()["tickets"])


def test_a_fault_before_the_effect_counts_down_and_says_when_to_come_back(client: TestClient) -> None:
    plan = {"system": "servicenow", "status": 503, "count": 2, "retry_after": 1}
    assert client.post("/_faults", json=plan).status_code == 201
    replies = [client.post(TABLE, json=INCIDENT, headers=BEARER) for _ in range(3)]
    assert [reply.status_code for reply in replies] == [503, 503, 201]
    assert replies[0].headers["Retry-After"] == "1"
    assert tickets(client) == 1
    assert "before any effect" in client.get("/").text


def test_a_fault_after_the_effect_leaves_the_effect(client: TestClient) -> None:
    client.post("/_faults", json={"system": "servicenow", "status": 502, "after": True})
    assert client.post(TABLE, json=INCIDENT, headers=BEARER).status_code == 502
    assert tickets(client) == 1


def test_other_systems_are_not_touched(client: TestClient) -> None:
    client.post("/_faults", json={"system": "teams", "status": 500})
    assert client.post(TABLE, json=INCIDENT, headers=BEARER).status_code == 201


@pytest.mark.parametrize("after", [False, True])
def test_a_cut_connection_is_a_network_error_to_the_caller(live: str, after: bool) -> None:
    requests.post(f"{live}/_faults", json={"system": "servicenow", "drop": True, "after": after}, timeout=10)
    with pytest.raises(requests.RequestException):
        requests.post(live + TABLE, json=INCIDENT, headers=BEARER, timeout=10)
    shown = requests.get(f"{live}/api/received/servicenow", timeout=10).json()
    assert len(shown["tickets"]) == int(after)


@pytest.mark.parametrize("after", [False, True])
def test_a_late_reply_outlasts_an_impatient_caller_and_still_takes_effect(live: str, after: bool) -> None:
    requests.post(f"{live}/_faults", json={"system": "servicenow", "delay_s": 2, "after": after}, timeout=10)
    with pytest.raises(requests.Timeout):
        requests.post(live + TABLE, json=INCIDENT, headers=BEARER, timeout=(20, 0.1))
    end = time.monotonic() + 20
    while not requests.get(f"{live}/api/received/servicenow", timeout=10).json()["tickets"]:
        assert time.monotonic() < end


@pytest.mark.parametrize(
    "plan",
    [
        pytest.param([], id="not-an-object"),
        pytest.param({"system": "jira", "status": 500}, id="unknown-system"),
        pytest.param({"system": "teams"}, id="no-effect"),
        pytest.param({"system": "teams", "status": 200}, id="success-is-no-fault"),
        pytest.param({"system": "teams", "status": 500, "count": 0}, id="never"),
        pytest.param({"system": "teams", "status": 500, "delay_s": 3600}, id="an-hour"),
        pytest.param({"system": "teams", "status": 500, "colour": "red"}, id="unknown-key"),
    ],
)
def test_refused_plans(client: TestClient, plan: Any) -> None:
    assert client.post("/_faults", json=plan).status_code == 400


def test_clearing_forgets_everything(client: TestClient) -> None:
    client.post(TABLE, json=INCIDENT, headers=BEARER)
    client.post("/_faults", json={"system": "servicenow", "status": 500})
    assert client.delete("/_received").status_code == 204
    shown = client.get("/api/received/servicenow").json()
    assert (shown["received"], shown["tickets"]) == ([], [])
    assert client.post(TABLE, json=INCIDENT, headers=BEARER).json()["result"]["number"] == "INC0010001"
    assert client.get("/api/received/jira").status_code == 404


def test_a_body_without_end_is_413(client: TestClient) -> None:
    assert client.post(TABLE, content=b"x" * (10 * 1024 * 1024 + 1), headers=BEARER).status_code == 413
