"""Adaptive Cards: whether Teams would show one, and how it reads.

In: a card as parsed JSON. Out: problems, warnings, and blocks of plain values for the page.
"""

from __future__ import annotations

import json
from functools import cache
from importlib.resources import files
from typing import Any

from jsonschema import Draft6Validator

# Teams ignores its own key when it checks a card; the published schema does not know it.
TEAMS_KEY = "msteams"
VERSIONS = ("1.0", "1.1", "1.2", "1.3", "1.4", "1.5", "1.6")
MAX_DEPTH = 60  # no published limit; a real card stays far below, and the validator must not run out of stack
NESTED = ("body", "items", "columns", "rows", "cells", "actions", "card", "inlines", "selectAction", "facts")


@cache
def _schema(version: str) -> dict[str, Any]:
    text = (files("adaptive_cards") / "schemas" / f"schema-{version}.json").read_text(encoding="utf-8")
    schema: dict[str, Any] = json.loads(text)
    return schema


@cache
def _validator(version: str) -> Draft6Validator:
    return Draft6Validator(_schema(version))


@cache
def _element_validator(version: str, element: str) -> Draft6Validator | None:
    definitions = _schema(version)["definitions"]
    if element not in definitions:
        return None
    return Draft6Validator({"$ref": f"#/definitions/{element}", "definitions": definitions})


def card_problem(card: Any) -> str:
    """Why Teams would not show a card, in words that name the element; an empty text when it would.

    Source: the JSON schemas published at adaptivecards.io, one per version.
    """
    if not isinstance(card, dict):
        return "content must be an object"
    if card.get("type") != "AdaptiveCard":
        return "content.type must be AdaptiveCard"
    version = card.get("version")
    if version not in VERSIONS:
        return f"content.version must be one of {', '.join(VERSIONS)}"
    plain = {key: value for key, value in card.items() if key != TEAMS_KEY}
    if _deeper_than(plain, MAX_DEPTH):
        return f"elements are nested more than {MAX_DEPTH} deep"
    if not _validator(version).is_valid(plain):
        return _where(plain, version, "content") or f"the card does not fit the published schema {version}"
    for path, element in _elements(card, "content"):
        url = element.get("url")
        if element.get("type") == "Action.OpenUrl" and not str(url).lower().startswith(("https://", "http://")):
            return f"{path}.url must be an http or https address"
    return ""


def _deeper_than(value: Any, levels: int) -> bool:
    if not isinstance(value, dict | list):
        return False
    children = value.values() if isinstance(value, dict) else value
    return levels == 0 or any(_deeper_than(child, levels - 1) for child in children)


def _where(node: dict[str, Any], version: str, path: str) -> str:
    """The innermost element that breaks the schema: the schema's own message names only the root."""
    for child_path, child in _children(node, path):
        found = _where(child, version, child_path)
        if found:
            return found
    kind = node.get("type")
    if not isinstance(kind, str) or kind == "AdaptiveCard":
        return ""
    validator = _element_validator(version, kind)
    if validator is None:
        return f"{path}: {kind} is no element of version {version}"
    error = next(iter(sorted(validator.iter_errors(node), key=lambda e: len(e.path))), None)
    return f"{path} ({kind}): {error.message[:200]}" if error else ""


def _children(node: dict[str, Any], path: str) -> list[tuple[str, dict[str, Any]]]:
    found: list[tuple[str, dict[str, Any]]] = []
    for key in NESTED:
        value = node.get(key)
        if isinstance(value, dict):
            found.append((f"{path}.{key}", value))
        elif isinstance(value, list):
            found.extend((f"{path}.{key}[{i}]", item) for i, item in enumerate(value) if isinstance(item, dict))
    return found


def _elements(node: dict[str, Any], path: str) -> list[tuple[str, dict[str, Any]]]:
    found = [(path, node)]
    for child_path, child in _children(node, path):
        found.extend(_elements(child, child_path))
    return found


def card_warning(card: dict[str, Any]) -> str:
    """What Teams shows but cannot do for a card that came through a webhook; empty when there is nothing.

    Source: MicrosoftDocs connectors/teams; nothing listens for the invoke of a posted card.
    """
    dead = {e["type"] for _, e in _elements(card, "") if e.get("type") in ("Action.Submit", "Action.Execute")}
    return f"{', '.join(sorted(dead))} does nothing in a card posted by a webhook" if dead else ""


def card_title(card: dict[str, Any]) -> str:
    """The first line of text of a card, cut to 120 characters."""
    for block in readable(card):
        if block["kind"] == "text":
            return str(block["text"])[:120]
    return "card"


def readable(card: Any) -> list[dict[str, Any]]:
    """A card as a flat list of blocks, in reading order.

    Returns:
        ``{"kind": "text", "text", "strong", "colour"}``, ``{"kind": "facts", "facts": [(name, value)]}`` or
        ``{"kind": "links", "links": [(title, url)]}``; only http and https addresses become links.
    """
    blocks: list[dict[str, Any]] = []
    if isinstance(card, dict):
        _read(card, blocks)
    return blocks


def _read(node: dict[str, Any], blocks: list[dict[str, Any]]) -> None:
    kind = node.get("type")
    if kind in ("TextBlock", "TextRun"):
        strong = node.get("weight") == "Bolder" or node.get("size") in ("Large", "ExtraLarge", "Medium")
        colour = str(node.get("color", "")).lower()
        blocks.append({"kind": "text", "text": str(node.get("text", "")), "strong": strong, "colour": colour})
    elif kind == "FactSet":
        facts = [f for f in node.get("facts", []) if isinstance(f, dict)]
        blocks.append({"kind": "facts", "facts": [(str(f.get("title", "")), str(f.get("value", ""))) for f in facts]})
        return
    elif kind == "Image":
        blocks.append({"kind": "text", "text": f"[image: {node.get('altText', '')}]", "strong": False, "colour": ""})
    for _, child in _children(node, ""):
        if not str(child.get("type", "")).startswith("Action."):
            _read(child, blocks)
    actions = [a for a in node.get("actions", []) if isinstance(a, dict)]
    if actions:
        links = [(str(a.get("title", a.get("type", ""))), _safe(str(a.get("url", "")))) for a in actions]
        blocks.append({"kind": "links", "links": links})


def _safe(url: str) -> str:
    return url if url.lower().startswith(("https://", "http://")) else ""
