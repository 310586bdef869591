"""`make up` as its users meet it: alerts in, kill -9 of anything, people who decide, Ctrl-C."""

from __future__ import annotations

import html
import json
import os
import signal
import sqlite3
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from local.demo.operator import Person, azure_alert
from tests.local.stack.driver import RunningStack, until

pytestmark = pytest.mark.usefixtures("loopback_only")


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[RunningStack]:
    running = RunningStack(tmp_path / "data").start()
    try:
        yield running
    finally:
        running.stop()


def _alert(service: str, severity: str = "Sev2", condition: str = "Fired", rule: str = "errors") -> bytes:
    body = json.loads(azure_alert(datetime(2026, 11, 20, 3, 0, tzinfo=UTC)))
    essentials = body["data"]["essentials"]
    resource = f"/subscriptions/0/resourceGroups/rg/providers/Microsoft.Web/sites/{service}"
    essentials |= {
        "alertId": f"/subscriptions/0/providers/Microsoft.AlertsManagement/alerts/{rule}-{service}",
        "originAlertId": f"{rule}-{service}",
        "alertRule": f"{rule}-{service}",
        "severity": severity,
        "monitorCondition": condition,
        "alertTargetIDs": [resource],
        "configurationItems": [service],
    }
    if condition == "Resolved":
        essentials["resolvedDateTime"] = "2026-11-20T03:30:00Z"
    return json.dumps(body).encode()


def _of(stack: RunningStack, service: str) -> dict[str, Any] | None:
    return next((line for line in stack.incidents() if line["service"] == service), None)


def _in_state(stack: RunningStack, incident_id: str, state: str) -> dict[str, Any] | None:
    found = stack.incident(incident_id)
    return found if found["state"] == state else None


def test_one_alert_ten_times_is_one_incident_and_its_resolve_closes_it(stack: RunningStack) -> None:
    for _ in range(10):
        assert stack.post("azure_monitor", _alert("billing"))[0] == 202
    stack.post("azure_monitor", _alert("quiet", "Sev4"))
    line = until(lambda: _of(stack, "billing"), 5, "the incident")  # in JSON within 5 s
    assert html.escape(line["title"]) in Person(stack.up["portal"]).get("/")
    alerts = until(
        lambda: [a for a in stack.get("/api/alerts")["alerts"] if a["alert"]["service"] == "quiet"], 5, "Sev4"
    )
    assert alerts[0]["incident_id"] == ""
    assert stack.post("azure_monitor", _alert("billing", condition="Resolved"))[0] == 202
    until(lambda: _in_state(stack, line["id"], "closed"), 20, "closing")
    assert len([found for found in stack.incidents() if found["service"] in ("billing", "quiet")]) == 1


def test_a_bus_or_store_that_hangs_is_answered_503_within_5_s(stack: RunningStack) -> None:
    os.kill(stack.up["pids"]["broker"], signal.SIGSTOP)
    began = time.monotonic()
    status, problem = stack.post("azure_monitor", _alert("hung-bus"))
    took = time.monotonic() - began
    os.kill(stack.up["pids"]["broker"], signal.SIGCONT)
    assert (status, problem["status"]) == (503, 503)
    assert took < 5
    with sqlite3.connect(stack.data / "store.db", isolation_level=None) as other:
        other.execute("BEGIN EXCLUSIVE")
        began = time.monotonic()
        status, problem = stack.post("azure_monitor", _alert("hung-store"))
        took = time.monotonic() - began
        other.execute("ROLLBACK")
    assert (status, problem["status"]) == (503, 503)
    assert took < 5
    until(lambda: stack.post("azure_monitor", _alert("after"))[0] == 202, 20, "the stack to take signals again")
    until(lambda: _of(stack, "after"), 20, "the incident")


def test_an_approval_survives_kill_9_and_the_next_incident_gets_the_runbook(stack: RunningStack) -> None:
    first = _break_and_wait(stack, "first")
    asked = first["approval"]
    assert stack.kill("host") == 1
    stack.start()
    again = stack.incident(first["id"])
    assert again["state"] == "awaiting_approval"
    assert again["approval"]["deadline"] == asked["deadline"]
    person = Person(stack.up["portal"])
    person.sign_in("olga")
    person.approve(asked["id"], "roll it back")
    closed = until(lambda: _in_state(stack, first["id"], "closed"), 60, "the end")
    assert [action["state"] for action in closed["actions"]] == ["done"], "one execution"
    done = until(lambda: _published(stack, first["id"]), 30, "the documents")
    assert {document["kind"] for document in done["documents"]} == {"runbook", "review"}
    assert done["audit"]["verified"]

    def settled() -> bool:
        return any(entry["what"] == "the group is free again" for entry in stack.incident(first["id"])["timeline"])

    until(settled, 60, "the group to be free again")
    second = _break_and_wait(stack, "second", but_not=first["id"])
    assert second["recommendation"]["options"][0]["runbook"].startswith("learned-shop")


def _published(stack: RunningStack, incident_id: str) -> dict[str, Any] | None:
    found = stack.incident(incident_id)
    return found if found["documents"] else None


def _break_and_wait(stack: RunningStack, key: str, but_not: str = "") -> dict[str, Any]:
    stack.break_shop(f"test-{key}")

    def waiting() -> dict[str, Any] | None:
        for line in stack.incidents():
            if line["service"] == "shop" and line["id"] != but_not and line["awaiting"]:
                return stack.incident(line["id"])
        return None

    return until(waiting, 60, f"the {key} question to people")
