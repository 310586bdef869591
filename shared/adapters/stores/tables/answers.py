"""What an answer of the Table service means, or that there was none.

In: exceptions of the SDK. Out: `Refused` for a definite no, `TransientError`, `PermanentError`.

No error made here has a cause, a body or an address in it: an address may carry a shared access signature.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any, TypeVar

from shared.adapters import http
from shared.model.errors import ArgusError, PermanentError, Reason, TransientError

T = TypeVar("T")
SYSTEM = "the table store"

# learn.microsoft.com/rest/api/storageservices/table-service-error-codes
TABLE_NOT_FOUND = "TableNotFound"
GONE = frozenset({"ResourceNotFound", "EntityNotFound"})
EXISTS = frozenset({"EntityAlreadyExists"})
CHANGED = frozenset({"UpdateConditionNotSatisfied", "ConditionNotMet"})
TABLE_EXISTS = frozenset({"TableAlreadyExists"})
_BUSY = frozenset({"ServerBusy"})
_ABOUT_ROWS = {TABLE_NOT_FOUND} | GONE | EXISTS | CHANGED | TABLE_EXISTS

_CODE = re.compile(rb"<(?:\w+:)?code>(\w{1,80})</", re.IGNORECASE)
_INDEX = re.compile(r"\s*(\d{1,3}):")


class Refused(Exception):
    """The service did nothing, and says why in one of the codes that are about tables and rows.

    Attributes:
        code: of the service, such as ``EntityAlreadyExists``.
        index: the operation of a transaction that was refused; ``None`` when the service did not say.
    """

    def __init__(self, code: str, index: int | None = None) -> None:
        super().__init__(code)
        self.code = code
        self.index = index


def judged(changes: bool, call: Callable[[], T]) -> T:
    """Call the SDK, and turn whatever it raises into one of three errors.

    Args:
        changes: the call writes, so that a lost answer leaves open whether it did.

    Raises:
        Refused: a definite no about a row or a table.
        TransientError: no answer, or "not now"; ``sent`` is ``None`` when the write may have happened.
        PermanentError: the request itself is wrong.
    """
    from azure.core.exceptions import AzureError

    failure: ArgusError | Refused
    try:
        return call()
    except AzureError as error:
        failure = _meaning(error, changes)
    except (ValueError, TypeError, LookupError, AttributeError):
        # The request was checked before; so it is the answer that the SDK could not read.
        failure = http.unreadable(SYSTEM)
    if isinstance(failure, TransientError) and not changes:
        failure.sent = False
    raise failure  # outside of the handlers, so that no address travels along as context


def code_of(response: Any) -> str:
    """The service's error code in an answer; empty when it names none.

    Args:
        response: of azure-core, whole or one part of a transaction.
    """
    try:
        content = json.loads(response.text())
        return str(content["odata.error"]["code"])
    except (ValueError, TypeError, LookupError, AttributeError):
        header = response.headers.get("x-ms-error-code") if response is not None else None
        return str(header or "")


def said(body: bytes) -> tuple[str, str]:
    """The service's error code and its words; empty when the body, JSON or XML, has none."""
    try:
        content = json.loads(body)["odata.error"]
        return str(content["code"]), str(content["message"]["value"])
    except (ValueError, TypeError, LookupError, RecursionError):
        found = _CODE.search(body)
        return (found[1].decode(), "") if found else ("", "")


def _meaning(error: Any, changes: bool) -> ArgusError | Refused:
    from azure.core.exceptions import ClientAuthenticationError, HttpResponseError
    from requests import RequestException

    response = getattr(error, "response", None)
    status = getattr(error, "status_code", None)
    if response is None or not isinstance(status, int):
        inner = getattr(error, "inner_exception", None)
        if isinstance(inner, RequestException):
            return http.broken_off(SYSTEM, inner)
        if isinstance(error, ClientAuthenticationError):
            return TransientError(
                f"no identity could be had for {SYSTEM} ({type(error).__name__})", Reason.UNAUTHORIZED
            )
        return TransientError(f"{SYSTEM} broke off ({type(error).__name__})", Reason.UNAVAILABLE, sent=None)
    if 200 <= status < 300 or not isinstance(error, HttpResponseError):
        return http.unreadable(SYSTEM)
    given = getattr(error, "error_code", None)
    code = str(getattr(given, "value", given) or code_of(response))
    found = _INDEX.match(str(error.message))
    return refusal(status, code, http.retry_after(response.headers), int(found[1]) if found else None)


def refusal(status: int, code: str, wait: timedelta | None = None, index: int | None = None) -> ArgusError | Refused:
    """The error for an answer that is no success.

    Args:
        code: of the service; empty when it named none.
        wait: what the service asked for.
        index: of the operation, within a transaction.
    """
    return Refused(code, index) if code in _ABOUT_ROWS else _failure(status, code, wait)


def _failure(status: int, code: str, wait: timedelta | None) -> ArgusError:
    """The error for a status that is not about a row."""
    said = f"{SYSTEM} answered {status}" + (f" ({code})" if code.isalnum() else "")
    reason = Reason.of_status(status)
    if status == 429 or code in _BUSY:
        return TransientError(said, Reason.RATE_LIMITED, wait, sent=False)
    if status >= 500 or status == 408:
        return TransientError(said, reason, wait, sent=None)
    if 300 <= status < 400:
        return http.redirected(SYSTEM)
    if status in (401, 403, 404, 409):
        # Whether the store lets us in is not the fault of the event at hand: it must not end in quarantine for it.
        return TransientError(said, reason, wait, sent=False)
    return PermanentError(said, Reason.TOO_LARGE if status == 413 else Reason.BAD_INPUT)
