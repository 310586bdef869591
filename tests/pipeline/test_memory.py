"""What a process remembers does not grow with the storm, and small parts of it come to the same as one large."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from shared import dispatch
from shared.agents.sentinel import alert_router, fold_memory
from shared.agents.sentinel.fold_memory import Firing, FoldMemory
from shared.dispatch import batch, merged
from shared.dispatch.recent import FRESH, Recent
from shared.model.event import GroupChanged, GroupChangeKind, GroupsOpened
from shared.model.signal import Severity, Status
from shared.records import groups, incidents
from shared.records.groups import Claim, GroupState, Member
from tests.agents.cases import alert, incident
from tests.pipeline.test_batches import changes, every, many, told
from tests.pipeline.world import START, World

SERVICES = [f"service-{number:02}" for number in range(30)]


@pytest.mark.parametrize("most", [1, 7, 10_000])
def test_a_storm_worked_off_in_small_parts_ends_as_one_that_is_not(
    world: World, monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    monkeypatch.setattr(alert_router, "MAX_MEMBERS", most)
    monkeypatch.setattr(batch, "FIRST_TOGETHER", most)
    monkeypatch.setattr(batch, "MAX_TOGETHER", 3 * most)
    monkeypatch.setattr(merged, "MAX_BYTES", 500 * most)
    bodies = [told(world, *many(world, 4, service)) for service in SERVICES]
    dispatch.signals(world.engine, bodies)
    dispatch.signals(world.engine, bodies)
    world.settle()
    world.pass_time(timedelta(seconds=30))
    assert {incident.alert_count for incident in every(world)} == {4}
    assert sorted(incident.service for incident in every(world)) == SERVICES
    assert len(groups.members(world.inner, "service=service-07|environment=production")) == 4
    assert not world.audit_problem()


def test_a_storm_is_one_also_when_no_part_of_a_batch_would_make_it(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(alert_router, "MAX_MEMBERS", 5)
    dispatch.signals(world.engine, [told(world, *(one for service in SERVICES for one in many(world, 2, service)))])
    sent = [event for event in changes(world) if isinstance(event.data, GroupChanged)]
    joins = [event for event in sent if event.data.kind is GroupChangeKind.JOIN]  # type: ignore[union-attr]
    most = world.engine.ports.settings.policy.brake.new_incidents_per_minute
    wait = [event.not_before - world.now for event in joins if event.not_before is not None]
    assert not world.sent(GroupsOpened), "it went in parts too small for that"
    assert any(pause > timedelta(seconds=5) for pause in wait), f"those after the first {most} wait"


def test_H1_an_incident_is_let_go_of_when_it_is_no_longer_fresh() -> None:
    recent = Recent()
    for number in range(3):
        recent.keep(incidents.Loaded(incident(number), "x"), (f"event-{number}",), START + number * FRESH / 2)
    held = [kept.loaded is not None for kept in recent._kept.values()]
    assert held == [False, True, True], "a later commit is occasion enough"
    recent.tidy(START + 5 * FRESH)
    assert not any(kept.loaded for kept in recent._kept.values())
    assert not recent._fresh


def _learned(memory: FoldMemory, number: int, at: float) -> Firing:
    now = START + timedelta(seconds=at)
    firing = Firing("service=shop", f"fingerprint-{number}", START, Severity.SEV2, now)
    fires = Status.FIRING
    member = Member(firing.fingerprint, "A", firing.severity, fires, START, START, 1, f"signal-{number}", now)
    memory.learn(GroupState(firing.group_key, Claim.OPEN, 1, incident().id, "{}", alert(), START), member, now)
    return firing


def test_S6_what_is_too_old_to_fold_by_is_worth_a_look_and_nothing_more() -> None:
    memory = FoldMemory()
    old = _learned(memory, 0, 0)
    young = _learned(memory, 1, 11)
    now = START + timedelta(seconds=11)
    assert list(memory._seen) == [young.name], "ten seconds are over"
    assert memory.repeated(young, now) == 1
    assert memory.repeated(old, now) == 0
    assert memory.worth_reading(old, now)
    assert not memory.worth_reading(replace(old, severity=Severity.SEV0), now)
    assert not memory.worth_reading(replace(old, fingerprint="never-said"), now)


def test_S6_of_what_was_said_the_newest_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fold_memory, "MAX_SAID", 100)
    memory = FoldMemory()
    firings = [Firing("service=shop", str(number), START, Severity.SEV2, START) for number in range(1000)]
    for firing in firings:
        memory.said(firing)
        assert len(memory._said) + len(memory._said_before) <= 200
    assert all(memory.worth_reading(firing, START) for firing in firings[-100:])
    assert not any(memory.worth_reading(firing, START) for firing in firings[:800])
