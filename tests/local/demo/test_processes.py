"""The shop and its load generator as processes."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import httpx2

from tests.local.demo.conftest import signed
from tests.local.sandbox.processes import ended, running


def test_real_customers_meet_a_bad_release_that_survives_kill_9(tmp_path: Path) -> None:
    data = ("--port", "0", "--data", str(tmp_path / "shop"))
    with running("local.demo.shop", *data) as (shop, address):
        calm = _load(address, "1.0")
        assert "502" not in calm.stdout
        assert '"201"' in calm.stdout
        reply = httpx2.post(f"{address}/deploy", **signed({"version": "2.4.1"}, "d1", datetime.now(UTC)))
        assert reply.status_code == 200
        assert '"502"' in _load(address, "1.0").stdout
        text = httpx2.get(f"{address}/metrics").text
        assert 'path="/checkout",status="502"' in text
        shop.send_signal(signal.SIGKILL)
        ended(shop)
    with running("local.demo.shop", *data) as (shop, address):
        assert httpx2.get(f"{address}/version").json() == {"version": "2.4.1", "previous": "2.4.0"}
        assert httpx2.get(f"{address}/deploy/d1").json()["applied"] is True
        assert any(row["level"] == "ERROR" for row in httpx2.get(f"{address}/logs").json())
        shop.send_signal(signal.SIGTERM)
        assert ended(shop) == 0


def _load(address: str, seconds: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "local.demo.shop.load", "--url", address, "--rps", "60", "--verbose"]
    result = subprocess.run([*command, "--duration", seconds], capture_output=True, text=True, timeout=30)
    assert (result.returncode, result.stderr) == (0, "")
    return result


def test_load_is_silent_and_ends_on_sigterm_and_with_its_parent(tmp_path: Path) -> None:
    parent = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    with socket.create_server(("127.0.0.1", 0)) as deaf, (tmp_path / "out").open("w") as out:
        deaf.settimeout(20)
        url = f"http://127.0.0.1:{deaf.getsockname()[1]}"
        command = [sys.executable, "-m", "local.demo.shop.load", "--url", url, "--parent-pid"]
        # A shop that takes connections and never answers; the first one tells that the generator is at work.
        by_signal = subprocess.Popen([*command, str(os.getpid())], stdout=out, stderr=out)
        deaf.accept()[0].close()
        by_parent = subprocess.Popen([*command, str(parent.pid)], stdout=out, stderr=out)
        try:
            by_signal.terminate()
            assert by_signal.wait(10) == 0
            parent.kill()
            assert by_parent.wait(20) == 0
        finally:
            for process in (by_signal, by_parent):
                process.kill()
                process.wait()
            parent.communicate()
    assert (tmp_path / "out").read_text() == ""


def test_without_a_secret_the_shop_refuses_to_start(tmp_path: Path) -> None:
    env = {name: value for name, value in os.environ.items() if name != "ARGUS_SHOP_DEPLOY_SECRET"}
    command = [sys.executable, "-m", "local.demo.shop", "--data", str(tmp_path)]
    result = subprocess.run(command, env=env, capture_output=True, text=True, timeout=30)
    assert result.returncode == 2
    assert result.stderr.startswith("shop: set ARGUS_SHOP_DEPLOY_SECRET")


def test_a_rate_of_zero_is_refused() -> None:
    command = [sys.executable, "-m", "local.demo.shop.load", "--url", "http://127.0.0.1:9", "--rps", "0"]
    assert subprocess.run(command, capture_output=True, timeout=30).returncode == 2
