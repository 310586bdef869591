"""In a storm people are told first: creations travel together, joins wait, and nothing is lost by it (ADR 16)."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from shared import dispatch
from shared.model import codec
from shared.model.event import GroupChanged, GroupChangeKind, GroupsOpened
from shared.model.pipeline import Queue
from shared.model.signal import Severity, Status
from shared.ports.store import Table
from shared.records import incidents
from tests.pipeline.test_batches import changes, every, many, told
from tests.pipeline.world import World


def test_S3_creations_of_a_storm_travel_together_and_each_is_worked_off_as_its_own_event(
    world: World,
) -> None:
    services = [f"service-{number:02}" for number in range(30)]
    told_once = told(world, *(one for service in services for one in many(world, 2, service)))
    dispatch.signals(world.engine, [told_once])
    bundles = [e.data for e in world.sent(GroupsOpened) if isinstance(e.data, GroupsOpened)]
    assert [len(bundle.creations) for bundle in bundles] == [16, 14]
    assert [e.data.kind for e in changes(world) if isinstance(e.data, GroupChanged)] == ["join"] * 5
    world.settle()
    found = sorted(every(world), key=lambda incident: incident.service)
    assert [incident.service for incident in found] == services
    creations = [codec.decode_event(text.encode()) for bundle in bundles for text in bundle.creations]
    for creation in creations:  # the very events that the claims hold
        assert world.inner.get(Table.INCIDENTS, creation.subject, incidents.INBOX + creation.id)
    dispatch.signals(world.engine, [told_once])
    dispatch.hop_many(world.engine, Queue.INCIDENTS, [codec.encode_event(creation) for creation in creations])
    world.settle()
    world.pass_time(timedelta(minutes=1))
    assert {incident.alert_count for incident in every(world)} == {2}
    assert len(every(world)) == 30
    assert not world.audit_problem()


def test_S3_a_creation_on_its_way_is_not_sent_again_but_one_that_stays_away_is(world: World) -> None:
    def creations() -> int:
        return [e.data.kind for e in changes(world) if isinstance(e.data, GroupChanged)].count(GroupChangeKind.OPEN)

    world.send_everything()
    world.bus.kept.add(Queue.INCIDENTS)
    dispatch.signals(world.engine, [told(world, *many(world, 2))])
    dispatch.signals(world.engine, [told(world, *many(world, 2, start=2))])
    assert creations() == 1, "the bus has it"
    world.bus.entries.clear()  # and loses it
    world.bus._seen.clear()
    world.clock[0] += timedelta(seconds=11)
    dispatch.signals(world.engine, [told(world, *many(world, 2, start=4))])
    assert creations() == 2
    world.bus.kept.clear()
    world.settle()
    world.pass_time(timedelta(seconds=30))
    assert [incident.alert_count for incident in every(world)] == [3], "the creation has one, the lost joins had three"


def test_joins_wait_for_some_seconds_in_a_storm_but_for_those_that_end_something(world: World) -> None:
    services = [f"service-{number:02}" for number in range(30)]
    dispatch.signals(world.engine, [told(world, *(many(world, 1, service)[0] for service in services))])
    world.settle()
    worse = [replace(many(world, 2, service)[1], severity=Severity.SEV0) for service in services]
    dispatch.signals(world.engine, [told(world, *worse)])
    due = [event.not_before for event in changes(world) if isinstance(event.data, GroupChanged)]
    waits = {at - world.now for at in due if at is not None}
    assert len(due) == 5 == len(waits), "each group has its own part of the ten seconds"
    assert all(timedelta(seconds=5) < wait <= timedelta(seconds=15) for wait in waits)
    over = replace(many(world, 1, "service-07")[0], status=Status.RESOLVED, id="over", at=world.now)
    dispatch.signals(world.engine, [told(world, over)])
    assert changes(world)[-1].not_before is None
    world.pass_time(timedelta(seconds=17))
    assert {(incident.alert_count, incident.severity) for incident in every(world)} == {(2, Severity.SEV0)}
