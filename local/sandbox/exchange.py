"""One request to a stand-in: read, judged, recorded, answered.

In: a request and the function that plays the vendor. Out: the vendor's reply, and an entry in what was received.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response

from local.sandbox.credentials import Credentials
from local.sandbox.store import Entry, Store

MAX_REQUEST_BYTES = 10 * 1024 * 1024  # far above what any of the three vendors takes from one call

ACCEPTED, REFUSED, FAILED, DUPLICATE = "accepted", "refused", "failed", "duplicate"


def utc_now() -> datetime:
    """The time, aware, in UTC."""
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class Sandbox:
    """What every stand-in works with: memory, secrets, clock."""

    store: Store
    credentials: Credentials
    now: Callable[[], datetime] = utc_now


@dataclass(frozen=True, slots=True)
class Answer:
    """A reply, and what the page says about the request.

    ``content`` is JSON, or None for an empty body. A ``quiet`` answer leaves no entry (plain reads).
    """

    status: int
    content: Any = None
    verdict: str = ACCEPTED
    reason: str = ""
    title: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    quiet: bool = False


class Refusal(Exception):
    """The vendor would refuse this request; undoes what the request had changed so far."""

    def __init__(
        self, status: int, content: Any, reason: str, title: str = "", headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(reason)
        self.answer = Answer(status, content, REFUSED, reason, title, headers or {})


Play = Callable[[Request, bytes], Answer]


def parsed(raw: bytes) -> Any:
    """The JSON in ``raw``; raises ValueError, also for NaN and for bytes that are not UTF-8."""

    def refuse(constant: str) -> Any:
        raise ValueError(f"{constant} is not JSON")

    try:
        return json.loads(raw.decode("utf-8"), parse_constant=refuse)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def shown(raw: bytes) -> Any:
    """A body for the page: its JSON, or the start of its text when it has none."""
    if not raw:
        return None
    try:
        return parsed(raw)
    except ValueError:
        return raw[:2000].decode("utf-8", errors="replace")


def endpoint(sandbox: Sandbox, system: str, play: Play) -> Callable[[Request], Awaitable[Response]]:
    """Wrap a vendor's behaviour: one transaction for its effect and its entry, so neither is without the other."""

    async def run(request: Request) -> Response:
        try:
            raw = await _body(request)
        except ClientDisconnect:
            return Response(status_code=400)  # half a request has no effect, and nobody is left to hear so
        if raw is None:
            return JSONResponse({"error": "request too large"}, status_code=413)
        try:
            with sandbox.store.transaction():
                answer = play(request, raw)
                _record(sandbox, system, request, raw, answer)
        except Refusal as refusal:
            answer = refusal.answer
            _record(sandbox, system, request, raw, answer)
        if answer.content is None:
            return Response(status_code=answer.status, headers=dict(answer.headers))
        return JSONResponse(answer.content, status_code=answer.status, headers=dict(answer.headers))

    return run


async def _body(request: Request) -> bytes | None:
    chunks: list[bytes] = []
    size = 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > MAX_REQUEST_BYTES:
            return None
        chunks.append(chunk)
    return b"".join(chunks)


def _record(sandbox: Sandbox, system: str, request: Request, raw: bytes, answer: Answer) -> None:
    if answer.quiet:
        return
    # The path only: a query may carry the webhook's signature.
    entry = Entry(
        system,
        request.method,
        request.url.path,
        answer.status,
        answer.verdict,
        answer.reason,
        answer.title,
        shown(raw),
    )
    sandbox.store.record(entry, sandbox.now())
