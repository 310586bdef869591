"""Takes what Alertmanager's and ARGUS's webhooks say, and remembers when each service was first told of.

In: webhook bodies of either. Out: counts and times.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import orjson


@dataclass
class Sink:
    """What was received.

    Attributes:
        first: when a service was first told of, by service.
        kinds: notices of ARGUS by kind; of Alertmanager all are ``group``.
    """

    url: str = ""
    posts: int = 0
    size: int = 0
    last: float = 0.0
    first: dict[str, float] = field(default_factory=dict)
    kinds: Counter[str] = field(default_factory=Counter)

    def take(self, body: bytes) -> None:
        """Count one webhook body."""
        now = time.time()
        self.posts += 1
        self.size += len(body)
        self.last = now
        said = orjson.loads(body)
        for service, kind in _told(said):
            self.kinds[kind] += 1
            if kind in ("group", "opened"):
                self.first.setdefault(service, now)

    async def quiet(self, services: int, settle_s: float, most_s: float) -> None:
        """Wait until every service was told of, and nothing came for a while; or until it has taken too long."""
        deadline = time.monotonic() + most_s
        while time.monotonic() < deadline:
            if len(self.first) >= services and time.time() - self.last >= settle_s:
                return
            await asyncio.sleep(0.02)


def _told(said: Any) -> list[tuple[str, str]]:
    if not isinstance(said, dict):
        return []
    if isinstance(said.get("alerts"), list):
        return [(str(said.get("commonLabels", {}).get("service") or said.get("groupKey")), "group")]
    return [(str(said.get("service", "")), str(said.get("notice", {}).get("kind", "")))]


@asynccontextmanager
async def listening() -> AsyncIterator[Sink]:
    """A sink on loopback while the block runs."""
    sink = Sink()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).lower()
                at = head.find(b"content-length:")
                body = await reader.readexactly(int(head[at + 15 : head.index(b"\r\n", at)])) if at >= 0 else b""
                sink.take(body)
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}")
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, limit=1 << 24)
    sink.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/hook"
    try:
        yield sink
    finally:
        server.close()
