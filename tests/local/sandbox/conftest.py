"""A sandbox in this process for most tests, and one live process for the vendors' own clients."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.request import Request, urlopen

import pytest
from starlette.testclient import TestClient

from local.sandbox.app import create_app
from local.sandbox.credentials import Credentials
from local.sandbox.exchange import Sandbox
from local.sandbox.store import Store
from tests.local.sandbox.processes import SECRETS, running


class Clock:
    """A time that moves only when told to."""

    def __init__(self) -> None:
        self.time = datetime(2026, 11, 21, 3, 0, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.time

    def forward(self, seconds: float) -> None:
        self.time += timedelta(seconds=seconds)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = Store(tmp_path / "sandbox.db")
    yield opened
    opened.close()


@pytest.fixture
def client(store: Store, clock: Clock) -> Iterator[TestClient]:
    with TestClient(create_app(Sandbox(store, Credentials.from_environment(SECRETS), clock))) as opened:
        yield opened


@pytest.fixture(scope="session")
def live_process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    db = tmp_path_factory.mktemp("live") / "sandbox.db"
    with running("local.sandbox", "--port", "0", "--db", str(db)) as (_process, address):
        yield address


@pytest.fixture
def live(live_process: str) -> str:
    """The address of an empty sandbox that listens on a real socket."""
    with urlopen(Request(f"{live_process}/_received", method="DELETE"), timeout=10) as reply:
        assert reply.status == 204
    return live_process
