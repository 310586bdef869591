"""The host itself: puts loader, HTTP front, timers, queues and the Durable hub together.

In: an app's folder and the paths of its state. Out: an ASGI application with `start` and `drain`.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sqlite3
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from local.host.bus import Bus, Open, open_servicebus, queue_triggers
from local.host.clock import Clock
from local.host.durable.client_http import BASE_PATH, ClientHttp, client_binding
from local.host.durable.functions import AppFunctions
from local.host.durable.hub import Hub
from local.host.http_front import HttpFront, problem
from local.host.invoke import Invoker
from local.host.loader import FunctionSpec, Trigger, import_app, load_functions
from local.host.routes import RouteError, RouteTable
from local.host.settings import HostSettings, SettingsError, load_host_json
from local.host.timer_store import TimerStore
from local.host.timers import TimerRunner, timers_of

log = logging.getLogger("local.host")
DRAIN_S = 8.0
_OWN_PATHS = ("/admin/", BASE_PATH)
_LOOPBACK = ("127.0.0.1", "localhost", "::1")


@dataclass(frozen=True, slots=True)
class HostPaths:
    """Where things are.

    Attributes:
        app_dir: folder with function_app.py and host.json.
        durable_db: the hub's file; needed when the app has durable functions.
        timer_db: shared file of the schedule monitor; beside the hub when not given.
    """

    app_dir: Path
    durable_db: Path | None
    timer_db: Path | None


class OwnPathsGuard:
    """Keeps web pages and proxies away from the host's own paths: no foreign `Host`, no `Origin`.

    Args:
        own: answers the host's own paths.
        front: answers all others.
    """

    def __init__(self, own: ASGIApp, front: ASGIApp) -> None:
        self._own = own
        self._front = front

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes on or answers 403."""
        if scope["type"] != "http" or not scope["path"].startswith(_OWN_PATHS):
            await self._front(scope, receive, send)
            return
        request = Request(scope)
        host = urlsplit(f"//{request.headers.get('host', '')}").hostname
        if host not in _LOOPBACK or "origin" in request.headers:
            await problem(403, "Only for callers on this machine")(scope, receive, send)
            return
        await self._own(scope, receive, send)


