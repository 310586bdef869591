"""What answers mean, and what may be configured as an address."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from shared.adapters import http
from shared.adapters.signing import key_of, sign
from shared.model.errors import PermanentError, Reason, TransientError
from tests.adapters.far_side import FarSide, Said, far_side

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)


@pytest.fixture
def side() -> Iterator[FarSide]:
    with far_side() as running:
        yield running


@pytest.mark.parametrize(
    ("value", "wait"),
    [
        pytest.param("7", timedelta(seconds=7), id="seconds"),
        pytest.param("0", timedelta(), id="at-once"),
        pytest.param("999999", timedelta(days=1), id="at-most-a-day"),
        pytest.param("Fri, 20 Nov 2026 12:01:00 GMT", timedelta(minutes=1), id="a-date"),
        pytest.param("Fri, 20 Nov 2026 11:00:00 GMT", timedelta(), id="a-date-that-has-passed"),
        pytest.param("-5", None, id="a-negative-number"),
        pytest.param("soon", None, id="a-word"),
        pytest.param("", None, id="nothing"),
        pytest.param("٣", None, id="a-digit-that-is-no-ascii"),
        pytest.param("9" * 400, None, id="a-huge-number"),
    ],
)
def test_retry_after(value: str, wait: timedelta | None) -> None:
    assert http.retry_after({"Retry-After": value}, NOW) == wait


@pytest.mark.parametrize(
    ("url", "allowed", "fine"),
    [
        ("https://example.com/x", None, True),
        ("http://127.0.0.1:80/x", None, True),
        ("http://example.com/x", None, False),
        ("https:///x", None, False),
        ("ftp://example.com", None, False),
        ("https://example.com:99999", None, False),
        ("https://[::1", None, False),
        ("https://a.logic.azure.com/x", (".logic.azure.com",), True),
        ("https://logic.azure.com.evil.example/x", (".logic.azure.com",), False),
        ("https://evil.example/.logic.azure.com", (".logic.azure.com",), False),
        ("https://a.logic.azure.com@evil.example/", (".logic.azure.com",), False),
        ("http://127.0.0.1/x", (".logic.azure.com",), False),
        ("http://127.0.0.1/x", ("127.0.0.1",), True),
    ],
)
def test_addresses(url: str, allowed: tuple[str, ...] | None, fine: bool) -> None:
    assert (http.address_problem(url, allowed) == "") is fine


def test_an_endless_answer_is_cut_off(side: FarSide, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "MAX_REPLY_BYTES", 1000)
    side.answer = lambda asked: Said(200, b"x" * 100_000)
    with pytest.raises(PermanentError) as caught:
        http.call(http.client(), "it", "GET", side.url)
    assert caught.value.reason is Reason.TOO_LARGE


def test_a_header_nobody_can_send_is_a_permanent_failure(side: FarSide) -> None:
    with pytest.raises(PermanentError):
        http.call(http.client(), "it", "GET", side.url, headers={"x": "a\r\nb: c"})
    with pytest.raises((PermanentError, TransientError)):
        http.call(http.client(), "it", "GET", "http://127.0.0.1:1/\x00")


def test_the_signature_is_the_one_of_the_specification() -> None:
    # The example of the Standard Webhooks reference implementations.
    headers = sign(
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        "msg_p5jXN8AQM9LWM0D4loKWxJek",
        1614265330,
        b'{"test": 2432232314}',
    )
    assert headers["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
    assert headers["webhook-timestamp"] == "1614265330"


@pytest.mark.parametrize("secret", ["", "whsec_", "whsec_***"])
def test_a_secret_that_signs_nothing_is_refused_without_repeating_it(secret: str) -> None:
    with pytest.raises(ValueError, match="secret") as caught:
        key_of(secret)
    assert caught.value.__context__ is None
    assert "***" not in str(caught.value)
