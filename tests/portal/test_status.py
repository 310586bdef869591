"""The status page, its JSON, the banner, what is missing on incidents, and whether this instance is ready."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest

from functions import edge
from shared.adapters.identity.development import DevelopmentSignIn
from shared.adapters.stores.sqlite import SqliteStore
from shared.model import missing
from shared.model.errors import Reason, TransientError
from shared.model.limits import TIMER_LATE_S
from shared.model.missing import PartKind
from shared.model.pipeline import Queue
from shared.model.signal import Severity
from shared.portal import Portal, Request, Response, readiness
from shared.portal.schema import of_answer
from shared.portal.status import StatusView
from shared.ports.queue_watch import QueueState
from shared.records import heartbeats
from shared.records.heartbeats import Beat, Raised, Report, WaitingApproval, WaitingHold
from tests import fakes
from tests.pipeline.faults import FragileStore, Points
from tests.portal.world import INCIDENT, KEY, NOW, PEOPLE, Clock, World, incident, keep

PROBLEM = Raised("bus fails", "The bus cannot be used", "3 attempts failed.", Severity.SEV1, NOW, NOW, direct=True)


def beat(site: World, **ages_s: float) -> None:
    """Timers that ran so many seconds ago; the others ran just now."""
    for name in TIMER_LATE_S:
        heartbeats.put_beat(site.store, Beat(f"timer {name}", ok_at=NOW - timedelta(seconds=ages_s.get(name, 0))))


def page(site: World, address: str) -> str:
    """A page as a signed-in person sees it."""
    return site.browser("maya").get(address).body.decode()


def status(site: World) -> dict[str, Any]:
    answer = site.portal.respond(Request("GET", "/api/status", headers={"x-functions-key": KEY}))
    assert answer.status == 200
    whole: dict[str, Any] = json.loads(answer.body)
    return whole


def test_before_anybody_looked_it_says_so(site: World) -> None:
    view = status(site)
    assert view["watch"] == "never"
    assert {timer["state"] for timer in view["timers"]} == {"never"}
    assert "has not looked at itself yet" in page(site, "/status")


def test_it_shows_timers_queues_and_what_waits(site: World) -> None:
    beat(site, poll=301)
    heartbeats.put_beat(site.store, Beat("channel ops-teams", failed_at=NOW, failures=4, since=NOW, why="<b>503</b>"))
    queues = (QueueState(Queue.SIGNALS, NOW - timedelta(seconds=121)), QueueState(Queue.CLOSING, None, 2, NOW))
    held = (WaitingHold(INCIDENT, "the kill switch is on", NOW, NOW),)
    asked = (WaitingApproval("a1", INCIDENT, "Roll back", NOW + timedelta(minutes=5)),)
    heartbeats.put_report(site.store, Report(NOW, queues, held, asked, 3))
    heartbeats.put_raised(site.store, PROBLEM)
    view = status(site)
    assert view["watch"] == "ok"
    assert {t["name"]: t["state"] for t in view["timers"]}["poll"] == "late"
    assert [(part["name"], part["state"], part["failures"]) for part in view["parts"]] == [
        ("channel ops-teams", "failing", 4)
    ]
    assert [(q["name"], q["state"], q["oldest_s"], q["dead"]) for q in view["queues"]] == [
        ("signals", "stuck", 121.0, 0), ("closing", "ok", 0.0, 2),
    ]  # fmt: skip
    assert view["approvals"][0]["expiring"] is True
    shown = page(site, "/status")
    for words in ("The bus cannot be used", "late", "stuck", "the kill switch is on", "Roll back", "nobody has voted"):
        assert words in shown
    assert "<b>503</b>" not in shown


def test_the_json_keeps_its_schema(site: World) -> None:
    import jsonschema

    beat(site)
    heartbeats.put_report(site.store, Report(NOW, (QueueState(Queue.SIGNALS, NOW),)))
    jsonschema.validate(status(site), of_answer(StatusView))


def test_a_banner_stands_above_the_list_while_something_is_wrong(site: World) -> None:
    beat(site)
    assert "ARGUS itself needs a person" not in page(site, "/")
    heartbeats.put_raised(site.store, PROBLEM)
    assert "The bus cannot be used since" in page(site, "/")
    heartbeats.drop(site.store, raised=[PROBLEM])
    assert "ARGUS itself needs a person" not in page(site, "/")
    beat(site, watch=301)
    assert "ARGUS does not watch itself any more" in page(site, "/")


def test_what_is_missing_stands_on_the_page_the_list_and_in_the_json(site: World) -> None:
    lacking = missing.wait((), PartKind.CHANNEL, "ops-teams", "e1", "<i>503</i>", NOW)
    keep(site.store, incident(missing=lacking))
    said = "ops-teams cannot be reached since 20 Nov 02:13 UTC; 1 card waits"
    assert said in page(site, f"/incidents/{INCIDENT}")
    assert said in page(site, "/")
    assert "<i>503</i>" not in page(site, f"/incidents/{INCIDENT}") + page(site, "/")
    answer = json.loads(
        site.portal.respond(Request("GET", f"/api/incidents/{INCIDENT}", headers={"x-functions-key": KEY})).body
    )
    [part] = answer["missing"]
    assert (part["kind"], part["name"], part["waiting"]) == ("channel", "ops-teams", ["e1"])
    assert part["says"].startswith(said)


# Ready


@dataclass
class FakeQueueWatch:
    """A bus that answers, refuses, or hangs."""

    why: str = ""
    gate: threading.Event | None = None
    asked: int = 0

    def reach(self) -> None:
        """See the port."""
        self.asked += 1
        if self.gate is not None:
            assert self.gate.wait(60)
        if self.why:
            raise TransientError(self.why, Reason.UNAVAILABLE)

    def look(self, queue: Queue) -> QueueState:
        """See the port."""
        return QueueState(queue, None)


@dataclass
class Door:
    """A portal whose store and bus a test can break."""

    inner: SqliteStore
    anonymous_read: bool = False
    bus: FakeQueueWatch = field(default_factory=FakeQueueWatch)
    clock: Clock = field(default_factory=Clock)

    def __post_init__(self) -> None:
        self.store = FragileStore(self.inner, Points())
        portal = {
            "base_url": "http://127.0.0.1:7071", "session_secret": "only-for-tests-0123456789abcdef0123",
            "keys": {"default": KEY}, "anonymous_read": self.anonymous_read,
        }  # fmt: skip
        settings = fakes.settings(portal=portal, people=PEOPLE)
        ports = fakes.ports(self.store, settings, queue_watch=self.bus)
        sign_in = DevelopmentSignIn(settings, "", self.clock)
        self.portal = Portal(ports, sign_in, sign_in, self.clock)

    def ask(self, key: str = "", **query: str) -> tuple[int, dict[str, Any]]:
        headers = {"x-functions-key": key} if key else {}
        answer: Response = self.portal.ready(Request("GET", "/api/ready", query, headers))
        expected = "application/json" if answer.status == 200 else "application/problem+json"
        assert answer.content_type == expected
        return answer.status, json.loads(answer.body)

    def beat(self) -> None:
        heartbeats.put_beat(self.inner, Beat("timer watch", ok_at=self.clock.now))


@pytest.fixture
def door(store: SqliteStore) -> Door:
    return Door(store)


def test_ready_when_everything_answers(door: Door) -> None:
    door.beat()
    code, body = door.ask()
    assert (code, body["status"]) == (200, "ok")
    assert body["parts"] == {"store": "ok", "bus": "ok", "config": "ok", "watch": "ok"}


@pytest.mark.parametrize("part", ["store", "bus"])
def test_not_ready_says_which_part_and_only_readers_hear_why(door: Door, part: str) -> None:
    door.store.down = part == "store"
    door.bus.why = "Service Bus: ServiceBusConnectionError" if part == "bus" else ""
    code, body = door.ask()
    assert (code, body["status"], body["title"]) == (503, 503, "not ready")
    assert body["parts"][part] == "failed"
    assert set(body["parts"].values()) <= {"ok", "failed", "stale", "starting"}
    code, body = door.ask(KEY)
    assert code == 503
    assert body["parts"][part]["why"]
    assert door.ask("wrong key")[1]["parts"][part] == "failed"


def test_a_watch_that_is_away_shows_and_takes_no_instance_out_of_service(door: Door) -> None:
    assert door.ask()[1]["parts"]["watch"] == "starting"
    door.clock.now += timedelta(seconds=301)
    code, body = door.ask()
    assert (code, body["status"], body["parts"]["watch"]) == (200, "degraded", "stale")
    assert door.ask(strict="1")[0] == 503
    door.beat()
    door.clock.now += timedelta(seconds=3)
    assert door.ask()[1]["status"] == "ok"
    door.clock.now += timedelta(seconds=301)
    assert door.ask()[1]["parts"]["watch"] == "stale"


def test_it_cannot_be_used_to_wear_out_the_bus(door: Door) -> None:
    for _ in range(200):
        door.ask()
    assert door.bus.asked == 1
    door.clock.now += timedelta(seconds=2)
    door.ask()
    assert door.bus.asked == 2


@pytest.fixture
def gate() -> Iterator[threading.Event]:
    gate = threading.Event()
    yield gate
    gate.set()


def test_a_bus_that_hangs_is_a_503_in_time_and_is_not_asked_twice(
    store: SqliteStore, gate: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert readiness.LIMIT_S < edge.GIVE_UP_S, "who asks hears it from us, not from the edge that gives up"
    monkeypatch.setattr(readiness, "LIMIT_S", 0.25)
    door = Door(store, bus=FakeQueueWatch(gate=gate))
    done: list[int] = []
    asking = threading.Thread(target=lambda: done.append(door.ask()[0]))
    asking.start()
    asking.join(20)
    assert done == [503]
    door.clock.now += timedelta(seconds=3)
    _, body = door.ask(KEY)
    assert body["parts"]["bus"]["why"] == "no answer within 0.25 s"
    assert body["parts"]["store"]["state"] == "ok", "the others are asked all the same"
    assert door.bus.asked == 1


def test_whoever_may_read_everything_may_read_why(store: SqliteStore) -> None:
    assert "why" in Door(store, anonymous_read=True).ask()[1]["parts"]["store"]
