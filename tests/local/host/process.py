"""A local host as a child process, for tests that kill it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import httpx2

APPS = Path(__file__).parent / "apps"
ROOT = Path(__file__).parents[3]
T = TypeVar("T")


def until(probe: Callable[[], T | None], within_s: float = 30.0, what: str = "the condition") -> T:
    """Waits for a probe to give something true."""
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        found = probe()
        if found:
            return found
        time.sleep(0.02)
    raise AssertionError(f"{what} did not come within {within_s} s")


class HostProcess:
    """`python -m local.host` on a free port.

    Args:
        app: folder below `apps`, or an absolute path.
        state: for databases and logs.
        extra: arguments of the host.
        module: what to run instead, with arguments of its own before the host's.
        environment: variables beside this process's own.
    """

    def __init__(
        self, app: str, state: Path, *extra: str, module: tuple[str, ...] = ("local.host",), **environment: str
    ) -> None:
        self.log = state / "app.log"
        self.errors = state / f"host-{time.monotonic_ns()}.err"
        command = [sys.executable, "-m", *module, "--app", str(APPS / app), "--port", "0"]
        command += ["--durable-db", str(state / "durable.db"), "--timer-db", str(state / "timers.db"), *extra]
        settings = {**os.environ, "TEST_LOG": str(self.log), **environment}
        self._stderr = self.errors.open("wb")
        started = time.monotonic()
        self.process = subprocess.Popen(
            command, cwd=ROOT, env=settings, stdout=subprocess.PIPE, stderr=self._stderr, text=True
        )
        assert self.process.stdout is not None
        self.ready = self.process.stdout.readline().strip()
        self.start_s = time.monotonic() - started
        assert self.ready.startswith("host ready on "), self.stderr()
        self.http = httpx2.Client(base_url=self.ready.split()[3], timeout=30)

    def stderr(self) -> str:
        return self.errors.read_text(errors="replace")

    def noted(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.log.read_text().splitlines()] if self.log.exists() else []

    def lines(self) -> list[str]:
        return self.log.read_text().splitlines() if self.log.exists() else []

    def kill(self) -> None:
        self._end(signal.SIGKILL)

    def terminate(self) -> int:
        return self._end(signal.SIGTERM)

    def _end(self, number: signal.Signals) -> int:
        self.process.send_signal(number)
        status = self.process.wait(timeout=20)
        self.close()
        return status

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.terminate()  # not kill: what it covered is written at its end
            try:
                self.process.wait(timeout=2)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self.http.close()
        assert self.process.stdout is not None
        self.process.stdout.close()
        self._stderr.close()
