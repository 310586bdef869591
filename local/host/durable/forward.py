"""Passes a Durable client's request on to the host that owns the hub.

In: a request to a host that does not. Out: the owner's answer, or none when nobody answers.
"""

from __future__ import annotations

import logging
from urllib.parse import urlsplit

import aiohttp
from starlette.requests import Request
from starlette.responses import Response

log = logging.getLogger("local.host.durable")
CONNECT_S = 2.0
PASSED_ON = "x-local-host-passed-on"  # once is enough: two hosts must not play ball while a hub changes hands
_SENT = ("content-type", "traceparent", "tracestate", "x-azure-functions-invocationid", "x-ms-continuation-token")
_GIVEN_BACK = ("content-type", "location", "retry-after", "x-ms-continuation-token")
_LOOPBACK = ("127.0.0.1", "localhost", "::1")


async def forward(request: Request, owner: str) -> Response | None:
    """The owner's answer.

    Args:
        owner: its address, "" when nobody knows it.

    Returns:
        None when the request was passed on already, or the owner does not answer: it may just have died.
    """
    if not owner or PASSED_ON in request.headers or urlsplit(owner).hostname not in _LOOPBACK:
        return None
    headers = {name: request.headers[name] for name in _SENT if name in request.headers} | {PASSED_ON: "1"}
    target = f"{owner}{request.url.path}" + (f"?{request.url.query}" if request.url.query else "")
    timeout = aiohttp.ClientTimeout(total=240, sock_connect=CONNECT_S)
    try:
        async with (
            aiohttp.ClientSession(timeout=timeout) as session,
            session.request(request.method, target, data=await request.body(), headers=headers) as answer,
        ):
            back = {name: answer.headers[name] for name in _GIVEN_BACK if name in answer.headers}
            return Response(await answer.read(), answer.status, back)
    except (TimeoutError, aiohttp.ClientError):
        log.info("the owner of the durable hub at %s does not answer", owner)
        return None
