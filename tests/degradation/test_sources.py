"""No metrics source, or a slow one; a body nobody can read: the cause is looked for with what is left, and again."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta

import pytest

from shared import dispatch
from shared.adapters.evidence import investigator as investigating
from shared.adapters.evidence.investigator import PooledInvestigator
from shared.adapters.registry import Surroundings
from shared.adapters.sources import SOURCES
from shared.model.diagnosis import Evidence
from shared.model.errors import PermanentError
from shared.model.event import DiagnosisMade, InvestigationRequested
from shared.model.lifecycle import State
from shared.model.missing import PartKind
from shared.ports.evidence import EvidenceSource, Question
from shared.records import index, payloads, quarantine
from shared.wiring import ROOT
from tests.adapters.evidence.lateness import Patience
from tests.agents import cases
from tests.degradation.outage import HOUR, Unplugged, assert_nothing_lost_or_doubled

EVERY_SOURCE = frozenset(item.source for item in cases.bad_release())


def test_no_metrics_source_for_an_hour(world: Unplugged) -> None:
    """Nothing can be said about the cause; as soon as the sources are back it is found, and people are asked."""
    world.send_everything()
    world.sources.away = set(EVERY_SOURCE)
    world.fires()
    world.run_until(lambda: bool(world.ids()))
    world.pass_time(timedelta(minutes=5))
    assert world.incident().state is State.INVESTIGATING
    assert [m.kind for m in world.missing()] == [PartKind.EVIDENCE] * len(EVERY_SOURCE)
    assert all("the cause was looked for without it" in said for said in world.says())
    assert world.on_the_list() == tuple(world.says())
    assert len(world.chat.posts) == 1, "people were told of the incident all the same"
    assert len(world.desk.tickets) == 1
    world.pass_time(HOUR - timedelta(minutes=5))
    looks = len(world.sent(InvestigationRequested))
    assert 5 <= looks <= 9, "again after a minute, then ever less often"
    assert len(world.sent(DiagnosisMade)) == 1, "a look that finds nothing new starts nothing"
    world.sources.away.clear()
    world.until_asked(within=timedelta(minutes=16))
    assert not world.missing()
    world.approve()
    world.end()
    assert_nothing_lost_or_doubled(world)


def test_a_source_that_comes_back_and_changes_nothing_starts_nothing(world: Unplugged) -> None:
    """The log is enough to name the release here; the diff that comes later agrees with it."""
    world.send_everything()
    away = sorted(EVERY_SOURCE)[-1]
    world.sources.away = {away}
    world.fires()
    world.run_until(lambda: bool(world.ids()) and world.incident().diagnosis is not None)
    world.pass_time(timedelta(minutes=3))
    diagnosis, looks = len(world.sent(DiagnosisMade)), len(world.sent(InvestigationRequested))
    evidence = world.rows("evidence|")
    world.pass_time(timedelta(minutes=20))
    assert world.rows("evidence|") == evidence, "a look that finds nothing new leaves nothing behind"
    world.sources.away.clear()
    world.pass_time(timedelta(minutes=16))
    assert not world.missing()
    assert len(world.sent(DiagnosisMade)) <= diagnosis + 1
    assert len(world.sent(InvestigationRequested)) <= looks + 4


def test_nobody_looks_again_once_it_is_over(world: Unplugged) -> None:
    world.sources.away = set(EVERY_SOURCE)
    world.fires()
    world.run_until(lambda: bool(world.ids()))
    world.pass_time(timedelta(minutes=2))
    assert world.missing()
    world.end_at_source()
    world.pass_time(timedelta(minutes=20))
    looks = len(world.sent(InvestigationRequested))
    world.pass_time(HOUR)
    assert len(world.sent(InvestigationRequested)) == looks
    assert not world.missing(), "an incident that is over waits for no source"


class Stuck:
    """A source that hangs until it is let go."""

    def __init__(self) -> None:
        self.gate = threading.Event()

    def gather(self, question: Question) -> tuple[Evidence, ...]:
        """See the port."""
        assert self.gate.wait(30)
        return tuple(item for item in cases.bad_release() if item.kind == "metric")


class Quick:
    """A source that answers at once."""

    def gather(self, question: Question) -> tuple[Evidence, ...]:
        """See the port."""
        return tuple(item for item in cases.bad_release() if item.kind != "metric")


@pytest.fixture
def stuck() -> Iterator[Stuck]:
    source = Stuck()
    yield source
    source.gate.set()


def test_an_evidence_source_that_is_slow_is_left_out_and_asked_again(
    world: Unplugged, stuck: Stuck, monkeypatch: pytest.MonkeyPatch
) -> None:
    patience = Patience(late=1)
    monkeypatch.setattr(investigating, "wait_for", patience)  # who is late does not depend on the machine
    sources: dict[str, tuple[EvidenceSource, None]] = {"metrics": (stuck, None), "deploys": (Quick(), None)}
    investigator = PooledInvestigator(sources, timeout_s=0.05, parallel=8)
    world.engine = replace(world.engine, ports=replace(world.engine.ports, investigator=investigator))
    world.fires()
    world.run_until(lambda: bool(world.ids()) and world.incident().diagnosis is not None)
    world.pass_time(timedelta(seconds=70))
    assert world.says()
    assert world.says()[0].startswith("metrics cannot be reached since")
    assert "did not answer within 0.05 s" in world.says()[0]
    stuck.gate.set()
    patience.late = 0
    world.pass_time(timedelta(minutes=16))
    assert not world.missing()
    investigator.close()


@pytest.mark.parametrize(
    "body", [b"{", b'{"schemaId": "azureMonitorCommonAlertSchema", "data": null}', b'{"never": ["seen"]}'],
    ids=["not-json", "half-a-schema", "no-known-shape"],
)  # fmt: skip
def test_a_body_that_cannot_be_read_is_kept_and_shown(world: Unplugged, body: bytes) -> None:
    near = Surroundings(ROOT, "http://127.0.0.1:7071", world.settings.services)
    source = SOURCES["azure_monitor"].build("azure_monitor", SOURCES["azure_monitor"].config(), near)
    world.engine = replace(world.engine, ports=replace(world.engine.ports, sources={"azure_monitor": source}))
    try:
        dispatch.receive(world.engine, "azure_monitor", body, {})
    except PermanentError:
        [kept] = quarantine.listed(world.inner, world.now)
        assert payloads.get(world.inner, kept.payload) == body
    else:
        world.settle()
        [line] = index.alerts(world.inner)
        assert line.alert.name == "Unrecognised message from azure_monitor"
        assert payloads.get(world.inner, line.alert.payload) == body
    world.fires()
    world.until_asked()
    world.approve()
    world.end()
    assert_nothing_lost_or_doubled(world)
