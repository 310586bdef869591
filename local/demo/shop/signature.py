"""Signed calls to the shop, after Standard Webhooks.

In: a secret, an id, a time and a body. Out: a signature, or why a call is not to be trusted.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac

MAX_SKEW_S = 300


def sign(secret: str, message_id: str, timestamp: int, body: bytes) -> str:
    """The value of ``webhook-signature``: ``v1,`` and base64 of HMAC-SHA256 over ``id.timestamp.body``.

    Args:
        secret: the key; base64 when it starts with ``whsec_``, otherwise its UTF-8 bytes are the key.
        message_id: the value of ``webhook-id``.
        timestamp: the value of ``webhook-timestamp``, seconds since 1970.
        body: the raw bytes that travel.

    Source: github.com/standard-webhooks/standard-webhooks, spec, "Signature scheme".
    """
    digest = hmac.digest(_key(secret), f"{message_id}.{timestamp}.".encode() + body, hashlib.sha256)
    return "v1," + base64.b64encode(digest).decode()


def _key(secret: str) -> bytes:
    if secret.startswith("whsec_"):
        try:
            return base64.b64decode(secret.removeprefix("whsec_"), validate=True)
        except binascii.Error:
            return secret.encode()
    return secret.encode()


def trusted(secret: str, message_id: str, timestamp: str, signatures: str, body: bytes, now_s: float) -> bool:
    """Whether a call is signed with the secret and not older or newer than ``MAX_SKEW_S``.

    Args:
        secret: the shared secret.
        message_id: header ``webhook-id``.
        timestamp: header ``webhook-timestamp``, as sent.
        signatures: header ``webhook-signature``: one or more, separated by spaces.
        body: the raw body.
        now_s: the receiver's time, seconds since 1970.
    """
    if not message_id or not timestamp.isascii() or not timestamp.isdigit() or len(timestamp) > 12:
        return False
    if abs(int(timestamp) - now_s) > MAX_SKEW_S:
        return False
    expected = sign(secret, message_id, int(timestamp), body).encode()
    return any(hmac.compare_digest(given.encode(), expected) for given in signatures.split())
