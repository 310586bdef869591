"""The two ways an outside call can fail, and the reasons that are counted.

In: nothing. Out: exceptions that adapters raise and `dispatch` turns into a retry or a quarantine row.
"""

from __future__ import annotations

from datetime import timedelta
from enum import StrEnum


class Reason(StrEnum):
    """Why something failed, in words short enough for a metric label."""

    TIMEOUT = "timeout"
    RATE_LIMITED = "rate_limited"
    UNAVAILABLE = "unavailable"
    UNAUTHORIZED = "unauthorized"
    NOT_FOUND = "not_found"
    REFUSED = "refused"
    BAD_INPUT = "bad_input"
    CONFLICT = "conflict"
    TOO_LARGE = "too_large"
    TOO_OLD = "too_old"
    NOT_YET = "not_yet"
    BUG = "bug"

    @classmethod
    def of_status(cls, status: int) -> Reason:
        """The reason behind an HTTP status.

        Args:
            status: HTTP status code, 300 or above.

        Returns:
            The closest reason; ``REFUSED`` for any other 4xx.
        """
        known = {
            401: cls.UNAUTHORIZED,
            403: cls.UNAUTHORIZED,
            404: cls.NOT_FOUND,
            408: cls.TIMEOUT,
            409: cls.CONFLICT,
            413: cls.TOO_LARGE,
            429: cls.RATE_LIMITED,
        }
        return known.get(status, cls.UNAVAILABLE if status >= 500 else cls.REFUSED)


class ArgusError(Exception):
    """Any failure that ARGUS itself names."""


class PermanentError(ArgusError):
    """Trying again would fail the same way; the event goes to quarantine with this reason."""

    def __init__(self, message: str, reason: Reason = Reason.REFUSED) -> None:
        super().__init__(message)
        self.reason = reason


class TransientError(ArgusError):
    """Trying again later may work.

    Attributes:
        reason: why, for people and metrics.
        retry_after: the least time to wait; ``None`` leaves it to the back-off.
        sent: ``False`` when the effect certainly did not happen, ``None`` when nobody knows (rule H3).
        part: configured name of what failed, where the event itself does not say; empty otherwise.
    """

    def __init__(
        self,
        message: str,
        reason: Reason = Reason.UNAVAILABLE,
        retry_after: timedelta | None = None,
        sent: bool | None = False,
        part: str = "",
    ) -> None:
        super().__init__(message)
        self.reason = reason
        self.retry_after = retry_after
        self.sent = sent
        self.part = part
