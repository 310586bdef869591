"""Development sign-in: say who you are, on this machine only.

In: the people of the configuration. Out: signed session cookies, and the person behind one.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import secrets
from collections.abc import Callable, Mapping
from datetime import datetime

from shared.config.schema import Settings
from shared.model.errors import PermanentError, Reason
from shared.ports.identity import Person

COOKIE = "argus_session"
MIN_SECRET_CHARS = 32
LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


class DevelopmentSignIn:
    """Signs people in without a password; therefore for loopback only."""

    def __init__(self, settings: Settings, website_site_name: str, clock: Callable[[], datetime]) -> None:
        """Prepare the sign-in.

        Args:
            website_site_name: value of the variable ``WEBSITE_SITE_NAME``, which Azure sets in every function app.

        Raises:
            PermanentError: this is Azure, or the session secret is too short to sign anything.
        """
        if website_site_name:
            raise PermanentError("the development sign-in refuses to start in Azure (WEBSITE_SITE_NAME is set)")
        secret = settings.portal.session_secret.get_secret_value()
        if len(secret) < MIN_SECRET_CHARS:
            raise PermanentError(
                f"portal.session_secret needs at least {MIN_SECRET_CHARS} characters", Reason.BAD_INPUT
            )
        self._people = settings.people
        self._key = hmac.digest(secret.encode(), b"argus development session", hashlib.sha256)
        self._max_age_s = int(settings.portal.session_hours * 3600)
        self._clock = clock

    def people(self) -> tuple[Person, ...]:
        """Everybody who can be chosen, by name; their ``session`` is empty."""
        known = (Person(user, entry.name, frozenset(entry.groups), "") for user, entry in self._people.items())
        return tuple(sorted(known, key=lambda person: (person.name, person.user)))

    def refusal(self, headers: Mapping[str, str]) -> str:
        """Why nobody can sign in with this request; empty when somebody can."""
        if not is_loopback(headers.get("host", "")):
            return "The development sign-in answers on loopback addresses only, such as http://127.0.0.1."
        forwarded = headers.get("x-forwarded-host", "")
        if forwarded and not is_loopback(forwarded):
            return "The development sign-in does not answer through a proxy."
        return ""

    def sign_in(self, user: str) -> str | None:
        """The ``Set-Cookie`` value of a new session, or ``None`` for an unknown user."""
        if user not in self._people:
            return None
        name = base64.urlsafe_b64encode(user.encode()).decode().rstrip("=")
        expires = int(self._clock().timestamp()) + self._max_age_s
        content = f"{name}.{expires}.{secrets.token_urlsafe(16)}"
        value = f"{content}.{self._sign(content)}"
        return f"{COOKIE}={value}; Path=/; Max-Age={self._max_age_s}; HttpOnly; SameSite=Lax"

    def sign_out(self) -> str:
        """The ``Set-Cookie`` value that ends the session in the browser."""
        return f"{COOKIE}=; Path=/; Max-Age=0; HttpOnly; SameSite=Lax"

    def who(self, headers: Mapping[str, str], cookies: Mapping[str, str]) -> Person | None:
        """The signed-in person with the groups of the configuration as it is now, or ``None``."""
        content, _, signature = cookies.get(COOKIE, "").rpartition(".")
        if not content or self.refusal(headers):
            return None
        if not hmac.compare_digest(signature.encode("utf-8", "replace"), self._sign(content).encode()):
            return None
        name, expires, nonce = content.split(".")
        if int(expires) <= self._clock().timestamp():
            return None
        user = _decoded(name)
        entry = self._people.get(user)
        return None if entry is None else Person(user, entry.name, frozenset(entry.groups), nonce)

    def _sign(self, content: str) -> str:
        return hmac.new(self._key, content.encode("utf-8", "replace"), hashlib.sha256).hexdigest()


def is_loopback(host: str) -> bool:
    """Whether a ``Host`` header, with or without port, names this machine."""
    name = host.strip().lower()
    if name.startswith("["):
        name, _, rest = name[1:].partition("]")
        return name in LOOPBACK and (not rest or _is_port(rest))
    name, colon, port = name.partition(":")
    return name in LOOPBACK and (not colon or _is_port(colon + port))


def _is_port(text: str) -> bool:
    return text.startswith(":") and text[1:].isascii() and text[1:].isdigit()


def _decoded(name: str) -> str:
    try:
        return base64.urlsafe_b64decode(name + "=" * (-len(name) % 4)).decode()
    except (binascii.Error, UnicodeDecodeError):
        return ""
