"""The HTTP trigger: request to the library's `HttpRequest`, the function's answer to a response.

In: ASGI requests. Out: what the function answers; 404, 413, 500 and 503 as problem+json of our own.
"""

from __future__ import annotations

import json
import logging
import uuid
from collections.abc import Callable, Iterable, Mapping
from http.cookies import SimpleCookie
from urllib.parse import parse_qsl

from azure.functions.meta import Datum
from starlette.datastructures import URL
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from local.host.converters import converter
from local.host.invoke import InvocationError, Invoker
from local.host.loader import FunctionSpec
from local.host.routes import RouteTable
from local.host.settings import MAX_BODY_BYTES

log = logging.getLogger("local.host.http")
_OURS_TO_SAY = frozenset({"content-length", "transfer-encoding", "connection"})


class _BodyTooLarge(Exception):
    pass


class _Gone(Exception):
    """The caller hung up before it had said everything."""


def problem(status: int, title: str, **more: str) -> Response:
    """An RFC 9457 answer of the host itself."""
    content = {"type": "about:blank", "title": title, "status": status, **more}
    return Response(json.dumps(content), status_code=status, media_type="application/problem+json")


async def read_body(headers: Mapping[str, str], receive: Receive, limit: int = MAX_BODY_BYTES) -> bytes:
    """The whole body.

    Raises:
        _BodyTooLarge: more than `limit` bytes, declared or sent.
        _Gone: the connection ended first.
    """
    declared = headers.get("content-length", "0")
    if declared.isdecimal() and int(declared) > limit:
        raise _BodyTooLarge
    chunks: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise _Gone
        chunk = message.get("body", b"")
        size += len(chunk)
        if size > limit:
            raise _BodyTooLarge
        if not message.get("more_body", False):
            return b"".join((*chunks, chunk)) if chunks else chunk
        chunks.append(chunk)


def headers_of(scope: Scope) -> dict[str, str]:
    """Header names in lower case, repeated ones joined."""
    headers: dict[str, str] = {}
    for raw_name, raw_value in scope["headers"]:
        name, value = raw_name.decode("latin-1"), raw_value.decode("latin-1")
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return headers


def _texts(values: Mapping[str, str]) -> dict[str, Datum]:
    return {name: Datum(value, "string") for name, value in values.items()}


def request_datum(scope: Scope, headers: Mapping[str, str], body: bytes, parameters: Mapping[str, str]) -> Datum:
    """The request as the host hands it to the worker; repeated parameters of the query are joined."""
    query: dict[str, str] = {}
    if scope["query_string"]:
        for name, value in parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True):
            query[name] = f"{query[name]},{value}" if name in query else value
    return Datum(
        {
            "method": Datum(scope["method"], "string"),
            "url": Datum(str(URL(scope=scope)), "string"),
            "headers": _texts(headers),
            "query": _texts(query),
            "params": _texts(parameters),
            "body": Datum(body, "bytes"),
        },
        "http",
    )


def _cookie_headers(cookies: list[SimpleCookie] | None) -> list[str]:
    return [morsel.OutputString() for cookie in cookies or [] for morsel in cookie.values()]


class Answer:
    """A response that is ready to be sent.

    Args:
        headers: names and values; the length is added.
    """

    def __init__(self, status: int, headers: Iterable[tuple[str, str]], body: bytes) -> None:
        self.status = status
        self.body = body
        self.headers = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers]
        if status >= 200 and status not in (204, 304):  # those have no body, and no length of one
            self.headers.append((b"content-length", str(len(body)).encode()))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Sends it."""
        await send({"type": "http.response.start", "status": self.status, "headers": self.headers})
        await send({"type": "http.response.body", "body": self.body})


def response_of(result: object) -> Answer:
    """Turns what the function returned into a response, through the library's converter.

    Raises:
        NotImplementedError: the library knows no answer for that type.
    """
    if result is None:
        return Answer(204, (), b"")
    datum = converter("http").encode(result, expected_type=None)
    if datum.type == "string":
        return Answer(200, (("content-type", "text/plain; charset=utf-8"),), datum.value.encode())
    parts = datum.value
    headers = [(name, datum.value) for name, datum in parts["headers"].items() if name.lower() not in _OURS_TO_SAY]
    headers += [("set-cookie", line) for line in _cookie_headers(parts["cookies"])]
    return Answer(int(parts["status_code"].value), headers, parts["body"].value)


class HttpFront:
    """ASGI application for every path that is not the host's own; no layer of a framework lies around it.

    Args:
        table: the app's routes.
        specs: its HTTP functions by name.
        invoker: runs them.
        draining: true once the host is on its way out; requests are then refused with 503.
    """

    def __init__(
        self,
        table: RouteTable,
        specs: Mapping[str, FunctionSpec],
        invoker: Invoker,
        draining: Callable[[], bool],
    ) -> None:
        self._table = table
        self._specs = specs
        self._invoker = invoker
        self._draining = draining

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request."""
        answer = await self._answer(scope, receive)
        await answer(scope, receive, send)

    async def _answer(self, scope: Scope, receive: Receive) -> Answer | Response:
        if self._draining():
            refusal = problem(503, "The host is shutting down")
            refusal.headers["retry-after"] = "2"
            return refusal
        path = scope.get("raw_path", b"").decode("latin-1").partition("?")[0] or scope["path"]
        method = scope["method"]
        found = self._table.find(method, path)
        if found is not None and found.function is None and method == "HEAD":
            found = self._table.find("GET", path)
        if found is None or found.function is None:
            if found is not None and method == "OPTIONS":
                return Answer(204, [("allow", ", ".join(sorted(found.allowed | {"OPTIONS"})))], b"")
            return problem(404, "Not Found")
        return await self._run(self._specs[found.function], scope, receive, found.parameters)

    async def _run(
        self, spec: FunctionSpec, scope: Scope, receive: Receive, parameters: Mapping[str, str]
    ) -> Answer | Response:
        invocation_id = str(uuid.uuid4())
        headers = headers_of(scope)
        try:
            body = await read_body(headers, receive)
        except _BodyTooLarge:
            return problem(413, "The body is larger than 100 MB")
        except _Gone:
            return Answer(400, (), b"")
        convert = converter("httpTrigger")
        data = convert.decode(request_datum(scope, headers, body, parameters), trigger_metadata=None)
        trace = (headers.get("traceparent", ""), headers.get("tracestate", ""))
        try:
            result = await self._invoker.invoke(spec, data, invocation_id=invocation_id, trace=trace)
            return response_of(result)
        except InvocationError:
            pass
        except (NotImplementedError, TypeError, ValueError, LookupError, AttributeError) as exc:
            log.warning("function %s %s: no HTTP answer in %s", spec.name, invocation_id, type(exc).__name__)
        return problem(500, "The function failed", invocationId=invocation_id)
