"""What the pages show, to whom, and what they never let through."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import timedelta
from html.parser import HTMLParser

import pytest

from shared.adapters.stores.sqlite import SqliteStore
from shared.model.action import ActionResult, ActionState
from shared.model.approval import Verdict
from shared.model.errors import TransientError
from shared.model.incident import Recovery
from shared.model.lifecycle import State
from shared.model.recommendation import Parameter
from shared.model.ticket import Ticket
from shared.portal.exchange import local_path
from shared.portal.words import visible, web_link
from shared.ports.store import Table, Upsert
from shared.records import incidents
from tests.portal.world import (
    HISTORY,
    INCIDENT,
    KEY,
    NOW,
    World,
    alert,
    ask,
    crowd,
    incident,
    keep,
    plan,
    settled,
    story,
    world,
)

PAGES = ["/", "/?state=all", "/alerts", f"/incidents/{INCIDENT}", "/open", "/signin", "/nowhere"]


class Outline(HTMLParser):
    """Tags, attributes and text of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.mark.parametrize("address", [*PAGES, "/api/incidents", "/api/nowhere", "/static/argus.css"])
def test_every_answer_carries_the_security_headers(site: World, address: str) -> None:
    headers = site.browser("maya").get(address).headers
    assert headers["Content-Security-Policy"].startswith("default-src 'self';")
    assert "unsafe" not in headers["Content-Security-Policy"]
    assert headers["X-Frame-Options"] == "DENY"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "same-origin"
    assert headers["Cache-Control"] == ("public, max-age=86400" if "static" in address else "no-store")


def test_pages_need_nothing_from_outside_and_nothing_inline(site: World) -> None:
    _, request = story(site.store)
    crowd(site.store)
    browser = site.browser("maya")
    for address in [*PAGES, f"/approvals/{request.id}"]:
        for tag, attributes in Outline(browser.get(address).body.decode()).tags:
            assert tag != "style"
            assert not [name for name in attributes if name == "style" or name.startswith("on")], (address, tag)
            if tag in ("script", "link", "img", "form"):
                for name in ("src", "href", "action"):
                    assert (attributes.get(name) or "/").startswith("/"), (address, tag, attributes)
            if tag == "script":
                assert attributes.get("src")


def test_every_field_has_a_label_and_ids_are_unique(site: World) -> None:
    _, request = story(site.store)
    browser = site.browser("maya")
    for address in [*PAGES, f"/approvals/{request.id}"]:
        tags = Outline(browser.get(address).body.decode()).tags
        ids = [attributes["id"] for _, attributes in tags if "id" in attributes]
        assert len(ids) == len(set(ids)), address
        labelled = {attributes.get("for") for tag, attributes in tags if tag == "label"}
        fields = [a for tag, a in tags if tag in ("input", "select", "textarea") and a.get("type") != "hidden"]
        assert all(field.get("id") in labelled for field in fields), address
        named = {a.get("aria-labelledby") for tag, a in tags if tag == "section"}
        assert named <= {*ids, None}


def test_the_incident_page_tells_the_whole_story(site: World) -> None:
    held, request = story(site.store)
    text = Outline(site.browser("maya").get(f"/incidents/{held.id}").body.decode()).text
    for words in (
        "A decision is needed", "Release 1.4.2 of shop broke payments", "86 % sure", "[1] Release 1.4.2 of shop",
        "+PAYMENT_TIMEOUT_S = 0.02", "Ratio of failed requests", "no data", "INC0010042", "acknowledged by maya",
        "Roll back a release", "The chain is whole: 7 entries", "ShopProbeDown", "Assign to",
    ):  # fmt: skip
        assert words in text, words
    assert f"/approvals/{request.id}" in site.browser("maya").get("/").body.decode()


def test_times_are_utc_until_the_script_knows_better(site: World) -> None:
    story(site.store)
    page = site.browser("maya").get(f"/incidents/{INCIDENT}").body.decode()
    stamp = '<time datetime="2026-11-20T02:04:05+00:00" title="2026-11-20 02:04:05 UTC"'
    assert f"{stamp}>2026-11-20 02:04:05 UTC</time>" in page
    assert f"{stamp} data-age>9 min ago</time>" in page


