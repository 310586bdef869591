"""One child process: started with its log, waited for, stopped.

In: a command and an address that answers when it is ready. Out: a running process, or an error that shows its log.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path

from local.stack.places import StackError
from local.stack.recovery import LifeLine

READY_TIMEOUT_S = 30.0
STOP_TIMEOUT_S = 15.0
LOG_TAIL_LINES = 15


@dataclass(slots=True)
class Child:
    """A started process of the stack; ``again`` starts its successor."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path
    ready_url: str
    again: Callable[[], Child]

    @property
    def pid(self) -> int:
        """Process id."""
        return self.process.pid

    def wait_ready(self) -> None:
        """Wait until the address answers.

        Raises:
            StackError: it ended, or did not answer in time; the end of its log is in the message.
        """
        deadline = time.monotonic() + READY_TIMEOUT_S
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                raise StackError(f"{self.name} ended at once (code {self.process.returncode}):\n{self.tail()}")
            if answers(self.ready_url):
                return
            time.sleep(0.05)
        raise StackError(f"{self.name} did not answer within {READY_TIMEOUT_S:.0f} s:\n{self.tail()}")

    def stop(self) -> None:
        """Ask it to end, and make it end."""
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()

    def tail(self) -> str:
        """The last lines of its log."""
        try:
            lines = self.log.read_text(encoding="utf-8", errors="replace").splitlines()
        except OSError:
            return ""
        return "\n".join(f"    {line}" for line in lines[-LOG_TAIL_LINES:])


def start(
    name: str,
    module: str,
    arguments: Sequence[str],
    environ: Mapping[str, str],
    folder: Path,
    logs: Path,
    ready: str,
    alive: LifeLine | None = None,
) -> Child:
    """Start ``python -m module`` in a process group of its own, so that Ctrl-C reaches the supervisor alone.

    Args:
        alive: the process holds its share of this while it lives.
    """

    def again() -> Child:
        return start(name, module, arguments, environ, folder, logs, ready, alive)

    logs.mkdir(parents=True, exist_ok=True)
    log = logs / f"{name}.log"
    with log.open("ab") as output, alive.share() if alive else nullcontext(()) as inherited:
        process = subprocess.Popen(
            [sys.executable, "-m", module, *arguments, "--parent-pid", str(os.getpid())],
            env=dict(environ),
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            pass_fds=inherited,
        )
    return Child(name, process, log, ready, again)


def answers(url: str) -> bool:
    """Whether an address answers with anything but a server error."""
    try:
        with urllib.request.urlopen(url, timeout=1) as reply:  # noqa: S310  loopback addresses of our own
            return bool(reply.status < 500)
    except urllib.error.HTTPError as error:
        return error.code < 500
    except OSError:
        return False


def alive(pid: int) -> bool:
    """Whether there is a process of this number."""
    if pid <= 0:
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def wait_gone(pids: Sequence[int], parent: int, timeout_s: float) -> None:
    """Wait until the processes that a killed supervisor left are gone, and end those that stay.

    Args:
        parent: pid of that supervisor; a process of any other one is left alone.
    """
    deadline = time.monotonic() + timeout_s
    left = [pid for pid in pids if _is_child(pid, parent)]
    while left and time.monotonic() < deadline:
        time.sleep(0.1)
        left = [pid for pid in left if _is_child(pid, parent)]
    for pid in left:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def _is_child(pid: int, parent: int) -> bool:
    """Whether a pid is still a process that this supervisor started; numbers are used again."""
    try:
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False
    return b"\0local." in command and f"\0--parent-pid\0{parent}\0".encode() in command
