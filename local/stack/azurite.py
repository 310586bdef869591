"""Azurite's Table service as a process of the stack: ``python -m local.stack.azurite --port N --location DIR``.

In: a port, a folder or none, and a key in the environment. Out: the Table service on loopback until SIGTERM or the end
of the parent. It is installed at first use with npm; it is no part of the repository.
"""

from __future__ import annotations

import argparse
import base64
import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType

from local.sandbox.serving import watch_parent
from local.stack.places import ROOT, StackError

VERSION = "3.37.0"
HOME = ROOT / ".argus" / "azurite"
GUARD = Path(__file__).with_name("azurite_guard.cjs")
LEAST_NODE = 18
ACCOUNT = "argus"
KEY = "ARGUS_TABLES_KEY"
KEEP_ALIVE_S = 120
STOP_S = 10.0


def install(say: Callable[[str], None], home: Path = HOME) -> Path:
    """Azurite's Table service, installed unless it is there.

    Args:
        say: told once, before something is downloaded.
        home: folder for node_modules.

    Returns:
        The script that Node runs.

    Raises:
        StackError: Node or npm is missing or too old, or npm failed; the message says what to do.
    """
    script = home / "node_modules" / "azurite" / "dist" / "src" / "table" / "main.js"
    _check_node()
    home.mkdir(parents=True, exist_ok=True)
    with (home / "lock").open("w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # two stacks at once install it once
        if script.is_file() and _version(home) == VERSION:
            return script
        npm = shutil.which("npm")
        if npm is None:
            raise StackError("STORE=tables needs npm to install Azurite, and there is none; install it, or use sqlite")
        say(f"installing Azurite {VERSION} with npm into {home} (365 MB, about a minute, once) ...")
        shutil.rmtree(home / "node_modules", ignore_errors=True)  # what an interrupted installation left
        command = [npm, "install", "--prefix", str(home), "--no-fund", "--no-audit", "--loglevel=error"]
        done = subprocess.run(
            [*command, f"azurite@{VERSION}"], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
        )
        if done.returncode != 0 or not script.is_file():
            raise StackError(
                f"npm could not install azurite@{VERSION}:\n{(done.stderr or done.stdout).strip()[-1500:]}"
            )
    return script


def connection(port: int, key: str) -> str:
    """Connection string for the unmodified SDK; plain HTTP, loopback only.

    Args:
        key: the stack's own secret, any text.
    """
    # Not localhost: the SDK takes that for a Cosmos account.
    address = f"http://127.0.0.1:{port}/{ACCOUNT}"
    return f"DefaultEndpointsProtocol=http;AccountName={ACCOUNT};AccountKey={_encoded(key)};TableEndpoint={address}"


def start_node(script: Path, port: int, key: str, location: Path | None) -> subprocess.Popen[bytes]:
    """Start Azurite's Table service; it stops by itself when this process is gone.

    Args:
        location: where it keeps its rows; ``None`` keeps them in memory.
    """
    where = ["--inMemoryPersistence"] if location is None else ["--location", str(location)]
    if location is not None:
        location.mkdir(parents=True, exist_ok=True)
    command = ["node", "--require", str(GUARD), str(script), "--disableTelemetry", "--silent", *where]
    command += ["--tableHost", "127.0.0.1", "--tablePort", str(port), "--tableKeepAliveTimeout", str(KEEP_ALIVE_S)]
    kept = {name: value for name, value in os.environ.items() if not name.startswith("ARGUS_")}
    return subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        env={**kept, "AZURITE_ACCOUNTS": f"{ACCOUNT}:{_encoded(key)}"},
        start_new_session=True,
    )


def stop_node(node: subprocess.Popen[bytes]) -> int:
    """Ask it to end, which makes it write what it holds, and make it end.

    Returns:
        0 when it ended as it was asked to.
    """
    if node.poll() is None:
        node.send_signal(signal.SIGINT)
        try:
            node.wait(STOP_S)
        except subprocess.TimeoutExpired:
            node.kill()
    if node.stdin is not None:
        node.stdin.close()
    return 0 if node.wait() in (0, -signal.SIGINT) else 1


def main(arguments: list[str] | None = None) -> int:
    """Run until SIGTERM, or until Azurite ends.

    Returns:
        Exit code: 0 after a clean stop.
    """
    parser = argparse.ArgumentParser(
        "python -m local.stack.azurite", description="Azurite's Table service on loopback."
    )
    parser.add_argument("--port", type=int, required=True, help="TCP port on 127.0.0.1")
    parser.add_argument("--location", type=Path, help="folder for its rows; without it they are kept in memory")
    parser.add_argument("--parent-pid", type=int, help="end when this process has ended")
    options = parser.parse_args(arguments)
    key = os.environ.get(KEY, "")
    if not key:
        print(f"error: the environment variable {KEY} is not set", file=sys.stderr)
        return 2
    asked = False

    def stop(*_: object) -> None:
        nonlocal asked
        asked = True
        if node.poll() is None:
            node.send_signal(signal.SIGINT)  # to SIGTERM it would listen not at all, and lose what it has not written

    def stop_on_signal(_number: int, _frame: FrameType | None) -> None:
        stop()

    try:
        node = start_node(install(lambda text: print(text, flush=True)), options.port, key, options.location)
    except StackError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop_on_signal)
    if options.parent_pid is not None:
        watch_parent(options.parent_pid, stop)
    node.wait()
    ended = stop_node(node)
    return ended if asked else 1


def _encoded(key: str) -> str:
    return base64.b64encode(key.encode()).decode()


def _check_node() -> None:
    found = shutil.which("node")
    if found is None:
        raise StackError("STORE=tables runs Azurite, which needs Node, and there is none; install it, or use sqlite")
    told = subprocess.run([found, "--version"], capture_output=True, text=True, check=False).stdout.strip()
    major = told.removeprefix("v").partition(".")[0]
    if not major.isdigit() or int(major) < LEAST_NODE:
        raise StackError(f"STORE=tables needs Node {LEAST_NODE} or newer; {found} is {told or 'none that works'}")


def _version(home: Path) -> str:
    try:
        content = json.loads((home / "node_modules" / "azurite" / "package.json").read_text(encoding="utf-8"))
        return str(content["version"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""


if __name__ == "__main__":
    sys.exit(main())
