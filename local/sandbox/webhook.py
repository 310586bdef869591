"""The plain webhook receiver: any JSON, signed as Standard Webhooks asks.

In: `POST /webhook/{id}` with webhook-id, webhook-timestamp, webhook-signature. Out: 200, or 401, 400.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac

from starlette.requests import Request

from local.sandbox.credentials import same
from local.sandbox.exchange import DUPLICATE, Answer, Play, Refusal, Sandbox, parsed

SYSTEM = "webhook"
MAX_SKEW_S = 300  # standardwebhooks reference libraries refuse older and newer by five minutes


def signing_key(secret: str) -> bytes:
    """The key in a secret: base64 after ``whsec_``, otherwise the text itself."""
    if secret.startswith("whsec_"):
        try:
            return base64.b64decode(secret.removeprefix("whsec_"), validate=True)
        except binascii.Error:
            return secret.encode()
    return secret.encode()


def signature(secret: str, message_id: str, timestamp: str, body: bytes) -> str:
    """``v1,`` and the base64 of HMAC-SHA256 over ``id.timestamp.body``.

    Source: github.com/standard-webhooks/standard-webhooks, spec, "Signature scheme".
    """
    digest = hmac.digest(signing_key(secret), f"{message_id}.{timestamp}.".encode() + body, hashlib.sha256)
    return "v1," + base64.b64encode(digest).decode()


def receiver(sandbox: Sandbox) -> Play:
    """A receiver that trusts only signed calls and tells a repeat by its id."""

    def play(request: Request, raw: bytes) -> Answer:
        message_id = request.headers.get("webhook-id", "")
        timestamp = request.headers.get("webhook-timestamp", "")
        given = request.headers.get("webhook-signature", "").split()
        problem = ""
        if not message_id or not timestamp or not given:
            problem = "webhook-id, webhook-timestamp or webhook-signature is missing"
        elif not timestamp.isascii() or not timestamp.isdigit() or len(timestamp) > 12:
            problem = "webhook-timestamp must be seconds"
        elif abs(int(timestamp) - sandbox.now().timestamp()) > MAX_SKEW_S:
            problem = f"webhook-timestamp is more than {MAX_SKEW_S} s away"
        else:
            expected = signature(sandbox.credentials.webhook_secret, message_id, timestamp, raw)
            # Several signatures may stand side by side while a secret is being changed.
            if not any(same(one, expected) for one in given):
                problem = "no signature matches"
        if problem:
            raise Refusal(401, {"error": "unauthorized"}, problem, title=message_id)
        try:
            parsed(raw)
        except ValueError:
            raise Refusal(400, {"error": "not JSON"}, "the body is not JSON", title=message_id) from None
        if sandbox.store.get("webhook", message_id) is not None:
            reply = {"received": True, "duplicate": True}
            return Answer(200, reply, DUPLICATE, "this webhook-id was received before", message_id)
        sandbox.store.put("webhook", message_id, {"sink": request.path_params["id"]})
        return Answer(200, {"received": True, "duplicate": False}, title=message_id)

    return play
