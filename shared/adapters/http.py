"""What a far side's answer means, the same for every adapter that speaks HTTP.

In: statuses, headers and transport failures of httpx2 and requests. Out: replies, `TransientError`, `PermanentError`.

No error made here has a cause, a body or an address in it: webhook addresses are secrets, and a far side can echo what
it was sent.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import httpx2

from shared.model.errors import ArgusError, PermanentError, Reason, TransientError

if TYPE_CHECKING:
    import requests

TIMEOUT_S = 10.0
MAX_REPLY_BYTES = 8 * 1024 * 1024
LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})

_NOT_DONE = frozenset({425, 429})  # the request was turned away before anything happened
_TURNED_AWAY = _NOT_DONE | {503}  # "not now": true for a message or a ticket, too weak a promise for an action

# These write whole addresses, some of which are bearer secrets (httpx2 at INFO, urllib3 at DEBUG, atlassian at ERROR).
for _name, _level in (
    ("httpx2", logging.WARNING),
    ("httpcore2", logging.WARNING),
    ("urllib3.connectionpool", logging.WARNING),
    ("pysnow", logging.WARNING),
    ("atlassian", logging.CRITICAL),
):
    logging.getLogger(_name).setLevel(_level)


@dataclass(frozen=True, slots=True)
class Reply:
    """A whole answer; header names are lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> object:
        """The parsed body, or ``None`` when it is not JSON."""
        try:
            parsed: object = json.loads(self.body)
        except (ValueError, RecursionError):
            return None
        return parsed


def client(timeout_s: float = TIMEOUT_S) -> httpx2.Client:
    """A client that follows no redirects and retries nothing; make it once per adapter."""
    return httpx2.Client(timeout=timeout_s, follow_redirects=False)


def call(
    http: httpx2.Client,
    system: str,
    method: str,
    url: str,
    *,
    content: bytes | None = None,
    headers: Mapping[str, str] | None = None,
    timeout_s: float = TIMEOUT_S,
) -> Reply:
    """Send one request, once, and read the answer within a total time and size.

    Args:
        system: the far side's name for people, such as ``Teams``.
        timeout_s: for every wait of its own, and for the whole body together.

    Raises:
        TransientError: no complete answer; ``sent`` is ``False`` only when no connection came about.
        PermanentError: the address is none, or the answer is larger than 8 MiB.
    """
    failure: ArgusError
    until = time.monotonic() + timeout_s
    try:
        with http.stream(method, url, content=content, headers=dict(headers or {}), timeout=timeout_s) as response:
            body = bytearray()
            for chunk in response.iter_bytes():
                body += chunk
                if len(body) > MAX_REPLY_BYTES:
                    raise PermanentError(f"{system} sent more than {MAX_REPLY_BYTES} bytes", Reason.TOO_LARGE)
                if time.monotonic() > until:
                    raise TransientError(f"{system} was too slow to finish its answer", Reason.TIMEOUT, sent=None)
            return Reply(response.status_code, {k.lower(): v for k, v in response.headers.items()}, bytes(body))
    except (httpx2.UnsupportedProtocol, httpx2.LocalProtocolError, httpx2.InvalidURL):
        failure = PermanentError(f"{system} cannot be called at its configured address", Reason.BAD_INPUT)
    except (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout) as cause:
        failure = TransientError(f"{system} cannot be reached ({type(cause).__name__})", Reason.UNAVAILABLE)
    except httpx2.TimeoutException as cause:
        failure = TransientError(f"{system} did not answer ({type(cause).__name__})", Reason.TIMEOUT, sent=None)
    except httpx2.RequestError as cause:
        failure = TransientError(f"{system} broke off ({type(cause).__name__})", Reason.UNAVAILABLE, sent=None)
    raise failure  # outside of the handlers, so that no address travels along as context


def refusal(system: str, status: int, headers: Mapping[str, str], *, action: bool = False) -> ArgusError | None:
    """The error a status stands for.

    Args:
        headers: of the answer; ``Retry-After`` is read.
        action: the request changes a workload, so that a 503 does not prove that nothing happened.

    Returns:
        ``None`` for 2xx; the caller raises anything else.
    """
    if 200 <= status < 300:
        return None
    reason = Reason.of_status(status)
    if status in (408, 425, 429) or status >= 500:
        turned_away = _NOT_DONE if action else _TURNED_AWAY
        sent = False if status in turned_away else None
        return TransientError(f"{system} answered {status}", reason, retry_after(headers), sent=sent)
    if 300 <= status < 400:
        return redirected(system)
    return PermanentError(f"{system} answered {status}", reason)


