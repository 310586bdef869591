"""The project's own vendor stand-ins as a far side, with a hand that can spoil single answers.

In: a folder for their memory. Out: an address, what was asked, and rules that spoil answers.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import uvicorn

from local.sandbox.app import create_app
from local.sandbox.credentials import Credentials
from local.sandbox.exchange import Sandbox
from local.sandbox.store import Store

TOKENS = Credentials("sig-secret", "now-secret", "wiki-secret", "whsec_d2ViaG9vay1zZWNyZXQ=")


@dataclass(frozen=True)
class Spoil:
    """What happens to one request: a status instead of the answer, or the effect and then a broken connection."""

    status: int = 0
    lost: bool = False


Rule = Callable[[str, str], Spoil | None]


@dataclass
class Sandboxed:
    """Running stand-ins."""

    url: str
    store: Store
    rules: list[Rule] = field(default_factory=list)
    asked: list[tuple[str, str]] = field(default_factory=list)

    def once(self, method: str, part: str, spoil: Spoil) -> None:
        """Spoil the next request with this method whose path contains ``part``."""

        def rule(asked_method: str, path: str) -> Spoil | None:
            if asked_method != method or part not in path:
                return None
            self.rules.remove(rule)
            return spoil

        self.rules.append(rule)

    def count(self, method: str, part: str) -> int:
        """How many requests there were with this method and ``part`` in the path."""
        return sum(1 for asked_method, path in self.asked if asked_method == method and part in path)


def _meddled(app: Any, side: Sandboxed) -> Any:
    async def run(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await app(scope, receive, send)
            return
        side.asked.append((scope["method"], scope["path"]))
        spoil = next((s for rule in list(side.rules) if (s := rule(scope["method"], scope["path"]))), None)
        if spoil is None:
            await app(scope, receive, send)
            return
        if spoil.lost:

            async def nobody(message: Any) -> None:
                """Swallow the answer."""

            await app(scope, receive, nobody)
            start = {"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"99")]}
            await send(start)
            await send({"type": "http.response.body", "body": b"{", "more_body": False})
            return
        start = {"type": "http.response.start", "status": spoil.status, "headers": [(b"content-length", b"0")]}
        await send(start)
        await send({"type": "http.response.body", "body": b""})

    return run


@contextlib.contextmanager
def sandboxed(folder: Path) -> Iterator[Sandboxed]:
    """Serve the stand-ins on loopback until the block ends."""
    store = Store(folder / "sandbox.db")
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(64)  # from here on a connection waits instead of being refused
    side = Sandboxed(f"http://127.0.0.1:{listener.getsockname()[1]}", store)
    app = _meddled(create_app(Sandbox(store, TOKENS)), side)
    server = uvicorn.Server(uvicorn.Config(app, log_level="critical", access_log=False, lifespan="off"))
    thread = threading.Thread(target=lambda: asyncio.run(server.serve(sockets=[listener])), daemon=True)
    thread.start()
    try:
        yield side
    finally:
        server.should_exit = True
        thread.join(10)
        listener.close()
        store.close()
