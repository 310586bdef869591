"""The edge's triggers: webhooks in, pages and JSON out; it may hold almost nothing."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
from collections.abc import Mapping
from urllib.parse import parse_qsl

import azure.functions as func

from shared import dispatch, wiring
from shared.agents.sentinel import collector
from shared.model.errors import PermanentError, Reason, TransientError
from shared.portal import Request, Response

GIVE_UP_S = 3.0  # senders retry a 503; they do not wait for us (ARCHITECTURE, section 7)
STATUS = {Reason.TOO_LARGE: 413, Reason.BAD_INPUT: 400}
blueprint = func.Blueprint()


@blueprint.route("api/signals/{source}", methods=["POST"])
async def receive_signals(req: func.HttpRequest) -> func.HttpResponse:
    """Collector: takes in a webhook call; refusals in the order 401, 404, 413, 400."""
    app, name, raw = wiring.app(), req.route_params["source"], req.get_body()
    headers = {key.lower(): value for key, value in req.headers.items()}
    if not _key_fits(
        headers.get("x-functions-key") or req.params.get("code", ""), name, app.ports.settings.portal.keys
    ):
        return _problem(401, "no or wrong key", "Send the sender's key as header x-functions-key or as ?code=.")
    if name not in app.ports.sources:
        known = ", ".join(sorted(app.ports.sources))
        return _problem(404, f"no source {name!r}", f"The sources are: {known}.")
    try:
        call = asyncio.to_thread(dispatch.receive, app.engine, name, raw, headers)
        received = await asyncio.wait_for(call, GIVE_UP_S)
    except PermanentError as error:
        return _problem(
            STATUS.get(error.reason, 400), str(error), "Correct the body; sending it again changes nothing."
        )
    except (TransientError, TimeoutError):
        return _problem(503, "the signal could not be kept", "Send it again in a moment.", {"Retry-After": "5"})
    answer = {"receipt": received.receipt, "signals": received.signals, "recognised": received.recognised}
    return func.HttpResponse(json.dumps(answer), status_code=202, mimetype="application/json")


@blueprint.route("healthz", methods=["GET"])
async def health(req: func.HttpRequest) -> func.HttpResponse:
    """Says that the app answers; it touches nothing."""
    return func.HttpResponse('{"status": "ok"}', mimetype="application/json")


@blueprint.route("{*path}", methods=["GET", "HEAD", "POST"])
async def portal(req: func.HttpRequest) -> func.HttpResponse:
    """Portal: every page, and the JSON beside them."""
    request = _request(req)
    try:
        response = await asyncio.wait_for(asyncio.to_thread(wiring.app().portal.respond, request), GIVE_UP_S)
    except (TransientError, TimeoutError):
        return _problem(503, "the store does not answer", "Try again in a moment.", {"Retry-After": "5"})
    return _response(response)


def _key_fits(given: str, source: str, keys: Mapping[str, object]) -> bool:
    """Whether the key is the source's own, or the default one. Hashes are compared, so lengths do not show."""
    digest = hashlib.sha256(given.encode()).digest()
    fits = False
    for name in (source, "default"):
        secret = keys.get(name)
        expected = secret.get_secret_value() if secret is not None and hasattr(secret, "get_secret_value") else ""
        fits |= bool(expected) and hmac.compare_digest(digest, hashlib.sha256(expected.encode()).digest())
    return fits


def _request(req: func.HttpRequest) -> Request:
    headers = {key.lower(): value for key, value in req.headers.items()}
    body = req.get_body()
    form: dict[str, str] = {}
    if headers.get("content-type", "").startswith("application/x-www-form-urlencoded"):
        form = dict(parse_qsl(body[: collector.MAX_BODY_BYTES].decode("utf-8", "replace"), keep_blank_values=True))
    pairs = (part.strip().partition("=") for part in headers.get("cookie", "").split(";") if "=" in part)
    cookies = {name: value for name, _, value in pairs}
    path = "/" + req.route_params.get("path", "")
    return Request(req.method, path, dict(req.params), headers, cookies, form, body)


def _response(response: Response) -> func.HttpResponse:
    answer = func.HttpResponse(
        response.body, status_code=response.status, headers=dict(response.headers), mimetype=None
    )
    answer.headers["Content-Type"] = response.content_type
    for cookie in response.cookies:
        answer.headers.add("Set-Cookie", cookie)
    return answer


def _problem(status: int, title: str, detail: str, headers: Mapping[str, str] | None = None) -> func.HttpResponse:
    """RFC 9457 problem details."""
    body = json.dumps({"type": "about:blank", "title": title, "status": status, "detail": detail})
    return func.HttpResponse(body, status_code=status, headers=dict(headers or {}), mimetype="application/problem+json")
