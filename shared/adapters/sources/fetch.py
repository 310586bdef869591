"""One bounded GET, for the pollers.

In: an address and a time limit. Out: status and body, or `Unreachable`; never a hang, never a huge body.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field

if TYPE_CHECKING:
    import httpx2

MAX_BODY_BYTES = 5_000_000


def _address(url: str) -> str:
    if url.startswith("/"):
        return ""  # `${BASE:-}/metrics` without a base: switched off like an empty address
    if url:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("an http or https address was expected, or nothing to switch this off")
        if parts.username or parts.password:
            raise ValueError("an address carries no user and password here; it is shown to people")
    return url


Address = Annotated[
    str,
    AfterValidator(_address),
    Field(description="Address to ask, http or https; empty, or a path alone, switches it off."),
]


class Unreachable(Exception):
    """Nobody answered in time, or with more than anybody should say."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back, and how long it took until the last byte."""

    status: int
    body: bytes
    duration_ms: float


class Fetcher:
    """Asks one address again and again over the same connections; safe to use from several threads."""

    def __init__(self, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        self._made = threading.Lock()
        self._client: httpx2.Client | None = None

    def fetch(self, method: str, url: str, accept: str = "*/*") -> Answer:
        """Send one request; redirects are answers.

        Raises:
            Unreachable: no connection, too late, too large, or not HTTP.
        """
        import httpx2

        began = time.perf_counter()
        body = bytearray()
        try:
            with self._http().stream(method, url, headers={"Accept": accept}) as reply:
                for piece in reply.iter_bytes():
                    body += piece
                    if len(body) > MAX_BODY_BYTES:
                        raise Unreachable(f"more than {MAX_BODY_BYTES} bytes")
                    if time.perf_counter() - began > self._timeout_s:  # the client's own limit is per read
                        raise Unreachable("too slow")
                return Answer(reply.status_code, bytes(body), (time.perf_counter() - began) * 1000)
        except (httpx2.HTTPError, httpx2.InvalidURL, httpx2.StreamError) as exc:
            raise Unreachable(type(exc).__name__) from exc

    def _http(self) -> httpx2.Client:
        import httpx2

        with self._made:
            if self._client is None:
                self._client = httpx2.Client(timeout=self._timeout_s, trust_env=False, follow_redirects=False)
            return self._client
