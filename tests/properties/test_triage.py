"""The micro-agents of triage: any order and any doubling of what they are sent ends in the same state and effects."""

from __future__ import annotations

from hypothesis import given

from shared.model.event import InvestigationRequested
from shared.model.pipeline import Queue
from tests.properties.depth import examples
from tests.properties.hosts import Hosts, Schedule, schedules
from tests.properties.stories import calm, worked_off


def looked_into_twice(world: Hosts) -> None:
    """An incident is investigated because it opened, and again because a person asked for it at the same time."""
    world.fires()
    world.run_until(lambda: bool(world.ids()))
    world.say(InvestigationRequested("olga"), world.ids()[0])
    world.settle()


@given(schedules(2))
@examples(10)
def test_rca(schedule: Schedule) -> None:
    """The same evidence is the same diagnosis, and people are asked one question."""
    found = worked_off(looked_into_twice, Queue.INVESTIGATIONS, schedule)
    assert found == calm(looked_into_twice, Queue.INVESTIGATIONS)


@given(schedules(2))
@examples(10)
def test_enricher(schedule: Schedule) -> None:
    """Each diagnosis is one note in the ticket, whoever writes it and however often."""
    found = worked_off(looked_into_twice, Queue.ENRICHMENT, schedule)
    expected = calm(looked_into_twice, Queue.ENRICHMENT)
    assert (found["notes"], found["tickets"]) == (expected["notes"], expected["tickets"])


@given(schedules(2))
@examples(10)
def test_recommender(schedule: Schedule) -> None:
    """Two diagnoses at once offer the same and ask once."""
    found = worked_off(looked_into_twice, Queue.ENRICHMENT, schedule)
    assert found == calm(looked_into_twice, Queue.ENRICHMENT)
    assert found["cards"].count("approval") == 1
