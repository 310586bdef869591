"""Runs `python -m local up` as a process and talks to it as senders and people do.

In: a data folder. Out: a running stack, its JSON, and ways to hurt it.
"""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from local.demo.operator import deploy_release, get_json
from local.stack.places import ROOT

T = TypeVar("T")
START_S = 60.0


def until(look: Callable[[], T | None], timeout_s: float, what: str) -> T:
    """Wait until ``look`` finds something."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        found = look()
        if found:
            return found
        time.sleep(0.1)  # polls a process outside; there is nothing to be told by
    raise AssertionError(f"waited {timeout_s:.0f} s for {what}")


@dataclass
class RunningStack:
    """A stack as a process; its ports are its own."""

    data: Path
    apps: int = 1
    config: Path | None = None
    process: subprocess.Popen[bytes] = field(init=False)
    up: dict[str, Any] = field(init=False)

    def start(self) -> RunningStack:
        """Start it, or start it again on the same data."""
        with (self.data.parent / "up.log").open("ab") as log:
            command = [sys.executable, "-m", "local", "up", "--data", str(self.data), "--any-port"]
            command += ["--apps", str(self.apps)]
            if self.config is not None:
                command = [sys.executable, "-m", "tests.local.stack.up", str(self.data), str(self.config)]
            self.process = subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=subprocess.STDOUT)
        self.up = until(self._ready, START_S, "the stack to come up")
        return self

    def _ready(self) -> dict[str, Any] | None:
        assert self.process.poll() is None, (self.data.parent / "up.log").read_text(encoding="utf-8")[-3000:]
        try:
            up: dict[str, Any] = json.loads((self.data / "up.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        return up if up["pids"]["supervisor"] == self.process.pid else None

    def kill(self, name: str) -> int:
        """kill -9 one process; returns the supervisor's exit code."""
        os.kill(self.up["pids"][name], signal.SIGKILL)
        return self.process.wait(30)

    def stop(self) -> int:
        """Ctrl-C."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
        return self.process.wait(40)

    def post(self, source: str, body: bytes, key: str | None = None) -> tuple[int, dict[str, Any]]:
        """Send a webhook; status and JSON of the answer. Status 0 means nobody answered."""
        headers = {"x-functions-key": key or self.up["keys"]["default"], "content-type": "application/json"}
        request = urllib.request.Request(f"{self.up['http']}/api/signals/{source}", body, headers)
        try:
            with urllib.request.urlopen(request, timeout=10) as reply:
                return reply.status, json.load(reply)
        except urllib.error.HTTPError as error:
            return error.code, json.loads(error.read() or b"{}")
        except (OSError, http.client.HTTPException):
            return 0, {}

    def get(self, path: str) -> Any:
        """JSON of a path of the portal."""
        return get_json(self.up["http"] + path)

    def incidents(self) -> list[dict[str, Any]]:
        """Every incident, newest first."""
        found: list[dict[str, Any]] = self.get("/api/incidents?state=all")["incidents"]
        return found

    def incident(self, incident_id: str) -> dict[str, Any]:
        """One incident with everything."""
        found: dict[str, Any] = self.get(f"/api/incidents/{incident_id}")
        return found

    def break_shop(self, key: str) -> None:
        """Deploy the bad release."""
        secret = json.loads((self.data / "secrets.json").read_text(encoding="utf-8"))["ARGUS_SHOP_DEPLOY_SECRET"]
        deploy_release(self.up["shop"], secret, "2.4.1", key)

    def argus(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """The command line, against this stack."""
        command = [sys.executable, "-m", "argus", *arguments]
        environ = {**os.environ, "PYTHONPATH": str(ROOT), "ARGUS_DATA": str(self.data)}
        return subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, timeout=60, check=False)
