"""Rules H1, H2, H5 and H6 where a hop reads less: what it remembers is never trusted beyond its ETag."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from benchmarks.load.counting import CountingStore
from shared import dispatch
from shared.dispatch.recent import FRESH, Recent
from shared.model import codec
from shared.model.diagnosis import EvidenceKind
from shared.model.errors import PermanentError
from shared.model.event import (
    ActionApproved,
    ClosingKind,
    ClosingRequested,
    Event,
    IncidentAcknowledged,
    IncidentAssigned,
    InvestigationRequested,
    NotificationRequested,
    Payload,
    TicketUpdateRequested,
    UpdateKind,
)
from shared.model.lifecycle import State
from shared.model.notice import Notice, NoticeKind
from shared.model.outcome import Outcome
from shared.model.pipeline import DESTINATION, MicroAgent, Queue
from shared.model.signal import Severity
from shared.ports.store import Delete, Replace, Table
from shared.records import evidence, groups, incidents, intents
from tests.agents.cases import evidence as found
from tests.agents.cases import incident
from tests.pipeline.test_hop import with_worker
from tests.pipeline.world import GROUP, START, World

CARD = NotificationRequested("chat", Notice(NoticeKind.OPENED, "t", "text", Severity.SEV2, "thread"))
NOTE = TicketUpdateRequested(UpdateKind.NOTE, "hello")


def said(data: Payload, **changes: Any) -> Event:
    return replace(Event("e1", "/agents/sentinel/incident_creator", incident().id, START, data), **changes)


def known(*emitted: str, version: int = 3) -> Recent:
    recent = Recent()
    recent.keep(incidents.Loaded(incident(version=version), f"etag-{version}"), emitted, START)
    return recent


@pytest.mark.parametrize(
    ("event", "after", "answers"),
    [
        pytest.param(said(CARD), timedelta(seconds=1), True, id="a-card-of-that-commit"),
        pytest.param(said(InvestigationRequested()), timedelta(0), True, id="an-investigation"),
        pytest.param(said(NOTE), timedelta(0), True, id="a-note-for-the-ticket"),
        pytest.param(said(CARD, id="e2"), timedelta(0), False, id="emitted-by-another-process"),
        pytest.param(said(CARD), FRESH, False, id="too-old"),
        pytest.param(said(CARD), -FRESH, False, id="a-clock-that-went-back"),
        pytest.param(said(CARD, attempt=1), timedelta(0), False, id="a-later-attempt"),
        pytest.param(said(ActionApproved("a")), timedelta(0), False, id="whoever-acts-reads"),
        pytest.param(said(ClosingRequested(ClosingKind.AFTER_ACTION)), timedelta(0), False, id="whoever-closes-reads"),
        pytest.param(
            said(TicketUpdateRequested(UpdateKind.REOPEN, "x")), timedelta(0), False, id="whoever-reopens-reads"
        ),
    ],
)
def test_H1_an_incident_is_remembered_for_what_its_own_commit_asked_for(
    event: Event, after: timedelta, answers: bool
) -> None:
    assert (known("e1").of(event, START + after) is not None) is answers


def test_H1_an_older_commit_never_replaces_a_newer_one_in_memory() -> None:
    recent = known("e1", version=4)
    recent.keep(incidents.Loaded(incident(version=3), "etag-3"), ("e2",), START)
    for name in ("e1", "e2"):
        loaded = recent.of(said(CARD, id=name), START)
        assert loaded is not None
        assert loaded.etag == "etag-4"


def test_H1_what_somebody_else_changed_is_read_again() -> None:
    recent = known("e1")
    recent.forget(incident().id)
    assert recent.of(said(CARD), START) is None
    assert recent.emitted(said(CARD)), "that its row is in the outbox is as true as before"


def test_H1_memory_is_bounded() -> None:
    recent = Recent()
    for number in range(1000):
        recent.keep(incidents.Loaded(incident(number), "x"), (str(i) for i in range(100)), START)
    assert len(recent._kept) == 256
    assert all(len(one.emitted) == 64 for one in recent._kept.values())


def card_of(world: World) -> Event:
    """The card of the first incident's opening, taken off its queue."""
    world.send_everything()
    world.bus.kept = {Queue.NOTIFICATIONS}
    world.fires()
    world.run_until(lambda: bool(world.sent(NotificationRequested)))
    [entry] = [entry for entry in world.bus.entries if entry.queue is Queue.NOTIFICATIONS]
    world.bus.entries.remove(entry)
    return codec.decode_event(entry.message.body)


def test_H6_a_commit_from_memory_that_somebody_overtook_is_made_on_the_incident_as_it_is(world: World) -> None:
    card = card_of(world)
    other = replace(world.engine, recent=Recent())
    assigned = Event("a1", "/people/test", card.subject, world.now, IncidentAssigned("olga", "sam"))
    dispatch.hop(other, Queue.INCIDENTS, codec.encode_event(assigned))
    assert world.engine.recent.of(card, world.now) is not None, "this process has not heard of it"
    dispatch.hop(world.engine, Queue.NOTIFICATIONS, codec.encode_event(card))
    now = world.incident()
    assert now.assignee == "sam"
    assert world.story()[-2:] == ["assigned to sam", "told chat: HighErrorRatio of the shop"]
    assert not world.audit_problem()


def test_H5_an_outbox_row_that_the_sweep_took_stops_no_commit(opened: World) -> None:
    opened.bus.kept = {Queue.TICKET_UPDATES}
    opened.say(IncidentAcknowledged("olga"), opened.ids()[0])
    opened.pass_time(timedelta(seconds=1))
    [entry] = [entry for entry in opened.bus.entries if entry.queue is Queue.TICKET_UPDATES]
    [row] = opened.rows(incidents.OUTBOX)
    opened.inner.write(Table.INCIDENTS, opened.ids()[0], Delete(row, None))
    opened.invoke(entry)
    assert [text for _, text in opened.desk.notes].count("Acknowledged by olga.") == 1
    assert opened.story()[-1].endswith("noted")