def test_a_changed_audit_entry_shows(site: World) -> None:
    story(site.store)
    (first, *_) = incidents.audit(site.store, INCIDENT)
    forged = replace(first, why="nothing happened")
    row = incidents.audit_row(forged)
    site.store.write(Table.INCIDENTS, INCIDENT, Upsert(row.key, row.values))
    text = Outline(site.browser("maya").get(f"/incidents/{INCIDENT}").body.decode()).text
    assert "The chain is broken: entry 1 was changed after it was written" in text


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, "Nobody has acknowledged this yet"),
        ({"state": State.EXECUTING}, "The approved action is running"),
        ({"state": State.VERIFYING}, "The first reading is on its way"),
        ({"state": State.VERIFYING, "recovery": Recovery(NOW, "0.2 % errors", NOW, 2)}, "Good for 2 readings in a row"),
        ({"state": State.VERIFYING, "recovery": Recovery(None, "31 % errors", NOW)}, "Not good yet"),
        ({"state": State.CLOSED, "resolution": "rolled back"}, "rolled back"),
        (
            {"actions": (ActionResult("a", "deploy_hook", "shop", ActionState.UNCLEAR, NOW, "no answer"),)},
            "Look at shop yourself",
        ),
    ],
)
def test_the_page_says_what_comes_next(site: World, changes: dict[str, object], words: str) -> None:
    keep(site.store, incident(**changes), HISTORY[:1])
    assert words in site.browser("maya").get(f"/incidents/{INCIDENT}").body.decode()


def test_an_empty_list_says_what_to_do(site: World) -> None:
    page = site.browser("maya").get("/").body.decode()
    assert "No incidents yet" in page
    assert "python -m argus send azure_monitor --sample" in page
    keep(site.store, incident(state=State.CLOSED))
    assert "Nothing is open" in site.browser("maya").get("/").body.decode()
    assert "Nothing matches" in site.browser("maya").get("/?q=unheard-of").body.decode()


@pytest.mark.parametrize(
    ("query", "titles"),
    [
        ("", {"shop: error budget burns 14", "payments: probe", "checkout: latency", "A very long title"}),
        ("?state=closed", {"shop: error budget burns 9", "search: index"}),
        ("?state=verifying", {"payments: probe"}),
        ("?service=SHOP&state=all", {"shop: error budget burns 14", "shop: error budget burns 9"}),
        ("?q=INC0010042", {"shop: error budget burns 14"}),
        ("?q=BUDGET+maya&state=all", {"shop: error budget burns 14", "shop: error budget burns 9"}),
        ("?state=nonsense", {"shop: error budget burns 14", "payments: probe", "checkout: latency", "A very long"}),
    ],
)
def test_lists_show_what_was_asked_for(site: World, query: str, titles: set[str]) -> None:
    story(site.store)
    crowd(site.store)
    page = site.browser("maya").get("/" + query).body.decode()
    found = re.findall(r'<a class="title"[^>]*>([^<]*)</a>', page)
    assert len(found) == len(titles)
    assert all(any(title.startswith(start) for title in found) for start in titles)


def test_alerts_show_why_they_opened_nothing(site: World) -> None:
    crowd(site.store)
    text = Outline(site.browser("maya").get("/alerts").body.decode()).text
    assert "sev4 is listed and opens no incident" in text
    assert "incident 7d3c2a10" in text


def test_a_short_id_leads_to_the_incident(site: World) -> None:
    story(site.store)
    answer = site.browser("maya").get("/incidents/7D3C2A")
    assert (answer.status, answer.headers["Location"]) == (303, f"/incidents/{INCIDENT}")
    assert site.browser("maya").get("/incidents/7d3c2").status == 404


def test_a_new_incident_is_awaited(site: World) -> None:
    answer = site.browser("maya").get(f"/incidents/{INCIDENT}?note=opened")
    assert answer.status == 202
    assert 'http-equiv="refresh"' in answer.body.decode()
    assert site.browser("maya").get(f"/incidents/{INCIDENT}").status == 404


@pytest.mark.parametrize("address", ["/", "/alerts", f"/incidents/{INCIDENT}", "/approvals/x", "/open"])
def test_strangers_are_asked_to_sign_in(site: World, address: str) -> None:
    answer = site.browser().get(f"{address}?q=a%20b&code=wrong")
    assert answer.status == 303
    assert answer.headers["Location"].startswith("/signin?next=%2F")
    assert "code" not in answer.headers["Location"]


def test_the_key_reads_and_the_setting_lets_everybody_read(store: SqliteStore, site: World) -> None:
    assert site.browser().get(f"/?code={KEY}").status == 200
    assert site.browser().get("/", x_functions_key=KEY).status == 200
    assert site.browser().get("/open", x_functions_key=KEY).status == 303
    assert world(store, anonymous_read=True).browser().get("/").status == 200
    assert world(store, keys={}).browser().get("/?code=").status == 303


@pytest.mark.parametrize(
    ("verdict", "words"),
    [(Verdict.APPROVED, "Approved"), (Verdict.EXPIRED, "Expired without a decision"), (Verdict.REJECTED, "Rejected")],
)
def test_a_settled_approval_shows_its_end_and_no_buttons(site: World, verdict: Verdict, words: str) -> None:
    request = ask(site.store)
    settled(site.store, request, verdict)
    page = site.browser("maya").get(f"/approvals/{request.id}").body.decode()
    assert f'<h2 id="verdict">{words}</h2>' in page
    assert 'name="choice"' not in page


