"""The Teams stand-in: a Workflows webhook, with its late failures.

In: `POST /teams/workflows/{id}?sig=...` with a message that carries cards. Out: 202, or the refusal the vendor gives.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from typing import Any

from starlette.requests import Request

from local.sandbox.cards import card_problem, card_title, card_warning
from local.sandbox.credentials import same
from local.sandbox.exchange import FAILED, Answer, Play, Refusal, Sandbox, parsed

SYSTEM = "teams"
MAX_MESSAGE_BYTES = 28 * 1024  # learn.microsoft.com, connectors/teams: about 28 KB for the whole message
MAX_PER_SECOND = 4  # learn.microsoft.com, add-incoming-webhook: more than four a second is throttled
CARD_TYPE = "application/vnd.microsoft.card.adaptive"


class Throttle:
    """Counts requests per webhook in the last second."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._seen: dict[str, deque[float]] = {}

    def admits(self, webhook: str) -> bool:
        """Whether one more request fits into this second; one that does not is not counted."""
        now = self._clock()
        seen = self._seen.setdefault(webhook, deque())
        while seen and now - seen[0] >= 1.0:
            seen.popleft()
        if len(seen) >= MAX_PER_SECOND:
            return False
        seen.append(now)
        return True


def _refuse(status: int, code: str, message: str, headers: dict[str, str] | None = None) -> Refusal:
    return Refusal(status, {"error": {"code": code, "message": message}}, message, headers=headers)


def webhook(sandbox: Sandbox, throttle: Throttle) -> Play:
    """The behaviour of one Workflows trigger with the "send each adaptive card" template behind it."""

    def play(request: Request, raw: bytes) -> Answer:
        if not same(request.query_params.get("sig", ""), sandbox.credentials.teams_sig):
            raise _refuse(401, "DirectApiAuthorizationRequired", "the signature is missing or wrong")
        if not throttle.admits(request.path_params["id"]):
            message = f"more than {MAX_PER_SECOND} requests in a second"
            raise _refuse(429, "TooManyRequests", message, {"Retry-After": "1"})
        if len(raw) > MAX_MESSAGE_BYTES:
            message = f"the message has {len(raw)} bytes, the limit is {MAX_MESSAGE_BYTES}"
            raise _refuse(413, "RequestEntityTooLarge", message)
        try:
            message_body = parsed(raw)
        except ValueError:
            raise _refuse(400, "InvalidRequestContent", "the body is not JSON") from None
        return _deliver(message_body)

    return play


def _deliver(message: Any) -> Answer:
    if not isinstance(message, dict) or message.get("type") != "message":
        raise _refuse(400, "TriggerInputSchemaMismatch", 'the body must be an object with "type": "message"')
    attachments = message.get("attachments")
    if attachments is None:
        # The trigger has answered before the flow runs into this, so the sender sees success.
        return Answer(202, None, FAILED, "flow failed after the 202: foreach over 'attachments' of type 'Null'")
    if not isinstance(attachments, list):
        raise _refuse(400, "TriggerInputSchemaMismatch", "attachments must be an array")
    if not attachments:
        return Answer(202, None, FAILED, "flow ran but posted nothing: attachments is empty")
    warnings = []
    for position, attachment in enumerate(attachments):
        if not isinstance(attachment, dict) or attachment.get("contentType") != CARD_TYPE:
            raise _refuse(400, "BadRequest", f"attachments[{position}].contentType must be {CARD_TYPE}")
        problem = card_problem(attachment.get("content"))
        if problem:
            raise _refuse(400, "InvalidCard", f"attachments[{position}]: {problem}")
        warnings.append(card_warning(attachment["content"]))
    reason = "; ".join(filter(None, warnings))
    return Answer(202, None, reason=reason, title=card_title(attachments[0]["content"]))
