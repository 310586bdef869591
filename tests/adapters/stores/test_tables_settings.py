"""Which settings of the Table Storage adapter are taken, and whose identity it uses."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from pydantic import ValidationError

from shared.adapters.stores.tables.service import Service
from shared.adapters.stores.tables.settings import Config
from shared.adapters.stores.tables.store import TablesStore
from shared.model.errors import Reason, TransientError
from shared.ports.store import Table

KEY = "c2VjcmV0LXNlY3JldC1zZWNyZXQ="


@pytest.mark.parametrize(
    "settings",
    [
        pytest.param({"connection": "UseDevelopmentStorage=true"}, id="azurite"),
        pytest.param({"connection": f"AccountName=a;AccountKey={KEY};EndpointSuffix=core.windows.net"}, id="key"),
        pytest.param({"connection": "TableEndpoint=https://a.b.c;SharedAccessSignature=sv=1&sig=x"}, id="signature"),
        pytest.param({"endpoint": "https://argus.table.core.windows.net"}, id="system-assigned-identity"),
        pytest.param({"endpoint": "https://a.table.core.windows.net", "client_id": "x"}, id="user-assigned-identity"),
        pytest.param({"endpoint": "https://a.table.core.windows.net", "connection": ""}, id="empty-is-not-given"),
        pytest.param({"connection": "UseDevelopmentStorage=true", "table_prefix": "blue2"}, id="prefix"),
    ],
)
def test_these_are_taken(settings: dict[str, Any]) -> None:
    Config.model_validate(settings)


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({}, "exactly one of connection and endpoint"),
        ({"connection": "UseDevelopmentStorage=true", "endpoint": "https://a.b"}, "exactly one of connection and"),
        ({"connection": "hunter2"}, "AccountName and AccountKey"),
        ({"connection": "AccountName=hunter2;AccountKey="}, "AccountName and AccountKey"),
        ({"connection": "AccountName=a;AccountKey=hunter2"}, "cut off or mistyped"),
        ({"connection": "SharedAccessSignature=hunter2"}, "TableEndpoint"),
        ({"endpoint": "http://argus.table.core.windows.net"}, "https://"),
        ({"endpoint": "argus.table.core.windows.net"}, "https://"),
        ({"endpoint": "https://argus.table.core.windows.net?sig=hunter2"}, "without a signature"),
        ({"endpoint": "https://x:hunter2@argus.table.core.windows.net"}, "without a signature"),
        ({"endpoint": "https://[::1"}, "cannot be read"),
        ({"connection": "UseDevelopmentStorage=true", "table_prefix": "2blue"}, "pattern"),
        ({"connection": "UseDevelopmentStorage=true", "table_prefix": "a-b"}, "pattern"),
    ],
)
def test_these_are_refused_and_not_repeated(settings: dict[str, Any], told: str) -> None:
    with pytest.raises(ValidationError) as refused:
        Config.model_validate(settings)
    (problem,) = refused.value.errors()
    assert told in problem["msg"]
    assert "hunter2" not in problem["msg"]


@contextmanager
def identity_endpoint(status: int) -> Iterator[tuple[str, list[dict[str, list[str]]]]]:
    """What a function app asks for tokens; gives its address and the questions."""
    asked: list[dict[str, list[str]]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(parse_qs(urlsplit(self.path).query))
            token = {"access_token": "hunter2", "expires_on": str(int(time.time()) + 3600), "resource": "r"}
            body = json.dumps({**token, "token_type": "Bearer"} if status == 200 else {"message": "no"}).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            """Quiet."""

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}/token", asked
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(("status", "reason"), [(200, Reason.UNAVAILABLE), (400, Reason.UNAUTHORIZED)])
def test_the_app_s_own_identity_is_used(monkeypatch: pytest.MonkeyPatch, status: int, reason: Reason) -> None:
    monkeypatch.setenv("IDENTITY_HEADER", "x")
    monkeypatch.setenv("AZURE_CLIENT_ID", "somebody-else")
    with identity_endpoint(status) as (address, asked):
        monkeypatch.setenv("IDENTITY_ENDPOINT", address)
        # The far side speaks no TLS, so the token is the last thing that works; a token never travels without it.
        endpoint = address.replace("http://", "https://").removesuffix("/token")
        rows = TablesStore(Service(Config(endpoint=endpoint, client_id="argus-core")))
        with pytest.raises(TransientError) as raised:
            rows.get(Table.INCIDENTS, "p", "k")
        rows.close()
    assert (raised.value.reason, raised.value.sent) == (reason, False)
    assert "hunter2" not in str(raised.value)
    assert asked[0]["resource"] == ["https://storage.azure.com"]
    assert asked[0]["client_id"] == ["argus-core"]
