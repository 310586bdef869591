"""Ticket updater: the note is written once, and the ticket ends in the state its incident is in."""

from __future__ import annotations

import pytest

from shared.adapters.stores.sqlite import SqliteStore
from shared.agents.remediator import ticket_updater
from shared.model.errors import PermanentError, Reason, TransientError
from shared.model.event import DiagnosisMade, Payload, TicketUpdateRequested, UpdateKind
from shared.model.incident import Incident
from shared.model.lifecycle import State
from shared.model.outcome import Outcome
from tests.agents.cases import NOW, TICKET, event, incident
from tests.fakes import FakeTicketing, ports

OPEN, OVER = incident(), incident(state=State.CLOSED)


def update(store: SqliteStore, desk: FakeTicketing, data: Payload, of: Incident, repeat: bool = False) -> Outcome:
    return ticket_updater.handle(event(of, data), of, NOW, ports(store, ticketing={"desk": desk}, repeat=repeat))


@pytest.mark.parametrize(
    ("kind", "of", "state"),
    [
        pytest.param(UpdateKind.NOTE, OPEN, None, id="a-note-changes-no-state"),
        pytest.param(UpdateKind.NOTE, OVER, None, id="a-note-after-the-end"),
        pytest.param(UpdateKind.RESOLVE, OVER, "resolved", id="resolved"),
        pytest.param(UpdateKind.RESOLVE, OPEN, None, id="reopened-meanwhile"),
        pytest.param(UpdateKind.REOPEN, OPEN, "open", id="reopened"),
        pytest.param(UpdateKind.REOPEN, OVER, None, id="closed-again-meanwhile"),
    ],
)
def test_the_ticket_follows_the_incident_as_it_is_now(
    store: SqliteStore, kind: UpdateKind, of: Incident, state: str | None
) -> None:
    desk = FakeTicketing()
    update(store, desk, TicketUpdateRequested(kind, "what happened\nin two lines"), of)
    assert desk.states.get(TICKET.key) == state


def test_H2_a_repeat_looks_for_its_note_first(store: SqliteStore) -> None:
    desk, data = FakeTicketing(), TicketUpdateRequested(UpdateKind.NOTE, "hello")
    update(store, desk, data, OPEN)
    update(store, desk, data, OPEN, repeat=True)
    assert len(desk.notes) == 1


def test_an_update_waits_for_the_ticket(store: SqliteStore) -> None:
    with pytest.raises(TransientError) as refused:
        update(store, FakeTicketing(), TicketUpdateRequested(UpdateKind.NOTE, "hello"), incident(ticket=None))
    assert (refused.value.reason, refused.value.sent) == (Reason.NOT_YET, False)


def test_without_ticket_systems_there_is_nothing_to_do(store: SqliteStore) -> None:
    data = TicketUpdateRequested(UpdateKind.NOTE, "hello")
    outcome = ticket_updater.handle(event(OPEN, data), incident(ticket=None), NOW, ports(store, ticketing={}))
    assert outcome.what == "no ticket to update"


@pytest.mark.parametrize("text", ["", "\n", "  \n x"])
def test_a_timeline_line_always_has_a_reason(store: SqliteStore, text: str) -> None:
    assert update(store, FakeTicketing(), TicketUpdateRequested(UpdateKind.NOTE, text), OPEN).reason


def test_a_system_that_is_no_longer_configured_is_permanent(store: SqliteStore) -> None:
    data = TicketUpdateRequested(UpdateKind.NOTE, "hello")
    with pytest.raises(PermanentError, match="no longer configured"):
        ticket_updater.handle(event(OPEN, data), OPEN, NOW, ports(store, ticketing={"other": FakeTicketing()}))


def test_anything_else_is_permanent(store: SqliteStore) -> None:
    with pytest.raises(PermanentError):
        update(store, FakeTicketing(), DiagnosisMade(1), OPEN)
