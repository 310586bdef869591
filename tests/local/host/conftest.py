"""Hosts for tests: started on demand, always ended."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.local.host.process import HostProcess

StartHost = Callable[..., HostProcess]


@pytest.fixture
def start_host(tmp_path: Path) -> Iterator[StartHost]:
    started: list[HostProcess] = []

    def start(app: str, *extra: str, **environment: str) -> HostProcess:
        host = HostProcess(app, tmp_path, *extra, **environment)
        started.append(host)
        return host

    yield start
    for host in started:
        host.close()
