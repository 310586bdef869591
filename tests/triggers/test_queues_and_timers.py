"""Queue and timer triggers: what they call, with what, and what they let through."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import azure.functions as func
import pytest
from azure.functions.meta import Datum

from functions import conductor
from functions.sentinel import due
from local.host.loader import FunctionSpec
from shared.adapters.stores.sqlite import SqliteStore
from shared.model import codec
from shared.model.errors import Reason, TransientError
from shared.model.event import Event, IncidentRequested, derive_id
from shared.model.pipeline import PIPELINE, Queue
from shared.model.signal import Severity
from shared.ports.store import Table
from shared.records import incidents
from tests import fakes
from tests.portal.world import NOW
from tests.triggers.app import Desk, load

SINGLE = [stage.queue for stage in PIPELINE if stage.queue is not Queue.SIGNALS]
MANY = ("signals", "incidents")
WITH_CLIENT = (Queue.APPROVALS, Queue.DECISIONS)
CLIENT = json.dumps({"taskHubName": "t", "creationUrls": {}, "managementUrls": {"id": "I"}, "rpcBaseUrl": "http://x/"})


@pytest.fixture
def desk(store: SqliteStore) -> Desk:
    return Desk(store)


@pytest.fixture
def functions(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> dict[str, FunctionSpec]:
    return load(monkeypatch, desk.app)


def _of(functions: dict[str, FunctionSpec], queue: Queue) -> FunctionSpec:
    (spec,) = [spec for spec in functions.values() if spec.binding.get("queueName") == queue]
    return spec


def _message(body: bytes) -> Any:
    converter = func.get_binding_registry().get("serviceBusTrigger")
    metadata = {"MessageId": Datum("m", "string"), "UserProperties": Datum("{}", "json")}
    return converter.decode(Datum(body, "bytes"), trigger_metadata=metadata)


def _run(spec: FunctionSpec, given: Any, **more: Any) -> None:
    given = [given] if spec.binding.get("queueName") in MANY and not isinstance(given, list) else given
    result = spec.call(**{spec.parameter: given, **more})
    if spec.is_async:
        asyncio.run(result)


def _requested(incident: str = "by-hand") -> Event:
    return Event(
        derive_id(incident), "/portal", derive_id("i", incident), NOW,
        IncidentRequested("maya", "Disk full", "shop", Severity.SEV2, "it says so"),
    )  # fmt: skip


@pytest.mark.parametrize("queue", SINGLE)
def test_a_message_goes_to_the_hop_of_its_own_queue(
    desk: Desk, functions: dict[str, FunctionSpec], queue: Queue
) -> None:
    """An event of another queue is refused by the hop, and only the right queue's name is in the refusal."""
    spec = _of(functions, queue)
    wrong = Queue.CLOSING if queue is Queue.INCIDENTS else queue
    body = codec.encode_event(_requested()) if queue is wrong else b"not an event"
    _run(spec, _message(body), **dict.fromkeys(spec.clients, CLIENT))
    (message,) = desk.bus.sent[Queue.QUARANTINE]
    assert message.body == body
    held = desk.store.query(Table.QUARANTINE, f"{NOW:%Y%m%d}").rows
    assert [row.values["origin"] for row in held] == [str(queue)]
    assert spec.clients == (("client",) if queue in WITH_CLIENT else ())


def test_a_message_is_worked_off(desk: Desk, functions: dict[str, FunctionSpec]) -> None:
    event = _requested()
    _run(_of(functions, Queue.INCIDENTS), _message(codec.encode_event(event)))
    loaded = incidents.load(desk.store, event.subject)
    assert loaded is not None
    assert loaded.incident.title == "Disk full"


def test_a_failing_bus_abandons_the_message(store: SqliteStore, monkeypatch: pytest.MonkeyPatch) -> None:
    down = [TransientError("down", Reason.UNAVAILABLE)] * 3
    functions = load(monkeypatch, Desk(store, fakes.FakeBus(failures=down)).app)
    with pytest.raises(TransientError):
        _run(_of(functions, Queue.KNOWLEDGE), _message(b"not an event"))


def test_signals_and_what_they_mean_for_incidents_come_in_batches(functions: dict[str, FunctionSpec]) -> None:
    many = {spec.binding["queueName"] for spec in functions.values() if spec.binding.get("cardinality") == "MANY"}
    assert many == set(MANY)


