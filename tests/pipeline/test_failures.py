"""Rules H10, H11 and S1: transient, permanent, a bug, too old; and what is quarantined is shown and stays quiet."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest

from shared import dispatch
from shared.agents.sentinel import collector
from shared.dispatch import Worker
from shared.model import codec
from shared.model.errors import PermanentError, Reason, TransientError
from shared.model.event import (
    Event,
    IncidentAcknowledged,
    IncidentAssigned,
    SignalsReceived,
    TicketUpdateRequested,
    UpdateKind,
)
from shared.model.outcome import Outcome
from shared.model.pipeline import DESTINATION, MicroAgent, Queue
from shared.model.signal import Signal
from shared.ports.bus import Message
from shared.ports.source import Delivery
from shared.ports.store import Replace, Table
from shared.records import incidents, journal, payloads, quarantine
from shared.records.rows import pack
from tests.pipeline.world import World


def note(world: World, attempt: int = 0) -> Event:
    data = TicketUpdateRequested(UpdateKind.NOTE, "hello")
    return Event("e1", "/people/test", world.ids()[0], world.now, data, attempt=attempt)


def deliver(world: World, event: Event) -> float | None:
    """Run the hop; seconds until its next attempt, if there is one."""
    dispatch.hop(world.engine, DESTINATION[type(event.data)], codec.encode_event(event))
    again = [e for e in world.bus.entries if e.message.message_id == f"{event.id}.{event.attempt + 1}"]
    return (again[0].visible_at - world.now).total_seconds() if again else None


def breaking(world: World, name: MicroAgent, errors: list[Exception]) -> None:
    """Make a micro-agent raise, one error a call, and answer afterwards."""

    def handle(*_: object) -> Outcome:
        if errors:
            raise errors.pop(0)
        return Outcome("did it", "after all")

    world.engine = replace(world.engine, workers={**world.engine.workers, name: Worker(handle)})


@pytest.mark.parametrize("jitter", [0.0, 0.999])
@pytest.mark.parametrize("attempt", [0, 1, 5, 9, 10, 40, 5000])
def test_H10_the_back_off_is_between_a_second_and_15_minutes(opened: World, attempt: int, jitter: float) -> None:
    opened.desk.failures = [TransientError("down", sent=False)]
    opened.engine = replace(opened.engine, jitter=lambda: jitter)
    delay = deliver(opened, note(opened, attempt))
    assert delay is not None
    assert 0.99 <= delay <= 15 * 60
    assert delay >= min(2**attempt, 450) - 0.01


def test_H10_the_far_side_may_ask_for_more_time(opened: World) -> None:
    opened.desk.failures = [TransientError("slow down", Reason.RATE_LIMITED, timedelta(minutes=40), sent=False)]
    assert deliver(opened, note(opened)) == pytest.approx(2400, abs=1)


def test_H10_attempts_end_in_quarantine_after_their_time_with_a_line_in_the_timeline(opened: World) -> None:
    assert opened.settings.host.retry_hours == 24
    opened.configure(host={"retry_hours": 2})
    opened.desk.failures = [TransientError("down", Reason.UNAVAILABLE, timedelta(minutes=10), sent=False)] * 40
    opened.bus.put(Queue.TICKET_UPDATES, Message("e1.0", codec.encode_event(note(opened))))
    opened.pass_time(timedelta(minutes=115))
    assert not opened.bus.quarantined
    opened.pass_time(timedelta(minutes=30))
    assert len(opened.bus.quarantined) == 1
    [entry] = [entry for entry in opened.timeline() if entry.what == "quarantined"]
    assert entry.why.startswith("unavailable: gave up after 1")


def test_H10_the_day_begins_when_an_event_was_due(opened: World) -> None:
    opened.desk.failures = [TransientError("down", sent=False)]
    due = opened.now + timedelta(hours=30)
    event = replace(note(opened), not_before=due)
    opened.clock[0] = due
    assert deliver(opened, event) is not None


def test_H10_the_day_begins_anew_when_an_event_is_released(opened: World) -> None:
    opened.configure(policy={"hold": ["ticket_updater"], "hold_s": 3 * 3600}, host={"retry_hours": 1})
    opened.bus.put(Queue.TICKET_UPDATES, Message("e1.0", codec.encode_event(note(opened))))
    opened.settle()
    opened.configure(policy={"hold": []})
    opened.desk.failures = [TransientError("down", sent=False)]
    opened.pass_time(timedelta(hours=3, minutes=5))
    assert not opened.bus.quarantined
    assert "hello" in [text for _, text in opened.desk.notes]


def test_H10_permanent_goes_to_quarantine_at_once_and_is_shown(opened: World) -> None:
    opened.desk.failures = [PermanentError("the ticket is closed for ever", Reason.REFUSED)]
    assert deliver(opened, note(opened)) is None
    assert opened.timeline()[-1].why == "refused: the ticket is closed for ever"
    [kept] = quarantine.listed(opened.inner, opened.now)
    assert (kept.origin, kept.reason, kept.subject) == ("ticket_updates", "refused", opened.ids()[0])
    assert payloads.get(opened.inner, kept.payload) == codec.encode_event(replace(note(opened), time=kept_time(opened)))
    assert not opened.audit_problem()


def kept_time(world: World) -> object:
    [kept] = quarantine.listed(world.inner, world.now)
    body = payloads.get(world.inner, kept.payload)
    assert body is not None
    return codec.decode_event(body).time


def test_H10_a_bug_counts_as_transient_three_times_and_then_as_a_bug(opened: World) -> None:
    breaking(opened, MicroAgent.INCIDENT_CREATOR, [KeyError("x")] * 4)
    opened.say(IncidentAcknowledged("olga"), opened.ids()[0], id="e1")
    opened.settle()
    assert [m.message_id for m in opened.bus.quarantined] == ["q.e1.3"]
    assert opened.timeline()[-1].why == "bug: KeyError in the code; see the log"


def test_H10_transient_attempts_before_a_bug_do_not_count_for_it(opened: World) -> None:
    errors: list[Exception] = [TransientError("not yet")] * 9 + [KeyError("x")] * 3
    breaking(opened, MicroAgent.INCIDENT_CREATOR, errors)
    opened.say(IncidentAcknowledged("olga"), opened.ids()[0])
    opened.settle()
    assert not opened.bus.quarantined
    assert opened.story()[-1] == "did it"


def test_H10_a_bug_in_an_effect_does_not_wait_for_the_lease(opened: World) -> None:
    breaking(opened, MicroAgent.TICKET_UPDATER, [KeyError("x")])
    delay = deliver(opened, note(opened))
    assert delay is not None
    assert delay <= 2
    opened.settle()
    assert opened.story()[-1] == "did it"


def test_H10_a_secret_in_an_exception_stays_out_of_the_quarantine_row(opened: World) -> None:
    breaking(opened, MicroAgent.INCIDENT_CREATOR, [ValueError("password=hunter2")] * 4)
    opened.say(IncidentAcknowledged("olga"), opened.ids()[0])
    opened.settle()
    [kept] = quarantine.listed(opened.inner, opened.now)
    assert "hunter2" not in kept.message + opened.timeline()[-1].why


def test_H10_bus_down_abandons_the_message(opened: World) -> None:
    opened.desk.failures = [TransientError("down", sent=False)]
    opened.bus.down = True
    with pytest.raises(TransientError):
        deliver(opened, note(opened))


def test_H10_store_down_abandons_the_message_or_schedules_it_again_and_loses_nothing(opened: World) -> None:
    opened.bus.put(Queue.TICKET_UPDATES, Message("e1.0", codec.encode_event(note(opened))))
    opened.store.down = True
    for _ in range(5):
        opened._work_once()
        opened.clock[0] += timedelta(minutes=1)
    opened.store.down = False
    opened.settle()
    assert [text for _, text in opened.desk.notes].count("hello") == 1
    assert not opened.bus.quarantined


def test_H10_a_quarantined_event_leaves_no_outbox_row_for_the_sweep(opened: World) -> None:
    event = note(opened)
    opened.inner.write(Table.INCIDENTS, event.subject, incidents.outbox_row(event, opened.now))
    incidents.mark_pending(opened.inner, event.subject, opened.now)
    opened.desk.failures = [PermanentError("no")]
    deliver(opened, event)
    assert incidents.OUTBOX + event.id not in opened.rows(incidents.OUTBOX)
    opened.pass_time(timedelta(minutes=20))
    assert len(opened.bus.quarantined) == 1


def test_H10_a_quarantined_event_can_be_replayed(opened: World) -> None:
    opened.desk.failures = [PermanentError("no")]
    event = note(opened)
    deliver(opened, event)
    deliver(opened, replace(event, attempt=event.attempt + 1))
    assert "hello" in [text for _, text in opened.desk.notes]


def test_H10_an_event_of_an_incident_that_is_not_there_waits_a_day_and_is_kept(world: World) -> None:
    world.say(IncidentAssigned("olga", "sam"), "no-such-incident")
    world.pass_time(timedelta(hours=25))
    [kept] = quarantine.listed(world.inner, world.now)
    assert kept.reason == "not_yet"
    assert not world.bus.entries


def test_H10_an_incident_row_that_cannot_be_read_does_not_block_the_queue(opened: World) -> None:
    row = opened.inner.get(Table.INCIDENTS, opened.ids()[0], incidents.INCIDENT)
    assert row is not None
    values = {**row.values, "doc00": '{"colour": "red"}'}
    subject = opened.ids()[0]
    opened.inner.write(Table.INCIDENTS, subject, Replace(incidents.INCIDENT, values, None))
    event = Event("e1", "/people/test", subject, opened.now, IncidentAcknowledged("olga"))
    dispatch.hop(opened.engine, Queue.INCIDENTS, codec.encode_event(event))
    assert len(opened.bus.quarantined) == 1


def test_H11_an_event_older_than_the_memory_of_its_incident_is_never_run(opened: World) -> None:
    loaded = incidents.load(opened.inner, opened.ids()[0])
    assert loaded is not None
    purged = replace(loaded.incident, purged_before=opened.now + timedelta(seconds=1))
    opened.inner.write(Table.INCIDENTS, purged.id, Replace(incidents.INCIDENT, pack(purged), loaded.etag))
    deliver(opened, note(opened))
    assert [kept.reason for kept in quarantine.listed(opened.inner, opened.now)] == ["too_old"]
    assert "hello" not in [text for _, text in opened.desk.notes]
    opened.clock[0] += timedelta(seconds=2)
    deliver(opened, replace(note(opened), id="e2"))
    assert "hello" in [text for _, text in opened.desk.notes]


# S1


def poisoned(prefix: str) -> Callable[[Table, str], None]:
    """A group whose row breaks whoever reads it."""

    def poison(table: Table, key: str) -> None:
        if table is Table.GROUPS and key.startswith(prefix):
            raise KeyError(key)

    return poison


def test_S1_each_signal_of_a_batch_fails_alone(world: World) -> None:
    """A bad body, a signal that breaks the code, one that must wait: the others open their incidents now."""
    good, odd = world.signal("Good"), world.signal("Odd", service="billing")
    batch = [
        b"not json",
        codec.encode_event(Event("b1", "/x", "", world.now, SignalsReceived((odd, good)))),
        codec.encode_event(Event("b2", "/x", "", world.now, IncidentAcknowledged("olga"))),
    ]
    world.store.poison = poisoned("service=billing")
    dispatch.signals(world.engine, batch)
    world.settle()
    assert [world.incident(i).title for i in range(len(world.ids()))] == ["Good of the shop"]
    reasons = sorted(kept.reason for kept in quarantine.listed(world.inner, world.now))
    assert reasons == ["bad_input", "bad_input", "bug"]


def test_S1_a_transient_signal_is_scheduled_again_by_itself(world: World) -> None:
    world.send_everything()
    first, second = world.signal("First"), world.signal("Second", service="billing")
    body = codec.encode_event(Event("b1", "/x", "", world.now, SignalsReceived((first, second))))
    put = world.bus.send
    failures = [TransientError("the bus stumbles", sent=None) for _ in ("all at once", "the first by itself")]

    def stumbling(queue: Queue, messages: object) -> None:
        if queue is Queue.INCIDENTS and failures:
            raise failures.pop()
        put(queue, messages)  # type: ignore[arg-type]

    world.bus.send = stumbling  # type: ignore[method-assign]
    dispatch.signals(world.engine, [body])
    again = [e.message for e in world.bus.entries if e.queue is Queue.SIGNALS]
    assert [[s.id for s in codec.decode_event(m.body).data.signals] for m in again] == [[first.id]]  # type: ignore[union-attr]
    world.settle()
    assert len(world.ids()) == 2


def test_S1_a_signal_that_was_split_off_keeps_its_id_over_all_attempts(world: World) -> None:
    event = Event("b1", "/x", "", world.now, SignalsReceived((world.signal(),)))
    world.store.poison = poisoned("service=shop")
    world.bus.put(Queue.SIGNALS, Message(event.message_id, codec.encode_event(event)))
    world.settle()
    sent = [m.message_id for q, m in world.bus.sent if q is Queue.SIGNALS][1:]
    assert len({identity.partition(".")[0] for identity in sent}) == 1
    assert [identity.partition(".")[2] for identity in sent] == ["1", "2", "3"]
    assert len(world.bus.quarantined) == 1


class Broken:
    """A source with a bug."""

    def parse(self, delivery: Delivery) -> tuple[Signal, ...]:
        raise KeyError("essentials")

    def receipt(self, body: object, headers: object, digest: str, received_at: object) -> str:
        return digest


def test_S1_a_source_that_cannot_read_a_body_makes_an_alert_nobody_recognises(world: World) -> None:
    world.engine = replace(world.engine, ports=replace(world.engine.ports, sources={"odd": Broken()}))
    received = dispatch.receive(world.engine, "odd", b'{"a": 1}', {})
    assert received == collector.Received(received.receipt, 1, False)
    [event] = world.sent(SignalsReceived)
    assert isinstance(event.data, SignalsReceived)
    assert event.data.signals[0].recognised is False


def test_H10_a_note_that_meets_a_concurrent_commit_is_written_all_the_same(opened: World) -> None:
    before = opened.incident().entries
    for i in range(3):
        journal.note(opened.inner, replace(note(opened), id=f"e{i}"), MicroAgent.NOTIFIER, "noted", "x", opened.now)
    assert opened.incident().entries == before + 3
    assert not opened.audit_problem()
