"""What comes again after it was forgotten, late, or one attempt behind: M3, S3, H9, H10, C2 at their edges.

In: stories in which an older copy of a message meets a world that went on. Out: nothing lost, nothing twice.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from shared import dispatch
from shared.adapters.registry import Surroundings
from shared.adapters.sources import SOURCES
from shared.adapters.stores.sqlite import SqliteStore
from shared.agents.sentinel import collector
from shared.agents.sentinel.alert_router import FoldMemory
from shared.agents.sentinel.alerts import alert_of
from shared.dispatch.process import LOOK_S
from shared.model import codec
from shared.model.errors import Reason, TransientError
from shared.model.event import (
    ClosingKind,
    ClosingRequested,
    Event,
    IncidentAcknowledged,
    IncidentAssigned,
    InvestigationRequested,
    SignalsReceived,
    TicketUpdateRequested,
    UpdateKind,
)
from shared.model.incident import Incident
from shared.model.lifecycle import State
from shared.model.notice import NoticeKind
from shared.model.outcome import Outcome
from shared.model.pipeline import MicroAgent, Queue
from shared.model.signal import Status
from shared.ports import Ports
from shared.ports.bus import Message
from shared.records import counters, groups, incidents, index, journal, letters
from tests import fakes
from tests.pipeline.broker import DEDUP_WINDOW, Entry
from tests.pipeline.world import GROUP, START, World


def message_of(event: Event) -> Message:
    return Message(event.message_id, codec.encode_event(event), event.subject)


def close_by_hand(world: World, number: int = 0) -> None:
    world.say(ClosingRequested(ClosingKind.MANUAL, "olga", "seen"), world.ids()[number])
    world.settle()
    world.pass_time(timedelta(minutes=2))
    assert groups.state_of(world.inner, GROUP).state is groups.Claim.CLOSED  # type: ignore[union-attr]


def signals_sent(world: World) -> list[Message]:
    return [message for queue, message in world.bus.sent if queue is Queue.SIGNALS]


class TestAfterTheEnd:
    def test_C2_what_was_received_before_the_end_opens_nothing_after_it(self, world: World) -> None:
        """Closed by hand while the alert fires; then each of its messages comes again, beyond duplicate detection."""
        world.fires()
        world.settle()
        world.fires()
        world.settle()
        sent = signals_sent(world)
        world.pass_time(timedelta(minutes=1))
        close_by_hand(world)
        world.pass_time(DEDUP_WINDOW)
        for message in sent:
            world.bus.put(Queue.SIGNALS, message)
        world.settle()
        assert len(world.ids()) == 1

    def test_C2_a_repeat_that_is_received_after_the_end_opens_the_next_incident(self, world: World) -> None:
        """The very same body, as Alertmanager repeats it: what tells it from a duplicate is when it was received."""
        signal = world.signal()
        world.deliver(signal)
        world.settle()
        close_by_hand(world)
        world.pass_time(DEDUP_WINDOW)
        world.deliver(signal)
        world.settle()
        assert [world.incident(n).generation for n in range(2)] == [1, 2]

    def test_C2_what_bounced_off_the_end_opens_the_next_incident(self, world: World) -> None:
        """Received before the end, but its incident never heard of it: it is new however old it is."""
        world.fires()
        world.settle()
        world.bus.kept.add(Queue.INCIDENTS)
        world.fires("Latency")
        world.pass_time(timedelta(seconds=10))
        close_by_hand(world)
        world.bus.kept.clear()
        world.settle()
        assert [alert.name for alert in world.incident(1).alerts] == ["Latency"]

    def test_C2_a_late_duplicate_does_not_join_the_incident_after_its_own(self, world: World) -> None:
        world.fires()
        world.settle()
        first = signals_sent(world)[0]
        close_by_hand(world)
        world.fires("Latency", starts_at=world.now)
        world.settle()
        world.pass_time(DEDUP_WINDOW)
        world.bus.put(Queue.SIGNALS, first)
        world.settle()
        assert [alert.name for alert in world.incident(1).alerts] == ["Latency"]

    def test_C2_a_firing_that_began_before_the_end_and_was_heard_of_after_it_opens(self, world: World) -> None:
        world.fires()
        world.settle()
        late = world.signal("Latency")
        close_by_hand(world)
        world.deliver(late)
        world.settle()
        assert [alert.name for alert in world.incident(1).alerts] == ["Latency"]


def test_S7_a_resolve_that_comes_after_the_next_firing_still_ends_its_own_in_the_list(world: World) -> None:
    world.fires()
    later = START + timedelta(seconds=30)
    world.fires(starts_at=later, at=later)
    world.resolves(at=START + timedelta(seconds=20))
    world.settle()
    listed = {line.alert.starts_at: line.alert.status for line in index.alerts(world.inner)}
    assert listed == {START: Status.RESOLVED, later: Status.FIRING}


class TestAttempts:
    """Duplicate detection drops a second ``id.n``, so n must grow with every new start of an event (rule M3)."""

    @pytest.fixture
    def note(self, opened: World) -> Event:
        """A note that waits on hold, one attempt later than it was sent: its ticket system had been busy."""
        opened.desk.failures = [TransientError("busy", Reason.UNAVAILABLE, timedelta(seconds=30), sent=False)]
        event = opened.say(TicketUpdateRequested(UpdateKind.NOTE, "hello"), opened.ids()[0])
        opened.pass_time(timedelta(seconds=5))
        opened.configure(policy={"hold": ["ticket_updater"], "hold_s": 3600})
        return event

    def test_H9_M3_a_release_gets_through_though_an_older_attempt_was_held_first(
        self, opened: World, note: Event
    ) -> None:
        opened.bus.entries.insert(0, entry_of(opened, note))  # its lock was lost: the first delivery comes again
        opened.pass_time(timedelta(minutes=1))
        (held,) = incidents.held(opened.inner, note.subject)
        assert held.event.attempt == 1
        release(opened, "olga")
        assert [text for _, text in opened.desk.notes].count("hello") == 1

    def test_H9_M3_a_stale_copy_held_after_a_release_does_not_swallow_the_next_one(
        self, opened: World, note: Event
    ) -> None:
        opened.pass_time(timedelta(minutes=1))
        (held,) = incidents.held(opened.inner, note.subject)
        released = journal.release(opened.inner, held, incidents.TIMER, opened.now)
        assert released is not None
        letters.send(opened.inner, opened.bus, released)
        opened.bus.entries.insert(0, entry_of(opened, note))
        opened.pass_time(timedelta(minutes=1))
        release(opened, "olga")
        assert [text for _, text in opened.desk.notes].count("hello") == 1

    def test_M3_two_deliveries_that_both_fail_make_one_next_attempt_and_the_chain_lives(self, opened: World) -> None:
        busy = [TransientError("busy", Reason.UNAVAILABLE, sent=False) for _ in range(4)]
        opened.desk.failures = [*busy]
        event = opened.say(TicketUpdateRequested(UpdateKind.NOTE, "hello"), opened.ids()[0])
        opened.bus.entries.append(entry_of(opened, event))
        opened.settle()
        tries = [m.message_id for _, m in opened.bus.sent if m.message_id.startswith(event.id)]
        assert len(tries) == len(set(tries))
        assert [text for _, text in opened.desk.notes].count("hello") == 1

    def test_H10_a_store_that_is_down_costs_no_deliveries_beyond_the_first(self, opened: World) -> None:
        """A queue dead-letters after ten deliveries; an outage of an hour must not use them up."""
        event = opened.say(TicketUpdateRequested(UpdateKind.NOTE, "hello"), opened.ids()[0], attempt=3)
        opened.store.down = True
        dispatch.hop(opened.engine, Queue.TICKET_UPDATES, codec.encode_event(event))
        opened.bus.entries.clear()
        opened.store.down = False
        assert [m.message_id for _, m in opened.bus.sent][-1] == f"{event.id}.4"


def entry_of(world: World, event: Event) -> Entry:
    """A delivery of its first attempt, whatever became of it."""
    return Entry(Queue.TICKET_UPDATES, message_of(event), world.now)


def release(world: World, by: str) -> None:
    """A person releases what is held, and it is sent."""
    world.configure(policy={})
    for held in incidents.held(world.inner, world.ids()[0]):
        event = journal.release(world.inner, held, by, world.now)
        assert event is not None
        letters.send(world.inner, world.bus, event)
    world.pass_time(timedelta(minutes=3))
    assert not world.rows(incidents.HELD)


class TestCreation:
    def test_S3_a_creation_in_quarantine_is_offered_again_by_every_later_alert(self, world: World) -> None:
        """Its claim stays; nobody is told the group is taken care of for ever."""
        with a_bug(world):
            world.fires()
            world.settle()
        assert world.bus.quarantined
        assert not world.ids()
        world.pass_time(DEDUP_WINDOW)
        world.fires("Latency")
        world.settle()
        assert [len(world.incident(n).alerts) for n in range(len(world.ids()))] == [2]
        assert len(world.desk.tickets) == 1


@contextmanager
def a_bug(world: World) -> Iterator[None]:
    """Meanwhile no incident can be made."""

    def broken(event: Event, now: datetime, ports: Ports) -> tuple[Incident, Outcome]:
        raise ValueError("a bug")

    sound = world.engine
    creator = replace(sound.workers[MicroAgent.INCIDENT_CREATOR], create=broken)
    world.engine = replace(sound, workers={**sound.workers, MicroAgent.INCIDENT_CREATOR: creator})
    yield
    world.engine = sound


def test_M2_a_body_that_is_sent_again_loses_no_signal_where_its_messages_are_cut_elsewhere(store: SqliteStore) -> None:
    """What carries no time of its own gets another length with the time of day, and so the cut may move."""
    adapter = SOURCES["alertmanager"]
    source = adapter.build("alertmanager", adapter.config(), Surroundings(Path()))
    labels = [{"alertname": f"A{n}", "service": "shop", "pad": "x" * 700} for n in range(300)]
    body = json.dumps([{"labels": labels[0], "startsAt": "2026-11-20T12:00:00Z"}, *({"labels": e} for e in labels[1:])])
    bus = fakes.FakeBus()
    ports = fakes.ports(store, bus=bus, sources={"alertmanager": source})
    arrivals = [datetime(2026, 11, 20, 12, 0, 5, micros, UTC) for micros in (123456, 0)]
    whole = collector.receive("alertmanager", body.encode(), {}, arrivals[0], ports)
    assert len(bus.sent[Queue.SIGNALS]) > 1
    del bus.sent[Queue.SIGNALS][1:]  # the bus went away after the first message, and the sender was told
    collector.receive("alertmanager", body.encode(), {}, arrivals[1], ports)
    heard = {s.id for e in bus.delivered(Queue.SIGNALS) if isinstance(e.data, SignalsReceived) for s in e.data.signals}
    assert len(heard) == whole.signals


@pytest.mark.parametrize("batch_s", [0.1, 1.0, 2.5, 4.9, 5.01])
def test_S6_a_repeat_is_on_disk_6_s_later_whenever_the_last_batch_was(world: World, batch_s: float) -> None:
    """The thread of a host looks on a beat of its own; with 5 s to count, that beat must not be 5 s as well."""
    memory, alert = FoldMemory("host"), alert_of(world.signal())

    def at(seconds: float) -> datetime:
        return START + timedelta(seconds=seconds)

    memory.count(GROUP, 1, alert, at(batch_s))
    memory.flush(world.inner, at(batch_s))
    memory.count(GROUP, 1, alert, at(batch_s + 0.01))
    beat = LOOK_S
    while counters.read(world.inner, GROUP, 1).count < 2 * alert.count:
        memory.flush(world.inner, at(beat))
        assert beat <= batch_s + 6.1
        beat += LOOK_S


class TestPeople:
    @pytest.mark.parametrize("order", [(0, 1), (1, 0)])
    def test_two_investigations_at_once_ask_one_question(self, world: World, order: tuple[int, int]) -> None:
        world.bus.kept.add(Queue.ENRICHMENT)
        world.fires()
        world.settle()
        world.say(InvestigationRequested("olga"), world.ids()[0])
        world.settle()
        found = [entry for entry in world.bus.entries if entry.queue is Queue.ENRICHMENT]
        assert len(found) == 2
        for number in order:
            world.invoke(found[number])
        world.bus.kept.clear()
        world.settle()
        asked = [notice for _, notice, _ in world.chat.posts if notice.kind is NoticeKind.APPROVAL]
        assert len(asked) == 1
        assert world.incident().state is State.AWAITING_APPROVAL

    @pytest.mark.parametrize("order", [(0, 1), (1, 0)])
    def test_of_two_assignments_the_later_word_stands_in_any_order(self, opened: World, order: tuple[int, int]) -> None:
        said = [
            Event(f"a{n}", "/people/olga", opened.ids()[0], opened.now + timedelta(seconds=n),
                  IncidentAssigned("olga", who))
            for n, who in enumerate(("ben", "ada"))
        ]  # fmt: skip
        for number in order:
            dispatch.hop(opened.engine, Queue.INCIDENTS, codec.encode_event(said[number]))
        assert opened.incident().assignee == "ada"

    @pytest.mark.parametrize("order", [(0, 1), (1, 0)])
    def test_of_two_acknowledgements_the_earlier_stands_in_any_order(
        self, opened: World, order: tuple[int, int]
    ) -> None:
        said = [
            Event(f"a{n}", "/people/x", opened.ids()[0], opened.now + timedelta(seconds=n), IncidentAcknowledged(who))
            for n, who in enumerate(("ben", "ada"))
        ]
        for number in order:
            dispatch.hop(opened.engine, Queue.INCIDENTS, codec.encode_event(said[number]))
        assert opened.incident().acknowledged_by == "ben"


def test_the_source_of_these_stories_is_honest(world: World) -> None:
    """A signal said again is another receipt; only a message put again is a duplicate."""
    world.fires()
    world.fires()
    assert len({message.message_id for message in signals_sent(world)}) == 2
    assert all(isinstance(codec.decode_event(m.body).data, SignalsReceived) for m in signals_sent(world))
    assert world.signal().status is Status.FIRING
