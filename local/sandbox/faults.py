"""Faults on demand, so that tests can meet a vendor on a bad day.

In: plans (`POST /_faults`). Out: error replies, cut connections and delays, before or after the real effect.
"""

from __future__ import annotations

import asyncio
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from local.sandbox.exchange import FAILED, Sandbox, parsed
from local.sandbox.store import Entry

SYSTEMS = ("teams", "webhook", "servicenow", "confluence")
MAX_DELAY_S = 60.0


def fault_problem(plan: Any) -> str:
    """Why a plan cannot be used, or an empty text.

    A plan is ``{"system", "status": 400-599 or "drop": true, "count": 1.., "retry_after": seconds,
    "after": bool, "delay_s": seconds}``; ``after`` means the effect happens and only the reply is lost.
    """
    if not isinstance(plan, dict):
        return "the plan must be an object"
    unknown = set(plan) - {"system", "status", "drop", "count", "retry_after", "after", "delay_s"}
    checks = (
        (not unknown, f"unknown: {', '.join(sorted(unknown))}"),
        (plan.get("system") in SYSTEMS, f"system must be one of {', '.join(SYSTEMS)}"),
        (_number(plan.get("count", 1), 1, 100_000), "count must be 1 or more"),
        (_number(plan.get("delay_s", 0), 0, MAX_DELAY_S), f"delay_s must be 0 to {MAX_DELAY_S:.0f}"),
        (_number(plan.get("retry_after", 0), 0, 86_400), "retry_after must be seconds"),
        (
            plan.get("drop") is True or _number(plan.get("status"), 400, 599) or "delay_s" in plan,
            "status must be 400 to 599, or drop true, or delay_s alone",
        ),
    )
    return next((problem for fine, problem in checks if not fine), "")


def _number(value: Any, low: float, high: float) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and low <= value <= high


def plan_fault(sandbox: Sandbox) -> Any:
    """The handler of ``POST /_faults``."""

    async def handle(request: Request) -> Response:
        try:
            plan = parsed(await request.body())
        except ValueError:
            plan = None
        problem = fault_problem(plan)
        if problem:
            return JSONResponse({"error": problem}, status_code=400)
        sandbox.store.add_fault(plan["system"], plan, int(plan.get("count", 1)))
        return JSONResponse({"planned": plan}, status_code=201)

    return handle


async def _read_ahead(receive: Receive) -> Receive:
    """Take the whole request now: a caller who gives up during a delay has still sent it."""
    messages: list[Message] = []
    while not messages or messages[-1].get("more_body"):
        messages.append(await receive())
    waiting = iter(messages)

    async def replay() -> Message:
        return next(waiting, {"type": "http.disconnect"})

    return replay


class FaultGate:
    """ASGI wrapper that lets a planned fault answer in place of the stand-in."""

    def __init__(self, app: ASGIApp, sandbox: Sandbox) -> None:
        self._app = app
        self._sandbox = sandbox

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or play the oldest fault planned for its system."""
        system = str(scope.get("path", "")).split("/")[1] if scope["type"] == "http" else ""
        plan = self._sandbox.store.take_fault(system) if system in SYSTEMS else None
        if plan is None:
            await self._app(scope, receive, send)
            return
        receive = await _read_ahead(receive)
        held: list[Message] = []
        if plan.get("after"):

            async def hold(message: Message) -> None:
                held.append(message)

            await self._app(scope, receive, hold)
        await asyncio.sleep(float(plan.get("delay_s", 0)))
        if "status" not in plan and not plan.get("drop"):
            # Delay alone: the caller may have given up by now, the vendor does not know that.
            if held:
                for message in held:
                    await send(message)
            else:
                await self._app(scope, receive, send)
            return
        when = "after the effect" if plan.get("after") else "before any effect"
        what = "connection cut" if plan.get("drop") else f"status {plan['status']}"
        status = 0 if plan.get("drop") else int(plan["status"])
        entry = Entry(system, scope["method"], scope["path"], status, FAILED, f"planned fault: {what}, {when}", "fault")
        self._sandbox.store.record(entry, self._sandbox.now())
        if plan.get("drop"):
            # A head that promises a body which never comes: the server closes, every client sees a broken reply.
            await send({"type": "http.response.start", "status": 502, "headers": [(b"content-length", b"64")]})
            return
        headers = {"Retry-After": str(plan["retry_after"])} if "retry_after" in plan else {}
        await JSONResponse({"error": "planned fault"}, status_code=status, headers=headers)(scope, receive, send)
