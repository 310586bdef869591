"""The HTTP trigger: request to the library's `HttpRequest`, the function's answer to a response.

In: ASGI requests. Out: what the function answers; 404, 413, 500 and 503 as problem+json of our own.
"""

from __future__ import annotations

import json
import logging
import uuid
from collections.abc import Callable, Mapping
from http.cookies import SimpleCookie

from azure.functions.meta import Datum
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from local.host.converters import converter
from local.host.invoke import InvocationError, Invoker
from local.host.loader import FunctionSpec
from local.host.routes import RouteTable
from local.host.settings import MAX_BODY_BYTES

log = logging.getLogger("local.host.http")


class _BodyTooLarge(Exception):
    pass


def problem(status: int, title: str, **more: str) -> Response:
    """An RFC 9457 answer of the host itself."""
    content = {"type": "about:blank", "title": title, "status": status, **more}
    return Response(json.dumps(content), status_code=status, media_type="application/problem+json")


async def read_body(request: Request, limit: int = MAX_BODY_BYTES) -> bytes:
    """The whole body.

    Raises:
        _BodyTooLarge: more than `limit` bytes, declared or sent.
    """
    declared = request.headers.get("content-length", "0")
    if declared.isdecimal() and int(declared) > limit:
        raise _BodyTooLarge
    chunks: list[bytes] = []
    size = 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > limit:
            raise _BodyTooLarge
        chunks.append(chunk)
    return b"".join(chunks)


def request_datum(request: Request, body: bytes, parameters: Mapping[str, str]) -> Datum:
    """The request as the host hands it to the worker: header names in lower case, repeated ones joined."""
    headers: dict[str, str] = {}
    for name, value in request.headers.items():
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    query = {name: ",".join(request.query_params.getlist(name)) for name in request.query_params}

    def texts(values: Mapping[str, str]) -> dict[str, Datum]:
        return {name: Datum(value, "string") for name, value in values.items()}

    return Datum(
        {
            "method": Datum(request.method, "string"),
            "url": Datum(str(request.url), "string"),
            "headers": texts(headers),
            "query": texts(query),
            "params": texts(parameters),
            "body": Datum(body, "bytes"),
        },
        "http",
    )


def _cookie_headers(cookies: list[SimpleCookie] | None) -> list[str]:
    return [morsel.OutputString() for cookie in cookies or [] for morsel in cookie.values()]


def response_of(result: object) -> Response:
    """Turns what the function returned into a response, through the library's converter.

    Raises:
        NotImplementedError: the library knows no answer for that type.
    """
    if result is None:
        return Response(status_code=204)
    datum = converter("http").encode(result, expected_type=None)
    if datum.type == "string":
        return Response(datum.value, media_type="text/plain")
    parts = datum.value
    response = Response(parts["body"].value, status_code=int(parts["status_code"].value))
    for name, value in parts["headers"].items():
        if name.lower() not in ("content-length", "transfer-encoding", "connection"):
            response.headers[name] = value.value
    for line in _cookie_headers(parts["cookies"]):
        response.headers.append("set-cookie", line)
    return response


class HttpFront:
    """Endpoint for every path that is not the host's own.

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

    async def __call__(self, request: Request) -> Response:
        """Answers one request."""
        if self._draining():
            answer = problem(503, "The host is shutting down")
            answer.headers["retry-after"] = "2"
            return answer
        path = request.scope.get("raw_path", b"").decode("latin-1").partition("?")[0] or request.url.path
        method = request.method
        found = self._table.find(method, path)
        if found is not None and found.function is None and method == "HEAD":
            found = self._table.find("GET", path)
        if found is None or found.function is None:
            if found is not None and method == "OPTIONS":
                return Response(status_code=204, headers={"allow": ", ".join(sorted(found.allowed | {"OPTIONS"}))})
            return problem(404, "Not Found")
        return await self._run(self._specs[found.function], request, found.parameters)

    async def _run(self, spec: FunctionSpec, request: Request, parameters: Mapping[str, str]) -> Response:
        invocation_id = str(uuid.uuid4())
        try:
            body = await read_body(request)
        except _BodyTooLarge:
            return problem(413, "The body is larger than 100 MB")
        except ClientDisconnect:
            return Response(status_code=400)
        convert = converter("httpTrigger")
        data = convert.decode(request_datum(request, body, parameters), trigger_metadata=None)
        trace = (request.headers.get("traceparent", ""), request.headers.get("tracestate", ""))
        try:
            result = await self._invoker.invoke(spec, data, invocation_id=invocation_id, trace=trace)
            return response_of(result)
        except InvocationError:
            pass
        except (NotImplementedError, TypeError, ValueError, LookupError, AttributeError) as exc:
            log.warning("function %s %s: no HTTP answer in %s", spec.name, invocation_id, type(exc).__name__)
        return problem(500, "The function failed", invocationId=invocation_id)
