"""The sandbox as a process: secrets, ports, restart after kill -9, a clean end."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import requests

from local.sandbox.store import Store
from tests.local.sandbox.processes import SECRETS, ended, running

BEARER = {"Authorization": f"Bearer {SECRETS['ARGUS_SANDBOX_SERVICENOW_TOKEN']}"}
TABLE = "/servicenow/api/now/table/incident"


def test_state_survives_kill_9_and_sigterm_ends_cleanly(tmp_path: Path) -> None:
    db = str(tmp_path / "deep" / "sandbox.db")
    with running("local.sandbox", "--port", "0", "--db", db) as (first, address):
        reply = requests.post(address + TABLE, json={"short_description": "x"}, headers=BEARER, timeout=10)
        first.send_signal(signal.SIGKILL)
        assert ended(first) == -signal.SIGKILL
    with running("local.sandbox", "--port", "0", "--db", db) as (second, address):
        shown = requests.get(f"{address}/api/received/servicenow", timeout=10).json()
        assert shown["tickets"][0]["sys_id"] == reply.json()["result"]["sys_id"]
        assert len(shown["received"]) == 1
        second.send_signal(signal.SIGTERM)
        assert ended(second) == 0


def test_it_ends_with_its_parent(tmp_path: Path) -> None:
    parent = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    arguments = ("--port", "0", "--db", str(tmp_path / "s.db"), "--parent-pid", str(parent.pid))
    with running("local.sandbox", *arguments) as (process, _address):
        parent.kill()  # and not waited for: a parent that is only a zombie is gone, too
        assert ended(process) == 0
    parent.communicate()


def test_without_secrets_it_refuses_to_start_and_names_them(tmp_path: Path) -> None:
    env = {name: value for name, value in os.environ.items() if not name.startswith("ARGUS_SANDBOX_")}
    env["ARGUS_SANDBOX_TEAMS_SIG"] = "present"
    command = [sys.executable, "-m", "local.sandbox", "--db", str(tmp_path / "s.db")]
    result = subprocess.run(command, env=env, capture_output=True, text=True, timeout=30)
    assert result.returncode == 2
    assert "ARGUS_SANDBOX_CONFLUENCE_TOKEN" in result.stderr
    assert "ARGUS_SANDBOX_WEBHOOK_SECRET" in result.stderr
    assert "TEAMS_SIG" not in result.stderr
    assert "Traceback" not in result.stderr


def test_a_taken_port_is_said_in_one_line(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        command = [sys.executable, "-m", "local.sandbox", "--port", port, "--db", str(tmp_path / "s.db")]
        result = subprocess.run(command, env={**os.environ, **SECRETS}, capture_output=True, text=True, timeout=30)
    assert result.returncode == 1
    assert result.stderr.startswith("sandbox: cannot listen")
    assert len(result.stderr.splitlines()) == 1


def test_a_failed_transaction_leaves_nothing(tmp_path: Path) -> None:
    store = Store(tmp_path / "s.db")
    try:
        with store.transaction(), store.transaction():
            store.put("page", "1", {})
            raise KeyError
    except KeyError:
        assert store.all("page") == []
    store.close()
