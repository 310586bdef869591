"""What arrived is there to look at: raw bodies as text and nothing else, and what nobody could work off."""

from __future__ import annotations

import json
import re
from datetime import timedelta
from html import unescape

import pytest

from shared.model.errors import Reason
from shared.model.event import Event, IncidentAcknowledged
from shared.records import index, payloads, quarantine
from shared.records.index import AlertLine
from tests.portal.world import INCIDENT, KEY, NOW, World, alert, incident, keep

PAGE = b'{"a": "<script>alert(1)</script>", "password": "hunter2", "b": "\xff"}'


def _arrived(site: World) -> str:
    reference = payloads.put(site.store, "receipt-1", PAGE, NOW)
    odd = alert(fingerprint="odd", payload=reference)
    index.put_alert(site.store, AlertLine(odd, "", "sev4 opens no incident", NOW))
    keep(site.store, incident(alerts=(odd,)))
    return reference


def _kept(site: World, message: str = "the body is not JSON", at: timedelta = timedelta()) -> None:
    quarantine.keep_body(site.store, message, "azure_monitor", Reason.BAD_INPUT, message, PAGE, NOW - at)


@pytest.mark.parametrize("where", ["/alerts", f"/incidents/{INCIDENT}"])
def test_an_alert_leads_to_the_body_it_came_in(site: World, where: str) -> None:
    _arrived(site)
    browser = site.browser("maya")
    found = re.search(r'<a href="([^"]+)">raw body</a>', browser.get(where).body.decode())
    assert found
    answer = browser.get(unescape(found[1]))
    assert (answer.status, answer.content_type) == (200, "text/plain; charset=utf-8")
    assert answer.body == PAGE.replace(b"hunter2", b"[redacted]")
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Content-Security-Policy"] == "default-src 'none'; sandbox"


def test_json_names_the_raw_body_of_an_alert_that_has_one(site: World) -> None:
    _arrived(site)
    index.put_alert(site.store, AlertLine(alert(), "", "ours", NOW))
    lines = json.loads(site.browser().get("/api/alerts", x_functions_key=KEY).body)["alerts"]
    assert {line["why"]: bool(line["raw"]) for line in lines} == {"sev4 opens no incident": True, "ours": False}
    raw = next(line["raw"] for line in lines if line["raw"])
    assert site.browser().get(raw, x_functions_key=KEY).status == 200


@pytest.mark.parametrize(
    "reference", ["", "x", "20261120-00/nothing", "../incidents/x", "20261120-00/../../x", "20261120-00/a\x00b"]
)
def test_a_reference_to_nothing_is_not_found(site: World, reference: str) -> None:
    assert site.browser("maya").get(f"/alerts/raw?ref={reference}").status == 404


@pytest.mark.parametrize("address", ["/alerts/raw?ref=20261120-00/r", "/quarantine", "/api/quarantine"])
def test_strangers_see_none_of_it(site: World, address: str) -> None:
    assert site.browser().get(address).status in (303, 401)


def test_quarantine_is_shown_newest_first_with_what_was_kept(site: World) -> None:
    _kept(site, "older <b>one</b>", timedelta(hours=2))
    _kept(site, "newer one")
    event = Event("e1", "/x", INCIDENT, NOW, IncidentAcknowledged("maya"))
    quarantine.keep_event(site.store, event, "incidents", "bug", "KeyError", NOW - timedelta(hours=3))
    browser = site.browser("maya")
    page = browser.get("/quarantine").body.decode()
    assert page.index("newer one") < page.index("older &lt;b&gt;one&lt;/b&gt;")
    assert f'href="/incidents/{INCIDENT}"' in page
    kept = re.findall(r'<a href="([^"]+)">what was kept</a>', page)
    assert browser.get(unescape(kept[0])).body == PAGE.replace(b"hunter2", b"[redacted]")
    answer = json.loads(browser.get("/api/quarantine?limit=1").body)
    assert (answer["count"], answer["more"], answer["quarantined"][0]["message"]) == (1, True, "newer one")
    assert browser.get("/api/quarantine?limit=0").status == 400


def test_an_empty_quarantine_says_so(site: World) -> None:
    assert "Nothing is in quarantine" in site.browser("maya").get("/quarantine").body.decode()
    assert 'href="/quarantine"' in site.browser("maya").get("/alerts").body.decode()
