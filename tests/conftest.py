"""What every test gets: a store of its own, and no way out of this machine."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from shared.adapters.stores.sqlite import SqliteStore

# How long an example takes says something about the machine; ``--hypothesis-profile`` still chooses another.
settings.register_profile("any machine", settings(), deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")


class OutsideRefused(ConnectionError):
    """A test tried to reach something beyond loopback."""


def _stays_here(address: Any) -> bool:
    if not isinstance(address, tuple):
        return True  # a Unix socket
    host = address[0].decode() if isinstance(address[0], bytes) else str(address[0])
    if host in ("localhost", ""):
        return True
    try:
        return ipaddress.ip_address(host.split("%")[0]).is_loopback
    except ValueError:
        return False


@pytest.fixture(autouse=True)
def loopback_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sockets reach loopback and nothing else, and no name is looked up outside."""
    connect, connect_ex, sendto, lookup = (
        socket.socket.connect,
        socket.socket.connect_ex,
        socket.socket.sendto,
        socket.getaddrinfo,
    )

    def guard(address: Any) -> None:
        if not _stays_here(address):
            raise OutsideRefused(f"tests reach loopback only, not {address!r}")

    def guarded_connect(self: socket.socket, address: Any) -> None:
        guard(address)
        connect(self, address)

    def guarded_connect_ex(self: socket.socket, address: Any) -> int:
        guard(address)
        return connect_ex(self, address)

    def guarded_sendto(self: socket.socket, data: Any, *rest: Any) -> int:
        guard(rest[-1])
        return sendto(self, data, *rest)

    def guarded_lookup(host: Any, *rest: Any, **more: Any) -> Any:
        if host is not None:
            guard((host,))
        return lookup(host, *rest, **more)

    monkeypatch.setattr(socket.socket, "connect", guarded_connect)
    monkeypatch.setattr(socket.socket, "connect_ex", guarded_connect_ex)
    monkeypatch.setattr(socket.socket, "sendto", guarded_sendto)
    monkeypatch.setattr(socket, "getaddrinfo", guarded_lookup)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqliteStore]:
    """An empty store in a file of its own."""
    rows = SqliteStore(tmp_path / "store.db")
    yield rows
    rows.close()


def pytest_addoption(parser: pytest.Parser) -> None:
    """``--update-golden`` writes the expected files anew; read the diff before you commit it."""
    parser.addoption("--update-golden", action="store_true", help="write out.json of golden tests from what comes out")


@pytest.fixture
def update_golden(request: pytest.FixtureRequest) -> bool:
    """Whether golden files are to be written instead of compared."""
    return bool(request.config.getoption("--update-golden"))
