"""Where the thin client for Table Storage calls, and how it proves who it is."""

from __future__ import annotations

import base64
import hashlib
import hmac
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from azure.core.credentials import AccessToken
from azure.core.exceptions import ClientAuthenticationError, ServiceRequestError
from azure.data.tables import TableServiceClient

from shared.adapters.stores.tables.access import EARLY_S, Bearer, SharedAccess, SharedKey, account_of
from shared.adapters.stores.tables.settings import Config
from shared.model.errors import Reason, TransientError

KEY = "c2VjcmV0LXNlY3JldC1zZWNyZXQ="


@pytest.mark.parametrize(
    "connection",
    [
        "UseDevelopmentStorage=true",
        f"AccountName=a;AccountKey={KEY}",
        f"DefaultEndpointsProtocol=https;AccountName=a;AccountKey={KEY};EndpointSuffix=core.chinacloudapi.cn",
        f"AccountName=a;AccountKey={KEY};TableEndpoint=http://127.0.0.1:10002/a",
        f"AccountName=a;AccountKey={KEY};TableEndpoint=https://a.table.core.windows.net/",
        f"AccountName=a;AccountKey={KEY};TableEndpoint=a.table.core.windows.net",
        "TableEndpoint=https://a.b.c:444/d;SharedAccessSignature=sv=1&sig=x%3D",
        "TableEndpoint=https://a.b.c;SharedAccessSignature=?sv=1&sig=x",
        "AccountName=a;SharedAccessSignature=sv=1&sig=x",
    ],
)
def test_a_connection_string_leads_where_it_leads_the_sdk(connection: str) -> None:
    found = account_of(Config.model_validate({"connection": connection}))
    with TableServiceClient.from_connection_string(connection) as sdk:
        assert f"{found.scheme}://{found.netloc}{found.path}" == sdk.url.rstrip("/")
    assert isinstance(found.access, SharedAccess if "SharedAccess" in connection else SharedKey)
    assert not found.access.query.startswith("?")


def test_a_signature_covers_method_type_time_and_path() -> None:
    moment = "Sun, 11 Oct 2009 19:52:39 GMT"
    headers = {"Content-Type": "application/json", "x-ms-date": moment}
    SharedKey("acc", b"key").sign("POST", "/acc/Tables", headers)
    text = f"POST\n\napplication/json\n{moment}\n/acc/acc/Tables"
    assert headers["Authorization"] == f"SharedKey acc:{signed(b'key', text)}"


def signed(key: bytes, text: str) -> str:
    return base64.b64encode(hmac.new(key, text.encode(), hashlib.sha256).digest()).decode()


class Credential:
    """Gives tokens, or fails; ``asked`` counts."""

    def __init__(self, now: Callable[[], float]) -> None:
        self.now, self.asked = now, 0
        self.failure: Exception | None = None
        self.gate = threading.Event()
        self.gate.set()

    def get_token(self, *_scopes: str, **_: Any) -> AccessToken:
        self.asked += 1
        assert self.gate.wait(30)
        if self.failure is not None:
            raise self.failure
        return AccessToken(f"token{self.asked}", int(self.now() + 3600))


class Clock:
    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


def token_of(bearer: Bearer) -> str:
    headers: dict[str, str] = {}
    bearer.sign("GET", "/", headers)
    return headers["Authorization"]


def test_a_token_is_kept_until_shortly_before_it_ends() -> None:
    clock = Clock()
    credential = Credential(clock)
    bearer = Bearer(credential, clock)
    assert [token_of(bearer) for _ in range(3)] == ["Bearer token1"] * 3
    clock.now += 3600 - EARLY_S - 1
    assert token_of(bearer) == "Bearer token1"
    clock.now += 2
    assert token_of(bearer) == "Bearer token2"
    assert credential.asked == 2


@pytest.mark.parametrize(
    ("failure", "reason"),
    [
        (ClientAuthenticationError("hunter2"), Reason.UNAUTHORIZED),
        (ServiceRequestError("hunter2"), Reason.UNAVAILABLE),
        (ValueError("hunter2"), Reason.UNAUTHORIZED),
    ],
)
def test_an_old_token_serves_while_no_new_one_can_be_had(failure: Exception, reason: Reason) -> None:
    clock = Clock()
    credential = Credential(clock)
    bearer = Bearer(credential, clock)
    token_of(bearer)
    credential.failure = failure
    clock.now += 3600 - 60
    assert [token_of(bearer) for _ in range(5)] == ["Bearer token1"] * 5
    assert credential.asked == 2, "and nobody is asked at every call"
    clock.now += 61
    with pytest.raises(TransientError) as raised:
        token_of(bearer)
    assert (raised.value.reason, raised.value.sent) == (reason, False)
    assert "hunter2" not in str(raised.value)
    assert raised.value.__cause__ is raised.value.__context__ is None
    credential.failure = None
    assert token_of(bearer) == "Bearer token4"


def test_threads_ask_for_one_token_together_and_do_not_wait_while_one_works() -> None:
    clock = Clock()
    credential = Credential(clock)
    bearer = Bearer(credential, clock)
    with ThreadPoolExecutor(4) as pool:
        assert set(pool.map(lambda _: token_of(bearer), range(8))) == {"Bearer token1"}
        assert credential.asked == 1
        clock.now += 3600 - 60
        credential.gate.clear()
        slow = pool.submit(token_of, bearer)
        while credential.asked < 2:
            threading.Event().wait(0.001)
        assert token_of(bearer) == "Bearer token1"
        credential.gate.set()
        assert slow.result(30) == "Bearer token2"
