"""Ends of a running host: SIGTERM, the loss of its parent, a port in use."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time

import httpx2

from local.host.app import DRAIN_S
from tests.local.host.conftest import StartHost
from tests.local.host.process import APPS, ROOT, until


def test_sigterm_answers_the_running_request_and_refuses_new_ones(start_host: StartHost) -> None:
    host = start_host("slow")
    answers: list[httpx2.Response] = []
    asking = threading.Thread(target=lambda: answers.append(host.http.get("/slow")))
    asking.start()
    with httpx2.Client(base_url=host.http.base_url) as other:
        until(lambda: other.get("/admin/host/status").json()["running"] == 1)
        began = time.monotonic()
        host.process.send_signal(signal.SIGTERM)
        until(lambda: other.get("/admin/host/status").json()["state"] == "draining")
        refused = other.get("/slow")
    assert (refused.status_code, refused.headers["retry-after"]) == (503, "2")
    asking.join(20)
    assert [(one.status_code, one.text) for one in answers] == [(200, "finished")]
    assert host.process.wait(20) == 0
    assert time.monotonic() - began < DRAIN_S, "it ends with the request, and not with its patience"


def test_a_thread_past_its_time_limit_does_not_hold_the_exit(start_host: StartHost) -> None:
    host = start_host("http")
    assert host.http.get("/slow/sync").status_code == 500
    began = time.monotonic()
    assert host.terminate() == 0
    assert time.monotonic() - began < DRAIN_S


def test_the_host_ends_with_its_parent(start_host: StartHost) -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as parent:
        host = start_host("slow", "--parent-pid", str(parent.pid))
        assert host.process.poll() is None
        assert parent.stdin is not None
        parent.stdin.close()
        parent.wait(20)
    assert host.process.wait(5) == 0


def test_a_port_in_use_is_said_so(start_host: StartHost) -> None:
    port = start_host("slow").http.base_url.port
    command = [sys.executable, "-m", "local.host", "--app", str(APPS / "slow"), "--port", str(port)]
    done = subprocess.run(command, cwd=ROOT, env=dict(os.environ), capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert f"port {port} on 127.0.0.1 cannot be had" in done.stderr


def test_only_loopback_is_bound(start_host: StartHost) -> None:
    port = start_host("slow").http.base_url.port
    with open("/proc/net/tcp") as table:
        listening = [line.split()[1] for line in table if line.split()[3] == "0A"]
    assert [one for one in listening if one.endswith(f":{port:04X}")] == [f"0100007F:{port:04X}"]
