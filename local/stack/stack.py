"""The whole stack: what is started, in which order, with which settings.

In: a data folder. Out: running processes, `up.json` for scripts, and a clean end.
"""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from local.stack import azurite, opening
from local.stack.places import (
    ROOT,
    SECRET_NAMES,
    Places,
    StackError,
    choose_ports,
    load_secrets,
    read_up_file,
    write_private,
)
from local.stack.processes import Child, alive, start, wait_gone
from local.stack.recovery import LifeLine
from shared.model.pipeline import Queue

LOCK_WAIT_S = 20.0
ORPHAN_WAIT_S = 5.0
HOSTS_WAIT_S = 10.0  # a host without its parent drains for 8 s
FAR_SIDES_OWN = {name for name in SECRET_NAMES if name.startswith("ARGUS_SANDBOX_")} | {azurite.KEY}
# For glibc: what a batch has given back goes back to the system, instead of waiting in one arena for each thread.
MEMORY = {"MALLOC_ARENA_MAX": "2", "MALLOC_MMAP_THRESHOLD_": "131072", "MALLOC_TRIM_THRESHOLD_": "1048576"}
ROLES = {"host": "edge,core,exec", "edge": "edge", "core": "core", "exec": "exec"}


@dataclass(slots=True)
class Stack:
    """A stack in one data folder.

    Attributes:
        usual: prefer the documented ports.
        apps: 1 runs everything in one host; 3 runs edge, core and exec apart.
        load_rps: requests a second that the load generator sends to the shop.
        store: ``sqlite`` keeps rows in a file, ``tables`` in Azurite.
        modules: what runs a process instead of its own module, by its name; a benchmark wraps them so.
    """

    data: Path
    usual: bool = True
    apps: int = 1
    load_rps: int = 5
    config: Path = ROOT / "config" / "argus.yaml"
    modules: Mapping[str, str] = field(default_factory=dict)
    store: str = "sqlite"
    places: Places = field(init=False)
    ports: dict[str, int] = field(init=False, default_factory=dict)
    secrets: dict[str, str] = field(init=False, default_factory=dict)
    children: list[Child] = field(init=False, default_factory=list)
    _lock: IO[str] | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        self.places = Places(self.data.resolve())

    def url(self, name: str) -> str:
        """Loopback address of a process."""
        return f"http://127.0.0.1:{self.ports[name]}"

    def up(self) -> None:
        """Start everything, and wait until it answers.

        Raises:
            StackError: another stack uses the folder, it cannot be written, or a process does not start.
        """
        whole = False
        try:
            self._take_lock()
            self._start()
            whole = True
        except OSError as error:
            raise StackError(
                f"{error.filename or self.places.data}: {error.strerror}; name another folder with --data"
            ) from error
        finally:
            if not whole:  # Ctrl-C as well
                self.down()

    def _start(self) -> None:
        self._bury_orphans()
        opening.keep_kind(self.places, self.store)
        hosts_gone = self._hosts_gone(HOSTS_WAIT_S)
        self.ports = choose_ports(self.places, self.usual)
        self.secrets = load_secrets(self.places)
        environ = self.environ()
        write_private(self.places.settings_file, json.dumps({"Values": self.settings()}, indent=1))
        queues = self.places.data / "queues.json"
        queues.write_text(json.dumps([{"name": str(queue)} for queue in Queue]), encoding="utf-8")
        self._start_far_sides(environ, queues)
        for child in self.children:
            child.wait_ready()
        if hosts_gone:
            self._end_leases()
        self._start_hosts(environ)
        for child in self.children:
            child.wait_ready()
        self._start_load(environ)
        self._write_up_file()

    def _start_far_sides(self, environ: dict[str, str], queues: Path) -> None:
        data, logs = self.places.data, self.places.logs
        broker = ["--port", str(self.ports["servicebus"]), "--stats-port", str(self.ports["stats"])]
        broker += ["--db", str(data / "broker.db"), "--queues", str(queues)]
        sandbox = ["--port", str(self.ports["sandbox"]), "--db", str(data / "sandbox.db")]
        shop = ["--port", str(self.ports["shop"]), "--data", str(data / "shop")]
        processes = [
            ("broker", "local.servicebus", broker, f"{self.url('stats')}/healthz"),
            ("sandbox", "local.sandbox", sandbox, f"{self.url('sandbox')}/"),
            ("shop", "local.demo.shop", shop, f"{self.url('shop')}/healthz"),
        ]
        if self.store == "tables":
            azurite.install(lambda said: print(said, flush=True))
            tables = ["--port", str(self.ports["tables"]), "--location", str(self.places.tables)]
            processes.append(("tables", "local.stack.azurite", tables, f"{self.url('tables')}/"))
        for name, module, arguments, ready in processes:
            runs = self.modules.get(name, module)
            self.children.append(start(name, runs, arguments, environ, ROOT, logs, ready))

    def _start_hosts(self, environ: dict[str, str]) -> None:
        names = {"host": "http"} if self.apps == 1 else {"edge": "http", "core": "core", "exec": "exec"}
        for name, port in names.items():
            arguments = ["--app", str(ROOT), "--port", str(self.ports[port])]
            arguments += ["--timer-db", str(self.places.data / "timers.db")]
            arguments += ["--settings", str(self.places.settings_file)]
            if name in ("host", "core"):
                arguments += ["--durable-db", str(self.places.data / "durable.db")]
            own = {**environ, "ARGUS_ROLES": ROLES[name]}
            ready = f"{self.url(port)}/admin/host/status"
            runs, line = self.modules.get(name, "local.host"), LifeLine(self.places.hosts)
            self.children.append(start(name, runs, arguments, own, ROOT, self.places.logs, ready, line))

    def _start_load(self, environ: dict[str, str]) -> None:
        arguments = ["--url", self.url("shop"), "--rps", str(self.load_rps), "--seed", "7"]
        ready = f"{self.url('shop')}/version"
        self.children.append(start("load", "local.demo.shop.load", arguments, environ, ROOT, self.places.logs, ready))

    def environ(self) -> dict[str, str]:
        """Environment of every child: ours, without what a shell may have set for another ARGUS."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("ARGUS_")}
        return {**MEMORY, **kept, **self.secrets, "PYTHONUNBUFFERED": "1"}

    def settings(self) -> dict[str, str]:
        """App settings of the hosts."""
        sandbox, data = self.url("sandbox"), self.places.data
        port, key = self.ports["servicebus"], self.secrets["ARGUS_SERVICEBUS_KEY"]
        return {
            **{name: value for name, value in self.secrets.items() if name not in FAR_SIDES_OWN},
            "ServiceBusConnection": servicebus_connection(port, key),
            "ARGUS_CONFIG": str(self.config),
            "ARGUS_PORTAL_URL": self.url("http"),
            "ARGUS_SHOP_URL": self.url("shop"),
            **opening.settings(self.places, self.store, self.ports["tables"], self.secrets[azurite.KEY]),
            "ARGUS_HEADS": str(data / "heads.jsonl"),
            "ARGUS_HOP_LOG": str(self.places.hops),
            "ARGUS_KNOWLEDGE_REPO": str(data / "knowledge"),
            "ARGUS_TEAMS_URL": f"{sandbox}/teams/workflows/ops?sig={self.secrets['ARGUS_SANDBOX_TEAMS_SIG']}",
            "ARGUS_SERVICENOW_URL": f"{sandbox}/servicenow",
            "ARGUS_SERVICENOW_TOKEN": self.secrets["ARGUS_SANDBOX_SERVICENOW_TOKEN"],
            "ARGUS_CONFLUENCE_URL": f"{sandbox}/confluence/wiki",
            "ARGUS_CONFLUENCE_TOKEN": self.secrets["ARGUS_SANDBOX_CONFLUENCE_TOKEN"],
            "ARGUS_TASK_HUB": "argus",
            "ARGUS_POLL_SCHEDULE": "*/2 * * * * *",
            "ARGUS_SWEEP_SCHEDULE": "*/5 * * * * *",
            "ARGUS_BRAKE_SCHEDULE": "*/2 * * * * *",
            "ARGUS_DEAD_LETTER_SCHEDULE": "*/10 * * * * *",
            "ARGUS_ANCHOR_SCHEDULE": "*/10 * * * * *",
        }

    def _write_up_file(self) -> None:
        keys = {
            "default": self.secrets["ARGUS_KEY_DEFAULT"],
            "azure_monitor": self.secrets["ARGUS_KEY_AZURE_MONITOR"],
            "alertmanager": self.secrets["ARGUS_KEY_ALERTMANAGER"],
        }
        content = {
            "http": self.url("http"),
            "portal": self.url("http"),
            "sandbox": self.url("sandbox"),
            "shop": self.url("shop"),
            "servicebus": servicebus_connection(self.ports["servicebus"], self.secrets["ARGUS_SERVICEBUS_KEY"]),
            "stats": self.url("stats"),
            "keys": keys,
            "pids": {"supervisor": os.getpid(), **{child.name: child.pid for child in self.children}},
        }
        write_private(self.places.up_file, json.dumps(content, indent=1) + "\n")

    def ended(self) -> Child | None:
        """A process that is no longer running, or ``None``."""
        return next((child for child in self.children if child.process.poll() is not None), None)

    def revive(self, dead: Child) -> None:
        """Start a process again that ended; what it kept is still there."""
        if dead.name in ROLES and self._hosts_gone(0):
            self._end_leases()
        successor = dead.again()
        self.children[self.children.index(dead)] = successor
        successor.wait_ready()
        self._write_up_file()

    def down(self) -> None:
        """Stop everything, hosts before what they talk to."""
        if self._lock is not None:
            self._say_that_it_ends()
        for child in reversed(self.children):
            child.stop()
        self.children.clear()
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def _take_lock(self) -> None:
        self.places.data.mkdir(parents=True, exist_ok=True)
        lock = (self.places.data / "lock").open("w", encoding="utf-8")
        deadline = time.monotonic() + LOCK_WAIT_S
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                if time.monotonic() < deadline and not alive(self._pids().get("supervisor", 0)):
                    time.sleep(0.2)
                    continue
                lock.close()
                raise StackError(
                    f"a stack is running on {self.places.data} already; its addresses are in {self.places.up_file}. "
                    "Stop it with Ctrl-C first."
                ) from None
            self._lock = lock
            return

    def _hosts_gone(self, wait_s: float) -> bool:
        return LifeLine(self.places.hosts).all_gone(wait_s)

    def _end_leases(self) -> None:
        """What dead hosts were in the middle of need not wait for its lease; call it when they are dead for sure."""
        if self.store != "sqlite" or self.places.store.exists():  # a first start has none, and is not held up
            opening.end_leases_of(self.config, {**self.environ(), **self.settings()})

    def _bury_orphans(self) -> None:
        pids = self._pids()
        parent = pids.pop("supervisor", 0)
        wait_gone(list(pids.values()), parent, ORPHAN_WAIT_S)

    def _say_that_it_ends(self) -> None:
        """From now on another stack waits for the folder instead of giving up at once."""
        up = read_up_file(self.places)
        if up:
            up["pids"] = {"supervisor": 0}
            write_private(self.places.up_file, json.dumps(up, indent=1) + "\n")

    def _pids(self) -> dict[str, int]:
        pids = read_up_file(self.places).get("pids")
        known = pids.items() if isinstance(pids, dict) else ()
        return {str(name): pid for name, pid in known if isinstance(pid, int) and pid > 0}


def servicebus_connection(port: int, key: str) -> str:
    """Connection string for the unmodified SDK; plain TCP, loopback only."""
    endpoint = f"Endpoint=sb://localhost:{port}"
    return f"{endpoint};SharedAccessKeyName=argus;SharedAccessKey={key};UseDevelopmentEmulator=true"
