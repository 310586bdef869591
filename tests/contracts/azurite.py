"""Hold the Table Storage adapter to the store's contract on Azurite: ``python -m tests.contracts.azurite``.

In: Node and npm. Out: the contract suite's progress, for both clients of the adapter, one line that says how it went,
and the exit code: 0 when every test passed. Azurite is installed into .argus/azurite, runs on a free port of loopback
in memory, and is stopped.
"""

from __future__ import annotations

import os
import re
import secrets
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

from local.stack import azurite
from local.stack.places import ROOT, StackError

SUITE = ("test_store.py", "test_store_model.py", "test_store_claims.py")
START_S = 60.0


def main() -> int:
    """Run it.

    Returns:
        0 when all tests passed, 1 when one did not or Azurite could not be started.
    """
    key, port = secrets.token_hex(16), _free_port()
    try:
        script = azurite.install(lambda text: print(text, flush=True))
    except StackError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"starting Azurite {azurite.VERSION} on 127.0.0.1:{port}, in memory ...", flush=True)
    began = time.monotonic()
    node = azurite.start_node(script, port, key, None)
    try:
        if not _answers(node, port):
            print("error: Azurite did not start; what it says is above", file=sys.stderr)
            return 1
        code, counts = _suite(azurite.connection(port, key))
    except KeyboardInterrupt:
        return 130
    finally:
        azurite.stop_node(node)
    result = "PASSED" if code == 0 else "FAILED"
    print(f"both clients on Azurite {azurite.VERSION}: {result}, {counts}, {time.monotonic() - began:.0f} s")
    return 0 if code == 0 else 1


def _suite(connection: str) -> tuple[int, str]:
    """Run the suite against a Table service; gives pytest's exit code and its own count."""
    files = [str(Path("tests") / "contracts" / name) for name in SUITE]
    command = [sys.executable, "-m", "pytest", "-n", "0", "-o", "addopts=", "-v", "-k", "tables", *files]
    environ = {**os.environ, "ARGUS_TEST_TABLES": connection, "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(command, cwd=ROOT, env=environ, stdout=subprocess.PIPE, text=True) as tests:
        last = ""
        for line in tests.stdout or ():
            print(line, end="", flush=True)
            last = line.strip() or last
    return tests.returncode, re.sub(r"[=\s]+", " ", last).strip()


def _answers(node: subprocess.Popen[bytes], port: int) -> bool:
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline and node.poll() is None:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=2):
                return True
        except urllib.error.HTTPError:
            return True
        except OSError:
            time.sleep(0.1)
    return False


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


if __name__ == "__main__":
    sys.exit(main())
