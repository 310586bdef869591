"""Tokens: only those signed with the key, for the resource, and not expired."""

import base64
import hashlib
import hmac
from urllib.parse import quote_plus

import pytest

from local.servicebus.addresses import Address, Kind, parse_address, path_of
from local.servicebus.cbs import Grants, TokenCheck, put_token
from local.servicebus.errors import AmqpError, Condition


def token(resource: str, expiry: int = 2000, key: str = "k", name: str = "argus") -> str:
    encoded = quote_plus(resource)
    digest = hmac.new(key.encode(), f"{encoded}\n{expiry}".encode(), hashlib.sha256).digest()
    signature = quote_plus(base64.b64encode(digest))
    return f"SharedAccessSignature sr={encoded}&sig={signature}&se={expiry}&skn={name}"


CHECK = TokenCheck("argus", "k")


def test_a_good_token_opens_its_path_and_what_is_below() -> None:
    grants = Grants()
    application: dict[object, object] = {"operation": "put-token", "name": "sb://localhost:1/Jobs", "type": "jwt"}
    status, _ = put_token(CHECK, grants, application, token("sb://localhost:1/Jobs"), lambda: 1000.0)
    assert status == 202
    for path in ("jobs", "jobs/$deadletterqueue", "jobs/$management"):
        grants.demand(path, 1999)
    for path, now in (("jobs2", 1000), ("other", 1000), ("jobs", 2000)):
        with pytest.raises(AmqpError) as caught:
            grants.demand(path, now)
        assert caught.value.condition == Condition.UNAUTHORIZED


@pytest.mark.parametrize(
    "bad",
    [
        pytest.param(token("sb://h/jobs", key="other"), id="wrong-key"),
        pytest.param(token("sb://h/jobs", name="root"), id="wrong-key-name"),
        pytest.param(token("sb://h/jobs", expiry=1000), id="expired"),
        pytest.param(token("sb://h/other"), id="another-resource"),
        pytest.param(token("sb://h/jobs").replace("se=2000", "se=3000"), id="prolonged"),
        pytest.param("SharedAccessSignature sr=&sig=&se=x&skn=", id="empty"),
        pytest.param("Bearer abc", id="not-a-signature"),
        pytest.param(token("sb://h/jobs").replace("sig=", "sig=%C3%BC"), id="not-ascii"),
    ],
)
def test_a_bad_token_is_refused_and_never_repeated(bad: str) -> None:
    application: dict[object, object] = {"operation": "put-token", "name": "sb://h/jobs"}
    status, told = put_token(CHECK, Grants(), application, bad, lambda: 1000.0)
    assert status == 401
    assert bad not in told


def test_requests_that_are_no_put_token() -> None:
    requests: list[tuple[dict[object, object], object]] = [
        ({"operation": "delete"}, "x"),
        ({"operation": "put-token"}, "x"),
        ({}, None),
    ]
    for application, body in requests:
        assert put_token(CHECK, Grants(), application, body, lambda: 0.0)[0] == 400


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("amqps://localhost:5672/Jobs", Address(Kind.QUEUE, "jobs", "jobs")),
        ("jobs/$DeadLetterQueue", Address(Kind.QUEUE, "jobs/$deadletterqueue", "jobs", True)),
        ("jobs/$management", Address(Kind.MANAGEMENT, "jobs/$management", "jobs")),
        ("a/b/$deadletterqueue/$management", Address(Kind.MANAGEMENT, "a/b/$deadletterqueue/$management", "a/b", True)),
        ("$cbs", Address(Kind.CBS, "$cbs")),
    ],
)
def test_addresses(text: str, address: Address) -> None:
    assert parse_address(text) == address
    assert path_of(text) == address.path


@pytest.mark.parametrize("text", ["t/Subscriptions/s", "jobs/$Transfer/$DeadLetterQueue"])
def test_addresses_that_are_not_implemented(text: str) -> None:
    with pytest.raises(AmqpError) as caught:
        parse_address(text)
    assert caught.value.condition == Condition.NOT_IMPLEMENTED