def redirected(system: str) -> PermanentError:
    """The error for an answer that sends us somewhere else, where our secrets have no business."""
    return PermanentError(f"{system} answered with a redirect; redirects are not followed", Reason.REFUSED)


def unreadable(system: str) -> TransientError:
    """The error for a success whose body is not what was agreed, such as the sign-in page of a sleeping instance."""
    return TransientError(f"{system} gave an unreadable answer", Reason.UNAVAILABLE, sent=None)


def strict_session() -> requests.Session:
    """A session for libraries on requests: whatever is no 2xx raises ``HTTPError`` before anybody follows it."""
    from requests import HTTPError, Session

    def judge(response: requests.Response, **_: object) -> None:
        if not 200 <= response.status_code < 300:
            raise HTTPError(response=response)

    session = Session()
    session.hooks["response"].append(judge)
    return session


def retry_after(headers: Mapping[str, str], now: datetime | None = None) -> timedelta | None:
    """The wait a far side asks for.

    Args:
        headers: names in any case.
        now: aware UTC, for the date form.

    Returns:
        0 to 24 hours; ``None`` when nothing readable is said.

    Source: RFC 9110, section 10.2.3.
    """
    text = next((value for name, value in headers.items() if name.lower() == "retry-after"), "").strip()
    if text.isascii() and text.isdigit() and len(text) <= 9:
        return timedelta(seconds=min(int(text), 86_400))
    try:
        moment = parsedate_to_datetime(text)
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return min(max(moment - (now or datetime.now(UTC)), timedelta()), timedelta(days=1))


def broken_off(system: str, cause: Exception) -> ArgusError:
    """What a failure of the requests library means; the caller raises it outside of its handler.

    Args:
        cause: a ``requests.exceptions.RequestException``; one with a response is judged by its status.
    """
    from requests import exceptions
    from urllib3.exceptions import NewConnectionError

    response = getattr(cause, "response", None)
    if isinstance(cause, exceptions.TooManyRedirects):
        return redirected(system)
    if isinstance(cause, exceptions.HTTPError) and response is not None:
        return refusal(system, response.status_code, response.headers) or unreadable(system)
    if isinstance(cause, exceptions.InvalidJSONError):
        return unreadable(system)
    if isinstance(cause, exceptions.ConnectTimeout | exceptions.SSLError | exceptions.ProxyError):
        return TransientError(f"{system} cannot be reached ({type(cause).__name__})", Reason.UNAVAILABLE)
    if isinstance(cause, exceptions.Timeout):
        return TransientError(f"{system} did not answer ({type(cause).__name__})", Reason.TIMEOUT, sent=None)
    if isinstance(cause, exceptions.InvalidURL | exceptions.MissingSchema | exceptions.InvalidSchema):
        return PermanentError(f"{system} cannot be called at its configured address", Reason.BAD_INPUT)
    inner = getattr(cause.args[0], "reason", None) if cause.args else None
    if isinstance(cause, exceptions.ConnectionError) and isinstance(inner, NewConnectionError):
        return TransientError(f"{system} cannot be reached ({type(inner).__name__})", Reason.UNAVAILABLE)
    return TransientError(f"{system} broke off ({type(cause).__name__})", Reason.UNAVAILABLE, sent=None)


def address_problem(url: str, allowed_hosts: tuple[str, ...] | None = None) -> str:
    """Why an address may not be configured, in words without the address; empty when it may.

    Args:
        allowed_hosts: exact names, or suffixes that begin with a dot; ``None`` allows every https host and loopback.
    """
    try:
        parts = urlsplit(url)
        host, port_fits = parts.hostname or "", parts.port is None or parts.port > 0
    except ValueError:
        return "the address cannot be read"
    if parts.scheme not in ("http", "https") or not host or not port_fits:
        return "the address must begin with https:// and name a host"
    if parts.scheme == "http" and host not in LOOPBACK:
        return "the address must begin with https:// (plain http is for loopback only)"
    if allowed_hosts is None:
        return ""
    named = any(host == entry or (entry.startswith(".") and host.endswith(entry)) for entry in allowed_hosts)
    return "" if named else "the address's host is not in allowed_hosts"
