"""A call to the shop is trusted only when it is signed, fresh and whole."""

from __future__ import annotations

import base64

import pytest

from local.demo.shop.signature import sign, trusted

NOW = 1_790_000_000
GOOD = sign("secret", "msg", NOW, b"{}")


def test_the_published_example_of_the_scheme() -> None:
    # standard-webhooks, libraries' own test vector
    secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    body = b'{"test": 2432232314}'
    expected = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
    assert sign(secret, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, body) == expected


@pytest.mark.parametrize(
    ("message_id", "timestamp", "signatures", "body", "fine"),
    [
        pytest.param("msg", str(NOW), GOOD, b"{}", True, id="good"),
        pytest.param("msg", str(NOW), f"v1,b2xk {GOOD}", b"{}", True, id="one-of-two"),
        pytest.param("other", str(NOW), GOOD, b"{}", False, id="other-id"),
        pytest.param("", str(NOW), GOOD, b"{}", False, id="no-id"),
        pytest.param("msg", str(NOW + 1), GOOD, b"{}", False, id="other-time"),
        pytest.param("msg", str(NOW), GOOD, b"{ }", False, id="other-body"),
        pytest.param("msg", str(NOW), "", b"{}", False, id="no-signature"),
        pytest.param("msg", str(NOW), "v1,é", b"{}", False, id="not-ascii"),
        pytest.param("msg", "now", GOOD, b"{}", False, id="time-is-text"),
        pytest.param("msg", "9" * 5000, GOOD, b"{}", False, id="time-without-end"),
    ],
)
def test_trusted(message_id: str, timestamp: str, signatures: str, body: bytes, fine: bool) -> None:
    assert trusted("secret", message_id, timestamp, signatures, body, NOW) is fine


@pytest.mark.parametrize(("age_s", "fine"), [(300, True), (301, False), (-300, True), (-301, False)])
def test_freshness(age_s: int, fine: bool) -> None:
    assert trusted("secret", "msg", str(NOW), GOOD, b"{}", NOW + age_s) is fine


def test_a_prefixed_secret_is_base64_or_else_text() -> None:
    key = base64.b64encode(b"secret").decode()
    assert sign(f"whsec_{key}", "msg", NOW, b"{}") == GOOD
    assert sign("whsec_***", "msg", NOW, b"{}") != GOOD