def test_signals_come_in_batches(desk: Desk, functions: dict[str, FunctionSpec]) -> None:
    spec = _of(functions, Queue.SIGNALS)
    assert spec.binding["cardinality"] == "MANY"
    _run(spec, [_message(b"one"), _message(b"two")])
    assert [message.body for message in desk.bus.sent[Queue.QUARANTINE]] == [b"one", b"two"]


def _timer(next_: str | None, past_due: bool = False) -> Any:
    status = {"Last": "0001-01-01T00:00:00+00:00", "Next": next_, "LastUpdated": ""} if next_ is not None else None
    told = {"IsPastDue": past_due, "Schedule": {}, "ScheduleStatus": status}
    return (
        func.get_binding_registry().get("timerTrigger").decode(Datum(json.dumps(told), "json"), trigger_metadata=None)
    )


class TestDue:
    now = datetime(2026, 11, 20, 2, 0, 0, 250_000, tzinfo=UTC)
    plain = datetime(2026, 11, 20, 2, 0, 0, tzinfo=UTC)

    @pytest.mark.parametrize(
        ("said", "past_due", "expected"),
        [
            pytest.param("2026-11-20T01:59:58+00:00", False, plain - timedelta(seconds=2), id="the-occurrence"),
            pytest.param("2026-11-20T02:59:58+01:00", False, plain - timedelta(seconds=2), id="in-any-zone"),
            pytest.param("2026-11-20T01:59:58+00:00", True, plain, id="overdue-is-now"),
            pytest.param("2026-11-19T01:59:58+00:00", False, plain, id="long-ago-is-now"),
            pytest.param("2026-11-20T02:01:00+00:00", False, plain, id="the-next-one-is-not-this-one"),
            pytest.param("2026-11-20T01:59:58", False, plain, id="no-zone"),
            pytest.param("soon", False, plain, id="not-a-time"),
            pytest.param(None, False, plain, id="no-status"),
        ],
    )
    def test_rule_m2(self, said: str | None, past_due: bool, expected: datetime) -> None:
        assert due(_timer(said, past_due), self.now) == expected


class TestTimers:
    def test_the_poll_asks_for_the_same_moment_when_it_runs_again(
        self, store: SqliteStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        asked: list[datetime] = []
        poller: Any = type("Poller", (), {"name": "p", "poll": lambda self, when: asked.append(when) or ()})()
        functions = load(monkeypatch, Desk(store, overrides={"pollers": {"p": poller}}).app)
        occurrence = datetime.now(UTC).replace(microsecond=0)
        for _ in range(2):
            _run(functions["poll"], _timer(occurrence.isoformat()))
        assert asked == [occurrence, occurrence]

    def test_schedules_are_settings(self, functions: dict[str, FunctionSpec]) -> None:
        assert functions["poll"].binding["schedule"] == "%ARGUS_POLL_SCHEDULE%"
        assert functions["sweep_pending"].binding["schedule"] == "%ARGUS_SWEEP_SCHEDULE%"

    def test_the_sweep_runs_with_waits_of_its_own(self, desk: Desk, functions: dict[str, FunctionSpec]) -> None:
        _run(functions["sweep_pending"], _timer(None), client=CLIENT)
        chains = [name for name in desk.store.partitions(Table.INCIDENTS) if name.startswith("system-")]
        assert len(chains) == 1, "the sweep notes which configuration runs"

    @pytest.mark.parametrize(("busy", "rounds"), [((False,), 1), ((True, True, False), 3), ((True,) * 9, 5)])
    def test_the_storm_brake_is_worked_off_again_and_again_while_it_is_on(
        self, functions: dict[str, FunctionSpec], monkeypatch: pytest.MonkeyPatch, busy: tuple[bool, ...], rounds: int
    ) -> None:
        left = list(busy)

        async def sleep(seconds: float) -> None:
            assert seconds == conductor.STORM_ROUND_S

        monkeypatch.setattr("functions.conductor.asyncio.sleep", sleep)  # nobody waits half a minute for this
        monkeypatch.setattr("shared.dispatch.work_off", lambda engine: left.pop(0))
        _run(functions["work_off_storm"], _timer(None))
        assert len(busy) - len(left) == rounds

    @pytest.mark.parametrize(
        ("every", "rounds"), [("*/30 * * * * *", 5), ("*/2 * * * * *", 1), ("0 * * * * *", 1), ("*/59 * * * * *", 10)]
    )
    def test_the_rounds_of_the_storm_brake_end_before_its_timer_comes_again(self, every: str, rounds: int) -> None:
        assert conductor.storm_rounds(every) == rounds
