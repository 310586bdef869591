"""Rules M3, H10, H11 and H12 for quarantine: replaying and dropping by people, cut off anywhere, more than once."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest

from shared import dispatch
from shared.model import codec
from shared.model.errors import PermanentError, Reason, TransientError
from shared.model.event import DiagnosisMade, Event, IncidentAcknowledged, TicketUpdateRequested, UpdateKind
from shared.model.pipeline import Queue
from shared.model.signal import Signal
from shared.ports.bus import Message
from shared.ports.dead_letters import NoDeadLetters
from shared.ports.source import Delivery
from shared.ports.store import Replace, Table
from shared.records import audit_chain, incidents, journal, payloads, quarantine, replaying
from shared.records.quarantine import Quarantined, Standing
from shared.records.rows import pack
from tests.pipeline.faults import Crash
from tests.pipeline.world import World

NO = PermanentError("the ticket is closed for ever", Reason.REFUSED)


class Echo:
    """A source that takes every JSON body for an alert nobody recognises."""

    def parse(self, delivery: Delivery) -> tuple[Signal, ...]:
        return ()

    def receipt(self, body: object, headers: object, digest: str, received_at: object) -> str:
        return digest


def fail(world: World, error: PermanentError = NO, times: int = 1) -> Event:
    """A note that the ticket system refuses."""
    world.desk.failures = [error] * times
    event = world.say(TicketUpdateRequested(UpdateKind.NOTE, "hello"), world.ids()[0])
    world.settle()
    return event


def entry(world: World) -> Quarantined:
    [kept] = quarantine.listed(world.inner, world.now)
    return kept


def replay(world: World, by: str = "olga", anew: bool = False) -> replaying.Told:
    return replaying.replay(world.store, world.bus, entry(world), by, world.now, anew)


def notes(world: World) -> list[str]:
    return [text for _, text in world.desk.notes if text == "hello"]


def collect(world: World) -> None:
    dispatch.collect_dead_letters(world.engine, NoDeadLetters())


def system_lines(world: World) -> list[str]:
    return [line.what for line in incidents.audit(world.inner, journal.system_chain(world.now))]


def test_M3_a_replay_is_one_attempt_higher_and_passes_duplicate_detection(opened: World) -> None:
    event = fail(opened)
    told = replay(opened)
    assert (told.ok, told.changed, told.entry.standing, told.entry.attempt) == (True, True, Standing.REPLAYED, 1)
    assert [m.message_id for q, m in opened.bus.sent if q is Queue.TICKET_UPDATES][-1] == f"{event.id}.1"
    opened.settle()
    assert notes(opened) == ["hello"]


def test_M3_doing_it_again_says_so_and_sends_nothing_unless_wanted(opened: World) -> None:
    event = fail(opened)
    replay(opened)
    sent = len(opened.bus.sent)
    told = replay(opened, "sam")
    assert (told.ok, told.changed) == (True, False)
    assert "olga has replayed it already" in told.words
    assert len(opened.bus.sent) == sent
    again = replay(opened, "sam", anew=True)
    assert again.changed
    assert opened.bus.sent[-1][1].message_id == f"{event.id}.2"
    opened.settle()
    assert notes(opened) == ["hello"], "what was done is done: the inbox knows it"


def test_H12_a_replay_is_in_the_timeline_and_the_chain_with_the_person(opened: World) -> None:
    fail(opened)
    replay(opened)
    [line] = [line for line in opened.timeline() if "replayed" in line.what]
    assert (line.person, line.micro_agent) == ("olga", "conductor")
    assert "the ticket is closed for ever" in line.why
    assert not opened.audit_problem()


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("point", range(1, 8))
def test_M3_a_replay_that_is_cut_off_is_finished_with_the_same_message_id(opened: World, point: int, when: str) -> None:
    event = fail(opened)
    opened.points.count = 0
    setattr(opened.points, when, (point,))
    died = False
    try:
        replay(opened)
    except Crash:
        died = True
    setattr(opened.points, when, ())
    assert died
    taken = entry(opened).standing is not Standing.WAITING
    opened.clock[0] += timedelta(minutes=2)
    collect(opened)
    if not taken:
        assert entry(opened).standing is Standing.WAITING
        replay(opened)
    opened.settle()
    assert entry(opened).standing is Standing.REPLAYED
    numbers = {m.message_id for q, m in opened.bus.sent if q is Queue.TICKET_UPDATES and event.id in m.message_id}
    assert numbers == {f"{event.id}.0", f"{event.id}.1"}
    assert notes(opened) == ["hello"]
    assert sum("replayed" in what for what in opened.story()) == 1
    assert not incidents_marked(opened)


def incidents_marked(world: World) -> list[str]:
    return [row.key for row in world.inner.query(Table.QUARANTINE, replaying.MARKED).rows]


def test_M3_the_same_person_may_go_on_at_once_another_one_waits(opened: World) -> None:
    event = fail(opened)
    opened.bus.down = True
    with pytest.raises(TransientError):
        replay(opened)
    opened.bus.down = False
    told = replay(opened, "sam")
    assert (told.ok, told.words) == (False, "olga is replaying it right now")
    assert replay(opened).changed
    assert opened.bus.sent[-1][1].message_id == f"{event.id}.1"


def test_M3_two_people_at_once_and_one_of_them_sends(opened: World) -> None:
    fail(opened)
    seen = entry(opened)
    assert replaying.replay(opened.store, opened.bus, seen, "olga", opened.now).changed
    told = replaying.replay(opened.store, opened.bus, seen, "sam", opened.now)
    assert (told.ok, told.changed) == (True, False)
    assert told.words.startswith("olga has replayed it already")


def test_H10_what_fails_again_waits_again_in_the_same_entry(opened: World) -> None:
    fail(opened, times=2)
    replay(opened)
    opened.settle()
    kept = entry(opened)
    assert (kept.standing, kept.attempt, kept.times, kept.by) == (Standing.WAITING, 1, 2, "olga")
    told = replay(opened)
    assert told.entry.attempt == 2
    opened.settle()
    assert notes(opened) == ["hello"]


def test_H10_what_fails_before_the_replay_is_written_down_is_not_lost(opened: World) -> None:
    fail(opened)
    send = opened.bus.send

    def fast(queue: Queue, messages: object) -> None:
        send(queue, messages)  # type: ignore[arg-type]
        if queue is Queue.TICKET_UPDATES:
            opened.desk.failures = [NO]
            opened.settle()

    opened.bus.send = fast  # type: ignore[method-assign]
    told = replay(opened)
    assert "failed again" in told.words
    assert (entry(opened).standing, entry(opened).attempt) == (Standing.WAITING, 1)


def test_H10_a_day_of_attempts_begins_anew_with_a_replay(opened: World) -> None:
    fail(opened)
    opened.clock[0] += timedelta(days=3)
    opened.desk.failures = [TransientError("down", sent=False)]
    replay(opened)
    opened.settle()
    assert notes(opened) == ["hello"]
    assert entry(opened).standing is Standing.REPLAYED


def test_H10_the_same_delivery_once_more_changes_nothing(opened: World) -> None:
    event = fail(opened)
    replay(opened)
    opened.settle()
    quarantine.keep_event(opened.inner, event, "ticket_updates", "refused", "again", opened.now)
    assert entry(opened).standing is Standing.REPLAYED


def test_H11_a_replay_that_is_too_old_comes_back(opened: World) -> None:
    event = fail(opened)
    loaded = incidents.load(opened.inner, event.subject)
    assert loaded is not None
    purged = replace(loaded.incident, purged_before=opened.now)
    opened.inner.write(Table.INCIDENTS, purged.id, Replace(incidents.INCIDENT, pack(purged), loaded.etag))
    replay(opened)
    opened.settle()
    assert (entry(opened).standing, entry(opened).reason) == (Standing.WAITING, "too_old")
    assert not notes(opened)


def test_H12_a_drop_keeps_the_entry_and_says_who_and_why(opened: World) -> None:
    fail(opened)
    told = replaying.drop(opened.store, entry(opened), "olga", "a drill", opened.now)
    assert (told.changed, entry(opened).standing, entry(opened).why) == (True, Standing.DROPPED, "a drill")
    [line] = [line for line in opened.timeline() if "dropped from quarantine" in line.what]
    assert (line.person, line.why) == ("olga", "a drill")
    assert not opened.audit_problem()
    again = replaying.drop(opened.store, entry(opened), "sam", "me too", opened.now)
    assert (again.ok, again.changed) == (True, False)
    refused = replay(opened, "sam")
    assert (refused.ok, "a drill" in refused.words) == (False, True)
    assert replay(opened, "sam", anew=True).changed


@pytest.mark.parametrize("point", range(1, 5))
def test_H12_a_drop_that_is_cut_off_is_told_in_the_end(opened: World, point: int) -> None:
    fail(opened)
    opened.points.count, opened.points.after = 0, (point,)
    with pytest.raises(Crash):
        replaying.drop(opened.store, entry(opened), "olga", "a drill", opened.now)
    opened.points.after = ()
    opened.clock[0] += timedelta(minutes=2)
    collect(opened)
    if entry(opened).standing is Standing.WAITING:
        replaying.drop(opened.store, entry(opened), "olga", "a drill", opened.now)
    assert sum("dropped" in what for what in opened.story()) == 1
    assert not incidents_marked(opened)


def test_what_was_replayed_cannot_be_dropped(opened: World) -> None:
    fail(opened)
    replay(opened)
    told = replaying.drop(opened.store, entry(opened), "sam", "x", opened.now)
    assert (told.ok, entry(opened).standing) == (False, Standing.REPLAYED)


def test_M3_a_message_with_a_field_nobody_knows_goes_back_to_its_queue_one_attempt_higher(opened: World) -> None:
    event = Event("e9", "/x", opened.ids()[0], opened.now, TicketUpdateRequested(UpdateKind.NOTE, "hello"), attempt=3)
    envelope = json.loads(codec.encode_event(event))
    envelope["data"]["colour"] = "red"
    body = json.dumps(envelope).encode()
    opened.bus.put(Queue.TICKET_UPDATES, Message("e9.3", body))
    opened.settle()
    assert payloads.get(opened.inner, entry(opened).payload) == body
    replay(opened)
    queue, message = opened.bus.sent[-1]
    assert (queue, message.message_id) == (Queue.TICKET_UPDATES, "e9.4")
    assert json.loads(message.body) == {**envelope, "attempt": 4}
    opened.settle()
    assert entry(opened).standing is Standing.WAITING, "this version still cannot read it"
    assert any("replayed as attempt 4" in line for line in system_lines(opened))
    assert not audit_chain.verify(incidents.audit(opened.inner, journal.system_chain(opened.now)))


def test_an_event_on_the_wrong_queue_is_replayed_to_its_own(opened: World) -> None:
    event = Event("e9", "/x", opened.ids()[0], opened.now, IncidentAcknowledged("olga"))
    opened.bus.put(Queue.CLOSING, Message("e9.0", codec.encode_event(event)))
    opened.settle()
    assert replay(opened).changed
    opened.settle()
    assert opened.incident().acknowledged_by == "olga"


def test_bytes_that_mean_nothing_go_back_as_they_were_and_those_with_a_secret_do_not(opened: World) -> None:
    opened.bus.put(Queue.CLOSING, Message("m1", b"\x00junk"))
    opened.settle()
    assert replay(opened).changed
    assert (opened.bus.sent[-1][0], opened.bus.sent[-1][1].body) == (Queue.CLOSING, b"\x00junk")
    opened.settle()
    assert entry(opened).standing is Standing.WAITING
    opened.bus.put(Queue.CLOSING, Message("m2", b"password=hunter2"))
    opened.settle()
    [secret] = [one for one in quarantine.listed(opened.inner, opened.now) if not one.exact]
    told = replaying.replay(opened.store, opened.bus, secret, "olga", opened.now)
    assert (told.ok, "look like secrets" in told.words) == (False, True)


def test_a_body_that_expired_cannot_be_replayed(opened: World) -> None:
    fail(opened)
    kept = replace(entry(opened), payload="20200101-00/gone")
    told = replaying.replay(opened.store, opened.bus, kept, "olga", opened.now)
    assert (told.ok, told.words) == (False, "what was kept of it has expired")


def webhook(world: World, raw: bytes) -> None:
    world.engine = replace(world.engine, ports=replace(world.engine.ports, sources={"odd": Echo()}))
    quarantine.keep_body(world.inner, "w1", "odd", "bug", "the source could not handle it", raw, world.now)


def test_a_webhook_body_that_is_not_json_says_why_it_cannot_be_replayed(world: World) -> None:
    webhook(world, b"<html>oops</html>")
    told = replay(world)
    assert (told.ok, "not JSON" in told.words) == (False, True)
    assert entry(world).standing is Standing.WAITING


def test_a_webhook_body_goes_through_the_collector_again_once(world: World) -> None:
    webhook(world, b'{"name": "disk full"}')
    told = replay(world)
    assert (told.changed, entry(world).standing) == (True, Standing.REPLAYING)
    collect(world)
    collect(world)
    assert entry(world).standing is Standing.REPLAYED
    assert len([m for q, m in world.bus.sent if q is Queue.SIGNALS]) == 1
    assert not incidents_marked(world)
    assert sum("replayed as attempt 1" in line for line in system_lines(world)) == 1


def test_a_webhook_body_whose_source_is_gone_waits_again(world: World) -> None:
    webhook(world, b'{"name": "disk full"}')
    replay(world)
    world.engine = replace(world.engine, ports=replace(world.engine.ports, sources={}))
    collect(world)
    assert entry(world).standing is Standing.WAITING
    assert "no source is called odd" in entry(world).message


@pytest.mark.parametrize("break_it", [lambda row: {**row, "doc00": "{"}, lambda row: {**row, "doc00": '{"a": 1}'}])
def test_H12_an_incident_nobody_can_read_does_not_keep_its_event_from_being_dropped(
    opened: World, break_it: Callable[[dict[str, object]], dict[str, object]]
) -> None:
    event = fail(opened)
    row = opened.inner.get(Table.INCIDENTS, event.subject, incidents.INCIDENT)
    assert row is not None
    values = {**row.values, **break_it({})}
    opened.inner.write(Table.INCIDENTS, event.subject, Replace(incidents.INCIDENT, values, None))  # type: ignore[arg-type]
    assert replaying.drop(opened.store, entry(opened), "olga", "lost cause", opened.now).changed
    assert any("dropped" in line for line in system_lines(opened))


def test_M5_a_large_event_is_replayed_whole(opened: World) -> None:
    opened.desk.failures = [NO]
    opened.say(TicketUpdateRequested(UpdateKind.NOTE, "hello" + "x" * 60_000), opened.ids()[0])
    opened.settle()
    replay(opened)
    opened.settle()
    assert any(len(text) > 60_000 for _, text in opened.desk.notes)


def test_an_event_without_incident_is_told_in_the_system_chain(world: World) -> None:
    event = Event("e1", "/x", "no-such-incident", world.now, DiagnosisMade(1))
    quarantine.keep_event(world.inner, event, "enrichment", "not_yet", "there is no such incident yet", world.now)
    replay(world)
    assert any("replayed as attempt 1" in line for line in system_lines(world))
