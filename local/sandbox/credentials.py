"""The secrets a caller must know, read from the environment once.

In: environment variables. Out: ``Credentials``, or one message naming every variable that is missing.
"""

from __future__ import annotations

import base64
import binascii
import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field, fields

PREFIX = "ARGUS_SANDBOX_"


@dataclass(frozen=True, slots=True)
class Credentials:
    """One secret per stand-in; never part of a repr, a log or an answer."""

    teams_sig: str = field(repr=False)
    servicenow_token: str = field(repr=False)
    confluence_token: str = field(repr=False)
    webhook_secret: str = field(repr=False)

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> Credentials:
        """Read ``ARGUS_SANDBOX_TEAMS_SIG`` and its three siblings.

        Raises:
            LookupError: one or more are unset or empty; the message names them all.
        """
        names = {f.name: PREFIX + f.name.upper() for f in fields(cls)}
        missing = [variable for variable in names.values() if not environ.get(variable)]
        if missing:
            raise LookupError(f"set {', '.join(missing)}: the stand-ins accept nobody without a secret")
        return cls(**{name: environ[variable] for name, variable in names.items()})


def same(given: str, expected: str) -> bool:
    """Compare secrets in constant time, whatever characters they hold."""
    return hmac.compare_digest(given.encode(), expected.encode())


def caller(header: str, token: str) -> str | None:
    """Who is calling, judged by an Authorization header.

    Args:
        header: ``Bearer TOKEN`` or ``Basic base64(user:TOKEN)``; anything else is nobody.
        token: the secret to compare with.

    Returns:
        The user name (``argus`` for a bearer), or None when the header does not hold the token.
    """
    scheme, _, value = header.partition(" ")
    if scheme.lower() == "bearer":
        return "argus" if same(value.strip(), token) else None
    if scheme.lower() != "basic":
        return None
    try:
        user, _, password = base64.b64decode(value.strip(), validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return None
    return user if same(password, token) else None
