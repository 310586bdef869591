"""A portal behind a real HTTP server on loopback, for browsers and the command line.

In: a portal. Out: an address; requests are handed over as the edge would.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.cookies import SimpleCookie
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl, unquote, urlsplit

from shared.portal import Portal, Request, Response

Special = Callable[[Request], Response | None]


@contextmanager
def serving(portal: Portal, special: Special = lambda request: None) -> Iterator[str]:
    """Serve until the block ends.

    Args:
        special: answers before the portal; ``None`` leaves the request to it.
    """

    class Handler(BaseHTTPRequestHandler):
        def _go(self) -> None:
            parts = urlsplit(self.path)
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
            headers = {name.lower(): value for name, value in self.headers.items()}
            is_form = headers.get("content-type", "").startswith("application/x-www-form-urlencoded")
            form = dict(parse_qsl(body.decode(), keep_blank_values=True)) if is_form else {}
            cookies = {name: held.value for name, held in SimpleCookie(headers.get("cookie", "")).items()}
            query = dict(parse_qsl(parts.query, keep_blank_values=True))
            request = Request(self.command, unquote(parts.path), query, headers, cookies, form, body)
            answer = special(request) or portal.respond(request)
            self.send_response(answer.status)
            for name, value in {"Content-Type": answer.content_type, **answer.headers}.items():
                self.send_header(name, value)
            for cookie in answer.cookies:
                self.send_header("Set-Cookie", cookie)
            self.send_header("Content-Length", str(len(answer.body)))
            self.end_headers()
            self.wfile.write(answer.body)

        do_GET = do_POST = do_HEAD = _go

        def log_message(self, format: str, *args: object) -> None:
            """Tests have nothing to log."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def plain(status: int, value: object) -> Response:
    """A JSON answer of something that is not the portal."""
    return Response(status, json.dumps(value).encode(), "application/json", {})
