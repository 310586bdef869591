"""The edge: who is refused with what, what is kept, and how long anybody waits."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from functions import edge
from local.host.loader import FunctionSpec
from shared.adapters.stores.sqlite import SqliteStore
from shared.dispatch import coalescing
from shared.model.errors import Reason, TransientError
from shared.model.pipeline import Queue
from shared.model.signal import Severity
from shared.records import payloads, quarantine
from tests import fakes
from tests.portal.world import NOW
from tests.triggers.app import KEYS, BlockedBus, Desk, ask, asked, load

KEY = {"x-functions-key": KEYS["default"]}
FIRING = json.dumps(
    [{"labels": {"alertname": "Slow", "service": "shop"}, "startsAt": "2026-11-20T02:00:00Z", "status": "firing"}]
).encode()
BIG = b'"' + b"x" * (1024 * 1024) + b'"'


@pytest.fixture
def desk(store: SqliteStore) -> Desk:
    return Desk(store)


@pytest.fixture
def edges(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> dict[str, FunctionSpec]:
    return load(monkeypatch, desk.app, "edge")


def _sent(desk: Desk) -> int:
    return len(desk.bus.sent[Queue.SIGNALS])


class TestRefusals:
    @pytest.mark.parametrize(
        ("source", "key", "body", "status"),
        [
            pytest.param("alertmanager", KEYS["default"], FIRING, 202, id="the-default-key-opens-every-source"),
            pytest.param("azure_monitor", KEYS["azure_monitor"], FIRING, 202, id="a-source-has-its-own"),
            pytest.param("alertmanager", KEYS["azure_monitor"], FIRING, 401, id="which-opens-no-other"),
            pytest.param("alertmanager", "", FIRING, 401, id="no-key"),
            pytest.param("alertmanager", "wrong", FIRING, 401, id="wrong-key"),
            pytest.param("nagios", "wrong", BIG, 401, id="401-comes-before-404-and-413"),
            pytest.param("nagios", KEYS["azure_monitor"], FIRING, 401, id="unknown-sources-are-told-to-key-holders"),
            pytest.param("nagios", KEYS["default"], BIG, 404, id="404-comes-before-413"),
            pytest.param("alertmanager", KEYS["default"], b"x" + BIG, 413, id="413-comes-before-400"),
            pytest.param("alertmanager", KEYS["default"], b"disk full", 400, id="not-json"),
            pytest.param("alertmanager", KEYS["default"], b"", 400, id="nothing"),
            pytest.param("alertmanager", KEYS["default"], b"\xff\xfe{}", 400, id="bytes-that-are-no-text"),
        ],
    )
    def test_in_this_order(
        self, desk: Desk, edges: dict[str, FunctionSpec], source: str, key: str, body: bytes, status: int
    ) -> None:
        answer = asked(edges["receive_signals"], body=body, headers={"x-functions-key": key}, source=source)
        assert answer.status == status
        assert (_sent(desk) > 0) is (status == 202)
        if status >= 400:
            assert answer.headers["content-type"] == "application/problem+json"
            assert answer.headers["x-content-type-options"] == "nosniff"
            assert set(answer.json) == {"type", "title", "status", "detail"}
            assert answer.json["status"] == status
            assert not [value for value in KEYS.values() if value.encode() in answer.body]

    def test_404_lists_the_sources(self, edges: dict[str, FunctionSpec]) -> None:
        answer = asked(edges["receive_signals"], body=b"{}", headers=KEY, source="nagios")
        assert answer.json["detail"] == "The sources are: alertmanager, azure_monitor."

    @pytest.mark.parametrize(
        ("headers", "query", "status"),
        [
            pytest.param({}, {"code": KEYS["default"]}, 202, id="in-the-address"),
            pytest.param({"X-Functions-Key": KEYS["default"]}, {}, 202, id="header-in-any-case"),
            pytest.param({"x-functions-key": "wrong"}, {"code": KEYS["default"]}, 401, id="the-header-counts"),
            pytest.param({}, {"code": ""}, 401, id="an-empty-key-is-none"),
            pytest.param({}, {"code": KEYS["default"] + " "}, 401, id="a-longer-one-is-another"),
            pytest.param({"x-functions-key": "ключ"}, {}, 401, id="not-ascii"),
            pytest.param({"x-functions-key": "\udcff"}, {}, 401, id="half-a-surrogate"),
            pytest.param({"x-functions-key": "x" * 100_000}, {}, 401, id="huge"),
            pytest.param({"x-functions-key": KEYS["alertmanager"]}, {}, 202, id="a-key-that-is-not-ascii"),
            pytest.param(
                {"x-functions-key": KEYS["alertmanager"].encode().decode("latin-1")}, {}, 202, id="as-hosts-decode-it"
            ),
        ],
    )
    def test_the_key(
        self, edges: dict[str, FunctionSpec], headers: dict[str, str], query: dict[str, str], status: int
    ) -> None:
        answer = asked(edges["receive_signals"], body=FIRING, headers=headers, query=query, source="alertmanager")
        assert answer.status == status

    def test_an_empty_configured_key_opens_nothing(self, store: SqliteStore, monkeypatch: pytest.MonkeyPatch) -> None:
        edges = load(monkeypatch, Desk(store, keys={"default": "", "alertmanager": ""}).app, "edge")
        for headers in ({}, {"x-functions-key": ""}):
            assert asked(edges["receive_signals"], body=FIRING, headers=headers, source="alertmanager").status == 401

    def test_the_limit_is_inclusive(self, edges: dict[str, FunctionSpec]) -> None:
        for extra, status in ((0, 202), (1, 413)):
            body = b'{"text": "' + b"x" * (1024 * 1024 - 12 + extra) + b'"}'
            assert asked(edges["receive_signals"], body=body, headers=KEY, source="alertmanager").status == status


class TestKept:
    def test_what_is_not_json_goes_to_quarantine_without_its_secrets(
        self, desk: Desk, edges: dict[str, FunctionSpec]
    ) -> None:
        body = b'disk full at https://x.example/?code=hunter2-in-an-address {"password": "hunter2-in-a-member"}'
        answer = asked(edges["receive_signals"], body=body, headers=KEY, source="alertmanager")
        assert answer.status == 400
        assert "line 1, column 1" in answer.json["title"]
        (kept,) = quarantine.listed(desk.store, NOW)
        raw = payloads.get(desk.store, kept.payload) or b""
        assert raw.startswith(b"disk full")
        assert b"hunter2" not in raw
        assert (kept.origin, kept.reason) == ("alertmanager", Reason.BAD_INPUT)

    def test_too_large_a_body_is_not_kept(self, desk: Desk, edges: dict[str, FunctionSpec]) -> None:
        asked(edges["receive_signals"], body=BIG, headers=KEY, source="alertmanager")
        assert quarantine.listed(desk.store, NOW) == ()

    @pytest.mark.parametrize("body", [b'{"disk": "full"}', b"[]", b'"text"', b"null", b"7", b"[1, [2]]"])
    def test_json_in_no_known_shape_is_a_sev4_alert_with_its_body(
        self, desk: Desk, edges: dict[str, FunctionSpec], body: bytes
    ) -> None:
        answer = asked(edges["receive_signals"], body=body, headers=KEY, source="azure_monitor")
        assert answer.status == 202
        assert (answer.json["signals"], answer.json["recognised"]) == (1, False)
        ((signal,),) = [event.data.signals for event in desk.bus.events(Queue.SIGNALS)]  # type: ignore[union-attr]
        assert (signal.severity, signal.kind, signal.recognised) == (Severity.SEV4, "alert", False)
        assert payloads.get(desk.store, signal.payload) == body

    def test_the_same_delivery_has_the_same_receipt(self, desk: Desk, edges: dict[str, FunctionSpec]) -> None:
        answers = [asked(edges["receive_signals"], body=FIRING, headers=KEY, source="alertmanager") for _ in range(2)]
        assert answers[0].json == answers[1].json
        assert len(desk.bus.delivered(Queue.SIGNALS)) == 1


class TestOutage:
    @pytest.fixture
    def gate(self) -> Iterator[threading.Event]:
        gate = threading.Event()
        yield gate
        gate.set()  # lets the threads go, or the interpreter waits for them at its end

    @pytest.mark.parametrize("failing", ["bus", "store"])
    def test_what_is_down_is_a_503_at_once(
        self, store: SqliteStore, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, failing: str
    ) -> None:
        bus = fakes.FakeBus(failures=[TransientError("down", Reason.UNAVAILABLE)] if failing == "bus" else [])
        kept = store if failing == "bus" else SqliteStore(tmp_path)  # a folder is no database
        desk = Desk(store, bus)
        app = replace(desk.app, engine=replace(desk.app.engine, ports=replace(desk.ports, store=kept)))
        answer = asked(
            load(monkeypatch, app, "edge")["receive_signals"], body=FIRING, headers=KEY, source="alertmanager"
        )
        assert (answer.status, answer.headers["retry-after"]) == (503, "5")
        assert answer.headers["content-type"] == "application/problem+json"

    def test_a_bus_that_hangs_is_a_503_within_5_s_for_everybody_and_the_pages_go_on(
        self, store: SqliteStore, monkeypatch: pytest.MonkeyPatch, gate: threading.Event
    ) -> None:
        bus = BlockedBus(gate=gate)
        monkeypatch.setattr(edge, "TOGETHER", coalescing.Together(coalescing.Lane("intake", threads=2, waiting=0)))
        monkeypatch.setattr(coalescing, "MAX_WAITING", 5)
        edges = load(monkeypatch, Desk(store, bus).app, "edge")

        async def storm() -> list[int]:
            async def one(number: int) -> int:
                body = json.dumps({"number": number}).encode()
                return (await ask(edges["receive_signals"], body=body, headers=KEY, source="alertmanager")).status

            senders = [asyncio.ensure_future(one(number)) for number in range(12)]
            page = await ask(edges["portal"], "GET", headers=KEY, path="api/incidents")
            assert page.status == 200
            assert sum(sender.done() for sender in senders) == 7  # 5 wait; who finds no room is told at once
            return await asyncio.gather(*senders)

        assert coalescing.GIVE_UP_S + 1.5 < 5
        began = time.monotonic()
        assert asyncio.run(storm()) == [503] * 12
        assert time.monotonic() - began < 30, "nobody waited for the bus, which hangs for a minute"
        assert bus.asked <= 2

    def test_a_signal_that_was_only_slow_is_kept_all_the_same(
        self, store: SqliteStore, monkeypatch: pytest.MonkeyPatch, gate: threading.Event
    ) -> None:
        bus = BlockedBus(gate=gate)
        monkeypatch.setattr(edge, "TOGETHER", coalescing.Together(edge.INTAKE, give_up_s=0.05))
        edges = load(monkeypatch, Desk(store, bus).app, "edge")
        assert asked(edges["receive_signals"], body=FIRING, headers=KEY, source="alertmanager").status == 503
        gate.set()
        monkeypatch.setattr(edge, "TOGETHER", coalescing.Together(edge.INTAKE))
        assert asked(edges["receive_signals"], body=FIRING, headers=KEY, source="alertmanager").status == 202
        assert len(bus.delivered(Queue.SIGNALS)) == 1

    def test_room_is_given_back(self, monkeypatch: pytest.MonkeyPatch) -> None:
        lane = coalescing.Lane("test", threads=1, waiting=0)

        def fail() -> None:
            raise ValueError("no")

        async def often() -> None:
            for _ in range(5):
                with pytest.raises(ValueError, match="no"):
                    await lane.run(fail)
                assert await lane.run(lambda: 7) == 7

        asyncio.run(often())

    def test_the_loop_is_free_meanwhile(
        self, store: SqliteStore, monkeypatch: pytest.MonkeyPatch, gate: threading.Event
    ) -> None:
        edges = load(monkeypatch, Desk(store, BlockedBus(gate=gate)).app, "edge")

        async def meanwhile() -> None:
            call = ask(edges["receive_signals"], body=FIRING, headers=KEY, source="alertmanager")
            hanging = asyncio.ensure_future(call)
            answer = await ask(edges["health"], "GET")
            assert not hanging.done()
            gate.set()
            assert (answer.status, (await hanging).status) == (200, 202)

        asyncio.run(meanwhile())


class TestPages:
    def test_cookies_and_security_headers_survive_the_library(self, edges: dict[str, FunctionSpec]) -> None:
        form = {"content-type": "Application/X-WWW-Form-Urlencoded; charset=utf-8"}
        answer = asked(edges["portal"], body=b"user=maya&next=%2Falerts&user=ruth", headers=form, path="signin")
        assert (answer.status, answer.headers["location"]) == (303, "/alerts")
        (cookie,) = answer.cookies
        assert "httponly" in cookie.lower()
        assert "samesite=lax" in cookie.lower()
        assert answer.headers["content-security-policy"].startswith("default-src 'self'")
        assert answer.headers["x-frame-options"] == "DENY"
        seen = asked(edges["portal"], "GET", headers={"cookie": cookie.partition(";")[0]}, path="api/session")
        assert seen.json["user"] == "maya"

    def test_several_cookies_stay_several(self) -> None:
        cookies = ("a=1; Path=/; HttpOnly", "b=2; Path=/; Expires=Wed, 21 Oct 2026 07:28:00 GMT")
        response = edge.Response(200, b"x", "text/html", {"X-One": "1"}, cookies)
        answer = edge._response(response)
        assert answer.headers.get_all("Set-Cookie") == list(cookies)
        assert answer.headers.get_all("content-type") == ["text/html"]

    def test_head_answers_like_get_without_a_body(self, edges: dict[str, FunctionSpec]) -> None:
        got = asked(edges["portal"], "GET", headers=KEY, path="api/incidents")
        head = asked(edges["portal"], "HEAD", headers=KEY, path="api/incidents")
        assert (head.status, head.headers, head.body) == (got.status, got.headers, b"")
        assert got.body
        assert asked(edges["health"], "HEAD").body == b""

    @pytest.mark.parametrize(
        ("path", "status"),
        [
            ("", 200), ("api/incidents", 200), ("api/nothing", 404), ("static/argus.css", 200),
            ("static/../app.py", 404), ("incidents/\u2603 %2F..", 404), ("api/signals/azure_monitor", 404),
            ("x" * 5000, 404), ("\x00", 404), ("//example.org", 404),
        ],
        ids=repr,
    )  # fmt: skip
    def test_addresses(self, edges: dict[str, FunctionSpec], path: str, status: int) -> None:
        assert asked(edges["portal"], "GET", headers=KEY, query={"code": KEYS["default"]}, path=path).status == status

    def test_a_form_with_too_many_fields(self, edges: dict[str, FunctionSpec]) -> None:
        form = {"content-type": "application/x-www-form-urlencoded"}
        answer = asked(edges["portal"], body=b"a=1&" * 200, headers=form, path="signin")
        assert (answer.status, answer.headers["content-type"]) == (400, "application/problem+json")

    def test_pages_that_hang_are_a_503(
        self, desk: Desk, edges: dict[str, FunctionSpec], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        gate = threading.Event()
        monkeypatch.setattr(edge, "GIVE_UP_S", 0.05)
        hanging: Any = type("Hanging", (), {"respond": lambda self, request: gate.wait(60)})()
        stuck = load(monkeypatch, replace(desk.app, portal=hanging), "edge")
        answer = asked(stuck["portal"], "GET", path="")
        gate.set()
        assert (answer.status, answer.headers["retry-after"]) == (503, "5")
        assert answer.headers["content-type"] == "application/problem+json"
