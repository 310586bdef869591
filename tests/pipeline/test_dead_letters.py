"""What the bus gave up delivering comes into quarantine once, with its reason and body, whatever it is."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

import pytest

from shared import dispatch
from shared.adapters.stores.sqlite import SqliteStore
from shared.model import codec
from shared.model.errors import TransientError
from shared.model.event import Event, SignalsReceived, TicketUpdateRequested, UpdateKind
from shared.model.pipeline import Queue
from shared.ports.dead_letters import DeadLetter
from shared.ports.store import Delete, Table
from shared.records import letters, payloads, quarantine
from shared.records.quarantine import Standing
from tests import fakes
from tests.pipeline.faults import Crash
from tests.pipeline.world import World

GAVE_UP = ("MaxDeliveryCountExceeded", "Message could not be consumed after 10 delivery attempts.")


@dataclass
class FakeDeadLetters(fakes.Faulty):
    """Letters by queue; each stays until ``keep`` returns for it."""

    left: dict[Queue, list[DeadLetter]] = field(default_factory=dict)
    asked: list[Queue] = field(default_factory=list)
    down: frozenset[Queue] = frozenset()

    def collect(self, queue: Queue, keep: Callable[[DeadLetter], None], most: int) -> int:
        """See the port."""
        self.asked.append(queue)
        if queue in self.down:
            raise TransientError(f"{queue} cannot be reached")
        waiting = self.left.get(queue, [])[:most]
        for letter in waiting:
            keep(letter)
            self.left[queue].remove(letter)
        return len(waiting)


def letter(queue: Queue, body: bytes, world: World, **changes: Any) -> DeadLetter:
    plain = DeadLetter(queue, 7, "m-7", body, True, *GAVE_UP, 10, world.now)
    return replace(plain, **changes)


def note(world: World, subject: str, identity: str = "e1") -> Event:
    return Event(identity, "/people/test", subject, world.now, TicketUpdateRequested(UpdateKind.NOTE, "hello"))


def run(world: World, dead: FakeDeadLetters) -> None:
    dispatch.collect_dead_letters(world.engine, dead)


def entries(world: World) -> tuple[quarantine.Quarantined, ...]:
    return quarantine.listed(world.inner, world.now)


def test_every_queue_is_asked_and_one_that_is_away_stops_no_other(world: World) -> None:
    bad = b"not json"
    dead = FakeDeadLetters(
        left={Queue.KNOWLEDGE: [letter(Queue.KNOWLEDGE, bad, world)]}, down=frozenset({Queue.SIGNALS})
    )
    run(world, dead)
    assert set(dead.asked) == set(Queue)
    assert [entry.origin for entry in entries(world)] == ["knowledge"]


def test_H10_an_event_the_bus_gave_up_is_shown_with_reason_body_and_a_line_in_the_timeline(opened: World) -> None:
    event = note(opened, opened.ids()[0])
    dead = FakeDeadLetters(
        left={Queue.TICKET_UPDATES: [letter(Queue.TICKET_UPDATES, codec.encode_event(event), opened)]}
    )
    run(opened, dead)
    [entry] = entries(opened)
    assert (entry.reason, entry.message) == ("dead_letter", ": ".join(GAVE_UP))
    assert (entry.event_id, entry.attempt, entry.deliveries, entry.message_id) == ("e1", 0, 10, "e1.0")
    assert payloads.get(opened.inner, entry.payload) == codec.encode_event(event)
    assert (opened.story()[-1], opened.timeline()[-1].why) == ("quarantined", f"dead_letter: {entry.message}")
    assert not opened.audit_problem()
    assert not dead.left[Queue.TICKET_UPDATES]


@pytest.mark.parametrize(
    ("body", "message_id"),
    [
        (b"\x00\xff not json at all", ""), (b"", "m"), (b"[]", "m"), (b'{"specversion": "1.0"}', "m"),
        (b"[" * 100_000, "m"), (b'{"specversion":"1.0","id":7,"type":"argus.alert.v1"}', "m"),
        (b'{"specversion":"1.0","id":"x","dataref":"nowhere/0","type":"argus.group.changed.v1"}', "m"),
    ],
)  # fmt: skip
def test_what_nobody_can_read_is_kept_to_the_byte(world: World, body: bytes, message_id: str) -> None:
    run(world, FakeDeadLetters(left={Queue.ACTIONS: [letter(Queue.ACTIONS, body, world, message_id=message_id)]}))
    [entry] = entries(world)
    assert entry.exact
    assert payloads.get(world.inner, entry.payload) == body
    assert entry.message.startswith(GAVE_UP[0])


def test_a_message_of_a_newer_argus_with_a_field_nobody_knows_is_kept_as_it_is(world: World) -> None:
    envelope = json.loads(codec.encode_event(note(world, "i1")))
    envelope["data"] |= {"colour": "red", "password": "s3cret"}
    body = json.dumps(envelope).encode()
    run(world, FakeDeadLetters(left={Queue.TICKET_UPDATES: [letter(Queue.TICKET_UPDATES, body, world)]}))
    [entry] = entries(world)
    assert "unknown field" in entry.message
    assert payloads.get(world.inner, entry.payload) == body


def test_a_foreign_body_loses_its_secrets_and_says_that_it_is_not_whole(world: World) -> None:
    body = b'{"password": "s3cret"}'
    run(world, FakeDeadLetters(left={Queue.ACTIONS: [letter(Queue.ACTIONS, body, world)]}))
    [entry] = entries(world)
    assert not entry.exact
    assert b"s3cret" not in (payloads.get(world.inner, entry.payload) or b"")
    assert all(b"s3cret" not in message.body for message in world.bus.quarantined)


@pytest.mark.parametrize("point", range(1, 14))
def test_H10_a_crash_anywhere_leaves_one_entry_and_one_line(opened: World, point: int) -> None:
    event = note(opened, opened.ids()[0])
    dead = FakeDeadLetters(
        left={Queue.TICKET_UPDATES: [letter(Queue.TICKET_UPDATES, codec.encode_event(event), opened)]}
    )
    opened.points.count, opened.points.after = 0, (point,)
    for _ in range(2):
        try:
            run(opened, dead)
        except Crash:
            opened.points.after = ()
    run(opened, dead)
    assert len(entries(opened)) == 1
    assert opened.story().count("quarantined") == 1
    assert not dead.left[Queue.TICKET_UPDATES]
    assert len({message.message_id for message in opened.bus.quarantined}) == 1


def test_an_event_that_dispatch_kept_already_is_the_same_entry(opened: World) -> None:
    event = note(opened, opened.ids()[0])
    quarantine.keep_event(opened.inner, event, "ticket_updates", "bug", "KeyError", opened.now)
    dead = FakeDeadLetters(
        left={Queue.TICKET_UPDATES: [letter(Queue.TICKET_UPDATES, codec.encode_event(event), opened)]}
    )
    run(opened, dead)
    assert [entry.reason for entry in entries(opened)] == ["bug"]


def test_two_letters_without_id_and_with_the_same_body_are_two_entries(world: World) -> None:
    twins = [letter(Queue.SIGNALS, b"x", world, message_id="", sequence=number) for number in (1, 2)]
    run(world, FakeDeadLetters(left={Queue.SIGNALS: twins}))
    assert len(entries(world)) == 2


def test_M5_an_event_that_travelled_as_a_reference_is_kept_whole(opened: World) -> None:
    data = TicketUpdateRequested(UpdateKind.NOTE, "x" * 60_000)
    event = Event("e1", "/people/test", opened.ids()[0], opened.now, data)
    letters.send(opened.inner, opened.bus, event, Queue.TICKET_UPDATES)
    [message] = [m for q, m in opened.bus.sent if q is Queue.TICKET_UPDATES and m.message_id == "e1.0"]
    run(opened, FakeDeadLetters(left={Queue.TICKET_UPDATES: [letter(Queue.TICKET_UPDATES, message.body, opened)]}))
    [entry] = entries(opened)
    assert len(payloads.get(opened.inner, entry.payload) or b"") > 60_000


def test_a_copy_that_died_on_the_quarantine_queue_is_no_second_entry(world: World) -> None:
    kept = quarantine.keep_body(world.inner, "b", "signals", "bad_input", "no", b"junk", world.now)
    copy = letter(Queue.QUARANTINE, b"junk", world, message_id=f"q.{kept.id}")
    strange = letter(Queue.QUARANTINE, b"strange", world, message_id="q.somebody", sequence=8)
    run(world, FakeDeadLetters(left={Queue.QUARANTINE: [copy, strange]}))
    assert sorted(entry.origin for entry in entries(world)) == ["quarantine", "signals"]
    assert not world.bus.quarantined, "the queue gets no copy of what lay on it"


def test_a_letter_that_breaks_its_reader_is_kept_all_the_same(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def breaks(*_: object) -> Event:
        raise ZeroDivisionError

    monkeypatch.setattr(letters, "read", breaks)  # no body known today does this
    run(world, FakeDeadLetters(left={Queue.ACTIONS: [letter(Queue.ACTIONS, b"{}", world)]}))
    assert len(entries(world)) == 1


def test_a_store_that_is_down_leaves_the_letter_where_it_is(world: World) -> None:
    dead = FakeDeadLetters(left={Queue.ACTIONS: [letter(Queue.ACTIONS, b"{}", world)]})
    world.store.down = True
    with pytest.raises(TransientError):
        run(world, dead)
    assert len(dead.left[Queue.ACTIONS]) == 1
    world.store.down = False
    run(world, dead)
    assert len(entries(world)) == 1


def test_days_that_retention_has_emptied_are_forgotten_and_listed_ones_are_not(
    store: SqliteStore, world: World
) -> None:
    long_ago = world.now - timedelta(days=100)
    kept = quarantine.keep_body(world.inner, "b", "signals", "bad_input", "no", b"junk", long_ago)
    run(world, FakeDeadLetters())
    assert [entry.id for entry in entries(world)] == [kept.id], "an entry of any age is listed"
    store.write(Table.QUARANTINE, kept.day, Delete(kept.id, None))
    run(world, FakeDeadLetters())
    assert not store.query(Table.QUARANTINE, quarantine.DAYS).rows


def test_S1_a_batch_of_signals_is_kept_whole(world: World) -> None:
    event = Event("b1", "/x", "", world.now, SignalsReceived((world.signal("A"), world.signal("B"))))
    run(world, FakeDeadLetters(left={Queue.SIGNALS: [letter(Queue.SIGNALS, codec.encode_event(event), world)]}))
    [entry] = entries(world)
    assert (entry.subject, entry.kind, entry.standing) == ("", SignalsReceived.TYPE, Standing.WAITING)
