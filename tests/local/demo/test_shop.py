"""The shop sells, measures, logs, and really fails on the bad release."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from local.demo.shop.journal import Journal
from local.demo.shop.metrics import Metrics
from local.demo.shop.payment import Gateway
from local.demo.shop.server import Shop
from tests.local.demo.conftest import Clock


def sell(client: TestClient, times: int) -> list[int]:
    return [client.post("/checkout", json={"amount_cents": 990}).status_code for _ in range(times)]


def test_a_healthy_shop(client: TestClient) -> None:
    assert client.get("/").status_code == 200
    assert len(client.get("/products").json()["products"]) == 24
    assert sell(client, 10) == [201] * 10
    health = client.get("/healthz")
    assert (health.status_code, health.json()["status"]) == (200, "ok")


def test_the_bad_release_breaks_checkouts_and_the_rollback_mends_them(
    client: TestClient, clock: Clock, deploy: Callable[..., Any]
) -> None:
    assert deploy("d1", version="2.4.1").status_code == 200
    failed = sell(client, 40).count(502)
    assert 20 < failed <= 40
    health = client.get("/healthz")
    assert (health.status_code, health.json()["status"]) == (503, "failing")
    line = [row for row in client.get("/logs").json() if row["level"] == "ERROR"][-1]
    assert (line["payment_timeout_ms"], line["status"], line["path"], line["release"]) == (4, 502, "/checkout", "2.4.1")
    assert "after 4 ms" in line["message"]
    assert "+payment_timeout_ms = 4" in client.get("/deploys").json()[-1]["diff"]
    deploy("d2", action="rollback", to="2.4.0")
    clock.elapsed_s += 11
    assert sell(client, 10) == [201] * 10
    assert client.get("/healthz").status_code == 200


def test_the_harmless_release_changes_only_the_page(client: TestClient, deploy: Callable[..., Any]) -> None:
    deploy("d1", version="2.4.2")
    assert len(client.get("/products").json()["products"]) == 30
    assert sell(client, 10) == [201] * 10


@pytest.mark.parametrize(
    "body", [b"{", b"[]", b'{"amount_cents": 0}', b'{"amount_cents": "9"}', b'{"amount_cents": true}', b"x" * 70_000]
)
def test_a_bad_order_is_400_and_no_outage(client: TestClient, body: bytes) -> None:
    replies = [client.post("/checkout", content=body).status_code for _ in range(6)]
    assert replies == [400] * 6
    assert client.get("/healthz").status_code == 200


def test_metrics_are_prometheus_text(client: TestClient, deploy: Callable[..., Any]) -> None:
    client.get("/products")
    sell(client, 3)
    client.get("/healthz")
    deploy("d1", version="2.4.1")
    reply = client.get("/metrics")
    assert reply.headers["content-type"].startswith("text/plain; version=0.0.4")
    sample = re.compile(r'^[a-z_]+(\{[a-z_]+="[^"]*"(,[a-z_]+="[^"]*")*\})? [0-9.e+-]+$')
    lines = reply.text.splitlines()
    assert all(line.startswith("# ") or sample.match(line) for line in lines)
    assert 'http_requests_total{service="shop",path="/checkout",status="201"} 3' in lines
    assert 'http_requests_total{service="shop",path="/products",status="200"} 1' in lines
    assert 'shop_release_info{service="shop",version="2.4.1"} 1' in lines
    assert "healthz" not in reply.text


def test_the_histogram_counts_up_and_ends_with_everything() -> None:
    metrics = Metrics("shop")
    for duration_s in (0.005, 0.0051, 0.3, 9.0):
        metrics.observe("/", 200, duration_s, 0.0)
    counts = dict(re.findall(r'bucket\{.*le="([^"]+)"\} (\d+)', metrics.exposition("1")))
    assert (counts["0.005"], counts["0.01"], counts["0.5"], counts["2.5"], counts["+Inf"]) == ("1", "2", "3", "3", "4")


def test_the_health_window_forgets_after_ten_seconds_and_needs_some_traffic() -> None:
    metrics = Metrics("shop")
    for at_s in range(4):
        metrics.observe("/", 502, 0.1, float(at_s))
    assert metrics.error_ratio(4.0) == 0.0
    metrics.observe("/", 502, 0.1, 4.0)
    assert metrics.error_ratio(4.0) == 1.0
    assert metrics.error_ratio(14.5) == 0.0


def test_every_request_leaves_a_structured_line(client: TestClient, tmp_path: Path) -> None:
    sell(client, 1)
    line = json.loads((tmp_path / "shop.log").read_text().splitlines()[-1])
    assert set(line) >= {"ts", "level", "service", "message", "path", "status", "duration_ms", "trace_id", "release"}
    assert (line["ts"], line["level"], line["service"]) == ("2026-11-21T03:00:00.000+00:00", "INFO", "shop")
    assert re.fullmatch(r"[0-9a-f]{32}", line["trace_id"])


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        pytest.param("", [0, 1, 2], id="everything"),
        pytest.param("?limit=2", [1, 2], id="the-newest"),
        pytest.param("?limit=0", [], id="none"),
        pytest.param("?since=2026-11-21T03:00:01Z", [1, 2], id="since"),
        pytest.param("?since=2026-11-21T03:00:02%2B00:00&limit=9", [2], id="since-with-offset"),
        pytest.param("?since=2026-11-21T03:00:02+00:00", [2], id="since-with-a-bare-plus"),
        pytest.param("?since=2026-11-21T03:00:02", [2], id="since-without-zone-is-utc"),
    ],
)
def test_logs_by_time_and_number(client: TestClient, clock: Clock, query: str, expected: list[int]) -> None:
    for second in range(3):
        clock.elapsed_s = float(second)
        client.get("/")
    rows = client.get(f"/logs{query}").json()
    assert [int(row["ts"][17:19]) for row in rows] == expected


@pytest.mark.parametrize("path", ["/logs?limit=many", "/logs?limit=-1", "/logs?since=yesterday", "/deploys?since=soon"])
def test_unreadable_questions_are_400(client: TestClient, path: str) -> None:
    assert client.get(path).status_code == 400


def test_the_log_turns_over_and_survives_a_torn_line(
    tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("local.demo.shop.journal.MAX_FILE_BYTES", 500)
    path = tmp_path / "shop.log"
    journal = Journal(path, "shop")
    for number in range(10):
        journal.write(clock.now(), "INFO", "x" * 100, number=number)
    journal.close()
    assert path.stat().st_size < 500
    assert (tmp_path / "shop.log.1").exists()
    path.write_text('{"ts": "2026-11-21T03:00:00+00:00", "number": 1}\n{"ts": "20')
    again = Journal(path, "shop")
    assert [row["number"] for row in again.since(None, 10)] == [1]
    again.close()


def test_payment_latency_repeats_with_its_seed_and_lies_around_four_milliseconds() -> None:
    one, two = Gateway(7), Gateway(7)
    latencies = [one.latency_s() for _ in range(500)]
    assert latencies == [two.latency_s() for _ in range(500)]
    too_slow = sum(latency > 0.004 for latency in latencies) / 500
    assert 0.85 < too_slow < 0.97
    assert max(latencies) < 0.8


def test_a_shop_never_shows_its_secret(shop: Shop) -> None:
    assert shop.deploy_secret not in repr(shop)
