"""The shop as an application: products, checkout, health, metrics, log, deploys.

In: requests of customers, probes and the deploy hook. Out: their answers; every one is counted and logged.
"""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from local.demo.shop.deploys import SERVICE, DeployLog, UnknownVersionError
from local.demo.shop.journal import Journal
from local.demo.shop.metrics import MAX_ERROR_RATIO, Metrics
from local.demo.shop.payment import Gateway, PaymentTimeoutError
from local.demo.shop.signature import trusted

MAX_BODY_BYTES = 64 * 1024
MAX_LOG_LINES = 5000
ORDER_FIELDS = ("action", "version", "to", "idempotency_key", "author")
DEFAULT_LOG_LINES = 500
PRODUCTS = [{"id": f"tea-{n:02d}", "name": f"Mountain tea no. {n}", "price_cents": 390 + 25 * n} for n in range(1, 61)]

Customer = Callable[[Request], Awaitable[tuple[Response, str, str, dict[str, Any]]]]


def utc_now() -> datetime:
    """The time, aware, in UTC."""
    return datetime.now(UTC)


@dataclass(slots=True)
class Shop:
    """The running shop: its deploys, its log, its numbers, its payment gateway."""

    data: Path
    deploy_secret: str = field(repr=False)
    seed: int = 7
    now: Callable[[], datetime] = utc_now
    clock: Callable[[], float] = time.monotonic
    deploys: DeployLog = field(init=False)
    journal: Journal = field(init=False)
    metrics: Metrics = field(init=False)
    gateway: Gateway = field(init=False)

    def __post_init__(self) -> None:
        self.deploys = DeployLog(self.data / "deploys.jsonl", self.now())
        self.journal = Journal(self.data / "shop.log", SERVICE)
        self.metrics = Metrics(SERVICE)
        self.gateway = Gateway(self.seed)

    def close(self) -> None:
        """Close the log."""
        self.journal.close()


def create_app(shop: Shop) -> Starlette:
    """Build the application around a shop; the caller closes the shop."""
    return Starlette(
        routes=[
            Route("/", _counted(shop, "/", _home(shop)), methods=["GET"]),
            Route("/products", _counted(shop, "/products", _products(shop)), methods=["GET"]),
            Route("/checkout", _counted(shop, "/checkout", _checkout(shop)), methods=["POST"]),
            Route("/healthz", _healthz(shop), methods=["GET"]),
            Route("/metrics", _metrics(shop), methods=["GET"]),
            Route("/logs", _logs(shop), methods=["GET"]),
            Route("/version", _version(shop), methods=["GET"]),
            Route("/deploys", _deploys(shop), methods=["GET"]),
            Route("/deploy", _deploy(shop), methods=["POST"]),
            Route("/deploy/{request_id:path}", _deploy_state(shop), methods=["GET"]),
        ]
    )


def _counted(shop: Shop, path: str, customer: Customer) -> Callable[[Request], Awaitable[Response]]:
    """Measure and log a customer's request; probes and operators are not customers and are not counted."""

    async def handle(request: Request) -> Response:
        started = shop.clock()
        response, level, message, fields = await customer(request)
        ended = shop.clock()
        shop.metrics.observe(path, response.status_code, ended - started, ended)
        details = {"method": request.method, "path": path, "status": response.status_code}
        timing = {"duration_ms": round((ended - started) * 1000, 1), "trace_id": secrets.token_hex(16)}
        shop.journal.write(shop.now(), level, message, **details, **timing, release=shop.deploys.version, **fields)
        return response

    return handle


def _home(shop: Shop) -> Customer:
    async def handle(_request: Request) -> tuple[Response, str, str, dict[str, Any]]:
        page = f"<!doctype html><title>Tea shop</title><h1>Tea shop</h1><p>Release {shop.deploys.version}</p>"
        return HTMLResponse(page), "INFO", "home page shown", {}

    return handle


def _products(shop: Shop) -> Customer:
    async def handle(_request: Request) -> tuple[Response, str, str, dict[str, Any]]:
        shown = PRODUCTS[: shop.deploys.constants.products_per_page]
        return JSONResponse({"products": shown}), "INFO", "products listed", {"count": len(shown)}

    return handle


def _checkout(shop: Shop) -> Customer:
    async def handle(request: Request) -> tuple[Response, str, str, dict[str, Any]]:
        order = _json(await _body(request))
        amount = order.get("amount_cents", 990) if isinstance(order, dict) else None
        if not isinstance(amount, int) or isinstance(amount, bool) or not 0 < amount <= 10_000_000:
            return JSONResponse({"error": "amount_cents must be a positive number"}, 400), "WARN", "bad order", {}
        timeout_ms = shop.deploys.constants.payment_timeout_ms
        try:
            receipt = await shop.gateway.charge(amount, timeout_ms)
        except PaymentTimeoutError:
            message = f"checkout failed: payment gateway timed out after {timeout_ms} ms"
            fields = {"error": "PaymentTimeout", "payment_timeout_ms": timeout_ms, "upstream": "payment-gateway"}
            return JSONResponse({"error": "payment gateway timed out"}, 502), "ERROR", message, fields
        content = {"receipt": receipt.number, "amount_cents": receipt.amount_cents}
        return JSONResponse(content, 201), "INFO", "checkout completed", {"upstream": "payment-gateway"}

    return handle


