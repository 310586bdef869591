"""Claims-based security: shared access signatures checked, and what they allow on a connection.

In: put-token requests. Out: ``Grants`` of the connection, or a refusal that never repeats the token.
"""

import base64
import hashlib
import hmac
from collections.abc import Callable
from urllib.parse import unquote

from local.servicebus.addresses import path_of
from local.servicebus.errors import AmqpError, Condition
from local.servicebus.types import Value


class TokenCheck:
    """Checks tokens against the broker's one key.

    Args:
        key_name: the SharedAccessKeyName the clients use.
        key: the SharedAccessKey, used as its UTF-8 bytes.
    """

    def __init__(self, key_name: str, key: str) -> None:
        self._key_name = key_name
        self._key = key.encode("utf-8")

    def check(self, token: str, audience: str, now_s: float) -> tuple[str, float]:
        """What a token allows.

        Returns:
            The path it is good for and the moment, in seconds since the epoch, it ends.

        Raises:
            AmqpError: unauthorized-access.

        Source: learn.microsoft.com/azure/service-bus-messaging/service-bus-sas, "Generate a SAS token".
        """
        kind, _, text = token.partition(" ")
        parts = dict(part.partition("=")[::2] for part in text.split("&"))
        resource, expiry = parts.get("sr", ""), parts.get("se", "")
        if kind != "SharedAccessSignature" or not resource or not expiry.isdigit():
            raise AmqpError(Condition.UNAUTHORIZED, "the token is not a shared access signature")
        signed = f"{resource}\n{expiry}".encode()
        expected = base64.b64encode(hmac.new(self._key, signed, hashlib.sha256).digest())
        given = unquote(parts.get("sig", "")).encode()
        if unquote(parts.get("skn", "")) != self._key_name or not hmac.compare_digest(expected, given):
            raise AmqpError(Condition.UNAUTHORIZED, "the token has an invalid signature")
        if int(expiry) <= now_s:
            raise AmqpError(Condition.UNAUTHORIZED, "the token has expired")
        path = path_of(audience)
        if not covers(path_of(unquote(resource)), path):
            raise AmqpError(Condition.UNAUTHORIZED, "the token is for another resource")
        return path, float(expiry)


class Grants:
    """The paths one connection may use, each until its token ends; checked when a link is attached."""

    def __init__(self) -> None:
        self._until: dict[str, float] = {}

    def add(self, path: str, until_s: float) -> None:
        """Allow a path and everything below it."""
        self._until[path] = until_s

    def demand(self, path: str, now_s: float) -> None:
        """Raises AmqpError(unauthorized-access) unless a token covers the path."""
        if not any(covers(granted, path) and until > now_s for granted, until in self._until.items()):
            raise AmqpError(Condition.UNAUTHORIZED, f"no valid token for '{path}' was put on this connection")


def covers(granted: str, path: str) -> bool:
    """Whether a grant on one path includes another, both lower case."""
    return not granted or path == granted or path.startswith(granted + "/")


def put_token(
    check: TokenCheck, grants: Grants, application: dict[Value, Value], body: Value, clock_s: Callable[[], float]
) -> tuple[int, str]:
    """Handle one request to ``$cbs``.

    Returns:
        Status code (202, 400 or 401) and a sentence.
    """
    if application.get("operation") != "put-token":
        return 400, "the only operation of $cbs is put-token"
    audience = application.get("name")
    if not isinstance(body, str) or not isinstance(audience, str):
        return 400, "put-token needs a token and a name"
    # The declared type is not looked at: SDK 7.15.0 says "jwt" of its shared access signatures.
    try:
        path, until_s = check.check(body, audience, clock_s())
    except AmqpError as exc:
        return 401, exc.description
    grants.add(path, until_s)
    return 202, "Accepted"