def test_an_approval_whose_time_is_over_shows_no_buttons(site: World) -> None:
    request = ask(site.store)
    site.clock.now = NOW + timedelta(minutes=43)
    page = site.browser("maya").get(f"/approvals/{request.id}").body.decode()
    assert "Silence is no consent" in page
    assert 'name="choice"' not in page


def test_the_approval_page_shows_the_exact_plan(site: World) -> None:
    request = ask(site.store, plan(parameters=(Parameter("version", "1.4.1\u202e\u200b", "evidence:e1"),)))
    text = Outline(site.browser("maya").get(f"/approvals/{request.id}").body.decode()).text
    for words in (
        "1.4.1⟨U+202E⟩⟨U+200B⟩", "this text came from outside, check it", "healthy = false", "recommender",
        "All requests to shop", "Deploy 1.4.2 again", request.plan_hash, "version = 1.4.2",
    ):  # fmt: skip
        assert words in text, words


@pytest.mark.parametrize(
    ("method", "address", "status", "allow"),
    [
        ("GET", "/nowhere", 404, None), ("DELETE", "/", 405, "GET, HEAD"), ("GET", "/signout", 405, "POST"),
        ("PUT", "/approvals/x", 405, "GET, HEAD, POST"), ("GET", "/static/../app.py", 404, None),
        ("POST", "/static/argus.css", 405, None), ("GET", "/incidents/a%00b", 404, None),
        ("GET", "/incidents/" + "x" * 300, 404, None), ("GET", "/approvals/a'b", 404, None),
    ],
)  # fmt: skip
def test_refusals(site: World, method: str, address: str, status: int, allow: str | None) -> None:
    answer = site.browser("maya")._send(method, address, {}, {})
    assert (answer.status, answer.headers.get("Allow")) == (status, allow)


def test_head_is_get_without_a_body(site: World) -> None:
    got, head = (site.browser("maya")._send(method, "/", {}, {}) for method in ("GET", "HEAD"))
    assert (head.status, head.content_type, head.body) == (got.status, got.content_type, b"")


class Broken:
    """A store that cannot be reached."""

    def __getattr__(self, name: str) -> object:
        raise TransientError("secret connection string")


def test_a_store_that_is_down_is_a_503(store: SqliteStore) -> None:
    site = world(Broken(), anonymous_read=True)  # type: ignore[arg-type]
    for address in ("/", "/api/incidents"):
        answer = site.browser().get(address)
        assert (answer.status, answer.headers["Retry-After"]) == (503, "5")
        assert b"secret" not in answer.body


def test_a_record_nobody_can_read_is_said_so(site: World) -> None:
    site.store.write(Table.INCIDENTS, INCIDENT, Upsert(incidents.INCIDENT, {"doc00": '{"id": 1}'}))
    assert site.browser("maya").get(f"/incidents/{INCIDENT}").status == 500


@pytest.mark.parametrize(
    ("target", "kept"),
    [
        ("/approvals/a?x=1", "/approvals/a?x=1"), ("//evil.example", "/"), ("https://evil.example", "/"),
        ("/\\evil.example", "/"), ("", "/"), ("javascript:alert(1)", "/"), ("/a\r\nSet-Cookie: x=1", "/"), ("/ä", "/"),
    ],
)  # fmt: skip
def test_signing_in_leads_to_our_own_pages_only(site: World, target: str, kept: str) -> None:
    assert local_path(target) == kept
    answer = site.browser().post("/signin", {"user": "maya", "next": target})
    assert answer.headers["Location"] == kept


@pytest.mark.parametrize(
    ("url", "linked"),
    [
        ("https://x.example/a?b=c#d", True), ("javascript:alert(1)", False), (" JaVaScRiPt:alert(1)", False),
        ("data:text/html,x", False), ("//x.example", False), ("http://[", False), ("", False),
    ],
)  # fmt: skip
def test_only_web_addresses_become_links(site: World, url: str, linked: bool) -> None:
    assert bool(web_link(url)) is linked
    keep(site.store, incident(ticket=Ticket("s", "k", "INC1", url), alerts=(alert(link=url),)))
    tags = Outline(site.browser("maya").get(f"/incidents/{INCIDENT}").body.decode()).tags
    outward = {a.get("href") for tag, a in tags if tag == "a" and not (a.get("href") or "").startswith(("/", "#"))}
    assert outward == ({url} if linked else set())


def test_nothing_hides_in_visible_text() -> None:
    assert visible("a\u202eb\x00c\n\ud800") == "a⟨U+202E⟩b⟨U+0000⟩c\n⟨U+D800⟩"
