"""The edge's triggers: webhooks in, pages and JSON out; it may hold almost nothing.

In: HTTP requests. Out: answers within 5 s, also when bus or store hang; every refusal is problem+json.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import hmac
import json
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TypeVar
from urllib.parse import parse_qsl

import azure.functions as func
from pydantic import SecretStr

from shared import dispatch, wiring
from shared.agents.sentinel import collector
from shared.model.errors import PermanentError, Reason, TransientError
from shared.portal import Request, Response
from shared.portal.exchange import SECURITY_HEADERS

T = TypeVar("T")
GIVE_UP_S = 3.0  # senders retry a 503; they do not wait for us (ARCHITECTURE, section 7)
STATUS = {Reason.TOO_LARGE: 413, Reason.BAD_INPUT: 400}
MAX_FIELDS = 100
TRY_AGAIN = {"Retry-After": "5"}
blueprint = func.Blueprint()


class Lane:
    """Threads of its own for one kind of call, so that a bus that hangs does not hold up the pages.

    A thread that hangs cannot be stopped. So the threads are few, and so are the calls that wait for one: what comes on
    top is refused at once instead of being kept in memory.
    """

    def __init__(self, name: str, threads: int = 8, waiting: int = 64) -> None:
        self._pool = ThreadPoolExecutor(threads, name)
        self._room = threading.BoundedSemaphore(threads + waiting)

    async def run(self, call: Callable[[], T]) -> T:
        """The call's answer.

        Raises:
            TransientError: no room, or no answer within ``GIVE_UP_S``; a call that runs goes on, and may still succeed.
        """
        if not self._room.acquire(blocking=False):
            raise TransientError("too many calls wait already", Reason.UNAVAILABLE)
        running = self._pool.submit(call)
        running.add_done_callback(lambda _: self._room.release())
        answer = asyncio.wrap_future(running)
        answer.add_done_callback(lambda given: given.cancelled() or given.exception())  # nobody may be left to look
        done, _ = await asyncio.wait([answer], timeout=GIVE_UP_S)
        if not done:
            raise TransientError("no answer in time", Reason.TIMEOUT, sent=None)
        return answer.result()


INTAKE = Lane("intake")
PAGES = Lane("pages")


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
        received = await INTAKE.run(partial(dispatch.receive, app.engine, name, raw, headers))
    except PermanentError as error:
        advice = "Correct the body; sending it again changes nothing."
        return _problem(STATUS.get(error.reason, 400), str(error), advice)
    except TransientError:
        return _problem(503, "the signal could not be kept", "Send it again in a moment.", TRY_AGAIN)
    answer = {"receipt": received.receipt, "signals": received.signals, "recognised": received.recognised}
    return _answer(json.dumps(answer), 202, "application/json")


@blueprint.route("healthz", methods=["GET", "HEAD"])
async def health(req: func.HttpRequest) -> func.HttpResponse:
    """Says that the app answers; it touches nothing."""
    return _answer("" if req.method == "HEAD" else '{"status": "ok"}', 200, "application/json")


@blueprint.route("{*path}", methods=["GET", "HEAD", "POST"])
async def portal(req: func.HttpRequest) -> func.HttpResponse:
    """Portal: every page, and the JSON beside them."""
    try:
        request = _request(req)
    except ValueError:
        return _problem(400, "the form has too many fields", "Send the form as the page shows it.")
    try:
        response = await PAGES.run(partial(wiring.app().portal.respond, request))
    except TransientError:
        return _problem(503, "the store does not answer", "Try again in a moment.", TRY_AGAIN)
    return _response(response)


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