def _healthz(shop: Shop) -> Callable[[Request], Awaitable[Response]]:
    async def handle(_request: Request) -> Response:
        ratio = shop.metrics.error_ratio(shop.clock())
        healthy = ratio <= MAX_ERROR_RATIO
        content = {"status": "ok" if healthy else "failing", "error_ratio": round(ratio, 3)}
        return JSONResponse(content, 200 if healthy else 503)

    return handle


def _metrics(shop: Shop) -> Callable[[Request], Awaitable[Response]]:
    async def handle(_request: Request) -> Response:
        text = shop.metrics.exposition(shop.deploys.version)
        return PlainTextResponse(text, media_type="text/plain; version=0.0.4; charset=utf-8")

    return handle


def _logs(shop: Shop) -> Callable[[Request], Awaitable[Response]]:
    async def handle(request: Request) -> Response:
        text = request.query_params.get("limit", str(DEFAULT_LOG_LINES))
        if not text.isascii() or not text.isdigit() or len(text) > 9:
            return JSONResponse({"error": "limit must be a number"}, 400)
        try:
            start = _since(request)
        except ValueError:
            return JSONResponse({"error": "since must be an ISO time"}, 400)
        return JSONResponse(shop.journal.since(start, min(int(text), MAX_LOG_LINES)))

    return handle


def _deploys(shop: Shop) -> Callable[[Request], Awaitable[Response]]:
    async def handle(request: Request) -> Response:
        try:
            start = _since(request)
        except ValueError:
            return JSONResponse({"error": "since must be an ISO time"}, 400)
        return JSONResponse(shop.deploys.since(start))

    return handle


def _version(shop: Shop) -> Callable[[Request], Awaitable[Response]]:
    async def handle(_request: Request) -> Response:
        return JSONResponse({"version": shop.deploys.version, "previous": shop.deploys.previous})

    return handle


def _deploy_state(shop: Shop) -> Callable[[Request], Awaitable[Response]]:
    async def handle(request: Request) -> Response:
        entry = shop.deploys.carried_out(request.path_params["request_id"])
        return JSONResponse({"applied": entry is not None, "version": shop.deploys.version, "deploy": entry})

    return handle


def _deploy(shop: Shop) -> Callable[[Request], Awaitable[Response]]:
    async def handle(request: Request) -> Response:
        raw = await _body(request)
        headers = request.headers
        request_id = headers.get("webhook-id", "")
        sent_at, signatures = headers.get("webhook-timestamp", ""), headers.get("webhook-signature", "")
        if not trusted(shop.deploy_secret, request_id, sent_at, signatures, raw, shop.now().timestamp()):
            return JSONResponse({"error": "unauthorized"}, 401)
        order = _json(raw)
        if not isinstance(order, dict) or not all(isinstance(order.get(name, ""), str) for name in ORDER_FIELDS):
            return JSONResponse({"error": f"the body must be an object; {', '.join(ORDER_FIELDS)} are texts"}, 400)
        key, author = order.get("idempotency_key", ""), order.get("author", "")
        entry = shop.deploys.carried_out(request_id, key)
        if entry is None:
            try:
                if order.get("action", "deploy") == "rollback":
                    entry = shop.deploys.rollback(order.get("to", ""), shop.now(), request_id, key, author)
                elif order.get("action", "deploy") == "deploy":
                    entry = shop.deploys.deploy(order.get("version", ""), shop.now(), request_id, key, author)
                else:
                    return JSONResponse({"error": "action must be deploy or rollback"}, 400)
            except UnknownVersionError as exc:
                return JSONResponse({"error": str(exc)}, 400)
            message = f"release {entry['version']} in service, {entry['previous']} before"
            shop.journal.write(shop.now(), "INFO", message, deploy=entry["id"], release=entry["version"])
        return JSONResponse({"applied": True, "version": entry["version"], "deploy": entry})

    return handle


def _since(request: Request) -> datetime | None:
    text = request.query_params.get("since", "")
    if not text:
        return None
    # A plus sign that was not quoted arrives as a space.
    at = datetime.fromisoformat(text.replace(" ", "+") if "T" in text else text)
    return at if at.tzinfo else at.replace(tzinfo=UTC)


async def _body(request: Request) -> bytes:
    """The body, or its first part when it is too large: neither parses nor verifies then."""
    raw = bytearray()
    async for chunk in request.stream():
        raw += chunk
        if len(raw) > MAX_BODY_BYTES:
            break
    return bytes(raw[: MAX_BODY_BYTES + 1])


def _json(raw: bytes) -> Any:
    try:
        return json.loads(raw) if raw else {}
    except (ValueError, RecursionError):
        return None
