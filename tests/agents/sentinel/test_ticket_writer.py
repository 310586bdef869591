"""Ticket writer: one ticket per incident, however often it is asked for."""

from __future__ import annotations

import pytest

from shared.agents.sentinel import ticket_writer
from shared.model.errors import PermanentError
from shared.model.event import TicketRequested
from shared.model.outcome import Put
from shared.ports.store import Store
from tests.agents.cases import NOW, event, incident
from tests.fakes import FakeTicketing, ports


def test_a_repeat_finds_the_ticket_that_was_opened(store: Store) -> None:
    desk = FakeTicketing()
    asked = event(incident(), TicketRequested("desk"))
    there = ports(store, ticketing={"desk": desk})
    first, second = (ticket_writer.handle(asked, incident(), NOW, there) for _ in range(2))
    assert first == second
    assert isinstance(first.changes[0], Put)
    assert first.changes[0].value == desk.tickets[incident().id]
    assert len(desk.tickets) == 1


def test_the_draft_says_what_it_is_about_and_links_to_the_incident(store: Store) -> None:
    desk = FakeTicketing()
    ticket_writer.handle(
        event(incident(), TicketRequested("desk")), incident(), NOW, ports(store, ticketing={"desk": desk})
    )
    draft = desk.drafts[0]
    assert draft.correlation_id == incident().id
    assert draft.link.endswith(f"/incidents/{incident().id}")
    assert "shop" in draft.description
    assert "HighErrorRatio" in draft.description


def test_a_system_nobody_configured_is_named(store: Store) -> None:
    with pytest.raises(PermanentError, match="'jira'"):
        ticket_writer.handle(event(incident(), TicketRequested("jira")), incident(), NOW, ports(store))


def test_anything_else_is_refused(store: Store) -> None:
    with pytest.raises(PermanentError):
        ticket_writer.handle(event(incident()), incident(), NOW, ports(store))
