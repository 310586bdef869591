"""How a small local server lives: loopback only, one ready line, a clean end.

In: an ASGI application, a port, perhaps the process it must not outlive. Out: an exit code.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import uvicorn
from starlette.types import ASGIApp

PARENT_POLL_S = 0.5
DRAIN_S = 3


def alive(pid: int) -> bool:
    """Whether a process runs; one that ended but was not yet collected counts as gone."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    try:
        status = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return True  # no /proc on this system: the signal above is the best answer there is
    return status.rpartition(")")[2].split()[0] not in ("Z", "X")


def watch_parent(pid: int, on_gone: Callable[[], None]) -> None:
    """Call ``on_gone`` once, from a daemon thread, when process ``pid`` has ended."""

    def watch() -> None:
        pause = threading.Event()
        while alive(pid):
            pause.wait(PARENT_POLL_S)
        on_gone()

    threading.Thread(target=watch, name="parent-watch", daemon=True).start()


class _Announcing(uvicorn.Server):
    """Prints the ready line when the first request would be answered, not before."""

    def __init__(self, config: uvicorn.Config, line: str) -> None:
        super().__init__(config)
        self._line = line

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        if not self.should_exit:
            sys.stdout.write(self._line + "\n")
            sys.stdout.flush()


def serve(app: ASGIApp, port: int, name: str, parent_pid: int | None = None) -> int:
    """Serve until SIGTERM, SIGINT, or the end of the parent; prints ``NAME ready on http://127.0.0.1:PORT``.

    Args:
        app: the application.
        port: TCP port on 127.0.0.1; 0 takes a free one, which the ready line names.
        name: what the ready line calls this server.
        parent_pid: the process whose end ends this one; None to live on its own.

    Returns:
        Exit code: 0 after a clean stop, 1 when the port is taken (said on standard error).
    """
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(("127.0.0.1", port))
    except OSError as exc:
        listener.close()
        sys.stderr.write(f"{name}: cannot listen on 127.0.0.1:{port}: {exc.strerror}\n")
        return 1
    # Access lines would show the query, where the Teams webhook carries its secret.
    config = uvicorn.Config(
        app,
        log_level="warning",
        access_log=False,
        lifespan="on",
        server_header=False,
        timeout_graceful_shutdown=DRAIN_S,
    )
    address = f"http://127.0.0.1:{listener.getsockname()[1]}"
    server = _Announcing(config, f"{name} ready on {address}")

    def stop(*_signal: object) -> None:
        server.should_exit = True

    # uvicorn raises a signal it has handled once more when it is done; this handler makes that a clean exit.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    if parent_pid is not None:
        watch_parent(parent_pid, stop)
    try:
        server.run(sockets=[listener])
    finally:
        listener.close()
    return 0 if server.started else 1
