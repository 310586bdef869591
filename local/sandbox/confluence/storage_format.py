"""Confluence storage format: whether it parses, and a safe HTML rendering for people.

In: storage format text. Out: a parse problem, or HTML built only from known elements.
"""

from __future__ import annotations

import html
import re
from html.entities import name2codepoint
from xml.etree import ElementTree

AC, RI = "{http://atlassian.com/content}", "{http://atlassian.com/resource/identifier}"
_OPEN = '<storage xmlns:ac="http://atlassian.com/content" xmlns:ri="http://atlassian.com/resource/identifier">'
_ENTITY = re.compile(r"<!\[CDATA\[.*?\]\]>|&([A-Za-z][A-Za-z0-9]*);", re.DOTALL)
_XML_ENTITIES = frozenset({"amp", "lt", "gt", "quot", "apos"})

MAX_DEPTH = 200  # a page nested deeper is no page, and the renderer must not run out of stack
PLAIN = frozenset(
    {"p", "h1", "h2", "h3", "h4", "h5", "h6", "ul", "ol", "li", "table", "thead", "tbody", "tr", "th", "td"}
    | {"blockquote", "strong", "em", "b", "i", "u", "s", "del", "sub", "sup", "code", "pre", "span", "div"}
)
EMPTY = frozenset({"br", "hr"})
DROPPED = frozenset({"script", "style", "iframe", "object", "embed", "form", "input", "button", "svg", "math", "link"})
PANELS = frozenset({"info", "note", "tip", "warning", "panel", "expand", "excerpt"})


def storage_problem(text: str) -> str:
    """Why Confluence would answer 400 for a body; an empty text when it parses."""
    try:
        tree = _parse(text)
    except ElementTree.ParseError as exc:
        row, column = exc.position
        # The wrapper that binds the namespaces shares the first row with the text.
        column = max(column - len(_OPEN), 0) if row == 1 else column
        return f"Error parsing xhtml: {str(exc).partition(':')[0]} at [row,col]: [{row},{column}]"
    return "Error parsing xhtml: nested too deeply" if _depth(tree) > MAX_DEPTH else ""


def _parse(text: str) -> ElementTree.Element:
    # A DTD cannot stand inside an element, so no text can declare entities of its own.
    return ElementTree.fromstring(f"{_OPEN}{_ENTITY.sub(_known_entity, text)}</storage>")  # noqa: S314


def _known_entity(match: re.Match[str]) -> str:
    name = match[1]
    if name is None or name in _XML_ENTITIES or name not in name2codepoint:
        return match[0]
    return f"&#{name2codepoint[name]};"


def _depth(tree: ElementTree.Element) -> int:
    deepest, level = 0, [tree]
    while level:
        deepest += 1
        level = [child for element in level for child in element]
    return deepest


def render(text: str) -> str:
    """HTML for a person: known elements, macros as boxes, links only to http, https or this site; never a script."""
    return _children(_parse(text))


def _children(element: ElementTree.Element) -> str:
    parts = [html.escape(element.text or "")]
    for child in element:
        parts.append(_element(child))
        parts.append(html.escape(child.tail or ""))
    return "".join(parts)


def _element(element: ElementTree.Element) -> str:
    tag = element.tag
    if tag.lower() in DROPPED:
        return ""
    if tag in EMPTY:
        return f"<{tag}>"
    if tag in PLAIN:
        return f"<{tag}>{_children(element)}</{tag}>"
    if tag == "a":
        href = element.get("href", "")
        safe = href.lower().startswith(("https://", "http://", "#")) or (href.startswith("/") and href[1:2] != "/")
        inner = _children(element)
        return f'<a href="{html.escape(href)}" rel="noopener noreferrer">{inner}</a>' if safe else inner
    if tag == f"{AC}structured-macro":
        return _macro(element)
    if tag == f"{AC}task-list":
        return f"<ul>{_children(element)}</ul>"
    if tag == f"{AC}task":
        done = (element.findtext(f"{AC}task-status") or "").strip() == "complete"
        body = element.find(f"{AC}task-body")
        return f"<li>{'☑' if done else '☐'} {_children(body) if body is not None else ''}</li>"
    if tag == f"{AC}parameter":
        return ""
    return _children(element)


def _macro(macro: ElementTree.Element) -> str:
    name = macro.get(f"{AC}name", "")
    if name in ("code", "noformat"):
        return f"<pre><code>{html.escape(macro.findtext(f'{AC}plain-text-body') or '')}</code></pre>"
    parameters = {p.get(f"{AC}name", ""): p.text or "" for p in macro.findall(f"{AC}parameter")}
    if name == "status":
        return f'<span class="status">{html.escape(parameters.get("title", ""))}</span>'
    body = macro.find(f"{AC}rich-text-body")
    inner = _children(body) if body is not None else ""
    if name in PANELS:
        title = parameters.get("title", "")
        heading = f"<strong>{html.escape(title)}</strong>" if title else ""
        return f'<div class="panel {name}">{heading}{inner}</div>'
    return inner
