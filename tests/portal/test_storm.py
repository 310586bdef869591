"""The storm brake on pages, in JSON and at the command line's door (rules B1 and B3)."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta

import jsonschema

from shared.model.signal import Severity
from shared.portal import Response, storm_view
from shared.portal.schema import of_answer
from shared.portal.storm_view import BrakeView
from shared.records import brake, incidents, journal
from tests.pipeline.faults import FragileStore, Points
from tests.portal.world import INCIDENT, NOW, World

WAITS = brake.Waiting(INCIDENT, False, "Checkout <fails>", "shop", Severity.SEV1, 4, NOW, NOW)


def test_while_it_is_off_nothing_is_shown(site: World) -> None:
    assert 'id="storm"' not in site.browser("maya").get("/").body.decode()
    answer = json.loads(site.browser("maya").get("/api/brake").body)
    assert (answer["on"], answer["waiting"], answer["first"]) == (False, 0, [])
    jsonschema.validate(answer, of_answer(BrakeView))


def test_the_banner_says_since_when_how_many_and_in_which_order(site: World) -> None:
    brake.put_on(site.store, "more than 20 new incidents within a minute", NOW - timedelta(minutes=3))
    brake.wait(site.store, WAITS)
    brake.wait(site.store, replace(WAITS, incident_id="other", severity=Severity.SEV2, title="Later"))
    for address in ("/", "/alerts", "/status", f"/incidents/{INCIDENT}"):
        page = site.browser("maya").get(address).body.decode()
        assert "The storm brake is on" in page, address
        assert "2 incidents wait for ticket and investigation" in page
        assert "3 min ago" in page
        assert "severity, then number of alerts, then age" in page
        assert page.index("Checkout &lt;fails&gt;") < page.index("Later")
    answer = json.loads(site.browser("maya").get("/api/brake").body)
    jsonschema.validate(answer, of_answer(BrakeView))
    assert [one["title"] for one in answer["first"]] == ["Checkout <fails>", "Later"]


def test_a_store_that_is_away_does_not_hide_why_a_page_cannot_be_shown(site: World) -> None:
    broken = FragileStore(site.store, Points(), down=True)
    assert storm_view.banner(broken) is None


def switch(site: World, user: str, verb: str, reason: str = "") -> Response:
    browser = site.browser(user)
    body = json.dumps({"reason": reason} if reason else {}).encode()
    return browser.api(f"/api/brake/{verb}", body, x_csrf_token=browser.csrf())


def test_B3_a_person_switches_it_with_a_reason_and_the_trail_says_so(site: World) -> None:
    answer = switch(site, "maya", "on", "a drill")
    assert (answer.status, json.loads(answer.body)["changed"]) == (202, True)
    assert json.loads(switch(site, "maya", "on", "once more").body)["changed"] is False
    assert switch(site, "maya", "off").status == 400
    page = site.browser("maya")
    assert "Put the storm brake off" in page.get("/status").body.decode()
    assert page.post("/brake/off", {"reason": "it is over", "csrf": page.csrf("/status")}).status == 303
    trail = incidents.audit(site.store, journal.system_chain(site.clock.now))
    assert [(entry.what, entry.person, entry.why) for entry in trail] == [
        (brake.ON, "maya", "a drill"), (brake.OFF, "maya", "it is over"),
    ]  # fmt: skip


def test_nobody_else_does(site: World) -> None:
    assert site.browser().api("/api/brake/on", json.dumps({"reason": "x"}).encode()).status == 401
    assert switch(site, "ruth", "on", "x").status == 403
    assert "Put the storm brake on" not in site.browser("ruth").get("/status").body.decode()
    assert not brake.read(site.store).on
