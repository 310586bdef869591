"""Any notice becomes a card Teams would show, and nothing in it is markup or a link."""

from __future__ import annotations

import json
import re
from functools import cache
from html import unescape
from importlib.resources import files
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft6Validator
from markdown_it import MarkdownIt

from shared.adapters.channels.cards import MAX_ACTIONS, MAX_MESSAGE_BYTES, SHORTENED, message
from shared.adapters.channels.markdown_text import BREAK, escape, plain
from shared.model.notice import Fact, Link, Notice, NoticeKind
from shared.model.signal import Severity


@cache
def validator() -> Draft6Validator:
    text = (files("adaptive_cards") / "schemas" / "schema-1.4.json").read_text(encoding="utf-8")
    return Draft6Validator(json.loads(text))


def card_of(sent: dict[str, Any]) -> dict[str, Any]:
    (attachment,) = sent["attachments"]
    assert attachment["contentType"] == "application/vnd.microsoft.card.adaptive"
    content: dict[str, Any] = attachment["content"]
    return content


def assert_shown(sent: dict[str, Any]) -> None:
    assert len(json.dumps(sent).encode()) <= MAX_MESSAGE_BYTES
    card = {key: value for key, value in card_of(sent).items() if key != "msteams"}  # Teams' own, not in the schema
    assert validator().is_valid(card), card


WORDS = st.text(max_size=400) | st.text(st.characters(min_codepoint=0x1F300, max_codepoint=0x1F5FF), max_size=400)
LONG = st.builds(lambda text, times: text * times, st.text(min_size=1, max_size=20), st.integers(1, 2000))
URLS = st.sampled_from(["https://argus.example/incidents/1", "http://127.0.0.1:7071/a?b=c#d"]) | st.text(max_size=60)
NOTICES = st.builds(
    Notice,
    kind=st.sampled_from(NoticeKind),
    title=WORDS | LONG,
    text=WORDS | LONG,
    severity=st.sampled_from(Severity),
    thread=st.text(max_size=20),
    facts=st.lists(st.builds(Fact, WORDS | LONG, WORDS | LONG), max_size=40).map(tuple),
    links=st.lists(st.builds(Link, WORDS, URLS), max_size=10).map(tuple),
)


@settings(max_examples=80, deadline=None)
@given(NOTICES, st.booleans())
def test_any_notice_is_a_card_that_fits(notice: Notice, repeat: bool) -> None:
    sent = message(notice, repeat)
    assert_shown(sent)
    for action in card_of(sent)["actions"]:
        assert action["type"] == "Action.OpenUrl"
        assert action["url"].startswith(("http://", "https://"))


def test_what_is_too_long_keeps_the_title_and_both_buttons() -> None:
    links = tuple(Link(f"Button {n}", f"https://argus.example/{n}") for n in range(9))
    facts = tuple(Fact(f"Fact {n}", "🔥" * 5000) for n in range(50))
    notice = Notice(NoticeKind.APPROVAL, "Roll back shop", "x" * 50_000, Severity.SEV0, "INC-1", facts, links)
    sent = message(notice)
    assert_shown(sent)
    card = card_of(sent)
    assert "Roll back shop" in json.dumps(card["body"][0])
    assert [action["title"] for action in card["actions"]][:2] == ["Button 0", "Button 1"]
    assert len(card["actions"]) <= MAX_ACTIONS
    assert card["body"][-1]["text"] == SHORTENED


def test_the_heaviest_links_still_leave_the_title_and_two_buttons() -> None:
    links = tuple(Link("🔥" * 60, f"https://argus.example/{n}" + '"' * 1470) for n in range(6))
    sent = message(Notice(NoticeKind.APPROVAL, "🔥" * 300, "*" * 9000, Severity.SEV0, "INC-1", (), links))
    assert_shown(sent)
    assert [action["url"] for action in card_of(sent)["actions"]][:2] == [link.url for link in links[:2]]
    assert card_of(sent)["body"][0]["items"][1]["text"].startswith("🔥" * 199)


def test_a_short_notice_is_shown_whole() -> None:
    notice = Notice(
        NoticeKind.OPENED,
        "Checkout fails",
        "5xx above 5 %",
        Severity.SEV1,
        "INC-1",
        (Fact("Service", "shop"),),
        (Link("Open the incident", "https://argus.example/incidents/INC-1"),),
    )
    card = card_of(message(notice))
    assert card["version"] == "1.4"
    assert card["body"][0]["style"] == "attention"
    assert card["body"][0]["items"][0]["text"] == "Incident opened · Sev1"
    assert card["body"][1]["text"] == "5xx above 5 %"
    assert card["body"][2]["facts"] == [{"title": "Service", "value": "shop"}]
    assert SHORTENED not in json.dumps(card)
    assert "possible repeat" in json.dumps(card_of(message(notice, repeat=True)))


@pytest.mark.parametrize(
    ("kind", "severity", "style"),
    [
        (NoticeKind.OPENED, Severity.SEV0, "attention"),
        (NoticeKind.OPENED, Severity.SEV2, "warning"),
        (NoticeKind.OPENED, Severity.SEV3, "accent"),
        (NoticeKind.OPENED, Severity.SEV4, "default"),
        (NoticeKind.CLOSED, Severity.SEV0, "good"),
    ],
)
def test_the_colour_follows_severity_until_it_is_over(kind: NoticeKind, severity: Severity, style: str) -> None:
    assert card_of(message(Notice(kind, "t", "", severity, "i")))["body"][0]["style"] == style


@pytest.mark.parametrize(
    "url",
    ["javascript:alert(1)", "https://", "//evil.example", "https://a b", "https://ä.example", "https://[", "x" * 3000],
)
def test_a_button_opens_a_page_or_is_left_out(url: str) -> None:
    notice = Notice(NoticeKind.INFO, "t", "", Severity.SEV3, "i", links=(Link("Go", url),))
    assert card_of(message(notice))["actions"] == []


MARKDOWN = MarkdownIt("commonmark").enable("table").enable("strikethrough")
TAGS = re.compile(r"</?(?:p|br ?/?)>")
TRICKY = st.text(st.sampled_from("\\`*_[]()<>#+-.!~|&;:/= \t\n1a😀\u00e9") | st.characters(), max_size=80)


@settings(max_examples=300, deadline=None)
@given(TRICKY)
def test_escaped_text_renders_to_itself(text: str) -> None:
    cleaned = plain(text)
    shown = TAGS.sub("", MARKDOWN.render(escape(cleaned)))
    assert "<" not in shown, "markup got through"
    words = "".join(unescape(shown).replace(BREAK, "").split())
    assert words == "".join(cleaned.replace(BREAK, "").split())


@pytest.mark.parametrize(
    "text",
    [
        "[click](http://evil.example)",
        "<http://evil.example>",
        "http://evil.example/x",
        "HTTPS://EVIL.example",
        "www.evil.example",
        "![x](https://evil.example/x.png)",
        "[a]: http://evil.example\n\n[a]",
        "&#91;click&#93;(http://evil.example)",
        "file:///etc/passwd",
    ],
)
def test_no_link_gets_through(text: str) -> None:
    linkified = MarkdownIt("commonmark", {"linkify": False}).render(escape(plain(text)))
    assert "<a " not in linkified
    assert "<img" not in linkified
    assert not re.search(r"(?i)\b(?:[a-z]+:/|www\.)", unescape(linkified))
