"""The HTTP interface the 1.x Durable client speaks to its host, on loopback.

In: requests of `df.DurableOrchestrationClient`, or of curl. Out: JSON answers with the extension's status codes.

Source: HttpApiHandler of the Durable Functions extension, read 2026-11-21.
"""

from __future__ import annotations

import asyncio
import base64
import json
import time
from collections.abc import Callable
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from local.host.durable.forward import forward
from local.host.durable.history import iso, moment_of, unwrap
from local.host.durable.hub import Hub
from local.host.durable.instance import Instance, Status
from local.host.durable.operations import Operations, Outcome
from local.host.durable.status_view import BASE_PATH, client_binding, flags, history_of, management_urls, status_of
from local.host.durable.storage import Filter

__all__ = ["BASE_PATH", "ClientHttp", "client_binding"]

FOREIGN = "another host owns the durable hub"
PAGE = 100  # OrchestrationStatusQueryCondition.PageSize
LARGEST_PAGE = 1000
CONTINUATION = "x-ms-continuation-token"
LONGEST_WAIT_S = 230.0  # after which Azure's load balancer ends a request
_STATUS = {
    Outcome.DONE: 202,
    Outcome.MISSING: 404,
    Outcome.FINISHED: 410,
    Outcome.EXISTS: 409,
    Outcome.UNKNOWN_FUNCTION: 400,
    Outcome.NOT_ENDED: 412,
    Outcome.NOT_FAILED: 412,
    Outcome.NO_WAY_BACK: 501,
}


def _filter(request: Request) -> Filter:
    query = request.query_params

    def moment(name: str) -> str:
        return iso(moment_of(query[name])) if query.get(name) else ""

    names = [part for given in query.getlist("runtimeStatus") for part in given.split(",") if part]
    unknown = [name for name in names if name not in (*Status, "ContinuedAsNew", "Canceled")]
    if unknown:  # the extension ignores them, and with it the whole filter: too much for a purge
        raise ValueError(f"no such runtimeStatus: {', '.join(unknown)}")
    place = request.headers.get(CONTINUATION, "null")
    after = ("", "")
    if place not in ("", "null"):
        created, last = json.loads(base64.urlsafe_b64decode(place))
        after = str(created), str(last)
    created_from, created_to = moment("createdTimeFrom"), moment("createdTimeTo")
    return Filter(created_from, created_to, frozenset(names), query.get("instanceIdPrefix", ""), after)


def _told(outcome: Outcome) -> JSONResponse:
    status = _STATUS[outcome]
    return JSONResponse(None if status == 202 else outcome.value, status)


