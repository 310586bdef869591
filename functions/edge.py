"""The edge's triggers: webhooks in, pages and JSON out; it may hold almost nothing.

In: HTTP requests. Out: answers within 5 s, also when bus or store hang; every refusal is problem+json.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import json
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from urllib.parse import parse_qsl

import azure.functions as func
import orjson
from pydantic import SecretStr

from shared import dispatch, wiring
from shared.agents.sentinel import collector
from shared.dispatch import intake
from shared.dispatch.coalescing import GIVE_UP_S, Lane, Together
from shared.model.errors import PermanentError, Reason, TransientError
from shared.portal import Request, Response
from shared.portal.exchange import SECURITY_HEADERS

SMALL_BYTES = 64 * 1024  # some milliseconds of the event loop
STATUS = {Reason.TOO_LARGE: 413, Reason.BAD_INPUT: 400}
MAX_FIELDS = 100
TRY_AGAIN = {"Retry-After": "5"}
blueprint = func.Blueprint()


INTAKE = Lane("intake", waiting=8)
TOGETHER = Together(INTAKE)
PAGES = Lane("pages")
READY = Lane("ready", threads=4, waiting=32)


@blueprint.route("api/signals/{source}", methods=["POST"])
async def receive_signals(req: func.HttpRequest) -> func.HttpResponse:
    """Collector: takes in a webhook call; refusals in the order 401, 404, 413, 400."""
    app, name, raw = wiring.app(), req.route_params["source"], req.get_body()
    headers = {key.lower(): value for key, value in req.headers.items()}
    given = headers.get("x-functions-key") or req.params.get("code", "")
    if not _key_fits(given, name, app.ports.settings.portal.keys):
        how = "Send the sender's key as header x-functions-key or as ?code=."
        return _problem(401, "no or wrong key", how, {"WWW-Authenticate": 'Key realm="signals"'})
    if name not in app.ports.sources:
        known = ", ".join(sorted(app.ports.sources))
        return _problem(404, f"no source {name!r}", f"The sources are: {known}.")
    try:
        received = await _taken_in(app.engine, name, raw, headers)
    except PermanentError as error:
        advice = "Correct the body; sending it again changes nothing."
        return _problem(STATUS.get(error.reason, 400), str(error), advice)
    except TransientError:
        return _problem(503, "the signal could not be kept", "Send it again in a moment.", TRY_AGAIN)
    answer = {"receipt": received.receipt, "signals": received.signals, "recognised": received.recognised}
    return _answer(orjson.dumps(answer), 202, "application/json")


async def _taken_in(engine: dispatch.Engine, name: str, raw: bytes, headers: Mapping[str, str]) -> collector.Received:
    """A small body is understood here and now, which is quicker than to ask a thread; a repeat touches nothing else."""
    if len(raw) <= SMALL_BYTES:
        known = intake.by_heart(engine, name, hashlib.sha256(raw).digest(), engine.clock())
        if known is not None:
            return known
    understand = partial(intake.understand, engine, name, raw, headers, TOGETHER.turn)
    try:
        call = understand() if len(raw) <= SMALL_BYTES else await INTAKE.run(understand, GIVE_UP_S)
    except PermanentError as error:
        await INTAKE.run(partial(intake.refuse, engine, name, raw, error), GIVE_UP_S)
        raise
    return intake.fold(engine, call) or await TOGETHER.keep(engine, call)


@blueprint.route("healthz", methods=["GET", "HEAD"])
async def health(req: func.HttpRequest) -> func.HttpResponse:
    """Says that the app answers; it touches nothing."""
    return _alive(req)


@blueprint.route("api/health", methods=["GET", "HEAD"])
async def live(req: func.HttpRequest) -> func.HttpResponse:
    """The same under the address that monitors expect."""
    return _alive(req)


@blueprint.route("api/ready", methods=["GET", "HEAD"])
async def ready(req: func.HttpRequest) -> func.HttpResponse:
    """Says whether store, bus and configuration let this instance work, and whether ARGUS watches itself."""
    try:
        response = await READY.run(partial(wiring.app().portal.ready, _request(req)), GIVE_UP_S)
    except TransientError:
        return _problem(503, "not ready", "Too many ask at once, or something hangs.", TRY_AGAIN)
    return _response(replace(response, body=b"") if req.method == "HEAD" else response)


@blueprint.route("{*path}", methods=["GET", "HEAD", "POST"])
async def portal(req: func.HttpRequest) -> func.HttpResponse:
    """Portal: every page, and the JSON beside them."""
    try:
        request = _request(req)
    except ValueError:
        return _problem(400, "the form has too many fields", "Send the form as the page shows it.")
    try:
        response = await PAGES.run(partial(wiring.app().portal.respond, request), GIVE_UP_S)
    except TransientError:
        return _problem(503, "the store does not answer", "Try again in a moment.", TRY_AGAIN)
    return _response(response)


def _alive(req: func.HttpRequest) -> func.HttpResponse:
    return _answer("" if req.method == "HEAD" else '{"status": "ok"}', 200, "application/json")


def _key_fits(given: str, source: str, keys: Mapping[str, SecretStr]) -> bool:
    """Whether the key is the source's own, or the default one. Hashes are compared, so lengths do not show."""
    sent = {given.encode("utf-8", "surrogatepass")}
    with contextlib.suppress(UnicodeEncodeError):
        sent.add(given.encode("latin-1"))  # how hosts decode header bytes; this gives the bytes back
    fits = False
    for name in (source, "default"):
        expected = keys[name].get_secret_value() if name in keys else ""
        digest = hashlib.sha256(expected.encode()).digest()
        for form in sent:
            fits |= bool(expected) and hmac.compare_digest(hashlib.sha256(form).digest(), digest)
    return fits


def _request(req: func.HttpRequest) -> Request:
    headers = {key.lower(): value for key, value in req.headers.items()}
    body = req.get_body()
    form: dict[str, str] = {}
    if headers.get("content-type", "").lower().startswith("application/x-www-form-urlencoded"):
        text = body[: collector.MAX_BODY_BYTES].decode("utf-8", "replace")
        form = dict(
            reversed(parse_qsl(text, keep_blank_values=True, max_num_fields=MAX_FIELDS))
        )  # the first one counts
    pairs = (part.strip().partition("=") for part in headers.get("cookie", "").split(";") if "=" in part)
    cookies = {name: value for name, _, value in pairs}
    path = "/" + (req.route_params.get("path") or "")
    return Request(req.method, path, dict(req.params), headers, cookies, form, body)


def _response(response: Response) -> func.HttpResponse:
    answer = _answer(response.body, response.status, response.content_type, response.headers)
    for cookie in response.cookies:
        answer.headers.add_header("Set-Cookie", cookie)
    return answer


def _problem(status: int, title: str, detail: str, headers: Mapping[str, str] | None = None) -> func.HttpResponse:
    """RFC 9457 problem details."""
    body = json.dumps({"type": "about:blank", "title": title, "status": status, "detail": detail})
    return _answer(body, status, "application/problem+json", {**SECURITY_HEADERS, **(headers or {})})


def _answer(
    body: str | bytes, status: int, content_type: str, headers: Mapping[str, str] = SECURITY_HEADERS
) -> func.HttpResponse:
    return func.HttpResponse(body, status_code=status, headers={**headers, "Content-Type": content_type})
