"""The pages in a real browser: they fit a phone, the script helps, nothing is loaded from elsewhere.

This is the one module that may not run: a machine without Chromium cannot look at pages. Name one with ``CHROMIUM``.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from shared.model.approval import ApprovalRequest
from shared.model.incident import Incident
from shared.ports.store import Table, Upsert
from shared.records import approvals, incidents, index
from shared.records.rows import pack
from tests.portal import world as w
from tests.portal.serving import serving

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or "/usr/bin/chromium"
pytestmark = pytest.mark.skipif(not Path(CHROMIUM).exists(), reason="no Chromium to look with; set CHROMIUM")
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
)  # fmt: skip
PHONE, DESK = 375, 1280


@dataclass
class View:
    """A page in a browser, with everything it complained about or asked for."""

    page: Page
    url: str
    site: w.World
    incident: Incident
    request: ApprovalRequest
    trouble: list[str] = field(default_factory=list)

    def open(self, path: str) -> Page:
        self.page.goto(self.url + path)
        return self.page

    def sign_in(self, user: str = "maya") -> None:
        self.open("/signin").click(f"button[value={user}]")


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """One browser for the module."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as player:
        browser = player.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
        yield browser
        browser.close()


@pytest.fixture
def view(chromium: Browser, store: w.Store, monkeypatch: pytest.MonkeyPatch) -> Iterator[View]:
    """A portal with a story that happens now, because the browser's clock shows now."""
    now = datetime.now(UTC).replace(microsecond=0)
    monkeypatch.setattr(w, "NOW", now)
    site = w.world(store, w.Clock(now))
    held, request = w.story(store)
    w.crowd(store)
    with serving(site.portal) as url:
        context = chromium.new_context(timezone_id="Asia/Kathmandu", locale="en-GB")
        page = context.new_page()
        seen = View(page, url, site, held, request)
        page.on("console", lambda message: seen.trouble.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: seen.trouble.append(str(error)))
        page.on("request", lambda sent: None if sent.url.startswith(url) else seen.trouble.append(sent.url))
        yield seen
        context.close()


@pytest.mark.parametrize("width", [PHONE, DESK])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_page_fits_and_is_quiet(view: View, width: int, scheme: str, tmp_path: Path) -> None:
    view.page.set_viewport_size({"width": width, "height": 800})
    view.page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
    view.sign_in()
    addresses = ["/", "/?state=all", "/?q=nothing", "/alerts", "/open", "/signin", f"/approvals/{view.request.id}"]
    for i, address in enumerate([*addresses, f"/incidents/{view.incident.id}", "/incidents/4d4d4d4d"]):
        page = view.open(address)
        assert page.evaluate("document.documentElement.scrollWidth") <= width, address
        picture = tmp_path / f"{i}.png"
        page.screenshot(path=picture, full_page=True)
        assert picture.stat().st_size > 5000, "an empty page is no page"
        small = page.evaluate(
            "[...document.querySelectorAll('button:not(.link), .button, select, input:not([type=hidden])')]"
            ".filter(e => e.checkVisibility() && e.getBoundingClientRect().height < 40).map(e => e.outerHTML)"
        )
        assert small == [], f"too small for a thumb on {address}"
    assert view.trouble == []


