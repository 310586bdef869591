"""The JSON interface answers what its schema says, and the schema is the one in the documentation."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from jsonschema.validators import validator_for

from shared.model.diagnosis import Evidence, EvidenceKind, EvidenceStatus
from shared.model.event import Event, IncidentAcknowledged
from shared.model.outcome import Go, Ruling
from shared.portal import schema
from shared.records import evidence, index, journal, quarantine
from shared.records.index import AlertLine
from tests.portal.world import INCIDENT, KEY, NOW, World, alert, crowd, incident, keep, story, voted

DOCUMENT = Path(__file__).parents[2] / "docs" / "incidents.schema.json"


def _get(site: World, address: str) -> Any:
    answer = site.browser().get(address, x_functions_key=KEY)
    assert (answer.status, answer.content_type) == (200, "application/json")
    return json.loads(answer.body)


def _valid(answer: type, value: object) -> None:
    written = {**json.loads(DOCUMENT.read_text())}
    written.pop("oneOf")
    Draft202012Validator({**written, "$ref": f"#/$defs/{answer.__name__}"}).validate(value)


def test_the_documented_schema_is_fresh_and_a_schema() -> None:
    assert DOCUMENT.read_text() == schema.text(), "run: python -m shared.portal.schema > docs/incidents.schema.json"
    validator_for(schema.schema()).check_schema(schema.schema())


@pytest.mark.parametrize(
    ("address", "answer"), list(schema.ANSWERS.items()), ids=[answer.__name__ for answer in schema.ANSWERS.values()]
)
def test_answers_fit_the_schema(site: World, address: str, answer: type) -> None:
    _, request = story(site.store)
    crowd(site.store)
    voted(site.store, request, "liam")
    event = Event("e1", "/x", INCIDENT, NOW, IncidentAcknowledged("maya"))
    waiting = quarantine.keep_event(site.store, event, "incidents", "bug", "KeyError", NOW)
    ruling = Ruling(Go.HOLD, "on hold", NOW + timedelta(hours=1), "oncall")
    journal.hold(site.store, replace(event, id="event-2"), ruling, NOW + timedelta(hours=1), NOW)
    name = waiting.id if "quarantine" in address else INCIDENT
    words = "?q=shop" if address.endswith("/search") else ""
    value = _get(site, address.removeprefix("GET ").format(id=name) + words)
    _valid(answer, value)
    _valid_not(answer, {**value, "surprise": 1})


def _valid_not(answer: type, value: object) -> None:
    assert not Draft202012Validator(schema.of_answer(answer)).is_valid(value)


def test_the_whole_incident_is_there(site: World) -> None:
    held, request = story(site.store)
    view = _get(site, f"/api/incidents/{INCIDENT[:6]}")
    assert view["id"] == INCIDENT
    assert view["ticket"]["number"] == "INC0010042"
    assert len(view["timeline"]) == len(view["audit"]["entries"]) == held.entries == 7
    assert view["audit"]["verified"] is True
    assert [item["kind"] for item in view["evidence"]] == ["change", "metric", "log", "metric"]
    assert view["approvals"][0]["request"]["id"] == request.id
    assert view["approvals"][0]["decision"] is None


@pytest.mark.parametrize(
    ("query", "count"),
    [
        ("", 6), ("?state=open", 4), ("?state=closed", 2), ("?state=all", 6), ("?state=all&limit=3", 3),
        ("?state=awaiting_approval", 1), ("?service=shop&state=all", 2), ("?q=probe", 1),
    ],
)  # fmt: skip
def test_lists_can_be_narrowed(site: World, query: str, count: int) -> None:
    story(site.store)
    crowd(site.store)
    found = _get(site, f"/api/incidents{query}")
    assert found["count"] == len(found["incidents"]) == count
    states = [line["state"] == "closed" for line in found["incidents"]]
    assert states == sorted(states), "those not closed come first"


@pytest.mark.parametrize(
    ("address", "status"),
    [
        ("/api/incidents?state=nonsense", 400), ("/api/incidents?limit=0", 400), ("/api/incidents?limit=x", 400),
        ("/api/incidents?limit=1001", 400), ("/api/alerts?limit=-1", 400), ("/api/incidents?limit=²", 400),
        ("/api/incidents/7d3c2", 404), ("/api/incidents/ffffff", 404), ("/api/nowhere", 404), ("/api/approvals/x", 405),
    ],
)  # fmt: skip
def test_wrong_questions_get_a_problem(site: World, address: str, status: int) -> None:
    story(site.store)
    answer = site.browser().get(address, x_functions_key=KEY)
    problem = json.loads(answer.body)
    assert (answer.status, answer.content_type) == (status, "application/problem+json")
    assert (problem["status"], problem["type"]) == (status, "about:blank")


def test_a_beginning_that_two_ids_share_names_none(site: World) -> None:
    for end in ("01", "02"):
        keep(site.store, incident(id=f"abcdef12-0000-5000-8000-0000000000{end}"))
    assert site.browser().get("/api/incidents/abcdef12", x_functions_key=KEY).status == 404
    assert _get(site, "/api/incidents/abcdef12-0000-5000-8000-000000000002")["audit"]["entries"] == []


def test_numbers_json_does_not_have_become_null(site: World) -> None:
    index.put_alert(site.store, AlertLine(alert(value=float("inf")), "", "why", NOW))
    found = _get(site, "/api/alerts")
    assert found["alerts"][0]["alert"]["value"] is None
    _valid(schema.ANSWERS["GET /api/alerts"], found)


def test_texts_kept_beside_evidence_are_not_evidence(site: World) -> None:
    story(site.store)
    evidence.put_text(site.store, INCIDENT, "# a draft")
    extra = Evidence("", EvidenceKind.LOG, "s", "q", EvidenceStatus.ERROR, "t", "the source was late")
    evidence.put(site.store, INCIDENT, extra)
    assert [item["status"] for item in _get(site, f"/api/incidents/{INCIDENT}")["evidence"]][-1] == "error"
