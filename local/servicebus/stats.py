"""A read-only HTTP endpoint with the state of the queues.

In: ``GET /queues`` and ``GET /healthz``. Out: JSON; one request per connection.
"""

import asyncio
import json

from local.servicebus.broker import Broker

_TIMEOUT_S = 5.0
_MAX_HEAD_BYTES = 8192
_REASONS = {200: "OK", 400: "Bad Request", 404: "Not Found", 405: "Method Not Allowed"}


class StatsEndpoint:
    """Answers one HTTP/1.1 request per connection."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Handle one connection; a slow or malformed peer gets a 400 or nothing."""
        try:
            async with asyncio.timeout(_TIMEOUT_S):
                head = await reader.readuntil(b"\r\n\r\n")
            status, body = self._answer(head)
        except (TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            status, body = 400, {"error": "not an HTTP request"}
        except ConnectionError:
            writer.close()
            return
        data = json.dumps(body).encode()
        head_out = (
            f"HTTP/1.1 {status} {_REASONS[status]}\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(data)}\r\nConnection: close\r\n\r\n"
        )
        writer.write(head_out.encode() + data)
        writer.close()

    def _answer(self, head: bytes) -> tuple[int, object]:
        parts = head.split(b"\r\n", 1)[0].decode("latin-1").split(" ")
        if len(parts) != 3:
            return 400, {"error": "not an HTTP request"}
        method, target, _ = parts
        path = target.partition("?")[0]
        if path not in ("/queues", "/healthz"):
            return 404, {"error": "only /queues and /healthz are here"}
        if method != "GET":
            return 405, {"error": "read only"}
        return 200, self._broker.stats() if path == "/queues" else {"status": "ok"}


async def start_stats(broker: Broker, port: int) -> asyncio.Server:
    """Listen on loopback; port 0 takes a free one."""
    endpoint = StatsEndpoint(broker)
    return await asyncio.start_server(endpoint.serve, "127.0.0.1", port, limit=_MAX_HEAD_BYTES)