class Host:
    """Runs one function app.

    Args:
        paths: see `HostPaths`.
        base_url: the address it will be served on, without trailing slash.
        open_source: how queues are opened; the real SDK unless a test says otherwise.
        clock: the machine's unless a test says otherwise.

    Raises:
        SettingsError: the app cannot be run as it is; the message says what and where.
    """

    def __init__(
        self, paths: HostPaths, base_url: str, open_source: Open = open_servicebus, clock: Clock | None = None
    ) -> None:
        self._started = time.time()
        self.state = "starting"
        self.settings: HostSettings = load_host_json(paths.app_dir, os.environ)
        self.specs: list[FunctionSpec] = load_functions(import_app(paths.app_dir), paths.app_dir)
        self._invoker = Invoker(
            self.settings.threads,
            self.settings.function_timeout_s,
            client_binding(base_url, self.settings.hub_name),
        )
        self._clock = clock or Clock()
        self._hub = self._open_hub(paths.durable_db, base_url)
        self._timers = self._open_timers(paths)
        self._bus = Bus(
            queue_triggers(self._of(Trigger.SERVICE_BUS), os.environ),
            self.settings.service_bus,
            self._invoke_for_bus,
            open_source,
        )
        front = self._front()
        self.asgi: ASGIApp = OwnPathsGuard(self._own_paths(front), front)

    def _of(self, *triggers: Trigger) -> list[FunctionSpec]:
        return [spec for spec in self.specs if spec.trigger in triggers]

    def _open_hub(self, path: Path | None, base_url: str) -> Hub:
        durable = bool(self._of(Trigger.ORCHESTRATION, Trigger.ACTIVITY))
        if durable and path is None:
            raise SettingsError("the app has durable functions: --durable-db is needed")
        functions = AppFunctions(self.specs, self._invoker)
        try:
            return Hub(path if durable else None, functions, self.settings.max_activities, self._clock, base_url)
        except (OSError, sqlite3.Error) as exc:
            raise SettingsError(f"the Durable hub {path} cannot be opened: {exc}") from exc

    @property
    def durable(self) -> str:
        """Whose the hub is: owned (by this host), foreign, or none when the app does not need one."""
        if self._hub.operations is not None:
            return "owned"
        uses = self._of(Trigger.ORCHESTRATION, Trigger.ACTIVITY) or [spec for spec in self.specs if spec.clients]
        return "foreign" if uses else "none"

    def _open_timers(self, paths: HostPaths) -> TimerRunner | None:
        timers = timers_of(self._of(Trigger.TIMER), os.environ)
        if not timers:
            return None
        path = paths.timer_db
        if path is None:
            path = (paths.durable_db or paths.app_dir / ".argus" / "host.db").with_name("timers.db")
        return TimerRunner(timers, TimerStore(path), self._invoker, self._clock)

    async def _invoke_for_bus(self, spec: FunctionSpec, data: object, trace: tuple[str, str]) -> None:
        await self._invoker.invoke(spec, data, trace=trace)

    def _draining(self) -> bool:
        return self.state == "draining"

    def _front(self) -> HttpFront:
        https = {spec.name: spec for spec in self._of(Trigger.HTTP)}
        try:
            table = RouteTable(
                self.settings.route_prefix,
                [(s.name, s.text("route") or s.name, s.binding.get("methods")) for s in https.values()],
            )
        except RouteError as exc:
            raise SettingsError(str(exc)) from exc
        return HttpFront(table, https, self._invoker, self._draining)

    def _own_paths(self, front: HttpFront) -> Starlette:
        app = Starlette(
            routes=[
                Route("/admin/host/status", self._status, methods=["GET"]),
                Route("/admin/functions/{name}", self._run_function, methods=["POST"]),
                Mount(
                    BASE_PATH.rstrip("/"), routes=ClientHttp(self._hub, self.settings.hub_name, self._draining).routes()
                ),
            ]
        )
        app.router.redirect_slashes = False
        app.router.default = front  # what is the host's by its beginning only is the app's
        return app

    async def _status(self, request: Request) -> Response:
        return JSONResponse(
            {
                "state": self.state,
                "functions": [{"name": spec.name, "type": str(spec.trigger)} for spec in self.specs],
                "durable": self.durable,
                "running": self._invoker.running,
                "overrun": self._invoker.overrun,
                "queuesListening": self._bus.listening,
                "uptimeSeconds": round(time.time() - self._started, 1),
            }
        )

    async def _run_function(self, request: Request) -> Response:
        name = request.path_params["name"]
        if self._draining():
            return problem(503, "The host is shutting down")
        if self._timers is None:
            return problem(404, "Not a timer function")
        try:
            ran = await self._timers.run_once(name)
        except KeyError:
            return problem(404, "Not a timer function")
        return Response(status_code=202) if ran else problem(409, "The timer is running already")

    def start(self) -> None:
        """Begins to work; call on the loop that serves HTTP, once its socket listens."""
        self._hub.start()
        if self._timers is not None:
            self._timers.start()
        self._bus.start()
        self.state = "running"

    async def drain(self, within_s: float = DRAIN_S) -> bool:
        """Takes nothing new, waits for what runs; HTTP keeps answering the Durable client meanwhile.

        Returns:
            False when something was still running after `within_s` seconds.
        """
        self.state = "draining"
        if self._timers is not None:
            await self._timers.stop()
        self._hub.stop()
        began = time.monotonic()
        await asyncio.gather(self._bus.stop(within_s), self._invoker.drained(within_s))
        clean = await self._invoker.drained(max(within_s - (time.monotonic() - began), 0.1))
        if self._timers is not None:
            await self._timers.finish()
        return clean and not self._invoker.overrun

    async def close(self) -> None:
        """Gives up the Durable hub; the last thing to do."""
        await self._hub.finish()
        client = sys.modules.get("azure.durable_functions.models.utils.http_utils")
        end = getattr(client, "_close_session", None)
        if end is not None:  # the worker of the real host has no hook for it either, but it is killed, not stopped
            await end()
