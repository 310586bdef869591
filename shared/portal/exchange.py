"""A request and its answer, without any web framework.

In: what the trigger read from HTTP. Out: status, body and headers; every answer carries the security headers.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

HTML = "text/html; charset=utf-8"
TEXT = "text/plain; charset=utf-8"
JSON = "application/json"
PROBLEM = "application/problem+json"  # RFC 9457

SECURITY_HEADERS: Mapping[str, str] = {
    "Content-Security-Policy": "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; "
    "object-src 'none'",
    "X-Frame-Options": "DENY",
    "X-Content-Type-Options": "nosniff",
    # Not no-referrer: with it browsers send `Origin: null` with our own forms, and the origin check would refuse them.
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
}


@dataclass(frozen=True, slots=True)
class Request:
    """An HTTP request.

    Attributes:
        path: decoded path, beginning with a slash.
        headers: by lower-case name.
        form: fields of an ``application/x-www-form-urlencoded`` body; empty for anything else.
        body: the raw body; only the JSON interface looks at it.
    """

    method: str
    path: str
    query: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    cookies: Mapping[str, str] = field(default_factory=dict)
    form: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""

    @property
    def api(self) -> bool:
        """Whether the JSON interface is asked; its errors are problem+json."""
        return self.path == "/api" or self.path.startswith("/api/")


@dataclass(frozen=True, slots=True)
class Response:
    """An HTTP answer; ``cookies`` are whole ``Set-Cookie`` values."""

    status: int
    body: bytes
    content_type: str
    headers: Mapping[str, str] = field(default_factory=lambda: SECURITY_HEADERS)
    cookies: tuple[str, ...] = ()


class Refused(Exception):
    """The request ends here, with a status and words for the person who sent it.

    Attributes:
        title: what is wrong, in a few words.
        detail: what to do about it.
    """

    def __init__(self, status: int, title: str, detail: str = "", headers: Mapping[str, str] | None = None) -> None:
        super().__init__(title)
        self.status = status
        self.title = title
        self.detail = detail
        self.headers = headers or {}


def page(html: str, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """An HTML page."""
    return Response(status, html.encode("utf-8", "replace"), HTML, {**SECURITY_HEADERS, **(headers or {})})


def redirect(path: str, cookies: tuple[str, ...] = ()) -> Response:
    """See other (303): the browser asks for ``path`` with GET."""
    return Response(303, b"", HTML, {**SECURITY_HEADERS, "Location": path}, cookies)


def json_answer(value: object, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """A JSON answer; numbers that JSON does not have become ``null``."""
    return Response(status, _dumps(value), JSON, {**SECURITY_HEADERS, **(headers or {})})


def problem(refused: Refused) -> Response:
    """The RFC 9457 body of a refusal."""
    body = {"type": "about:blank", "title": refused.title, "status": refused.status, "detail": refused.detail}
    return Response(refused.status, _dumps(body), PROBLEM, {**SECURITY_HEADERS, **refused.headers})


def local_path(target: str) -> str:
    """The target when it is a page of this portal, ``/`` otherwise; so nobody is sent elsewhere after signing in."""
    if not target.startswith("/") or target.startswith("//") or any(c in target for c in "\\\r\n\t\x00"):
        return "/"
    parts = urlsplit(target)
    return target if not parts.netloc and not parts.scheme and target.isascii() else "/"


def _dumps(value: object) -> bytes:
    return json.dumps(_finite(value), ensure_ascii=False, allow_nan=False).encode("utf-8", "replace")


def _finite(value: object) -> object:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {name: _finite(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_finite(item) for item in value]
    return value