class ClientHttp:
    """Endpoints under `BASE_PATH`.

    Args:
        hub: owned here or elsewhere.
        name: of the task hub.
        draining: true once the host is on its way out.
    """

    def __init__(self, hub: Hub, name: str, draining: Callable[[], bool]) -> None:
        self._hub = hub
        self._name = name
        self._draining = draining

    def routes(self) -> list[Route]:
        """Routes relative to `BASE_PATH`."""
        table = [
            ("/orchestrators/{name}", "POST", self._start),
            ("/orchestrators/{name}/{id}", "POST", self._start),
            ("/instances", "GET", self._list),
            ("/instances/", "GET", self._list),
            ("/instances", "DELETE", self._purge_many),
            ("/instances/", "DELETE", self._purge_many),
            ("/instances/{id}", "GET", self._get),
            ("/instances/{id}", "DELETE", self._purge),
            ("/instances/{id}/raiseEvent/{event}", "POST", self._raise),
            ("/instances/{id}/restart", "POST", self._restart),
            ("/instances/{id}/{verb:str}", "POST", self._reasoned),
            ("/entities/{rest:path}", "*", self._entities),
            ("/{rest:path}", "*", self._other),
        ]
        every = ["GET", "POST", "PUT", "PATCH", "DELETE"]
        return [
            Route(path, self._guarded(call), methods=every if method == "*" else [method])
            for path, method, call in table
        ]

    def _guarded(self, call: Callable[..., Any]) -> Callable[[Request], Any]:
        async def endpoint(request: Request) -> Response:
            asked = request.query_params.get("taskHub", self._name)
            if asked.casefold() != self._name.casefold():
                return JSONResponse(f"The local host has one task hub, {self._name!r}, and not {asked!r}.", 400)
            operations = self._hub.operations
            if operations is None:
                return await forward(request, self._hub.owner) or JSONResponse(FOREIGN, 503)
            try:
                answer: Response = await call(request, operations)
            except (ValueError, TypeError) as exc:
                return JSONResponse(f"malformed request: {exc}", 400)
            return answer

        return endpoint

    async def _start(self, request: Request, hub: Operations) -> Response:
        if self._draining():
            return JSONResponse("the host is shutting down", 503)
        name = request.path_params["name"]
        outcome, chosen = hub.create(name, request.path_params.get("id"), unwrap(await request.body()))
        if outcome is Outcome.UNKNOWN_FUNCTION:
            message = f"The function '{name}' doesn't exist, is disabled, or is not an orchestrator function."
            return JSONResponse({"ExceptionMessage": message}, 400)
        if outcome is Outcome.EXISTS:
            return JSONResponse(f"An orchestration instance with id '{chosen}' already exists.", 409)
        return await self._started(request, hub, chosen)

    async def _started(self, request: Request, hub: Operations, chosen: str) -> Response:
        """Where to ask about a new instance, or its end when the caller waits for that and it comes in time."""
        wait_s, every_s = (float(request.query_params.get(name, 0)) for name in ("timeout", "pollingInterval"))
        ends = time.monotonic() + min(wait_s, LONGEST_WAIT_S)
        while every_s > 0 and time.monotonic() < ends:
            found = hub.find(chosen)
            if found is not None and found.status.finished:
                return self._shown(request, found)
            await asyncio.sleep(max(min(every_s, ends - time.monotonic()), 0.01))
        links = management_urls(
            str(request.base_url).rstrip("/").removesuffix(BASE_PATH.rstrip("/")), chosen, self._name
        )
        return JSONResponse(links, 202, {"Location": links["statusQueryGetUri"], "Retry-After": "10"})

    async def _get(self, request: Request, hub: Operations) -> Response:
        wants_history = flags(request.query_params.items()).get("showHistory", False)
        found = hub.find(request.path_params["id"], history=wants_history)
        return _told(Outcome.MISSING) if found is None else self._shown(request, found)

    def _shown(self, request: Request, found: Instance) -> Response:
        asked = flags(request.query_params.items())
        inputs = asked.get("showInput", True)
        content = status_of(found, show_input=inputs)
        if asked.get("showHistory"):
            content["historyEvents"] = history_of(found, outputs=asked.get("showHistoryOutput", False), inputs=inputs)
        if not found.status.finished:
            return JSONResponse(content, 202, {"Location": str(request.url), "Retry-After": "5"})
        failed = found.status is Status.FAILED and asked.get("returnInternalServerErrorOnFailure", False)
        return JSONResponse(content, 500 if failed else 200)

    async def _list(self, request: Request, hub: Operations) -> Response:
        limit = min(max(int(request.query_params.get("top", PAGE)), 1), LARGEST_PAGE)
        inputs = flags(request.query_params.items()).get("showInput", True)
        found = hub.select(_filter(request), limit + 1)
        page = found[:limit]
        headers = {}
        if len(found) > limit:
            place = json.dumps([page[-1].created, page[-1].instance_id]).encode()
            headers[CONTINUATION] = base64.urlsafe_b64encode(place).decode()
        return JSONResponse([status_of(one, show_input=inputs) for one in page], headers=headers)

    async def _raise(self, request: Request, hub: Operations) -> Response:
        content_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if content_type != "application/json":
            return JSONResponse("Only application/json request content is supported", 400)
        name, body = request.path_params["event"], unwrap(await request.body())
        return _told(hub.raise_event(request.path_params["id"], name, body))

    async def _restart(self, request: Request, hub: Operations) -> Response:
        if self._draining():
            return JSONResponse("the host is shutting down", 503)
        new_id = flags(request.query_params.items()).get("restartWithNewInstanceId", True)
        outcome, chosen = hub.restart(request.path_params["id"], new_id=new_id)
        return await self._started(request, hub, chosen) if outcome is Outcome.DONE else _told(outcome)

    async def _reasoned(self, request: Request, hub: Operations) -> Response:
        verbs = {"terminate": hub.terminate, "suspend": hub.suspend, "resume": hub.resume, "rewind": hub.rewind}
        verb = verbs.get(request.path_params["verb"].lower())
        if verb is None:
            return await self._other(request, hub)
        return _told(await verb(request.path_params["id"], request.query_params.get("reason", "")))

    async def _purge(self, request: Request, hub: Operations) -> Response:
        outcome = hub.purge(request.path_params["id"])
        return JSONResponse({"instancesDeleted": 1}) if outcome is Outcome.DONE else _told(outcome)

    async def _purge_many(self, request: Request, hub: Operations) -> Response:
        chosen = _filter(request)
        if not chosen.created_from:
            return JSONResponse("Please provide value for 'createdTimeFrom' parameter.", 400)
        count = hub.purge_many(chosen)
        return JSONResponse({"instancesDeleted": count}, 200 if count else 404)

    async def _entities(self, request: Request, hub: Operations) -> Response:
        return JSONResponse("The local host does not support entities.", 501)

    async def _other(self, request: Request, hub: Operations) -> Response:
        return JSONResponse("The local host does not support this operation.", 501)
