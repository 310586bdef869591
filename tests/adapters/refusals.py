"""What every outbound adapter promises about failures, checked for every status and every way to break off.

In: an adapter's effect as a function of the far side's address. Out: nothing; an assertion names the promise.
"""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable
from functools import partial

import pytest

from shared.model.errors import ArgusError, PermanentError, Reason, TransientError
from tests.adapters.far_side import Asked, FarSide, Said, closed_port, until

SECRET = "s3cr3t-Zm9v"
HASTY_S = 0.5  # for a far side that hangs on purpose; an answer that comes may take as long as the product lets it
Effect = Callable[[str], object]


def failure_of(effect: Effect, url: str) -> ArgusError | None:
    """The failure of an effect; ``None`` when it worked. Anything but the two known kinds fails the test."""
    try:
        effect(url)
    except (TransientError, PermanentError) as failure:
        return failure
    return None


def assert_quiet(failure: BaseException, caplog: pytest.LogCaptureFixture, secret: str = SECRET) -> None:
    """No secret in the failure, in what led to it, or in any log line."""
    seen: BaseException | None = failure
    while seen is not None:
        assert secret not in str(seen)
        assert secret not in repr(seen)
        assert secret not in repr(seen.args)
        seen = seen.__cause__ or seen.__context__
    assert secret not in "".join(traceback.format_exception(failure))
    assert secret not in caplog.text
    caplog.clear()


def check_statuses(
    effect: Effect,
    side: FarSide,
    caplog: pytest.LogCaptureFixture,
    *,
    action: bool = False,
    location: bool = True,
    reading: bool = False,
    before: Callable[[Asked], Said | None] = lambda asked: None,
    asked_again: int = 0,
) -> None:
    """Statuses 300 to 599: the right kind, the right ``sent``, once, and without a secret.

    Args:
        action: a 503 does not prove that nothing happened.
        location: redirects say where to.
        reading: the request that fails only reads, so nothing was ever sent.
        before: answers of the requests that lead to the one that fails.
        asked_again: a status after which it may look once more.
    """
    caplog.set_level(logging.DEBUG)
    for status in range(300, 600):
        headers = {"retry-after": "7"} | ({"location": "/elsewhere"} if location else {})
        failed = _answer_with(side, status, headers, before)
        failure = failure_of(effect, side.url)
        assert failure is not None, f"{status} must not pass for a success"
        assert len(failed) == (2 if status == asked_again else 1), f"{status} was tried {len(failed)} times"
        assert_quiet(failure, caplog)
        if status in (408, 425, 429) or status >= 500:
            assert isinstance(failure, TransientError), status
            certain = {425, 429} if action else {425, 429, 503}
            assert failure.sent is (False if reading or status in certain else None), status
            assert failure.retry_after is not None
            assert failure.retry_after.total_seconds() == 7
        else:
            assert isinstance(failure, PermanentError), status
        if status >= 400:
            assert failure.reason is Reason.of_status(status)


def _answer_with(
    side: FarSide, status: int, headers: dict[str, str], before: Callable[[Asked], Said | None]
) -> list[Asked]:
    """Let the far side answer with a status; the list fills with the requests that got it."""
    failed: list[Asked] = []

    def answer(asked: Asked) -> Said:
        prepared = before(asked)
        if prepared is not None:
            return prepared
        failed.append(asked)
        return Said(status, asked.echo(), headers)

    side.answer = answer
    return failed


def check_broken(
    effect: Callable[..., object], side: FarSide, caplog: pytest.LogCaptureFixture, *, reading: bool = False
) -> None:
    """A connection that breaks, hangs or never comes about.

    Args:
        effect: takes, beside the address, settings that the adapter is built with.
    """
    caplog.set_level(logging.DEBUG)
    for said, changed in ((Said(drop=True), {}), (Said(hang=True), {"timeout_s": HASTY_S})):
        side.answer = lambda asked, said=said: said  # type: ignore[misc]
        side.asked.clear()
        failure = failure_of(partial(effect, **changed), side.url)
        assert isinstance(failure, TransientError)
        assert failure.sent is (False if reading else None), "it arrived; nobody knows what came of it"
        assert failure.reason is (Reason.TIMEOUT if said.hang else Reason.UNAVAILABLE)
        until(lambda: side.asked)  # who gives up soon may be ahead of the far side
        assert len(side.asked) == 1
        assert_quiet(failure, caplog)
    failure = failure_of(effect, f"http://127.0.0.1:{closed_port()}")
    assert isinstance(failure, TransientError)
    assert failure.sent is False, "nobody was reached"
    assert_quiet(failure, caplog)
