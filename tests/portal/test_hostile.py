"""Text that came from outside never becomes markup, whatever it is."""

from __future__ import annotations

import re

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as example_settings
from hypothesis import strategies as st

from shared.model.event import derive_id
from shared.model.incident import ApprovalSummary
from shared.model.recommendation import Parameter
from shared.model.ticket import Ticket
from shared.portal import Request
from shared.records import index
from shared.records.index import AlertLine
from tests.portal.test_pages import Outline
from tests.portal.world import NOW, World, alert, ask, incident, keep, plan

TAGS = frozenset(
    re.findall(
        r"\w+",
        "html head meta title link script body a header nav span div form input button main p h1 h2 h3 ul ol li "
        "section datalist details summary label select option textarea strong code dl dt dd br time table thead tbody "
        "tr th td aside img footer meter article pre figure figcaption svg polygon polyline line",
    )
)
KNOWN_ATTACKS = (
    "<script>alert(1)</script>", "'\"><img src=x onerror=alert(1)>", "</title><script>alert(1)</script>", "{{ 7*7 }}",
    "</textarea><script>alert(1)</script>", "&lt;script&gt;", '" onmouseover="alert(1)', "<svg/onload=alert(1)>",
    "</code></pre><iframe src=//evil.example>", "javascript:alert(1)", "<!--", "<![CDATA[",
)  # fmt: skip
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)


def _pages(site: World, text: str) -> list[str]:
    name = derive_id("hostile", text)
    bad = alert(
        fingerprint=text, name=text, summary=text, resource=text, source=text, service=text, link=text, unit=text
    )
    request = ask(
        site.store,
        plan(incident_id=name, title=text, action=text, target=text, parameters=(Parameter(text, text, text),),
             preconditions={text: text}, blast_radius=text, risk=text, rollback=text, runbook=text, proposed_by=text),
    )  # fmt: skip
    summary = ApprovalSummary(request.id, request.plan_hash, text, text, text, request.deadline)
    held = incident(
        id=name, title=text, service=text, summary=text, acknowledged_by=text, assignee=text, alerts=(bad,),
        ticket=Ticket(text, text, text, text), resolution=text, environment=text, approval=summary,
    )  # fmt: skip
    keep(site.store, held, (("sentinel", "x", text, text, text),))
    index.put_alert(site.store, AlertLine(bad, "", text, NOW))
    browser = site.browser("maya")
    shown = [browser.get(address).body.decode() for address in ("/", "/alerts", f"/incidents/{name}")]
    shown.append(browser.get(f"/approvals/{request.id}").body.decode())
    query = {"q": text, "service": text, "note": text, "next": text, "state": text}
    for address in ("/", "/signin", "/open", "/nowhere/" + text):
        request_ = Request("GET", address, query, {"host": browser.host}, browser.cookies)
        shown.append(site.portal.respond(request_).body.decode())
    return shown


def _check(pages: list[str]) -> None:
    for page in pages:
        tags = Outline(page).tags
        assert {tag for tag, _ in tags} <= TAGS
        assert page.count("<script") == 1
        assert not [a for _, a in tags if any(name.startswith("on") for name in a)]
        assert not [a for _, a in tags if (a.get("href") or "").strip().lower().startswith(("javascript:", "data:"))]


@pytest.mark.parametrize("text", KNOWN_ATTACKS)
def test_known_attacks_stay_text(site: World, text: str) -> None:
    pages = _pages(site, text)
    _check(pages)
    assert text in Outline(pages[2]).text


@example_settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=TEXT)
def test_no_text_becomes_markup(site: World, text: str) -> None:
    _check(_pages(site, text))


@example_settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=TEXT, verb=st.sampled_from(["acknowledge", "assign", "close", "open", "signin", "decide"]))
def test_no_field_breaks_a_form(site: World, text: str, verb: str) -> None:
    keep(site.store, held := incident())
    browser = site.browser("maya")
    form = {"csrf": browser.csrf(), **dict.fromkeys(("assignee", "reason", "title", "user", "choice", "comment"), text)}
    address = {"open": "/open", "signin": "/signin", "decide": "/approvals/none"}.get(
        verb, f"/incidents/{held.id}/{verb}"
    )
    answer = browser.post(address, form)
    assert answer.status in (303, 400, 403, 404)
    if answer.body:
        _check([answer.body.decode()])
