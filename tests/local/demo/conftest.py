"""A shop in this process, with a clock that tests can move."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from local.demo.shop.server import Shop, create_app
from local.demo.shop.signature import sign
from tests.local.sandbox.processes import SECRETS

SECRET = SECRETS["ARGUS_SHOP_DEPLOY_SECRET"]


class Clock:
    """Wall time and monotonic time that move together, and only when told to."""

    def __init__(self) -> None:
        self.elapsed_s = 0.0

    def now(self) -> datetime:
        return datetime(2026, 11, 21, 3, 0, tzinfo=UTC) + timedelta(seconds=self.elapsed_s)

    def monotonic(self) -> float:
        return self.elapsed_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def shop(tmp_path: Path, clock: Clock) -> Iterator[Shop]:
    opened = Shop(tmp_path, SECRET, now=clock.now, clock=clock.monotonic)
    yield opened
    opened.close()


@pytest.fixture
def client(shop: Shop) -> Iterator[TestClient]:
    with TestClient(create_app(shop)) as opened:
        yield opened


def signed(order: Any, message_id: str, at: datetime, secret: str = SECRET) -> dict[str, Any]:
    """The arguments of a POST to `/deploy`."""
    body = json.dumps(order).encode()
    seconds = int(at.timestamp())
    headers = {"webhook-id": message_id, "webhook-timestamp": str(seconds)}
    headers["webhook-signature"] = sign(secret, message_id, seconds, body)
    return {"content": body, "headers": headers}


@pytest.fixture
def deploy(client: TestClient, clock: Clock) -> Callable[..., Any]:
    def post(message_id: str, **order: Any) -> Any:
        return client.post("/deploy", **signed(order, message_id, clock.now()))

    return post
