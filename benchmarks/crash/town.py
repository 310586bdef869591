"""The stack of the crash harness: broker, sandbox and hosts with points in them, a shop under load, and a depot.

In: a data folder. Out: running processes, addresses, and readers of what they keep.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.crash.points import FOLDER_VARIABLE
from benchmarks.crash.queues import Queues
from benchmarks.ports import free_port
from local.stack.places import ROOT
from local.stack.processes import Child, start
from local.stack.stack import Stack
from shared import wiring
from shared.ports.store import Store

HERE = Path(__file__).parent
HOSTS = {1: ("host",), 3: ("edge", "core", "exec")}
VICTIMS = ("broker", "sandbox")
MAX_DEPOTS = 3000  # services that may be the target of a depot action; the configuration lists them
LOCK_S = 5  # the shortest Azure takes; `make up` has its default of 60


@dataclass
class Town(Stack):
    """The stack with everything the harness needs.

    Attributes:
        points: folder of orders, census and logs.
        shops: run the shop under load; without it only the depot acts.
    """

    points: Path = field(init=False)
    lock_s: int = LOCK_S
    shops: bool = True
    depot_port: int = field(init=False, default=0)

    def __post_init__(self) -> None:
        self.usual = False
        super().__post_init__()
        self.points = self.places.data / "points"
        self.points.mkdir(parents=True, exist_ok=True)
        os.environ[FOLDER_VARIABLE] = str(self.points)
        wrapped = {name: f"benchmarks.crash.{name}" for name in VICTIMS}
        self.modules = {**wrapped, **dict.fromkeys(HOSTS[self.apps], "benchmarks.crash.host")}
        self.depot_port = free_port()
        self.config = self._configured()

    def depot_url(self) -> str:
        """Address of the depot."""
        return f"http://127.0.0.1:{self.depot_port}"

    def settings(self) -> dict[str, str]:
        """App settings of the hosts."""
        runbooks = str(self.places.data / "runbooks")
        return {**super().settings(), "CRASH_DEPOT_URL": self.depot_url(), "CRASH_RUNBOOKS": runbooks}

    def open_store(self) -> Store:
        """The hosts' store, for a reader beside them."""
        return wiring.open_store(self.config, self.settings())

    def queues(self) -> Queues:
        """The broker's queues, for a reader beside it."""
        return Queues(self.places.data / "broker.db")

    def argus(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """The command line, against this stack."""
        command = [sys.executable, "-m", "argus", *arguments]
        environ = {**self.environ(), **self.settings(), "ARGUS_DATA": str(self.places.data)}
        return subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, timeout=300, check=False)

    def end(self) -> None:
        """Stop at once: nobody needs a clean end of this stack, whose processes are used to worse."""
        for child in self.children:
            child.process.kill()
        self.down()

    def child(self, name: str) -> Child:
        """The running process of a name."""
        return next(child for child in self.children if child.name == name)

    def _configured(self) -> Path:
        """The configuration and the runbooks, in the data folder."""
        data = self.places.data
        text = (HERE / "argus.yaml").read_text(encoding="utf-8")
        targets = json.dumps([depot_service(number) for number in range(MAX_DEPOTS)])
        head, _, body = text.partition("version: 1\n")
        file = data / "argus.yaml"
        file.write_text(f"{head}version: 1\n{body.replace('CRASH_DEPOT_TARGETS', targets)}", encoding="utf-8")
        runbooks = data / "runbooks"
        runbooks.mkdir(exist_ok=True)
        for source in (HERE / "drill.md", ROOT / "runbooks" / "roll-back-bad-release.md"):
            (runbooks / source.name).write_text(source.read_text(encoding="utf-8"), encoding="utf-8")
        return file

    def _start_far_sides(self, environ: dict[str, str], queues: Path) -> None:
        named = json.loads(queues.read_text(encoding="utf-8"))
        queues.write_text(json.dumps([{**queue, "lock_duration_s": self.lock_s} for queue in named]), encoding="utf-8")
        super()._start_far_sides(environ, queues)
        arguments = ["--port", str(self.depot_port), "--data", str(self.places.data / "depot")]
        ready = f"{self.depot_url()}/version"
        self.children.append(start("depot", "local.demo.shop", arguments, environ, ROOT, self.places.logs, ready))

    def _start_load(self, environ: dict[str, str]) -> None:
        if self.shops:
            super()._start_load(environ)


def depot_service(number: int) -> str:
    """A service that a depot action may be for."""
    return f"depot-{number:04d}"
