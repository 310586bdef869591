"""Quarantine and held events in the portal: who may act, what they see, and that nothing is acted on twice."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from shared.model.errors import TransientError
from shared.model.event import Event, TicketUpdateRequested, UpdateKind
from shared.model.outcome import Go, Ruling
from shared.model.pipeline import Queue
from shared.records import incidents, journal, quarantine
from shared.records.quarantine import Quarantined, Standing
from tests.portal.world import INCIDENT, KEY, NOW, Browser, World, incident, keep

EVENT = Event("e1-0001", "/x", INCIDENT, NOW, TicketUpdateRequested(UpdateKind.NOTE, "hello, password=hunter2"))


def waiting(site: World, event: Event = EVENT) -> Quarantined:
    """An event of an incident, in quarantine."""
    keep(site.store, incident())
    return quarantine.keep_event(site.store, event, "ticket_updates", "bug", "KeyError <b>here</b>", NOW)


def hold(site: World, event: Event = EVENT, group: str = "oncall") -> None:
    if incidents.load(site.store, event.subject) is None:
        keep(site.store, incident())
    until = NOW + timedelta(hours=1)
    journal.hold(site.store, event, Ruling(Go.HOLD, "ticket_updater is on hold", until, group), until, NOW)


def now(site: World, entry: Quarantined) -> Quarantined:
    found = quarantine.again(site.store, entry, NOW)
    assert found is not None
    return found


def token(browser: Browser) -> str:
    return str(json.loads(browser.get("/api/session").body)["csrf"])


def post(browser: Browser, address: str, **fields: str) -> tuple[int, Any]:
    answer = browser.api(address, json.dumps(fields).encode(), x_csrf_token=token(browser))
    return answer.status, json.loads(answer.body)


@pytest.mark.parametrize("name", ["whole", "beginning"])
def test_a_replay_by_somebody_who_may(site: World, name: str) -> None:
    entry = waiting(site)
    shown = entry.id if name == "whole" else entry.id[:8]
    status, answer = post(site.browser("maya"), f"/api/quarantine/{shown}/replay")
    assert (status, answer["changed"], answer["entry"]["state"], answer["entry"]["by"]) == (
        202,
        True,
        "replayed",
        "maya",
    )
    assert [m.message_id for m in site.bus.sent[Queue.TICKET_UPDATES]] == ["e1-0001.1"]
    status, answer = post(site.browser("liam"), f"/api/quarantine/{shown}/replay")
    assert (status, answer["changed"]) == (202, False)
    assert "maya has replayed it already" in answer["what"]
    assert len(site.bus.sent[Queue.TICKET_UPDATES]) == 1
    assert post(site.browser("liam"), f"/api/quarantine/{shown}/replay", again="yes")[1]["changed"]
    assert [m.message_id for m in site.bus.sent[Queue.TICKET_UPDATES]] == ["e1-0001.1", "e1-0001.2"]


@pytest.mark.parametrize("act", ["replay", "drop"])
def test_nobody_else_may_and_a_form_from_elsewhere_does_nothing(site: World, act: str) -> None:
    entry = waiting(site)
    address = f"/api/quarantine/{entry.id}/{act}"
    assert post(site.browser("ruth"), address, why="x")[0] == 403
    assert site.browser().api(address, b"{}", x_functions_key=KEY).status == 401
    maya = site.browser("maya")
    assert maya.api(address, b"{}").status == 403
    assert maya.api(address, b"{}", x_csrf_token=token(maya), origin="https://evil.example").status == 403
    form = f"/quarantine/{entry.id}/{act}"
    assert site.browser("ruth").post(form, {"csrf": site.browser("ruth").csrf(), "why": "x"}).status == 403
    assert now(site, entry).standing is Standing.WAITING
    assert not site.bus.sent


def test_a_drop_needs_a_reason_and_keeps_the_entry(site: World) -> None:
    entry, browser = waiting(site), site.browser("maya")
    assert post(browser, f"/api/quarantine/{entry.id}/drop")[0] == 400
    assert post(browser, f"/api/quarantine/{entry.id}/drop", why="x" * 1001)[0] == 400
    status, answer = post(browser, f"/api/quarantine/{entry.id}/drop", why="a <b>drill</b>")
    assert (status, answer["entry"]["state"], answer["entry"]["why"]) == (202, "dropped", "a <b>drill</b>")
    assert json.loads(browser.get("/api/quarantine").body)["count"] == 0
    assert json.loads(browser.get("/api/quarantine?state=all").body)["count"] == 1
    assert "a &lt;b&gt;drill&lt;/b&gt;" in browser.get("/quarantine?state=dropped").body.decode()
    status, answer = post(browser, f"/api/quarantine/{entry.id}/replay")
    assert (status, "maya has dropped it" in answer["detail"]) == (409, True)


def test_the_page_has_buttons_for_those_who_may_and_they_work_without_script(site: World) -> None:
    entry = waiting(site)
    for nobody in (site.browser("ruth"),):
        page = nobody.get("/quarantine").body.decode()
        assert "Only members of oncall" in page
        assert "/replay" not in page
    maya = site.browser("maya")
    page = maya.get("/quarantine").body.decode()
    assert "KeyError &lt;b&gt;here&lt;/b&gt;" in page
    assert "hunter2" not in page
    assert "hello" in page
    answer = maya.post(f"/quarantine/{entry.id}/replay", {"csrf": maya.csrf("/quarantine")})
    assert (answer.status, answer.headers["Location"]) == (303, "/quarantine?note=replay")
    assert "Accepted." in maya.get(answer.headers["Location"]).body.decode()
    assert now(site, entry).standing is Standing.REPLAYED
    assert "replayed by maya" in maya.get("/quarantine?state=replayed").body.decode()
    refused = maya.post(f"/quarantine/{entry.id}/drop", {"csrf": maya.csrf("/quarantine"), "why": "x"})
    assert refused.status == 409
    assert "nothing left to drop" in refused.body.decode()


def test_a_webhook_body_that_is_not_json_says_so_and_has_no_replay_button(site: World) -> None:
    entry = quarantine.keep_body(site.store, "w", "azure_monitor", "bad_input", "no JSON", b"<html>", NOW)
    maya = site.browser("maya")
    page = maya.get("/quarantine").body.decode()
    assert "It cannot be replayed: it is a webhook body that is not JSON" in page
    assert f"/quarantine/{entry.id}/replay" not in page
    assert json.loads(maya.get(f"/api/quarantine/{entry.id}").body)["replay"].startswith("it is a webhook body")
    assert post(maya, f"/api/quarantine/{entry.id}/replay")[0] == 409


def test_entries_can_be_narrowed(site: World) -> None:
    waiting(site)
    old = NOW - timedelta(days=40)
    quarantine.keep_body(site.store, "w", "azure_monitor", "bad_input", "no JSON", b"<html>", old)
    maya = site.browser("maya")

    def count(query: str) -> int:
        return int(json.loads(maya.get(f"/api/quarantine{query}").body)["count"])

    assert count("") == 2, "however old"
    assert count("?origin=azure_monitor") == count("?reason=bug") == 1
    assert count("?since=2026-11-19T00:00:00Z") == count("?since=2026-11-19T00:00:00") == 1
    assert count("?reason=nothing") == 0
    for wrong in ("?since=soon", "?state=odd", "?limit=0"):
        assert maya.get(f"/api/quarantine{wrong}").status == 400


@pytest.mark.parametrize("name", ["nothing-like-it", "x", "../../incidents", "a%00b", "0" * 300, "'\"<"])
def test_there_is_no_such_entry(site: World, name: str) -> None:
    waiting(site)
    assert site.browser("maya").get(f"/api/quarantine/{name}").status == 404


def test_M3_a_bus_that_is_down_is_said_and_the_same_request_goes_on(site: World) -> None:
    entry, maya = waiting(site), site.browser("maya")
    site.bus.failures = [TransientError("down")]
    assert post(maya, f"/api/quarantine/{entry.id}/replay")[0] == 503
    assert now(site, entry).standing is Standing.REPLAYING
    assert post(site.browser("liam"), f"/api/quarantine/{entry.id}/replay")[0] == 409
    assert post(maya, f"/api/quarantine/{entry.id}/replay")[1]["changed"]
    assert [m.message_id for m in site.bus.sent[Queue.TICKET_UPDATES]] == ["e1-0001.1"]


def test_H9_held_events_of_all_incidents_are_listed_with_what_a_person_needs(site: World) -> None:
    hold(site)
    other = replace(EVENT, id="e2-0002", subject="ab" * 8)
    keep(site.store, incident(id=other.subject, title="another"))
    hold(site, other)
    (first, second) = json.loads(site.browser("maya").get("/api/held").body)["held"]
    assert {first["title"], second["title"]} == {incident().title, "another"}
    assert first["reason"] == "ticket_updater is on hold"
    assert first["micro_agents"] == ["ticket_updater"]
    assert (first["release_by"], first["queue"]) == ("oncall", "ticket_updates")
    assert "hunter2" not in first["body"]
    assert json.loads(site.browser("maya").get("/api/held?limit=1").body) | {"held": []} == {
        "held": [], "count": 1, "more": True,
    }  # fmt: skip


@pytest.mark.parametrize("where", ["/quarantine", f"/incidents/{INCIDENT}"])
def test_H9_a_person_of_the_group_releases_on_either_page(site: World, where: str) -> None:
    hold(site)
    address = f"/held/{INCIDENT}/{EVENT.id}/release"
    assert address not in site.browser("ruth").get(where).body.decode()
    assert site.browser("ruth").post(address, {"csrf": site.browser("ruth").csrf()}).status == 403
    maya = site.browser("maya")
    assert f'action="{address}"' in maya.get(where).body.decode()
    answer = maya.post(address, {"csrf": maya.csrf(where), "back": where.strip("/").split("/", 1)[0]})
    assert (answer.status, answer.headers["Location"]) == (303, f"{where}?note=released")
    assert [m.message_id for m in site.bus.sent[Queue.TICKET_UPDATES]] == ["e1-0001.1"]
    [line] = [line for line in incidents.timeline(site.store, INCIDENT) if line.what.startswith("released")]
    assert line.person == "maya"
    assert maya.post(address, {"csrf": maya.csrf()}).status == 404
    assert len(site.bus.sent[Queue.TICKET_UPDATES]) == 1


def test_H9_another_group_may_be_named_by_the_policy(site: World) -> None:
    hold(site, group="finance")
    address = f"/api/held/{INCIDENT[:8]}/{EVENT.id}/release"
    assert post(site.browser("maya"), address)[0] == 403
    assert post(site.browser("ruth"), address)[0] == 202


def test_H9_a_release_while_the_bus_is_down_stays_in_the_outbox(site: World) -> None:
    hold(site)
    site.bus.failures = [TransientError("down")]
    status, answer = post(site.browser("maya"), f"/api/held/{INCIDENT}/e1-0001/release")
    assert (status, answer["queued"]) == (202, False)
    assert [event.id for event, *_ in incidents.outbox(site.store, INCIDENT)] == ["e1-0001"]


@pytest.mark.parametrize("address", [f"/api/held/{INCIDENT}/e9-9999/release", "/api/held/nobody/e1-0001/release"])
def test_there_is_no_such_held_event(site: World, address: str) -> None:
    hold(site)
    assert post(site.browser("maya"), address)[0] == 404


def test_strangers_see_and_do_nothing(site: World) -> None:
    hold(site)
    for address in ("/quarantine", "/api/quarantine", "/api/quarantine/abcdef", "/api/held"):
        assert site.browser().get(address).status in (303, 401)
    assert site.browser().api(f"/api/held/{INCIDENT}/{EVENT.id}/release", b"{}").status == 401
