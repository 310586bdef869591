"""Deploys are signed, happen once, and are remembered."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from local.demo.shop.deploys import DeployLog
from local.demo.shop.releases import RELEASES, Constants, diff
from tests.local.demo.conftest import Clock, signed


def versions(client: TestClient) -> list[str]:
    return [entry["version"] for entry in client.get("/deploys").json()]


def test_a_deploy_is_in_service_at_once_and_in_the_log(client: TestClient, deploy: Callable[..., Any]) -> None:
    assert client.get("/version").json() == {"version": "2.4.0", "previous": ""}
    reply = deploy("d1", version="2.4.1").json()
    assert (reply["applied"], reply["version"]) == (True, "2.4.1")
    assert client.get("/version").json() == {"version": "2.4.1", "previous": "2.4.0"}
    entry = client.get("/deploys").json()[-1]
    assert set(entry) == {"id", "at", "service", "version", "previous", "author", "message", "diff"}
    assert (entry["id"], entry["author"], entry["previous"]) == ("deploy-0002", "tom.reyes", "2.4.0")


def test_a_rollback_names_what_it_undoes(client: TestClient, deploy: Callable[..., Any]) -> None:
    bad = deploy("d1", version="2.4.1").json()["deploy"]
    back = deploy("d2", action="rollback", to="2.4.0", idempotency_key="INC-1/1").json()["deploy"]
    assert (back["rollback_of"], back["version"]) == (bad["id"], "2.4.0")
    assert "+payment_timeout_ms = 800" in back["diff"]
    assert client.get("/version").json() == {"version": "2.4.0", "previous": "2.4.1"}


def test_a_rollback_without_a_target_takes_the_previous(client: TestClient, deploy: Callable[..., Any]) -> None:
    deploy("d1", version="2.4.1")
    assert deploy("d2", action="rollback").json()["version"] == "2.4.0"


def test_the_same_id_twice_is_one_deploy_and_the_same_answer(client: TestClient, deploy: Callable[..., Any]) -> None:
    first = deploy("d1", version="2.4.1")
    deploy("d2", version="2.4.2")
    again = deploy("d1", version="2.4.1")
    assert again.json() == first.json()
    assert versions(client) == ["2.4.0", "2.4.1", "2.4.2"]


def test_the_same_idempotency_key_with_another_id_is_one_deploy(client: TestClient, deploy: Callable[..., Any]) -> None:
    deploy("d1", version="2.4.1")
    order = {"action": "rollback", "to": "2.4.0", "idempotency_key": "INC-1/1"}
    assert deploy("d2", **order).json() == deploy("d3", **order).json()
    assert versions(client) == ["2.4.0", "2.4.1", "2.4.0"]


def test_going_where_one_is_counts_as_applied_but_is_no_change(client: TestClient, deploy: Callable[..., Any]) -> None:
    assert deploy("d1", action="rollback", to="2.4.0").json()["applied"] is True
    assert versions(client) == ["2.4.0"]
    assert client.get("/deploy/d1").json()["applied"] is True


def test_the_state_of_a_request_can_be_read_back(client: TestClient, deploy: Callable[..., Any]) -> None:
    assert client.get("/deploy/d1").json() == {"applied": False, "version": "2.4.0", "deploy": None}
    made = deploy("d1", version="2.4.1").json()
    assert client.get("/deploy/d1").json() == made
    deploy("incident/7:1", version="2.4.2")
    assert client.get("/deploy/incident/7:1").json()["applied"] is True


@pytest.mark.parametrize(
    "order",
    [
        pytest.param({"version": "9.9.9"}, id="unknown-version"),
        pytest.param({}, id="no-version"),
        pytest.param({"version": 2}, id="version-is-a-number"),
        pytest.param({"action": "explode"}, id="unknown-action"),
        pytest.param({"action": "rollback", "to": "1.0"}, id="rollback-to-nowhere"),
        pytest.param({"action": "rollback"}, id="nothing-to-roll-back-to"),
        pytest.param([], id="not-an-object"),
    ],
)
def test_orders_that_cannot_be_carried_out_are_400(client: TestClient, clock: Clock, order: Any) -> None:
    assert client.post("/deploy", **signed(order, "d1", clock.now())).status_code == 400
    assert client.get("/version").json()["version"] == "2.4.0"
    assert client.get("/deploy/d1").json()["applied"] is False


def test_unsigned_stale_and_foreign_calls_are_401(client: TestClient, clock: Clock) -> None:
    order = {"version": "2.4.1"}
    stale = clock.now() - timedelta(seconds=301)
    assert client.post("/deploy", json=order).status_code == 401
    assert client.post("/deploy", **signed(order, "d1", stale)).status_code == 401
    assert client.post("/deploy", **signed(order, "d1", clock.now(), secret="guess")).status_code == 401
    assert versions(client) == ["2.4.0"]


def test_deploys_since(client: TestClient, clock: Clock, deploy: Callable[..., Any]) -> None:
    clock.elapsed_s = 60.0
    deploy("d1", version="2.4.1")
    rows = client.get("/deploys", params={"since": "2026-11-21T03:00:30Z"}).json()
    assert [row["version"] for row in rows] == ["2.4.1"]


def test_the_release_and_the_memory_of_requests_survive_a_restart(tmp_path: Path, clock: Clock) -> None:
    path = tmp_path / "deploys.jsonl"
    DeployLog(path, clock.now()).deploy("2.4.1", clock.now(), "d1")
    again = DeployLog(path, clock.now())
    assert (again.version, again.previous) == ("2.4.1", "2.4.0")
    assert again.carried_out("d1") is not None
    assert again.carried_out("", "") is None


def test_a_line_cut_by_a_kill_never_happened(tmp_path: Path, clock: Clock) -> None:
    path = tmp_path / "deploys.jsonl"
    DeployLog(path, clock.now())
    whole = path.read_text()
    path.write_text(whole + '{"id": "deploy-00')
    log = DeployLog(path, clock.now())
    assert (log.version, path.read_text()) == ("2.4.0", whole)
    log.deploy("2.4.1", clock.now(), "d1")
    assert [json.loads(line)["version"] for line in path.read_text().splitlines()] == ["2.4.0", "2.4.1"]
    path.write_text('{"id')
    assert DeployLog(path, clock.now()).version == "2.4.0"


def test_the_bad_release_changes_exactly_one_constant() -> None:
    changed = diff(RELEASES["2.4.0"].constants, RELEASES["2.4.1"].constants).splitlines()
    edits = [line for line in changed if line[0] in "+-" and line[:3] not in ("+++", "---")]
    assert edits == ["-payment_timeout_ms = 800", "+payment_timeout_ms = 4"]
    assert diff(Constants(), Constants()) == ""
