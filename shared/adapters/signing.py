"""Signatures by which a receiver knows our outgoing webhooks.

In: a body, its id and a secret. Out: the three headers of Standard Webhooks.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import hashlib
import hmac

PREFIX = "whsec_"


def key_of(secret: str) -> bytes:
    """The signing key of a configured secret.

    Args:
        secret: ``whsec_`` and base64, as Standard Webhooks writes it, or any other text, whose UTF-8 bytes are the key.

    Raises:
        ValueError: empty, or not base64 after the prefix; the message does not repeat the secret.
    """
    if not secret.startswith(PREFIX):
        if not secret:
            raise ValueError("the secret is empty")
        return secret.encode()
    key = b""
    with contextlib.suppress(binascii.Error):  # told below; raised in a handler, it would carry the text along
        key = base64.b64decode(secret.removeprefix(PREFIX), validate=True)
    if not key:
        raise ValueError("the secret begins with whsec_ but no base64 follows")
    return key


def sign(secret: str, message_id: str, timestamp: int, body: bytes) -> dict[str, str]:
    """Sign a webhook.

    Args:
        message_id: the idempotency key; the same for every attempt.
        timestamp: seconds since 1970, of this attempt.
        body: exactly the bytes that are sent.

    Returns:
        Headers ``webhook-id``, ``webhook-timestamp`` and ``webhook-signature``.

    Source: github.com/standard-webhooks/standard-webhooks, spec/standard-webhooks.md.
    """
    signed = f"{message_id}.{timestamp}.".encode() + body
    digest = hmac.new(key_of(secret), signed, hashlib.sha256).digest()
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": f"v1,{base64.b64encode(digest).decode()}",
    }
