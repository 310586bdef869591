"""Pages of lists and the search, as people and scripts see them."""

from __future__ import annotations

import json
import re
from datetime import timedelta
from html import unescape
from typing import Any

import pytest

from shared.model.lifecycle import State
from shared.model.signal import Severity
from shared.model.ticket import Ticket
from shared.portal.counting import KEPT_S, OpenCount
from shared.records import index, lists
from tests.portal.world import KEY, NOW, World, alert, crowd, incident, keep, story

OPENED, CLOSED = 60, 60


@pytest.fixture
def full(site: World) -> World:
    """60 open and 60 closed incidents, 70 alerts."""
    index.put_new_incidents(
        site.store,
        [
            incident(
                id=f"{number:08x}-0000-5000-8000-000000000000", title=f"case-{number}-end", version=1,
                opened_at=NOW - timedelta(minutes=number), service=f"svc-{number % 2}",
                severity=Severity.SEV0 if number % 10 == 0 else Severity.SEV2,
                state=State.OPEN if number < OPENED else State.CLOSED,
                ticket=Ticket("desk", str(number), f"INC{number:05d}", ""),
            )
            for number in range(OPENED + CLOSED)
        ],
    )  # fmt: skip
    for number in range(70):
        made = alert(fingerprint=f"a{number}", name=f"Rule-{number}-end", starts_at=NOW - timedelta(minutes=number))
        index.put_alert(site.store, index.AlertLine(made, "", "listed", NOW))
    return site


def _titles(page: str) -> list[str]:
    return re.findall(r'class="title"[^>]*>([^<]+)<', page)


def _next(page: str) -> str:
    found = re.search(r'rel="next"[^>]*href="([^"]+)"', page)
    return unescape(found[1]) if found else ""


@pytest.mark.parametrize(
    ("address", "titles"),
    [
        ("/", [f"case-{n}-end" for n in range(60)]),
        ("/?state=closed", [f"case-{n}-end" for n in range(60, 120)]),
        ("/?state=all", [f"case-{n}-end" for n in range(120)]),
        ("/?state=all&service=svc-1", [f"case-{n}-end" for n in range(1, 120, 2)]),
        ("/?severity=sev0", [f"case-{n}-end" for n in range(0, 60, 10)]),
        ("/alerts", [f"Rule-{n}-end" for n in range(70)]),
        ("/alerts?q=7-end", [f"Rule-{n}7-end" for n in ("", 1, 2, 3, 4, 5, 6)]),
    ],
)
def test_next_leads_through_everything_once(full: World, address: str, titles: list[str]) -> None:
    browser, found = full.browser("maya"), list[str]()
    while address:
        page = browser.get(address).body.decode()
        found += _titles(page)
        address = _next(page)
    assert found == titles


def test_the_front_page_counts_what_is_open(full: World) -> None:
    page = full.browser("maya").get("/").body.decode()
    counts = re.sub(r"<[^>]+>", "", page[page.index('id="counts">') :].split("</p>")[0])
    assert counts.endswith("Open now: 6 Sev0, 54 Sev2. Counts are up to 2 s old.")
    assert "<title>(60) Incidents" in page


def test_counts_are_exact_where_everything_open_is_on_the_page(site: World) -> None:
    story(site.store)
    crowd(site.store)
    browser = site.browser("maya")
    assert "(4) Incidents" in browser.get("/").body.decode()
    keep(site.store, incident(id="ffffffff-0000-5000-8000-000000000000"))
    page = browser.get("/").body.decode()
    assert "(5) Incidents" in page
    assert "old" not in page[page.index('id="counts">') :].split("</p>")[0]
    assert "1 decision is" in page


def test_what_is_open_is_counted_once_in_two_seconds(full: World) -> None:
    now = [100.0]
    count = OpenCount(lambda: now[0])
    assert count.look(full.store).total == OPENED
    keep(full.store, incident(id="ffffffff-0000-5000-8000-000000000000"))
    now[0] += KEPT_S - 0.1
    assert count.look(full.store).total == OPENED
    now[0] += 0.1
    assert count.look(full.store).total == OPENED + 1


def _api(site: World, address: str) -> Any:
    answer = site.browser().get(address, x_functions_key=KEY)
    assert answer.status == 200, answer.body
    return json.loads(answer.body)


def test_a_search_finds_names_incidents_and_alerts(full: World) -> None:
    found = _api(full, "/api/search?q=inc00117")
    assert [line["title"] for line in found["named"]] == ["case-117-end"]
    assert [line["title"] for line in found["incidents"]["incidents"]] == ["case-117-end"]
    assert (found["alerts"]["count"], found["alerts"]["read"], found["alerts"]["early"]) == (0, 70, False)
    page = full.browser("maya").get("/search?q=11-end").body.decode()
    assert _titles(page) == ["case-11-end", "case-111-end", "Rule-11-end"]
    assert "By id or ticket number" not in page
    assert "By id or ticket number" in full.browser("maya").get("/search?q=0000000a").body.decode()


def test_a_search_that_stopped_early_says_so_and_goes_on(full: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shared.portal.read_model.MOST_LOOKED_AT", 50)
    page = full.browser("maya").get("/search?q=case-99-end").body.decode()
    assert "Stopped after 50 incidents, back to" in page
    assert "Stopped after 50 alerts, back to" in page
    titles = []
    for _ in range(3):
        titles += _titles(page)
        page = full.browser("maya").get(_next(page)).body.decode() if _next(page) else ""
    assert titles == ["case-99-end"]
    found = _api(full, "/api/search?q=case-99-end&in=incidents")
    assert (found["incidents"]["early"], found["incidents"]["read"], found["alerts"]["read"]) == (True, 50, 0)


@pytest.mark.parametrize(
    "address",
    [
        "/api/search", "/api/search?q=%20", "/api/search?q=x&in=tickets", "/api/search?q=x&limit=0",
        f"/api/search?q={'x' * 201}", "/api/search?q=x&in=alerts&cursor=open:1", "/api/incidents?cursor=1",
        "/api/search?q=x&cursor=000000000000001|a", "/api/incidents?severity=sev9", "/api/alerts?state=open",
        "/api/alerts?cursor=%00", "/?cursor=..", "/search?q=x&cursor=..", "/alerts?cursor=..",
    ],
)  # fmt: skip
def test_wrong_questions_are_refused(full: World, address: str) -> None:
    assert full.browser("maya").get(address).status == 400


def test_json_lists_have_pages_too(full: World) -> None:
    first = _api(full, "/api/incidents?limit=100")
    second = _api(full, f"/api/incidents?limit=100&cursor={first['next']}")
    assert (first["count"], second["count"], second["next"]) == (100, 20, "")
    assert len({line["id"] for line in first["incidents"] + second["incidents"]}) == 120
    assert _api(full, "/api/alerts?limit=69")["next"]


def test_the_number_of_the_ticket_names_the_incident(full: World) -> None:
    browser = full.browser("maya")
    assert lists.named(full.store, "INC00007", 5) == [("inc00007", "00000007-0000-5000-8000-000000000000")]
    keep(full.store, incident(id="ffffffff-0000-5000-8000-000000000000", ticket=Ticket("desk", "1", "OPS-77", "")))
    assert browser.get("/incidents/OPS-77").headers["Location"] == "/incidents/ffffffff-0000-5000-8000-000000000000"
    assert browser.get("/incidents/OPS-7x").status == 404
