"""Where the stack keeps things, and on which ports it listens.

In: a data folder. Out: paths, ports that stay the same over restarts, and secrets made once.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import socket
from collections.abc import Container
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent.parent
USUAL_PORTS = {
    "http": 7071,
    "sandbox": 7080,
    "servicebus": 5690,
    "stats": 5691,
    "shop": 7090,
    "core": 7072,
    "exec": 7073,
    "tables": 7074,
}
# Linux gives 32768 and above to outgoing connections (net.ipv4.ip_local_port_range), others 49152 and above (RFC 6335).
LOWEST_ANY_PORT, HIGHEST_ANY_PORT = 15_000, 32_000
SECRET_NAMES = (
    "ARGUS_SESSION_SECRET",
    "ARGUS_KEY_DEFAULT",
    "ARGUS_KEY_AZURE_MONITOR",
    "ARGUS_KEY_ALERTMANAGER",
    "ARGUS_SHOP_DEPLOY_SECRET",
    "ARGUS_SERVICEBUS_KEY",
    "ARGUS_TABLES_KEY",
    "ARGUS_SANDBOX_TEAMS_SIG",
    "ARGUS_SANDBOX_SERVICENOW_TOKEN",
    "ARGUS_SANDBOX_CONFLUENCE_TOKEN",
    "ARGUS_SANDBOX_WEBHOOK_SECRET",
)


class StackError(Exception):
    """The stack cannot run; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Places:
    """Paths under one data folder."""

    data: Path

    @property
    def up_file(self) -> Path:
        """What scripts read to find the stack."""
        return self.data / "up.json"

    @property
    def settings_file(self) -> Path:
        """Environment of the hosts, like local.settings.json; holds secrets, so only its owner may read it."""
        return self.data / "settings.json"

    @property
    def store(self) -> Path:
        """The hosts' store, when it is a file."""
        return self.data / "store.db"

    @property
    def tables(self) -> Path:
        """Where Azurite keeps its rows."""
        return self.data / "tables"

    @property
    def store_kind(self) -> Path:
        """Which kind of store the folder was begun with."""
        return self.data / "store-kind"

    @property
    def hosts(self) -> Path:
        """Lock that every host holds while it lives."""
        return self.data / "hosts.lock"

    @property
    def logs(self) -> Path:
        """One log file per process."""
        return self.data / "logs"

    @property
    def hops(self) -> Path:
        """One JSON line per hop."""
        return self.data / "logs" / "hops.jsonl"


def write_private(path: Path, content: str) -> None:
    """Write a file that only its owner can read, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(path.suffix + ".partial")
    with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
        file.write(content)
    partial.replace(path)


def read_up_file(places: Places) -> dict[str, Any]:
    """What `up.json` says; empty when there is none that can be read."""
    try:
        content = json.loads(places.up_file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def load_secrets(places: Places) -> dict[str, str]:
    """Secrets of this stack, made at the first start and kept, so that links and sessions survive a restart."""
    path = places.data / "secrets.json"
    try:
        known: dict[str, str] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    except ValueError as error:
        raise StackError(f"{path} cannot be read; remove it, and new secrets are made") from error
    missing = [name for name in SECRET_NAMES if name not in known]
    if missing:
        known |= {name: secrets.token_urlsafe(32) for name in missing}
        write_private(path, json.dumps(known, indent=1))
    return known


def choose_ports(places: Places, usual: bool) -> dict[str, int]:
    """Ports for every process: the ones of the last start where they are free, else usual or any free ones.

    Args:
        usual: prefer the documented ports; a demo takes any, so that a second stack may be running.
    """
    before: dict[str, int] = {}
    path = places.data / "ports.json"
    if path.exists():
        with contextlib.suppress(ValueError, TypeError):  # cut off by a crash: any port will do
            before = {str(name): int(port) for name, port in dict(json.loads(path.read_bytes())).items()}
    ports: dict[str, int] = {}
    for name, fallback in USUAL_PORTS.items():
        candidates = [before.get(name, 0), fallback if usual else 0]
        ports[name] = next((port for port in candidates if port and _free(port)), 0) or any_free(set(ports.values()))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(ports), encoding="utf-8")
    return ports


def _free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def any_free(taken: Container[int] = ()) -> int:
    """A free port below those that systems give to outgoing connections: it must still be free when it is bound."""
    while True:
        port = LOWEST_ANY_PORT + secrets.randbelow(HIGHEST_ANY_PORT - LOWEST_ANY_PORT)
        if port not in taken and _free(port):
            return port
