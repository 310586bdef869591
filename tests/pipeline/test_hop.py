"""Rules H1 and H4 to H7: the policy speaks first, one transaction carries all, and what conflicts is done anew."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from shared import dispatch
from shared.dispatch import Worker
from shared.model import codec
from shared.model.approval import Choice
from shared.model.errors import TransientError
from shared.model.event import (
    ActionApproved,
    ApprovalRequested,
    ClosingKind,
    ClosingRequested,
    Event,
    IncidentAcknowledged,
    IncidentAssigned,
    IncidentClosed,
    InvestigationRequested,
    NotificationRequested,
    Payload,
    TicketUpdateRequested,
    UpdateKind,
)
from shared.model.incident import Incident
from shared.model.lifecycle import Moment, State
from shared.model.notice import Notice, NoticeKind
from shared.model.outcome import Append, Emit, Happened, Outcome, Put
from shared.model.pipeline import DESTINATION, MicroAgent, Queue
from shared.model.signal import Severity
from shared.ports import Ports
from shared.ports.store import Operation, Replace, Table
from shared.records import approvals, groups, incidents, journal
from shared.records.rows import pack
from tests.pipeline.faults import FragileStore
from tests.pipeline.world import GROUP, World


class Meddler(FragileStore):
    """Lets somebody else commit right before a transaction."""

    meddle: Callable[[], None] | None = None

    def transact(self, table: Table, partition: str, operations: Sequence[Operation]) -> Sequence[str]:
        meddle, self.meddle = self.meddle, None
        if meddle is not None:
            meddle()
        return super().transact(table, partition, operations)


def meddled(world: World, meddle: Callable[[], None]) -> World:
    """The world, with one concurrent commit in the next hop."""
    store = Meddler(world.inner, world.points)
    store.meddle = meddle
    world.engine = replace(world.engine, ports=replace(world.engine.ports, store=store))
    return world


def hop(world: World, data: Payload, **changes: Any) -> Event:
    """Run one hop on the first incident, at once."""
    event = Event(f"e-{data.TYPE}", "/people/test", world.ids()[0], world.now, data)
    event = replace(event, **changes)
    dispatch.hop(world.engine, DESTINATION[type(data)], codec.encode_event(event))
    return event


def with_worker(world: World, name: MicroAgent, handle: Callable[..., Outcome], reads: tuple[str, ...] = ()) -> World:
    """The world with another micro-agent in a place."""
    workers = {**world.engine.workers, name: Worker(handle, reads)}
    world.engine = replace(world.engine, workers=workers)
    return world


def closed(world: World) -> World:
    hop(world, ClosingRequested(ClosingKind.MANUAL, "olga", "done"))
    world.settle()
    assert world.incident().over
    return world


def notice(kind: NoticeKind) -> NotificationRequested:
    return NotificationRequested("chat", Notice(kind, "a title", "a text", Severity.SEV2, "thread"))


# H1: go, hold, skip, escalate


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(notice(NoticeKind.OPENED), id="notification"),
        pytest.param(InvestigationRequested("olga"), id="investigation"),
        pytest.param(ActionApproved("some-approval"), id="action"),
    ],
)
def test_H1_effects_on_a_closed_incident_are_skipped_and_recorded(opened: World, data: Payload) -> None:
    closed(opened)
    posts, runs = len(opened.chat.posts), list(opened.workload.runs)
    hop(opened, data)
    entry = opened.timeline()[-1]
    assert (entry.what, entry.why) == (f"skipped {data.TYPE}", "the incident is closed")
    assert (len(opened.chat.posts), opened.workload.runs) == (posts, runs)
    assert opened.incident().over


@pytest.mark.parametrize(
    ("data", "what"),
    [
        pytest.param(TicketUpdateRequested(UpdateKind.NOTE, "late"), "ticket INC0000001 noted", id="ticket-update"),
        pytest.param(notice(NoticeKind.CLOSED), "told chat: a title", id="closing-notice"),
        pytest.param(IncidentClosed("again"), "1 document(s) published", id="knowledge"),
        pytest.param(IncidentAssigned("olga", "sam"), "assigned to sam", id="assigned"),
    ],
)
def test_H1_what_belongs_to_the_end_goes_on(opened: World, data: Payload, what: str) -> None:
    closed(opened)
    hop(opened, data)
    assert opened.timeline()[-1].what == what


def test_H1_a_late_acknowledgement_is_recorded_and_changes_no_times(opened: World) -> None:
    closed(opened)
    hop(opened, IncidentAcknowledged("olga"))
    assert opened.timeline()[-1].what == "acknowledged by olga after the end"
    assert opened.incident().acknowledged_at is None


def test_H1_an_action_whose_approval_ended_otherwise_is_skipped(opened: World) -> None:
    opened.vote(choice=Choice.REJECT)
    opened.settle()
    waiting = opened.incident().approval
    assert waiting is not None
    assert waiting.verdict == "rejected"
    hop(opened, ActionApproved(waiting.id))
    assert opened.timeline()[-1].why == "the approval ended as rejected"
    assert not opened.workload.runs


def test_H1_a_plan_that_used_up_its_attempts_goes_to_people(opened: World) -> None:
    opened.configure(execution={"max_attempts": 1})
    opened.vote()
    opened.settle()
    request = opened.request()
    again = replace(request, plan=replace(request.plan, title="once more"))
    hop(opened, ApprovalRequested(replace(again, plan_hash=approvals.plan_hash(again.plan))))
    opened.settle()
    assert "escalated to people" in opened.story()
    assert ("escalated", "A person must look") in opened.chat.said()
    assert opened.incident().state is State.INVESTIGATING


def test_H1_documents_of_an_incident_that_was_reopened_wait_for_its_next_end(opened: World) -> None:
    hop(opened, IncidentClosed("too early"))
    assert opened.timeline()[-1].why.startswith("the incident was reopened")
    assert not opened.wiki.pages


# H4 and H5


def test_H5_commit_is_one_transaction(opened: World) -> None:
    """State, timeline, audit, inbox, outbox and the consumed outbox row: all of them, or after a crash none."""
    incident_id = opened.ids()[0]
    event = Event("e1", "/people/test", incident_id, opened.now, IncidentAcknowledged("olga"), attempt=1)
    opened.inner.write(Table.INCIDENTS, incident_id, incidents.outbox_row(event, opened.now))  # as a release does
    before = opened.incident()
    seen: list[list[Operation]] = []

    class Watched(FragileStore):
        def transact(self, table: Table, partition: str, operations: Sequence[Operation]) -> Sequence[str]:
            if table is Table.INCIDENTS:  # the line in the list comes after it
                seen.append(list(operations))
            return super().transact(table, partition, operations)

    watched = replace(opened.engine.ports, store=Watched(opened.inner, opened.points))
    opened.engine = replace(opened.engine, ports=watched)
    dispatch.hop(opened.engine, Queue.INCIDENTS, codec.encode_event(event))
    [operations] = seen
    keys = [operation.key.partition("|")[0] for operation in operations]
    assert sorted(keys) == ["audit", "inbox", "incident", "outbox", "outbox", "timeline"]
    after = opened.incident()
    assert (after.acknowledged_by, after.version, after.entries) == ("olga", before.version + 1, before.entries + 1)
    assert "outbox|e1" not in opened.rows(incidents.OUTBOX)


def test_H5_a_moment_that_does_not_apply_is_recorded_and_changes_nothing(opened: World) -> None:
    with_worker(
        opened,
        MicroAgent.INCIDENT_CREATOR,
        lambda *_: Outcome("tried", "to say it was executed", (Happened(Moment.EXECUTED),)),
    )
    hop(opened, IncidentAcknowledged("olga"))
    assert opened.incident().state is State.AWAITING_APPROVAL
    assert opened.timeline()[-1].why.endswith("(executed does not apply to awaiting_approval)")


def test_H5_emitted_events_are_judged_and_a_skipped_one_is_recorded(opened: World) -> None:
    events = (Emit(notice(NoticeKind.OPENED)), Emit(TicketUpdateRequested(UpdateKind.NOTE, "closed so")))
    answer = Outcome("ended", "for the test", (Happened(Moment.CLOSED),), events)
    with_worker(opened, MicroAgent.INCIDENT_CREATOR, lambda *_: answer)
    hop(opened, IncidentAcknowledged("olga"))
    assert "argus.notification.requested.v1 not sent: the incident is over" in opened.timeline()[-1].why
    assert [row.partition("|")[0] for row in opened.rows(incidents.OUTBOX)] == ["outbox"]


def test_H4_every_micro_agent_of_a_chain_has_its_own_lines_in_one_commit(opened: World) -> None:
    closed(opened)
    lines = [entry for entry in opened.timeline() if entry.agent == "chronicler"]
    assert [line.micro_agent for line in lines] == ["aggregator", "doc_writer", "publisher"]
    assert len({line.event_id for line in lines}) == 1


def test_H4_a_patch_of_a_field_that_does_not_exist_is_a_bug(opened: World) -> None:
    with_worker(opened, MicroAgent.INCIDENT_CREATOR, lambda *_: Outcome("tried", "it", (Put("colour", "red"),)))
    hop(opened, IncidentAcknowledged("olga"))
    assert opened.bus.entries[-1].message.message_id.endswith(".1")


# H6


def test_H6_a_conflict_takes_numbers_and_hash_anew_and_does_not_call_again(opened: World) -> None:
    calls: list[Incident] = []

    def handle(event: Event, incident: Incident, now: datetime, ports: Ports) -> Outcome:
        calls.append(incident)
        return Outcome("patched", "by the slow one", (Put("assignee", "sam"),))

    with_worker(opened, MicroAgent.INCIDENT_CREATOR, handle, reads=("state", "severity"))
    before = opened.incident()
    other = Event("other", "/people/test", before.id, opened.now, IncidentAcknowledged("liam"))

    def meddle() -> None:
        journal.note(opened.inner, other, MicroAgent.CONDUCTOR, "meanwhile", "the fast one", opened.now)

    hop(meddled(opened, meddle), IncidentAssigned("olga", "sam"))
    after = opened.incident()
    assert len(calls) == 1
    assert (after.assignee, after.entries, after.version) == ("sam", before.entries + 2, before.version + 2)
    assert opened.story()[-2:] == ["meanwhile", "patched"]
    assert not opened.audit_problem()


def test_H6_a_read_field_that_changed_calls_the_micro_agent_again(opened: World) -> None:
    calls: list[str] = []

    def handle(event: Event, incident: Incident, now: datetime, ports: Ports) -> Outcome:
        calls.append(incident.assignee)
        return Outcome(f"saw {incident.assignee or 'nobody'}", "it reads the assignee")

    def meddle() -> None:
        loaded = incidents.load(opened.inner, opened.ids()[0])
        assert loaded is not None
        changed = replace(loaded.incident, assignee="liam")
        opened.inner.write(Table.INCIDENTS, changed.id, replace_row(changed, loaded.etag))

    with_worker(opened, MicroAgent.INCIDENT_CREATOR, handle, reads=("assignee",))
    hop(meddled(opened, meddle), IncidentAcknowledged("olga"))
    assert calls == ["", "liam"]
    assert opened.story()[-1] == "saw liam"


def replace_row(incident: Incident, etag: str) -> Operation:
    return Replace(incidents.INCIDENT, pack(incident), etag)


def test_H6_the_state_is_taken_anew_and_emitted_events_are_judged_again(opened: World) -> None:
    answer = Outcome("told", "it", (Happened(Moment.ESCALATED),), (Emit(notice(NoticeKind.INFO)),))
    calls: list[int] = []

    def handle(*_: object) -> Outcome:
        calls.append(1)
        return answer

    def meddle() -> None:
        loaded = incidents.load(opened.inner, opened.ids()[0])
        assert loaded is not None
        row = replace_row(replace(loaded.incident, state=State.CLOSED), loaded.etag)
        opened.inner.write(Table.INCIDENTS, opened.ids()[0], row)

    with_worker(opened, MicroAgent.INCIDENT_CREATOR, handle)
    hop(meddled(opened, meddle), IncidentAcknowledged("olga"))
    assert len(calls) == 1
    why = opened.timeline()[-1].why
    assert "escalated does not apply to closed" in why
    assert "not sent: the incident is over" in why
    assert not opened.rows(incidents.OUTBOX)


def test_H6_a_conflict_on_the_inbox_means_done(opened: World) -> None:
    """Two hosts work on the same delivery; the second one sends what is left and finishes."""
    event = Event("e1", "/people/test", opened.ids()[0], opened.now, IncidentAcknowledged("olga"))
    body = codec.encode_event(event)
    fast = opened.engine

    def meddle() -> None:
        opened.bus.down = True  # the fast one commits, and dies before it sends
        dispatch.hop(fast, Queue.INCIDENTS, body)
        opened.bus.down = False

    dispatch.hop(meddled(opened, meddle).engine, Queue.INCIDENTS, body)
    assert opened.story().count("acknowledged by olga") == 1
    assert [e.data.text for e in opened.sent(TicketUpdateRequested) if isinstance(e.data, TicketUpdateRequested)] == [
        "Acknowledged by olga."
    ]
    assert not [entry for entry in opened.bus.entries if entry.queue is Queue.INCIDENTS]


def test_H6_appended_items_of_two_hops_are_both_kept(opened: World) -> None:
    def meddle() -> None:
        loaded = incidents.load(opened.inner, opened.ids()[0])
        assert loaded is not None
        changed = replace(loaded.incident, alerts=(*loaded.incident.alerts, loaded.incident.alerts[0]))
        opened.inner.write(Table.INCIDENTS, changed.id, replace_row(changed, loaded.etag))

    answer = Outcome("added", "an alert", (Append("alerts", opened.incident().alerts[0]),))
    with_worker(opened, MicroAgent.INCIDENT_CREATOR, lambda *_: answer)
    hop(meddled(opened, meddle), IncidentAcknowledged("olga"))
    assert len(opened.incident().alerts) == 3


def test_H6_two_deliveries_of_a_creation_make_one_incident(world: World) -> None:
    world.send_everything()
    world.fires()
    world.run_until(lambda: bool(world.bus.entries) and world.bus.entries[0].queue is Queue.INCIDENTS)
    body = world.bus.entries[0].message.body
    fast = world.engine
    dispatch.hop(meddled(world, lambda: dispatch.hop(fast, Queue.INCIDENTS, body)).engine, Queue.INCIDENTS, body)
    world.settle()
    assert len(world.ids()) == 1
    assert world.story().count("opened: HighErrorRatio of the shop") == 1


# H7


def test_H7_events_are_sent_after_the_commit_and_their_rows_go_with_the_consuming_hop(opened: World) -> None:
    hop(opened, IncidentAcknowledged("olga"))
    assert len(opened.rows(incidents.OUTBOX)) == 1
    opened.settle()
    assert not opened.rows(incidents.OUTBOX)


def test_H7_a_bus_that_is_down_leaves_the_rows_to_the_sweep(opened: World) -> None:
    opened.bus.down = True
    hop(opened, IncidentAcknowledged("olga"))
    opened.bus.down = False
    opened.pass_time(timedelta(seconds=50))
    assert len(opened.rows(incidents.OUTBOX)) == 1
    opened.settle()
    assert not opened.rows(incidents.OUTBOX)
    assert "Acknowledged by olga." in [text for _, text in opened.desk.notes]


def test_S4_the_claim_opens_on_every_delivery_and_not_before_the_incident_is_there(world: World) -> None:
    world.send_everything()

    def claim() -> groups.Claim:
        state = groups.state_of(world.inner, GROUP)
        assert state is not None
        return state.state

    world.fires()
    world.run_until(lambda: bool(world.bus.entries) and world.bus.entries[0].queue is Queue.INCIDENTS)
    message = world.bus.entries[0].message
    create = world.engine.workers[MicroAgent.INCIDENT_CREATOR].create
    broken = replace(world.engine.workers[MicroAgent.INCIDENT_CREATOR], create=failing)
    world.engine = replace(world.engine, workers={**world.engine.workers, MicroAgent.INCIDENT_CREATOR: broken})
    dispatch.hop(world.engine, Queue.INCIDENTS, message.body)
    assert claim() is groups.Claim.CLAIMING
    whole = replace(broken, create=create)
    world.engine = replace(world.engine, workers={**world.engine.workers, MicroAgent.INCIDENT_CREATOR: whole})
    world.settle()
    assert claim() is groups.Claim.OPEN
    held = groups.read(world.inner, GROUP)
    assert held is not None
    assert groups.claim(world.inner, replace(held.group, state=groups.Claim.CLAIMING), held)
    dispatch.hop(world.engine, Queue.INCIDENTS, message.body)
    assert claim() is groups.Claim.OPEN


def failing(event: Event, now: datetime, ports: Ports) -> tuple[Incident, Outcome]:
    raise TransientError("not now")
