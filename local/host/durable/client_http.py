"""The HTTP interface the 1.x Durable client speaks to its host, on loopback.

In: requests of `df.DurableOrchestrationClient`, or of curl. Out: JSON answers with the extension's status codes.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from local.host.durable.history import iso, moment_of, unwrap
from local.host.durable.instance import Instance
from local.host.durable.scheduler import Outcome, Scheduler
from local.host.durable.storage import Filter, HubStore

BASE_PATH = "/runtime/webhooks/durabletask/"
FOREIGN = "another host owns the durable hub"


def client_binding(base_url: str, hub: str) -> str:
    """JSON text that a `durable_client_input` parameter is made from.

    Args:
        base_url: the host's own address without trailing slash.
        hub: task hub name.
    """
    base = f"{base_url}{BASE_PATH}"
    one = f"{base}instances/INSTANCEID"
    return json.dumps(
        {
            "taskHubName": hub,
            "creationUrls": {"createNewInstancePostUri": f"{base}orchestrators/{{functionName}}[/{{instanceId}}]"},
            "managementUrls": {
                "id": "INSTANCEID",
                "statusQueryGetUri": one,
                "sendEventPostUri": f"{one}/raiseEvent/{{eventName}}",
                "terminatePostUri": f"{one}/terminate?reason={{text}}",
                "purgeHistoryDeleteUri": one,
            },
            "rpcBaseUrl": base,
        }
    )


def _parsed(text: str | None) -> Any:
    return None if text is None else json.loads(text)


def _status(instance: Instance, *, show_input: bool, history: bool) -> dict[str, Any]:
    return {
        "name": instance.name,
        "instanceId": instance.instance_id,
        "runtimeStatus": str(instance.status),
        "input": _parsed(instance.input) if show_input else None,
        "customStatus": _parsed(instance.custom_status),
        "output": _parsed(instance.output),
        "createdTime": instance.created,
        "lastUpdatedTime": instance.updated,
        **({"history": instance.history} if history else {}),
    }


def _flag(request: Request, name: str, default: bool) -> bool:
    return request.query_params.get(name, str(default)).lower() == "true"


def _filter(request: Request) -> Filter:
    query = request.query_params

    def moment(name: str) -> str:
        return iso(moment_of(query[name])) if query.get(name) else ""

    statuses = frozenset(part for part in query.get("runtimeStatus", "").split(",") if part)
    return Filter(moment("createdTimeFrom"), moment("createdTimeTo"), statuses, query.get("instanceIdPrefix", ""))


class ClientHttp:
    """Endpoints under `BASE_PATH`.

    Args:
        hub: scheduler and store, None while another host owns the hub.
        draining: true once the host is on its way out.
    """

    def __init__(self, hub: tuple[Scheduler, HubStore] | None, draining: Callable[[], bool]) -> None:
        self._hub = hub
        self._draining = draining

    def routes(self) -> list[Route]:
        """Routes relative to `BASE_PATH`."""
        table = [
            ("/orchestrators/{name}", "POST", self._start),
            ("/orchestrators/{name}/{id}", "POST", self._start),
            ("/instances", "GET", self._list),
            ("/instances/", "GET", self._list),
            ("/instances", "DELETE", self._purge),
            ("/instances/", "DELETE", self._purge),
            ("/instances/{id}", "GET", self._get),
            ("/instances/{id}", "DELETE", self._purge_one),
            ("/instances/{id}/raiseEvent/{event}", "POST", self._raise),
            ("/instances/{id}/terminate", "POST", self._terminate),
            ("/{rest:path}", "*", self._other),
        ]
        every = ["GET", "POST", "PUT", "PATCH", "DELETE"]
        return [
            Route(path, self._guarded(call), methods=every if method == "*" else [method])
            for path, method, call in table
        ]

    def _guarded(self, call: Callable[..., Any]) -> Callable[[Request], Any]:
        async def endpoint(request: Request) -> JSONResponse:
            if self._hub is None:
                return JSONResponse(FOREIGN, 503)
            try:
                answer: JSONResponse = await call(request, *self._hub)
            except ValueError as exc:
                return JSONResponse(f"malformed request: {exc}", 400)
            return answer

        return endpoint

    async def _start(self, request: Request, scheduler: Scheduler, store: HubStore) -> JSONResponse:
        if self._draining():
            return JSONResponse("the host is shutting down", 503)
        name = request.path_params["name"]
        outcome, chosen = scheduler.create(name, request.path_params.get("id"), unwrap(await request.body()))
        if outcome is Outcome.UNKNOWN_FUNCTION:
            message = f"The function '{name}' doesn't exist, is disabled, or is not an orchestrator function."
            return JSONResponse({"ExceptionMessage": message}, 400)
        if outcome is Outcome.EXISTS:
            return JSONResponse(f"An orchestration instance with id '{chosen}' already exists.", 409)
        return JSONResponse({"id": chosen}, 202)

    async def _get(self, request: Request, scheduler: Scheduler, store: HubStore) -> JSONResponse:
        wants_history = _flag(request, "showHistory", False)
        instance = store.load(request.path_params["id"], history=wants_history)
        if instance is None:
            return JSONResponse("No such instance.", 404)
        content = _status(instance, show_input=_flag(request, "showInput", True), history=wants_history)
        return JSONResponse(content, 200 if instance.status.finished else 202)

    async def _list(self, request: Request, scheduler: Scheduler, store: HubStore) -> JSONResponse:
        limit = min(int(request.query_params.get("top", "1000")), 1000)
        shown = _flag(request, "showInput", True)
        found = store.select(_filter(request), limit)
        return JSONResponse([_status(instance, show_input=shown, history=False) for instance in found])

    async def _raise(self, request: Request, scheduler: Scheduler, store: HubStore) -> JSONResponse:
        name = request.path_params["event"]
        return _told(scheduler.raise_event(request.path_params["id"], name, unwrap(await request.body())))

    async def _terminate(self, request: Request, scheduler: Scheduler, store: HubStore) -> JSONResponse:
        return _told(await scheduler.terminate(request.path_params["id"], request.query_params.get("reason", "")))

    async def _purge_one(self, request: Request, scheduler: Scheduler, store: HubStore) -> JSONResponse:
        count = store.purge_one(request.path_params["id"])
        return JSONResponse({"instancesDeleted": count}, 200 if count else 404)

    async def _purge(self, request: Request, scheduler: Scheduler, store: HubStore) -> JSONResponse:
        chosen = _filter(request)
        if not chosen.created_from:
            return JSONResponse("createdTimeFrom is required", 400)
        return JSONResponse({"instancesDeleted": store.purge(chosen)})

    async def _other(self, request: Request, scheduler: Scheduler, store: HubStore) -> JSONResponse:
        return JSONResponse("The local host does not support this operation.", 501)


def _told(outcome: Outcome) -> JSONResponse:
    status = {Outcome.DONE: 202, Outcome.MISSING: 404, Outcome.FINISHED: 410}[outcome]
    return JSONResponse(None if status == 202 else outcome.value, status)