# Compares every text with what is painted behind it (WCAG 2.2, 1.4.3: 4.5 to 1, large text 3 to 1).
CONTRAST = """() => {
  const light = (c) => c.map(v => (v /= 255) <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [.2126, .7152, .0722][i], 0);
  const parse = (text) => text.match(/[\\d.]+/g).map(Number);
  const behind = (e) => {
    for (; e; e = e.parentElement) {
      const c = parse(getComputedStyle(e).backgroundColor);
      if (c.length < 4 || c[3] > .99) return c.slice(0, 3);
    }
    return [255, 255, 255];
  };
  const poor = [];
  for (const e of document.querySelectorAll("body *")) {
    const own = [...e.childNodes].some(n => n.nodeType === 3 && n.textContent.trim());
    const style = getComputedStyle(e);
    if (!own || !e.checkVisibility() || parseFloat(style.fontSize) === 0 || e.closest(".skip")) continue;
    const [a, b] = [light(parse(style.color).slice(0, 3)), light(behind(e))];
    const ratio = (Math.max(a, b) + .05) / (Math.min(a, b) + .05);
    const large = parseFloat(style.fontSize) >= 24 || (parseFloat(style.fontSize) >= 18.66 && style.fontWeight >= 700);
    if (ratio < (large ? 3 : 4.5))
      poor.push(`${e.className || e.tagName} ${e.textContent.trim().slice(0, 30)} ${ratio}`);
  }
  return poor;
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_text_can_be_read(view: View, scheme: str) -> None:
    view.page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
    view.sign_in()
    for address in ("/?state=all", "/alerts", f"/incidents/{view.incident.id}", f"/approvals/{view.request.id}",
                    "/incidents/4d4d4d4d", "/signin", "/open"):  # fmt: skip
        assert view.open(address).evaluate(CONTRAST) == [], address


def test_times_are_in_the_viewers_zone_with_utc_at_hand(view: View) -> None:
    view.sign_in()
    page = view.open(f"/incidents/{view.incident.id}")
    first = page.locator(".timeline time").first
    at = datetime.fromisoformat(first.get_attribute("datetime") or "")
    assert f"{at + timedelta(hours=5, minutes=45):%H:%M:%S}" in first.inner_text()
    assert (first.get_attribute("title") or "").endswith(f"{at:%Y-%m-%d %H:%M:%S} UTC")
    assert "Asia/Kat" in page.locator("footer").inner_text()
    assert "min left" in page.locator(".call .until").inner_text()


def test_a_person_decides_and_sees_the_outcome_without_reloading(view: View) -> None:
    view.open(f"/approvals/{view.request.id}")
    view.page.click("button[value=maya]")
    view.page.fill("#comment", "looks right")
    view.page.click("button[value=approve]")
    view.page.wait_for_url("**?note=voted")
    (vote,) = approvals.votes_of(view.site.store, view.request.id)
    assert (vote.user, vote.comment) == ("maya", "looks right")
    w.settled(view.site.store, view.request, w.Verdict.APPROVED)
    view.page.locator("#verdict", has_text="Approved").wait_for()
    assert view.trouble == []


def test_news_arrives_while_somebody_reads(view: View) -> None:
    view.sign_in()
    page = view.open(f"/incidents/{view.incident.id}?note=investigating")
    page.click("#audit-entries > summary")
    changed = replace(view.incident, title="shop: it is getting worse")
    view.site.store.write(Table.INCIDENTS, changed.id, Upsert(incidents.INCIDENT, pack(changed)))
    page.locator("h1", has_text="it is getting worse").wait_for()
    assert page.locator("#audit-entries").get_attribute("open") is not None, "what was opened stays open"
    assert page.evaluate("document.activeElement.tagName") == "SUMMARY", "the focus stays where it was"
    assert view.trouble == []


def test_nothing_is_swapped_away_under_a_person_who_writes(view: View) -> None:
    view.sign_in()
    page = view.open(f"/incidents/{view.incident.id}?note=investigating")
    page.click("#close > summary")
    page.fill("#reason", "it was a dr")
    changed = replace(view.incident, title="shop: it is getting worse")
    view.site.store.write(Table.INCIDENTS, changed.id, Upsert(incidents.INCIDENT, pack(changed)))
    with page.expect_response(lambda answer: "/incidents/" in answer.url):
        pass
    page.locator("#reason").press_sequentially("ill")
    assert page.input_value("#reason") == "it was a drill"


def test_the_keyboard_reaches_everything(view: View) -> None:
    view.sign_in()
    page = view.open(f"/approvals/{view.request.id}")
    reached = []
    for _ in range(20):
        page.keyboard.press("Tab")
        reached.append(page.evaluate("document.activeElement.value || document.activeElement.textContent.trim()"))
    assert reached[0] == "Skip to content"
    assert [item for item in reached if item in ("approve", "reject")] == ["approve", "reject"]


def test_without_script_everything_works(chromium: Browser, view: View) -> None:
    context = chromium.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(f"{view.url}/incidents/{view.incident.id}")
    page.click("button[value=maya]")
    assert "UTC" in page.locator(".timeline time").first.inner_text()
    page.click("text=Review and decide")
    page.click("button[value=reject]")
    assert "Your vote is in" in page.locator("#message").inner_text()
    context.close()


def test_paging_and_search_need_the_keyboard_only_and_no_script(chromium: Browser, view: View) -> None:
    for number in range(70):
        made = w.incident(id=f"{number:08x}-0000-5000-8000-000000000000", title=f"many-{number}-end")
        index.put_incident(view.site.store, replace(made, opened_at=w.NOW - timedelta(days=1, minutes=number)))
    view.sign_in()
    view.open("/")
    view.page.focus("a[rel=next]")
    view.page.keyboard.press("Enter")
    view.page.wait_for_url("**cursor=**")
    assert view.page.locator(".incidents .title").last.inner_text() == "many-69-end"
    view.page.click("text=Back to the newest")
    view.page.locator(".incidents .title", has_text="many-0-end").wait_for()
    view.open("/search")
    view.page.keyboard.type("many-42")
    view.page.keyboard.press("Enter")
    view.page.wait_for_url("**q=many-42**")
    assert view.page.locator(".incidents .title").all_inner_texts() == ["many-42-end"]
    for width in (PHONE, DESK):
        view.page.set_viewport_size({"width": width, "height": 800})
        assert view.page.evaluate("document.documentElement.scrollWidth") <= width
    assert view.page.evaluate(CONTRAST) == []
    assert view.trouble == []
    context = chromium.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(f"{view.url}/search?q=many-42")
    page.click("button[value=maya]")
    assert page.locator(".incidents .title").all_inner_texts() == ["many-42-end"]
    context.close()
