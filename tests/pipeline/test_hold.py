"""Rule H9: what is held back is kept, shown, and released by time or a person, each in one transaction."""

from __future__ import annotations

from datetime import timedelta

import pytest

from shared.model.event import ActionApproved, Event, TicketUpdateRequested, UpdateKind
from shared.model.lifecycle import State
from shared.ports.store import Table
from shared.records import incidents, journal
from tests.pipeline.world import World

HOUR = timedelta(hours=1)


def held(world: World) -> incidents.Held:
    [kept] = incidents.held(world.inner, world.ids()[0])
    return kept


def note(world: World, text: str = "hello") -> Event:
    event = world.say(TicketUpdateRequested(UpdateKind.NOTE, text), world.ids()[0])
    world.settle()
    return event


@pytest.fixture
def on_hold(opened: World) -> World:
    opened.configure(policy={"hold": ["ticket_updater"], "hold_s": 3600})
    return opened


def test_H9_a_held_event_is_a_row_without_inbox_and_shows_in_the_timeline(on_hold: World) -> None:
    event = note(on_hold)
    kept = held(on_hold)
    assert (kept.event.id, kept.reason) == (event.id, "ticket_updater is on hold in the configuration")
    assert kept.release_by == "oncall"
    assert f"inbox|{event.id}" not in on_hold.rows(incidents.INBOX)
    assert on_hold.timeline()[-1].micro_agent == "conductor"
    assert on_hold.story()[-1] == "held argus.ticket.update_requested.v1"
    assert not on_hold.bus.entries
    assert not on_hold.audit_problem()


def test_H9_the_marker_stays_with_the_due_time(on_hold: World) -> None:
    note(on_hold)
    on_hold.pass_time(timedelta(minutes=50))
    partition = incidents.shard(on_hold.ids()[0], incidents.SHARDS)
    row = on_hold.inner.get(Table.PENDING, partition, on_hold.ids()[0])
    assert row is not None
    assert row.values["due"] == held(on_hold).until


def test_H9_the_timer_releases_with_one_attempt_more_and_the_policy_looks_again(on_hold: World) -> None:
    event = note(on_hold)
    on_hold.pass_time(HOUR + timedelta(minutes=2))
    assert held(on_hold).event.attempt == event.attempt + 1
    assert on_hold.story()[-2:] == [f"released {event.type}", f"held {event.type}"]
    on_hold.configure(policy={"hold": []})
    on_hold.pass_time(HOUR + timedelta(minutes=2))
    assert "hello" in [text for _, text in on_hold.desk.notes]
    assert not on_hold.rows(incidents.HELD)


def test_H9_what_a_person_released_is_not_held_again_for_that_reason(on_hold: World) -> None:
    note(on_hold)
    released = journal.release(on_hold.inner, held(on_hold), "olga", on_hold.now)
    assert released is not None
    assert released.attempt == 1
    on_hold.settle()
    assert "hello" in [text for _, text in on_hold.desk.notes]
    [entry] = [entry for entry in on_hold.timeline() if entry.what.startswith("released")]
    assert (entry.person, entry.micro_agent) == ("olga", "conductor")


def test_H9_what_a_person_released_is_held_for_another_reason(opened: World) -> None:
    opened.configure(policy={"hold": ["executor"]}, execution={"kill_switch": True})
    opened.vote()
    opened.settle()
    assert held(opened).reason == "executor is on hold in the configuration"
    journal.release(opened.inner, held(opened), "olga", opened.now)
    opened.settle()
    assert held(opened).reason == "the kill switch is on"
    assert not opened.workload.runs
    journal.release(opened.inner, held(opened), "olga", opened.now)
    opened.settle()
    assert [result.state for result in opened.incident().actions] == ["refused"]
    assert not opened.workload.runs


def test_H9_two_releases_and_one_of_them_wins(on_hold: World) -> None:
    note(on_hold)
    kept = held(on_hold)
    assert journal.release(on_hold.inner, kept, "olga", on_hold.now) is not None
    assert journal.release(on_hold.inner, kept, incidents.TIMER, on_hold.now) is None
    on_hold.settle()
    assert [text for _, text in on_hold.desk.notes].count("hello") == 1


def test_H9_a_second_delivery_is_held_once(on_hold: World) -> None:
    event = note(on_hold)
    on_hold.clock[0] += timedelta(minutes=15)  # longer than duplicate detection remembers
    on_hold.say(event.data, event.subject, id=event.id)
    on_hold.settle()
    assert held(on_hold).event.id == event.id
    assert on_hold.story().count(f"held {event.type}") == 1


def test_H9_one_micro_agent_on_hold_holds_its_whole_chain(opened: World) -> None:
    opened.configure(policy={"hold": ["publisher"]})
    opened.resolves()
    opened.settle()
    assert opened.incident().state is State.CLOSED
    assert held(opened).reason == "publisher is on hold in the configuration"
    assert not opened.wiki.pages


def test_H9_the_kill_switch_holds_actions_until_it_is_off(opened: World) -> None:
    opened.configure(execution={"kill_switch": True}, policy={"hold_s": 600})
    opened.vote()
    opened.settle()
    assert isinstance(held(opened).event.data, ActionApproved)
    assert opened.incident().state is State.EXECUTING
    opened.configure(execution={"kill_switch": False})
    opened.pass_time(timedelta(minutes=12))
    assert opened.workload.version == "2.4.0"


def test_H9_a_new_incident_waits_while_its_creator_is_on_hold(world: World) -> None:
    world.configure(policy={"hold": ["incident_creator"], "hold_s": 60})
    world.fires()
    world.pass_time(timedelta(minutes=3))
    assert not world.ids()
    world.configure(policy={"hold": []})
    world.settle()
    assert len(world.ids()) == 1
