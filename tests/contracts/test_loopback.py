"""The tests themselves cannot leave this machine."""

from __future__ import annotations

import socket

import pytest


@pytest.mark.parametrize("address", [("192.0.2.1", 80), ("example.invalid", 443), ("2001:db8::1", 80, 0, 0)])
def test_nothing_beyond_loopback_is_reached(address: tuple[object, ...]) -> None:
    with socket.socket(socket.AF_INET6 if len(address) == 4 else socket.AF_INET) as outside:
        outside.settimeout(0.1)
        with pytest.raises(ConnectionError, match="loopback only"):
            outside.connect(address)
        with pytest.raises(ConnectionError, match="loopback only"):
            outside.connect_ex(address)
    with pytest.raises(ConnectionError, match="loopback only"):
        socket.create_connection((str(address[0]), 80), timeout=0.1)


def test_loopback_is_reached() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        socket.create_connection(server.getsockname(), timeout=1).close()
        socket.getaddrinfo("localhost", 80)
