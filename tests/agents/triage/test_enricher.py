"""The enricher writes the diagnosis into the ticket once, and waits for a ticket that is not open yet."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from shared.agents.triage import enricher, rca
from shared.config.schema import Settings
from shared.model.errors import Reason, TransientError
from shared.model.incident import Incident
from shared.ports.store import Store
from shared.records import knowledge
from shared.records.knowledge import Case
from tests.agents.cases import NOW, T0, apply, bad_release, event, incident, investigate
from tests.fakes import FakeInvestigator, FakeTicketing, ports, settings


def with_tickets() -> Settings:
    return settings(ticketing={"desk": {"kind": "fake"}})


def diagnosed(store: Store, of: Incident) -> Incident:
    there = ports(store, investigator=FakeInvestigator(evidence=bad_release()))
    return apply(rca.handle(investigate(of), of, NOW, there), of, store)


def test_the_note_holds_causes_evidence_and_the_address(store: Store) -> None:
    of = diagnosed(store, incident())
    desk = FakeTicketing()
    outcome = enricher.handle(event(of), of, NOW, ports(store, with_tickets(), ticketing={"desk": desk}))
    _, text, marker, repeat = desk.notes[0]
    assert (marker, repeat) == (event(of).id, False)
    assert "1. release (" in text
    assert "change: release 2.4.1" in text
    assert text.endswith(f"http://127.0.0.1:7071/incidents/{of.id}")
    assert "INC0000001" in outcome.what
    assert not outcome.changes


def test_similar_incidents_are_linked_newest_first(store: Store) -> None:
    of = diagnosed(store, incident())
    for number in range(5):
        case = Case(
            f"old-{number}", "shop", "shop/release", "Errors", T0 - timedelta(days=9 - number), "undo", "r", "worked"
        )
        knowledge.put_case(store, case)
    desk = FakeTicketing()
    enricher.handle(event(of), of, NOW, ports(store, with_tickets(), ticketing={"desk": desk}))
    text = desk.notes[0][1]
    assert text.index("/incidents/old-4") < text.index("/incidents/old-3")
    assert "old-1" not in text
    assert "undo worked" in text


def test_a_ticket_that_is_not_open_yet_is_waited_for(store: Store) -> None:
    of = replace(diagnosed(store, incident()), ticket=None)
    with pytest.raises(TransientError) as caught:
        enricher.handle(event(of), of, NOW, ports(store, with_tickets()))
    assert (caught.value.reason, caught.value.sent) == (Reason.NOT_YET, False)


def test_after_five_attempts_it_goes_on_without_a_ticket(store: Store) -> None:
    of = replace(diagnosed(store, incident()), ticket=None)
    outcome = enricher.handle(event(of, attempt=5), of, NOW, ports(store, with_tickets()))
    assert "no ticket after 5 attempts" in outcome.reason


def test_without_a_ticket_system_it_goes_on(store: Store) -> None:
    of = replace(diagnosed(store, incident()), ticket=None)
    assert "no ticket system" in enricher.handle(event(of), of, NOW, ports(store)).reason


def test_a_ticket_system_taken_out_of_the_configuration_is_named(store: Store) -> None:
    of = diagnosed(store, incident())
    outcome = enricher.handle(event(of), of, NOW, ports(store, with_tickets(), ticketing={}))
    assert "'desk' is not configured" in outcome.reason


def test_a_repeat_is_told_to_the_ticket_system(store: Store) -> None:
    of = diagnosed(store, incident())
    desk = FakeTicketing()
    there = ports(store, with_tickets(), ticketing={"desk": desk})
    enricher.handle(event(of), of, NOW, there)
    enricher.handle(event(of), of, NOW, replace(there, repeat=True))
    assert len(desk.notes) == 1


def test_a_long_note_keeps_the_address(store: Store) -> None:
    of = diagnosed(store, incident())
    assert of.diagnosis is not None
    of = replace(of, diagnosis=replace(of.diagnosis, summary="words " * 2000))
    desk = FakeTicketing()
    enricher.handle(event(of), of, NOW, ports(store, with_tickets(), ticketing={"desk": desk}))
    assert len(desk.notes[0][1]) <= enricher.MAX_NOTE_CHARS
    assert desk.notes[0][1].endswith(of.id)
