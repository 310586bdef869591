"""A far side for outbound adapters: a real HTTP server on loopback that answers as a test says.

In: a function from what was asked to what is said. Out: what was asked, in order.
"""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit


@dataclass(frozen=True)
class Asked:
    """One request."""

    method: str
    path: str
    query: Mapping[str, list[str]]
    headers: Mapping[str, str]
    body: bytes

    def echo(self) -> bytes:
        """Everything a far side knows of the request, as a malicious one would send it back."""
        return repr((self.path, dict(self.query), dict(self.headers), self.body)).encode()


@dataclass(frozen=True)
class Said:
    """One answer; ``drop`` closes the connection instead, ``hang`` waits until the test is over."""

    status: int = 200
    body: bytes = b"{}"
    headers: Mapping[str, str] = field(default_factory=dict)
    drop: bool = False
    hang: bool = False


class FarSide:
    """Answers on loopback; ``answer`` may be changed while it runs."""

    def __init__(self) -> None:
        self.asked: list[Asked] = []
        self.answer: Callable[[Asked], Said] = lambda asked: Said()
        self._over = threading.Event()
        far_side = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True  # otherwise every second answer waits 40 ms for an acknowledgement

            def handle_any(self) -> None:
                far_side._handle(self)

            do_GET = do_POST = do_PUT = do_PATCH = handle_any

            def log_message(self, format: str, *args: object) -> None:
                """Quiet."""

        class Server(ThreadingHTTPServer):
            request_queue_size = 128  # a busy machine must not turn a caller away

            def handle_error(self, request: object, client_address: object) -> None:
                """Quiet: an adapter that hangs up early is what some tests are about."""

        self._server = Server(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)

    def _handle(self, handler: BaseHTTPRequestHandler) -> None:
        parts = urlsplit(handler.path)
        body = handler.rfile.read(int(handler.headers.get("content-length") or 0))
        headers = {name.lower(): value for name, value in handler.headers.items()}
        asked = Asked(handler.command, parts.path, parse_qs(parts.query), headers, body)
        self.asked.append(asked)
        said = self.answer(asked)
        if said.hang:
            self._over.wait(20)
        if said.drop or said.hang:
            handler.close_connection = True
            with contextlib.suppress(OSError):
                handler.connection.shutdown(socket.SHUT_RDWR)
            return
        bare = said.status in (204, 304)
        handler.send_response(said.status)
        for name, value in said.headers.items():
            handler.send_header(name, value)
        if not bare:
            handler.send_header("content-length", str(len(said.body)))
        handler.end_headers()
        if not bare:
            handler.wfile.write(said.body)

    def __enter__(self) -> FarSide:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._server.shutdown()
        self._server.server_close()


@contextlib.contextmanager
def far_side() -> Iterator[FarSide]:
    """A running far side."""
    with FarSide() as side:
        yield side


@cache
def closed_port() -> int:
    """A loopback port nobody listens on; it stays bound, so that nobody else can begin to."""
    taken = socket.socket()
    taken.bind(("127.0.0.1", 0))
    port = int(taken.getsockname()[1])
    taken.detach()  # the process keeps it to its end
    return port


def until(true: Callable[[], object], within_s: float = 20.0) -> None:
    """Wait for something that happens on another thread."""
    end = time.monotonic() + within_s
    while not true():
        assert time.monotonic() < end, f"not within {within_s:g} s"
        time.sleep(0.005)  # nothing to be told by
