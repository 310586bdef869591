"""kill -9 at bad moments: in a storm of alerts, while three apps wait for people, in the middle of an action."""

from __future__ import annotations

import json
import threading
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from local.demo.operator import Person
from local.stack.places import ROOT
from tests.local.stack.driver import RunningStack, until
from tests.local.stack.storm import EVERYTHING, Storm

pytestmark = pytest.mark.usefixtures("loopback_only")
CALM_S = 150.0  # calm comes after 25 s; what died between commit and send is sent by the sweep after a minute
CONFIG = ROOT / "config" / "argus.yaml"


def test_a_storm_with_kills_loses_nothing_and_doubles_nothing(tmp_path: Path) -> None:
    stack = RunningStack(tmp_path / "data").start()
    storm = Storm(stack, seed=11, services=9, alerts=45, victims=("broker", "host", EVERYTHING))
    try:
        storm.rage()
        assert storm.calm(CALM_S) == []
    finally:
        stack.stop()


def test_three_apps_survive_the_end_of_core_and_exec_while_people_think(tmp_path: Path) -> None:
    stack = RunningStack(tmp_path / "data", apps=3).start()
    try:
        incident = ask(stack)
        for victim in ("core", "exec"):
            assert stack.kill(victim) == 1, "the supervisor says that a process died"
            stack.start()
        again = stack.incident(incident["id"])
        assert (again["state"], again["approval"]["deadline"]) == (
            "awaiting_approval",
            incident["approval"]["deadline"],
        )
        approve(stack, incident)
        closed = until(lambda: in_state(stack, incident["id"], "closed"), 60, "the end")
        assert [action["state"] for action in closed["actions"]] == ["done"]
        assert len(rollbacks(stack)) == 1
    finally:
        stack.stop()


class Gate:
    """Stands before the shop's deploy endpoint and keeps a caller waiting, before or after the deployment."""

    def __init__(self) -> None:
        self.shop = ""
        self.calls = 0
        self.held = threading.Event()
        self.pass_on = False
        self._release = threading.Event()
        gate = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                gate.take(body, dict(self.headers.items()))

            def log_message(self, *_: object) -> None:
                """Nobody reads it."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}/deploy"

    def take(self, body: bytes, headers: dict[str, str]) -> None:
        self.calls += 1
        if self.pass_on:
            request = urllib.request.Request(f"{self.shop}/deploy", body, headers)
            urllib.request.urlopen(request, timeout=10).close()
        self.held.set()
        self._release.wait(60)  # the caller is killed meanwhile, so no answer is ever read

    def close(self) -> None:
        self._release.set()
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def gate() -> Iterator[Gate]:
    made = Gate()
    yield made
    made.close()


def test_D4_an_action_whose_host_dies_twice_in_the_middle_happens_once(tmp_path: Path, gate: Gate) -> None:
    config = tmp_path / "argus.yaml"
    original = "url: ${ARGUS_SHOP_URL:-http://127.0.0.1:7090}/deploy\n"
    text = CONFIG.read_text(encoding="utf-8")
    assert text.count(original) == 1
    config.write_text(text.replace(original, f"url: {gate.url}\n"), encoding="utf-8")
    stack = RunningStack(tmp_path / "data", config=config).start()
    try:
        gate.shop = stack.up["shop"]
        incident = ask(stack)
        approve(stack, incident)
        assert gate.held.wait(20), "the executor sends its request"
        assert rollbacks(stack) == [], "the request has not reached the shop"
        stack.kill("host")
        gate.held.clear()
        gate.pass_on = True
        stack.start()
        assert gate.held.wait(30), "nothing had happened, so it is sent again"
        assert len(rollbacks(stack)) == 1, "the shop has carried it out, but nobody heard of it"
        stack.kill("host")
        stack.start()
        closed = until(lambda: in_state(stack, incident["id"], "closed"), 60, "the end")
        results = [(action["state"], action["message"]) for action in closed["actions"]]
        assert results == [("done", "an earlier attempt had already done it")]
        assert (len(rollbacks(stack)), gate.calls) == (1, 2)
        assert stack.argus("audit", "verify").returncode == 0
    finally:
        stack.stop()


def ask(stack: RunningStack) -> dict[str, Any]:
    """Break the shop, and wait until people are asked."""
    stack.break_shop("test-crash")

    def asked() -> dict[str, Any] | None:
        lines = [line for line in stack.incidents() if line["service"] == "shop" and line["awaiting"]]
        return stack.incident(lines[0]["id"]) if lines else None

    return until(asked, 60, "the question to people")


def approve(stack: RunningStack, incident: dict[str, Any]) -> None:
    person = Person(stack.up["portal"])
    person.sign_in("olga")
    person.approve(incident["approval"]["id"], "roll it back")


def in_state(stack: RunningStack, incident_id: str, state: str) -> dict[str, Any] | None:
    found = stack.incident(incident_id)
    return found if found["state"] == state else None


def rollbacks(stack: RunningStack) -> list[dict[str, Any]]:
    """What the shop has rolled back, from its own log; every carried-out request is a line there."""
    lines = (stack.data / "shop" / "deploys.jsonl").read_text(encoding="utf-8").splitlines()
    return [entry for entry in map(json.loads, lines) if entry["idempotency_key"]]
