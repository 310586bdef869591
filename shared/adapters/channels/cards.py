"""A notice as an Adaptive Card 1.4 in a Teams message.

In: a notice. Out: the message as JSON-ready values, never above ``MAX_MESSAGE_BYTES``.
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

from shared.adapters.channels.markdown_text import escape, plain
from shared.model.notice import Fact, Link, Notice, NoticeKind
from shared.model.signal import Severity

MAX_MESSAGE_BYTES = 24_000  # Teams refuses above about 28 KB: learn.microsoft.com, connectors/teams, read 2026-11-20
MAX_ACTIONS = 6  # Teams shows six: learn.microsoft.com, cards-format, read 2026-11-20
MAX_TITLE_CHARS = 200
MAX_TEXT_CHARS = 6_000
MAX_FACTS = 30
MAX_VALUE_CHARS = 600
MAX_LABEL_CHARS = 60
MAX_URL_CHARS = 1_500
SHORTENED = "Shortened to fit. Open the incident to read everything."

_HEADLINE = {
    NoticeKind.OPENED: "Incident opened",
    NoticeKind.APPROVAL: "Decision needed",
    NoticeKind.DECIDED: "Decision made",
    NoticeKind.ESCALATED: "Escalated",
    NoticeKind.EXECUTED: "Action executed",
    NoticeKind.CLOSED: "Incident closed",
    NoticeKind.REOPENED: "Incident reopened",
    NoticeKind.PUBLISHED: "Document published",
    NoticeKind.INFO: "For your information",
    NoticeKind.STORM: "Many incidents at once",
}
_STYLE = {
    Severity.SEV0: "attention",
    Severity.SEV1: "attention",
    Severity.SEV2: "warning",
    Severity.SEV3: "accent",
    Severity.SEV4: "default",
}


def message(notice: Notice, repeat: bool = False) -> dict[str, Any]:
    """The message for a Teams Workflows webhook.

    Args:
        notice: any notice; its texts are untrusted.
        repeat: say that this may have been posted before.

    Returns:
        At most ``MAX_MESSAGE_BYTES`` as ``json.dumps`` writes it. What does not fit goes in this order: facts from
        the last, text from its end, links from the last. The bounds above keep the title and the first two links,
        an approval's buttons, far below the limit.

    Source: adaptivecards.io schema 1.4; the "send each adaptive card" template reads ``attachments``.
    """
    whole = _tidy(notice)
    fitting, shortened = whole, False
    while (size := len(json.dumps(made := _wrap(fitting, repeat, shortened)))) > MAX_MESSAGE_BYTES:
        fitting, shortened = _shorten(fitting, size - MAX_MESSAGE_BYTES), True
    return made


def _tidy(notice: Notice) -> Notice:
    facts = [
        Fact(_cut(plain(fact.name), MAX_LABEL_CHARS), _cut(plain(fact.value), MAX_VALUE_CHARS))
        for fact in notice.facts[:MAX_FACTS]
    ]
    links = [
        Link(_cut(plain(link.label), MAX_LABEL_CHARS) or "Open", link.url)
        for link in notice.links
        if _opens_a_page(link.url)
    ]
    return replace(
        notice,
        title=_cut(plain(notice.title).replace("\n", " ").strip(), MAX_TITLE_CHARS) or "(no title)",
        text=_cut(plain(notice.text).strip(), MAX_TEXT_CHARS),
        facts=tuple(facts),
        links=tuple(links[:MAX_ACTIONS]),
    )


def _shorten(notice: Notice, excess: int) -> Notice:
    """Leave out the least that is worth the least; ``excess`` is in bytes."""
    if notice.facts:
        return replace(notice, facts=notice.facts[:-1])
    if notice.text:
        # One character takes up to 12 bytes, so this never cuts more than needed and still ends.
        return replace(notice, text=_cut(notice.text, max(0, len(notice.text) - max(20, excess // 12))))
    return replace(notice, links=notice.links[:-1])


def _wrap(notice: Notice, repeat: bool, shortened: bool) -> dict[str, Any]:
    card = {
        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
        "type": "AdaptiveCard",
        "version": "1.4",
        "msteams": {"width": "Full"},
        "body": _body(notice, repeat, shortened),
        "actions": [{"type": "Action.OpenUrl", "title": link.label, "url": link.url} for link in notice.links],
    }
    attachment = {"contentType": "application/vnd.microsoft.card.adaptive", "contentUrl": None, "content": card}
    return {"type": "message", "attachments": [attachment]}


def _body(notice: Notice, repeat: bool, shortened: bool) -> list[dict[str, Any]]:
    headline = f"{_HEADLINE[notice.kind]} · {notice.severity.value.capitalize()}"
    if repeat:
        headline += " · possible repeat"
    style = "good" if notice.kind is NoticeKind.CLOSED else _STYLE[notice.severity]
    body: list[dict[str, Any]] = [
        {
            "type": "Container",
            "style": style,
            "bleed": True,
            "items": [
                {"type": "TextBlock", "text": headline, "size": "Small", "wrap": True},
                {
                    "type": "TextBlock",
                    "text": escape(notice.title),
                    "size": "Large",
                    "weight": "Bolder",
                    "wrap": True,
                },
            ],
        }
    ]
    if notice.text:
        body.append({"type": "TextBlock", "text": escape(notice.text), "wrap": True})
    if notice.facts:
        facts = [{"title": escape(fact.name), "value": escape(fact.value)} for fact in notice.facts]
        body.append({"type": "FactSet", "facts": facts})
    if shortened:
        body.append({"type": "TextBlock", "text": SHORTENED, "isSubtle": True, "size": "Small", "wrap": True})
    return body


def _cut(text: str, limit: int) -> str:
    return text if len(text) <= limit else f"{text[: limit - 1]}…" if limit > 0 else ""


def _opens_a_page(url: str) -> bool:
    if not url.isascii() or len(url) > MAX_URL_CHARS or any(c.isspace() or c < " " for c in url):
        return False
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and bool(parts.netloc)
