"""Posts bodies over a few kept connections, as fast as they are answered or spread over a time.

In: an address and bodies. Out: how long each post took, and what was answered.
"""

from __future__ import annotations

import asyncio
import socket
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from benchmarks.load.identities import Body


@dataclass
class Played:
    """What came of it.

    Attributes:
        first: when the first alert of a service was posted, by service.
    """

    alerts: int = 0
    began: float = 0.0
    wall_s: float = 0.0
    first: dict[str, float] = field(default_factory=dict)
    seconds: list[float] = field(default_factory=list)
    codes: Counter[int] = field(default_factory=Counter)
    refused: list[str] = field(default_factory=list)

    @property
    def failed(self) -> int:
        """Posts that were not taken."""
        return sum(times for code, times in self.codes.items() if code >= 300 or code == 0)


class Connection:
    """One kept HTTP/1.1 connection."""

    def __init__(self, url: str, headers: Mapping[str, str]) -> None:
        parts = urlsplit(url)
        self._where = (parts.hostname or "127.0.0.1", parts.port or 80)
        lines = [f"POST {parts.path or '/'} HTTP/1.1", f"Host: {self._where[0]}:{self._where[1]}"]
        lines += ["Content-Type: application/json", *(f"{name}: {value}" for name, value in headers.items())]
        self._head = "\r\n".join(lines).encode() + b"\r\nContent-Length: "
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def post(self, body: bytes) -> tuple[int, bytes]:
        """Status and body of the answer; 0 when the connection broke."""
        try:
            reader, writer = self._streams or await self._open()
            writer.write(self._head + str(len(body)).encode() + b"\r\n\r\n" + body)
            head = await reader.readuntil(b"\r\n\r\n")
            low = head.lower()
            at = low.find(b"content-length:")
            answer = await reader.readexactly(int(low[at + 15 : low.index(b"\r\n", at)])) if at >= 0 else b""
            if b"connection: close" in low:
                self.close()
            return int(head[9:12]), answer
        except (OSError, asyncio.IncompleteReadError) as broken:
            self.close()
            return 0, repr(broken).encode()

    async def _open(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        self._streams = await asyncio.open_connection(*self._where, limit=1 << 20)
        self._streams[1].get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return self._streams

    def close(self) -> None:
        """End it; the next post opens another."""
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None


async def play(
    url: str,
    headers: Mapping[str, str],
    bodies: Sequence[Body],
    connections: int,
    over_s: float = 0.0,
) -> Played:
    """Post every body once.

    Args:
        over_s: spread the posts evenly over so many seconds; 0 is as fast as possible.
    """
    played, queue = Played(), iter(enumerate(bodies))
    gap = over_s / len(bodies) if over_s else 0.0
    began = time.perf_counter()
    played.began = time.time()

    async def lane() -> None:
        connection = Connection(url, headers)
        for number, body in queue:
            if gap and (wait := began + number * gap - time.perf_counter()) > 0:
                await asyncio.sleep(wait)
            posted = time.perf_counter()
            for alert in body.alerts:
                played.first.setdefault(alert.service, time.time())
            code, answer = await connection.post(body.content)
            played.seconds.append(time.perf_counter() - posted)
            played.codes[code] += 1
            played.alerts += len(body.alerts)
            if (code >= 300 or code == 0) and len(played.refused) < 3:
                played.refused.append(f"{code} {answer[:200]!r}")
        connection.close()

    await asyncio.gather(*(lane() for _ in range(connections)))
    played.wall_s = time.perf_counter() - began
    return played
