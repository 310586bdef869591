"""One trace per incident over the real exporter, and figures of every hop."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import replace

import pytest
from pydantic import SecretStr

from shared.adapters.stores.sqlite import SqliteStore
from shared.adapters.telemetry import opentelemetry
from shared.config.schema import AzureMonitor, Otlp, TelemetrySettings
from shared.model.errors import Reason, TransientError
from shared.model.pipeline import STAGES, MicroAgent, Queue
from shared.ports import telemetry
from shared.ports.telemetry import NoTelemetry
from tests.adapters.telemetry.collector import Collected, attributes, collecting
from tests.pipeline.world import World

KEY = "otlp-key-that-nobody-may-read"


@pytest.fixture
def collected() -> Iterator[Collected]:
    with collecting() as found:
        yield found


def _watched(world: World, collected: Collected) -> opentelemetry.OpenTelemetry:
    wanted = TelemetrySettings(otlp=Otlp(endpoint=collected.url, headers={"x-key": SecretStr(KEY)}))
    built = opentelemetry.build(wanted, "edge,core,exec")
    world.engine = replace(world.engine, telemetry=built)
    return built


def _whole_loop(world: World) -> None:
    world.fires()
    world.run_until(lambda: bool(world.ids()) and world.incident().approval is not None)
    world.fires("HighLatency")
    world.vote()
    world.settle()
    world.resolves()
    world.resolves("HighLatency")
    world.settle()


def test_every_hop_of_an_incident_is_in_one_trace_whose_id_is_the_incidents(
    store: SqliteStore, collected: Collected
) -> None:
    world = World(store)
    built = _watched(world, collected)
    _whole_loop(world)
    built.close()
    incident = uuid.UUID(world.ids()[0])
    own = [span for span in collected.spans if span.trace_id == incident.bytes]
    stages = {attributes(span)["messaging.destination.name"] for span in own if span.name.endswith(" process")}
    assert stages == {str(queue) for queue in STAGES} - {"signals"}
    agents = {attributes(span).get("argus.micro_agent") for span in own} - {None}
    assert agents == {str(name) for name in MicroAgent} - {"collector", "evaluator", "alert_router", "conductor"}
    assert all(attributes(s)["argus.incident"] == str(incident) for s in own if "argus.micro_agent" in attributes(s))
    elsewhere = [s for s in collected.spans if s.trace_id != incident.bytes]
    assert {s.name for s in elsewhere} == {"signals process", "evaluator", "alert_router"}


def test_the_trace_is_one_tree(store: SqliteStore, collected: Collected) -> None:
    world = World(store)
    built = _watched(world, collected)
    _whole_loop(world)
    built.close()
    own = [span for span in collected.spans if span.trace_id == uuid.UUID(world.ids()[0]).bytes]
    known = {span.span_id for span in own}
    roots = [span for span in own if not span.parent_span_id]
    assert [span.name for span in roots] == ["incidents process"]
    assert all(span.parent_span_id in known for span in own if span.parent_span_id)
    assert len(known) == len(own)
    routed = next(span for span in collected.spans if span.name == "alert_router")
    assert roots[0].links[0].span_id == routed.span_id, "the way back to the webhook"


def test_a_hop_that_fails_says_why_and_is_counted(store: SqliteStore, collected: Collected) -> None:
    world = World(store)
    built = _watched(world, collected)
    world.chat.failures += [TransientError("the chat is away", Reason.UNAVAILABLE, sent=False)] * 2
    world.fires()
    world.run_until(lambda: bool(world.ids()) and world.incident().approval is not None)
    world.settle()
    built.close()
    failed = [s for s in collected.spans if attributes(s).get("argus.ending") == "again"]
    assert {attributes(s)["argus.reason"] for s in failed} == {"the chat is away"}
    assert all(s.status.code == 2 for s in failed)
    retries = collected.metrics["argus.retries"].sum.data_points
    assert [attributes(point)["queue"] for point in retries] == [str(Queue.NOTIFICATIONS)]
    assert retries[0].as_int == len(failed) > 0


def test_metrics_tell_hops_latencies_and_outcomes(store: SqliteStore, collected: Collected) -> None:
    world = World(store)
    built = _watched(world, collected)
    _whole_loop(world)
    built.received("azure_monitor", 3)
    built.close()
    assert set(collected.metrics) >= {"argus.hops", "argus.hop.duration", "argus.hop.wait", "argus.work.duration"}
    hops = {(attributes(p)["queue"], attributes(p)["ending"]) for p in collected.metrics["argus.hops"].sum.data_points}
    assert ("incidents", "done") in hops
    worked = {attributes(p)["micro_agent"] for p in collected.metrics["argus.work.duration"].histogram.data_points}
    assert worked >= {"rca", "executor", "publisher"}
    assert collected.metrics["argus.signals"].sum.data_points[0].as_int == 3


def test_the_key_goes_to_the_collector_and_nowhere_else(store: SqliteStore, collected: Collected) -> None:
    world = World(store)
    built = _watched(world, collected)
    world.fires()
    world.settle()
    built.close()
    assert {headers["x-key"] for headers in collected.headers} == {KEY}
    assert not [body for body in collected.raw if KEY.encode() in body]


def test_it_is_off_by_default(store: SqliteStore) -> None:
    world = World(store)
    assert isinstance(world.engine.telemetry, NoTelemetry)
    with world.engine.telemetry.work(MicroAgent.RCA):
        assert telemetry.traceparent() == ""


def test_azure_monitor_is_a_second_place() -> None:
    connection = "InstrumentationKey=00000000-0000-0000-0000-000000000000;IngestionEndpoint=http://127.0.0.1:9/"
    wanted = TelemetrySettings(azure_monitor=AzureMonitor(connection_string=SecretStr(connection)))
    processors, readers = opentelemetry.exporters(wanted)
    assert (len(processors), len(readers)) == (1, 1)
    for part in (*processors, *readers):
        part.shutdown()