# H2: an effect that was done is not claimed again


def deliver(world: World, event: Event) -> None:
    dispatch.hop(world.engine, DESTINATION[type(event.data)], codec.encode_event(event))


def note(world: World, **changes: Any) -> Event:
    return replace(Event("n1", "/people/test", world.ids()[0], world.now, NOTE), **changes)


def test_H2_a_repeat_of_an_effect_that_was_done_neither_acts_nor_waits_for_a_lease(opened: World) -> None:
    for _ in range(2):
        deliver(opened, note(opened))
    assert [text for _, text in opened.desk.notes].count("hello") == 1
    intent = incidents.intent_of(opened.inner, opened.ids()[0], "n1")
    assert intent is not None
    assert intent.state == intents.DONE
    assert not [entry for entry in opened.bus.entries if entry.queue is Queue.TICKET_UPDATES]
    assert opened.story().count("ticket INC0000001 noted") == 1


def test_H2_an_effect_that_was_skipped_stays_skipped_when_the_policy_would_let_it_through_later(opened: World) -> None:
    event = replace(note(opened), data=CARD)
    deliver(
        opened, Event("c1", "/people/test", event.subject, opened.now, ClosingRequested(ClosingKind.MANUAL, "olga"))
    )
    deliver(opened, event)
    loaded = incidents.load(opened.inner, event.subject)
    assert loaded is not None
    alive = replace(loaded.incident, state=State.OPEN)
    opened.inner.write(Table.INCIDENTS, event.subject, Replace("incident", incidents.values_of(alive), loaded.etag))
    before = len(opened.chat.posts)
    deliver(opened, event)
    assert len(opened.chat.posts) == before
    assert opened.story().count(f"skipped {CARD.TYPE}") == 1


def test_H2_an_intent_of_an_earlier_version_that_never_learned_of_its_end_is_not_taken_over(opened: World) -> None:
    """Before intents were marked done, only the inbox said so."""
    event = note(opened)
    deliver(opened, event)
    now = opened.now
    intent = incidents.intent_of(opened.inner, event.subject, event.id)
    assert intent is not None
    assert incidents.write_intent(opened.inner, event.subject, event.id, "old", now, "started", intent.etag)
    opened.clock[0] += timedelta(minutes=10)
    deliver(opened, event)
    assert [text for _, text in opened.desk.notes].count("hello") == 1


# H6: without effects, the commit tells


def test_H6_a_repeat_that_would_fail_by_now_is_done_all_the_same(opened: World) -> None:
    event = Event("a1", "/people/test", opened.ids()[0], opened.now, IncidentAcknowledged("olga"))
    deliver(opened, event)

    def refuse(*_: object) -> Outcome:
        raise PermanentError("not any more")

    with_worker(opened, MicroAgent.INCIDENT_CREATOR, refuse)
    deliver(opened, event)
    assert not opened.bus.quarantined
    deliver(opened, replace(event, id="a2"))
    assert len(opened.bus.quarantined) == 1, "another event does fail"


def test_H6_a_repeat_is_not_held(opened: World) -> None:
    event = Event("a1", "/people/test", opened.ids()[0], opened.now, IncidentAcknowledged("olga"))
    deliver(opened, event)
    opened.configure(policy={"hold": ["incident_creator"]})
    deliver(opened, event)
    assert not opened.rows(incidents.HELD)
    deliver(opened, replace(event, id="a2"))
    assert len(opened.rows(incidents.HELD)) == 1


def test_C1_a_repeat_of_what_closed_an_incident_before_it_was_reopened_does_not_turn_its_claim(opened: World) -> None:
    event = Event("c1", "/people/test", opened.ids()[0], opened.now, ClosingRequested(ClosingKind.MANUAL, "olga", "x"))
    deliver(opened, event)
    opened.pass_time(timedelta(seconds=2))
    loaded = incidents.load(opened.inner, event.subject)
    assert loaded is not None
    alive = replace(loaded.incident, state=State.OPEN)
    opened.inner.write(Table.INCIDENTS, event.subject, Replace("incident", incidents.values_of(alive), loaded.etag))
    assert groups.reopen_claim(opened.inner, GROUP, 1)
    deliver(opened, event)
    state = groups.state_of(opened.inner, GROUP)
    assert state is not None
    assert state.state is groups.Claim.OPEN
    assert opened.incident().state is State.OPEN


# Evidence goes with the commit where it fits


@pytest.mark.parametrize(
    ("count", "size", "writes"), [(5, 10, 1), (60, 10, 2), (3, 150_000, 2)], ids=["few", "many", "large"]
)
def test_H5_evidence_is_kept_with_the_diagnosis_or_before_it(opened: World, count: int, size: int, writes: int) -> None:
    pieces = tuple(found(EvidenceKind.LOG, f"t{i}", summary="x" * size) for i in range(count))
    counting = CountingStore(opened.store.inner)
    opened.store.inner = counting
    answer = Outcome("looked", "for the cause", evidence=pieces)
    with_worker(opened, MicroAgent.RCA, lambda *_: answer)
    before = len(evidence.all_of(opened.inner, opened.ids()[0]))
    deliver(opened, Event("i1", "/people/test", opened.ids()[0], opened.now, InvestigationRequested("olga")))
    assert len(evidence.all_of(opened.inner, opened.ids()[0])) == before + count
    assert counting.calls["transact incidents"] + counting.calls["write incidents"] == writes
    assert opened.story()[-1] == "looked"
