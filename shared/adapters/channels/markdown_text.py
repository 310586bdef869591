"""Untrusted text as it may stand in a card: shown as it is, never as markup or as a link.

In: any text. Out: Markdown that renders to that text.
"""

from __future__ import annotations

import re

BREAK = "\u200b"  # zero width space: invisible, and no linkifier reads across it

_ANYWHERE = re.compile(r"[\\`*_\[\]<~]")
_ENTITY = re.compile(r"&(?=#?\w{1,32};)")
_LINE_START = re.compile(r"^([#>+=|-]|\d{1,9}(?=[.)]))", re.MULTILINE)
_INDENT = re.compile(r"^[ \t]+", re.MULTILINE)
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]{0,30}:)(?=/)")
_BARE_HOST = re.compile(r"(www)(?=\.)", re.IGNORECASE)
_UNPRINTABLE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ufffe\uffff]")


def plain(text: str) -> str:
    """The text without what no one should be shown: control characters, direction overrides, half characters."""
    whole = text.encode("utf-8", "replace").decode()
    return _UNPRINTABLE.sub("", whole.replace("\r\n", "\n").replace("\r", "\n"))


def escape(text: str) -> str:
    """Escape untrusted text for the Markdown of Adaptive Cards.

    Args:
        text: any text, already through ``plain``.

    Returns:
        Markdown without emphasis, lists, headings, code, links or anything a client would turn into a link.
    """
    text = _BARE_HOST.sub(rf"\1{BREAK}", _SCHEME.sub(rf"\1{BREAK}", text))
    text = _INDENT.sub(lambda match: "\u00a0" * min(len(match[0].expandtabs(4)), 16), text)
    text = _ENTITY.sub(r"\\&", _ANYWHERE.sub(r"\\\g<0>", text))
    return _LINE_START.sub(_escape_line_start, text)


def _escape_line_start(match: re.Match[str]) -> str:
    start = match[1]
    return f"{start}{BREAK}" if start[0].isdigit() else f"\\{start}"
