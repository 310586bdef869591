"""Which settings of the Table Storage adapter are taken, and whose identity it uses."""

from __future__ import annotations

import json
import ssl
import threading
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from pydantic import ValidationError

from shared.adapters.stores.tables.rest import RestService
from shared.adapters.stores.tables.sdk import SdkService
from shared.adapters.stores.tables.settings import Config
from shared.adapters.stores.tables.store import TablesStore
from shared.model.errors import Reason, TransientError
from shared.ports.store import Insert, Replace, Table
from tests.adapters.stores.table_service import table_service

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


@pytest.mark.parametrize("client", [RestService, SdkService], ids=["thin", "sdk"])
@pytest.mark.parametrize(("status", "reason"), [(200, Reason.UNAVAILABLE), (400, Reason.UNAUTHORIZED)])
def test_the_app_s_own_identity_is_used(
    monkeypatch: pytest.MonkeyPatch, status: int, reason: Reason, client: type[RestService] | type[SdkService]
) -> None:
    monkeypatch.setenv("IDENTITY_HEADER", "x")
    monkeypatch.setenv("AZURE_CLIENT_ID", "somebody-else")
    with identity_endpoint(status) as (address, asked):
        monkeypatch.setenv("IDENTITY_ENDPOINT", address)
        # The far side speaks no TLS, so the token is the last thing that works; a token never travels without it.
        endpoint = address.replace("http://", "https://").removesuffix("/token")
        rows = TablesStore(client(Config(endpoint=endpoint, client_id="argus-core")))
        with pytest.raises(TransientError) as raised:
            rows.get(Table.INCIDENTS, "p", "k")
        rows.close()
    assert (raised.value.reason, raised.value.sent) == (reason, False)
    assert "hunter2" not in str(raised.value)
    assert asked[0]["resource"] == ["https://storage.azure.com"]
    assert asked[0]["client_id"] == ["argus-core"]


@pytest.mark.parametrize("client", [RestService, SdkService], ids=["thin", "sdk"])
def test_a_token_opens_the_store_over_tls_and_goes_nowhere_else(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, client: type[RestService] | type[SdkService]
) -> None:
    bundle, tls = certificate(tmp_path)
    monkeypatch.setenv("IDENTITY_HEADER", "x")
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
    with identity_endpoint(200) as (address, asked), table_service(tls) as service:
        monkeypatch.setenv("IDENTITY_ENDPOINT", address)
        service.token = "hunter2"
        config = Config(endpoint=f"https://127.0.0.1:{service.port}/argus", connect_s=10, read_s=10)
        stranger = TablesStore(client(config))
        with pytest.raises(TransientError) as raised:
            stranger.write(Table.INCIDENTS, "p", Insert("k", {}))
        assert (raised.value.reason, raised.value.sent) == (Reason.UNAVAILABLE, False)
        assert not service.seen, "whoever shows a certificate that nobody vouches for gets no token"
        stranger.close()
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(bundle))
        rows = TablesStore(client(config))
        rows.write(Table.INCIDENTS, "p", Insert("k", {"n": 1}))
        rows.transact(Table.INCIDENTS, "p", [Insert("l", {"n": 2}), Replace("k", {"n": 3}, None)])
        found = rows.query(Table.INCIDENTS, "p").rows
        assert [(row.key, row.values["n"]) for row in found] == [("k", 3), ("l", 2)]
        assert len(asked) <= 3
        rows.close()


@pytest.mark.parametrize(
    ("name", "value"),
    [("REQUESTS_CA_BUNDLE", "/nowhere/hunter2.pem"), ("HTTPS_PROXY", "socks5://me:hunter2@127.0.0.1:9")],
)
def test_an_environment_that_cannot_be_used_is_not_the_fault_of_the_event(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    monkeypatch.setenv("NO_PROXY", "")
    rows = TablesStore(RestService(Config.model_validate({"connection": f"AccountName=a;AccountKey={KEY}"})))
    with pytest.raises(TransientError, match="environment") as raised:
        rows.get(Table.INCIDENTS, "p", "k")
    assert raised.value.sent is False
    assert "hunter2" not in "".join(traceback.format_exception(raised.value))


def certificate(folder: Path) -> tuple[Path, ssl.SSLContext]:
    """A certificate for 127.0.0.1 that vouches for itself: as a file, and for a server."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.oid.NameOID.COMMON_NAME, "stand-in")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(IPv4Address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    bundle, secret = folder / "cert.pem", folder / "key.pem"
    bundle.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    secret.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(bundle, secret)
    return bundle, tls
