"""Who may read, and whether a form really came from one of our own pages.

In: a request. Out: a person, permission, CSRF tokens bound to the person's session.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from typing import Protocol
from urllib.parse import urlsplit

from shared.config.schema import Settings
from shared.portal.exchange import Refused, Request
from shared.ports.identity import Identity, Person

CSRF_FIELD = "csrf"
CSRF_HEADER = "x-csrf-token"
KEY_HEADER = "x-functions-key"
KEY_QUERY = "code"
LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


class SignIn(Identity, Protocol):
    """A sign-in the portal shows pages for; platforms that sign people in themselves have none."""

    def people(self) -> tuple[Person, ...]:
        """Everybody who can be chosen."""
        ...

    def refusal(self, headers: Mapping[str, str]) -> str:
        """Why nobody can sign in with this request; empty when somebody can."""
        ...

    def sign_in(self, user: str) -> str | None:
        """``Set-Cookie`` value of a new session, or ``None`` for an unknown user."""
        ...

    def sign_out(self) -> str:
        """``Set-Cookie`` value that ends the session."""
        ...


class Access:
    """Answers who somebody is and what the request may do."""

    def __init__(self, settings: Settings, identity: Identity) -> None:
        secret = settings.portal.session_secret.get_secret_value()
        self._csrf_key = hmac.digest(secret.encode(), b"argus csrf", hashlib.sha256)
        default = settings.portal.keys.get("default")
        self._key = default.get_secret_value().encode() if default is not None else b""
        self._anonymous_read = settings.portal.anonymous_read
        self._base = _origin(settings.portal.base_url)
        self._identity = identity

    def who(self, request: Request) -> Person | None:
        """The signed-in person, or ``None``."""
        return self._identity.who(request.headers, request.cookies)

    def may_read(self, request: Request, person: Person | None) -> bool:
        """Whether pages and JSON are shown: to people and holders of the key, and to everybody if configured so."""
        if person is not None or (self._anonymous_read and self._addressed(request)):
            return True
        given = request.headers.get(KEY_HEADER) or request.query.get(KEY_QUERY) or ""
        return bool(self._key) and hmac.compare_digest(given.encode("utf-8", "replace"), self._key)

    def _addressed(self, request: Request) -> bool:
        """Whether the request names the portal as it is known, or this machine.

        A page elsewhere can let its own name point here (DNS rebinding); the browser then takes ours for that site's.
        """
        host = request.headers.get("host", "").lower()
        return not host or host == self._base or _name(host) in LOOPBACK

    def csrf(self, person: Person | None) -> str:
        """The token a form of this person must carry; empty for nobody."""
        if person is None:
            return ""
        bound = f"{person.user}\x1f{person.session}".encode("utf-8", "replace")
        return hmac.new(self._csrf_key, bound, hashlib.sha256).hexdigest()

    def check_origin(self, request: Request) -> None:
        """Refuse what a browser says another site sent.

        Raises:
            Refused: 403.
        """
        site = request.headers.get("sec-fetch-site", "")
        origin = request.headers.get("origin", "")
        own = {self._base, request.headers.get("host", "").lower()}
        if site in ("cross-site", "same-site") or (origin and _origin(origin) not in own):
            raise Refused(403, "Another site sent this", "Open the page here and try again from it.")

    def check_csrf(self, request: Request, person: Person) -> None:
        """Refuse a change without this session's token.

        Raises:
            Refused: 403.
        """
        given = request.headers.get(CSRF_HEADER) or request.form.get(CSRF_FIELD) or ""
        if not hmac.compare_digest(given.encode("utf-8", "replace"), self.csrf(person).encode()):
            raise Refused(403, "This form is out of date", "Go back, reload the page and try again.")


def _origin(url: str) -> str:
    try:
        return urlsplit(url).netloc.lower()
    except ValueError:  # such as http://[
        return "no address"


def _name(host: str) -> str:
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""
