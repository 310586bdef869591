"""Rules M1 to M5: what travels, under which id, and what happens to what is too large or not due yet."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta

import pytest

from shared import dispatch
from shared.adapters.stores.sqlite import SqliteStore
from shared.model import codec
from shared.model.errors import PermanentError, Reason, TransientError
from shared.model.event import (
    ApprovalDecided,
    DiagnosisMade,
    Event,
    GroupChanged,
    InvestigationRequested,
    SignalsReceived,
    TicketUpdateRequested,
    UpdateKind,
    derive_id,
)
from shared.model.pipeline import DESTINATION, Queue
from shared.ports.store import Table
from shared.records import incidents, letters
from tests import fakes
from tests.pipeline.world import START, World


def event(text: str = "look", **changes: object) -> Event:
    data = TicketUpdateRequested(UpdateKind.NOTE, text)
    values = {"id": "e1", "source": "/people/olga", "subject": "incident-1", "time": START, "data": data, **changes}
    return Event(**values)  # type: ignore[arg-type]


def test_M1_an_event_is_a_cloudevents_envelope(opened: World) -> None:
    for queue, message in opened.bus.sent:
        envelope = json.loads(message.body)
        assert envelope["specversion"] == "1.0"
        assert {"id", "source", "type", "subject", "time", "datacontenttype", "traceparent", "attempt"} <= set(envelope)
        assert envelope["source"].startswith(("/agents/", "/people/"))
        assert DESTINATION[type(codec.decode_event(message.body).data)] is queue


def test_M1_the_trace_of_the_cause_goes_on(world: World) -> None:
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    world.send_everything()
    world.fires()
    world.settle()
    world.say(InvestigationRequested("olga"), world.ids()[0], traceparent=trace)
    world.settle()
    assert world.sent(DiagnosisMade)[-1].traceparent == trace


def test_M2_the_same_cause_makes_the_same_ids(store: SqliteStore, tmp_path: object) -> None:
    def ids() -> list[str]:
        with_store = World(SqliteStore(f"{tmp_path}/{len(seen)}.db"))
        with_store.fires()
        with_store.settle()
        with_store.vote()
        with_store.settle()
        return [message.message_id for _, message in with_store.bus.sent]

    seen: list[list[str]] = []
    seen.append(ids())
    seen.append(ids())
    assert seen[0] == seen[1]


def test_M2_two_events_of_one_outcome_have_their_own_ids(opened: World) -> None:
    opened.vote()
    opened.settle()
    sent = [message.message_id for _, message in opened.bus.sent]
    assert len(sent) == len(set(sent))


def test_M2_the_cause_of_a_decision_is_the_approval(opened: World) -> None:
    request = opened.request()
    expected = derive_id(request.id, "decision", ApprovalDecided.TYPE, request.incident_id, "0")
    opened.vote()
    opened.settle()
    assert f"inbox|{expected}" in opened.rows(incidents.INBOX)


def test_M3_the_attempt_is_in_the_message_id_and_the_inbox_key_is_the_id() -> None:
    assert event().message_id == "e1.0"
    assert replace(event(), attempt=3).message_id == "e1.3"
    assert incidents.inbox_row(replace(event(), attempt=3), START).key == "inbox|e1"


def test_M3_a_retry_is_no_duplicate_and_a_resend_is_one(opened: World) -> None:
    opened.desk.failures = [TransientError("busy", Reason.UNAVAILABLE, sent=False)]
    said = opened.say(TicketUpdateRequested(UpdateKind.NOTE, "hello"), opened.ids()[0])
    opened.settle()
    tries = [m.message_id for q, m in opened.bus.sent if q is Queue.TICKET_UPDATES and m.message_id.startswith(said.id)]
    assert tries == [f"{said.id}.0", f"{said.id}.1"]
    opened.bus.put(Queue.TICKET_UPDATES, next(m for _, m in opened.bus.sent if m.message_id == tries[0]))
    assert not opened.bus.entries
    assert [text for _, text in opened.desk.notes].count("hello") == 1


def test_M3_a_retry_meets_the_attempt_that_the_sweep_sent_again(world: World) -> None:
    """Two deliveries of one event, one of them far later than duplicate detection remembers."""
    world.desk.failures = [TransientError("down", Reason.UNAVAILABLE, timedelta(minutes=30), sent=False)] * 2
    world.fires()
    world.pass_time(timedelta(minutes=2))
    opening = next(m for q, m in world.bus.sent if q is Queue.TICKETS)
    world.pass_time(timedelta(minutes=20))
    world.bus.put(Queue.TICKETS, opening)
    world.settle()
    assert len(world.desk.tickets) == 1
    assert world.story().count("ticket INC0000001 opened") == 1


def test_M4_an_event_that_is_not_due_is_scheduled(opened: World) -> None:
    due = opened.now + timedelta(minutes=7)
    opened.say(TicketUpdateRequested(UpdateKind.NOTE, "later"), opened.ids()[0], not_before=due)
    opened.pass_time(timedelta(minutes=6))
    assert "later" not in [text for _, text in opened.desk.notes]
    opened.pass_time(timedelta(minutes=2))
    assert "later" in [text for _, text in opened.desk.notes]


def test_M5_up_to_192_KB_of_signals_travel_inline(store: SqliteStore, world: World) -> None:
    bus = fakes.FakeBus()
    signals = tuple(world.signal(f"alert-{i}", description="d" * 900) for i in range(90))
    letters.send(store, bus, event(data=SignalsReceived(signals), subject=""))
    body = bus.sent[Queue.SIGNALS][0].body
    assert 48 * 1024 < len(body) < letters.MAX_SIGNALS_BYTES
    assert not codec.reference_of(body)


@pytest.mark.parametrize("attempt", [0, 4])
def test_M5_a_large_event_travels_as_a_reference_and_comes_back_whole(store: SqliteStore, attempt: int) -> None:
    bus = fakes.FakeBus()
    large = event("n" * 60_000 + "password: token=abc", attempt=attempt)
    letters.send(store, bus, large)
    body = bus.sent[Queue.TICKET_UPDATES][0].body
    assert len(body) < 2000
    assert letters.read(store, body) == large


def test_M3_a_referenced_message_keeps_its_own_attempt(store: SqliteStore) -> None:
    bus = fakes.FakeBus()
    for attempt in (0, 1):
        letters.send(store, bus, event("n" * 60_000, attempt=attempt))
    bodies = [message.body for message in bus.sent[Queue.TICKET_UPDATES]]
    assert [letters.read(store, body).attempt for body in bodies] == [0, 1]


def test_M5_a_reference_whose_payload_expired_is_permanent(store: SqliteStore) -> None:
    bus = fakes.FakeBus()
    letters.send(store, bus, event("n" * 60_000))
    body = bus.sent[Queue.TICKET_UPDATES][0].body.replace(b"event-e1", b"event-e2")
    with pytest.raises(PermanentError, match="expired"):
        letters.read(store, body)


def test_M5_a_large_event_goes_through_a_hop(opened: World) -> None:
    text = "n" * 60_000
    data = TicketUpdateRequested(UpdateKind.NOTE, text)
    large = event(data=data, subject=opened.ids()[0])
    letters.send(opened.store, opened.bus, large)
    opened.settle()
    assert text in [noted for _, noted in opened.desk.notes]


def test_M5_a_large_event_in_quarantine_can_be_read_from_its_message(opened: World) -> None:
    data = TicketUpdateRequested(UpdateKind.NOTE, "n" * 300_000)
    opened.desk.failures = [PermanentError("no", Reason.REFUSED)]
    large = event(data=data, subject=opened.ids()[0])
    letters.send(opened.store, opened.bus, large)
    opened.settle()
    [message] = opened.bus.quarantined
    assert len(message.body) < 256 * 1024
    assert letters.read(opened.store, message.body) == large


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"\xff\xfe", id="not-text"),
        pytest.param(b'{"dataref": ', id="cut-reference"),
        pytest.param(b'{"dataref":', id="cut-reference-without-space"),
        pytest.param(b'{"dataref":"x/y","attempt":null}', id="reference-without-attempt"),
        pytest.param(b'{"dataref":"x/y#?","attempt":0}', id="reference-that-is-no-key"),
        pytest.param(b"[1, 2]", id="no-object"),
        pytest.param(b'{"specversion": "0.3"}', id="another-version"),
        pytest.param(b'{"specversion": "1.0", "type": "argus.unknown.v9"}', id="unknown-type"),
    ],
)
@pytest.mark.parametrize("queue", [Queue.SIGNALS, Queue.CLOSING])
def test_M1_what_is_no_event_goes_to_quarantine(world: World, queue: Queue, body: bytes) -> None:
    if queue is Queue.SIGNALS:
        dispatch.signals(world.engine, [body])
    else:
        dispatch.hop(world.engine, queue, body)
    assert len(world.bus.quarantined) == 1
    assert world.inner.partitions(Table.QUARANTINE)


def test_M1_an_event_on_the_wrong_queue_goes_to_quarantine(opened: World) -> None:
    dispatch.hop(opened.engine, Queue.ACTIONS, codec.encode_event(event(subject=opened.ids()[0])))
    assert len(opened.bus.quarantined) == 1


def test_M2_a_creation_is_caused_by_group_and_generation(world: World) -> None:
    world.send_everything()
    world.fires()
    world.settle()
    [creation] = world.sent(GroupChanged)
    assert creation.subject == world.ids()[0]
    assert isinstance(creation.data, GroupChanged)
    key, generation = creation.data.group_key, str(creation.data.generation)
    assert creation.id == derive_id("group", key, generation, GroupChanged.TYPE, creation.subject, "0")
