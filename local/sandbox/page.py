"""What people and tests see: one page with a panel per stand-in, the same as JSON, and published pages.

In: what was received and what it led to. Out: server-rendered HTML without scripts, and JSON.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader
from markdown_it import MarkdownIt
from markupsafe import Markup
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response

from local.sandbox.cards import readable
from local.sandbox.confluence.site import ROOT, SPACE, SPACE_KEY
from local.sandbox.confluence.storage_format import render
from local.sandbox.exchange import Sandbox
from local.sandbox.faults import SYSTEMS
from local.sandbox.servicenow.rules import PRIORITY_NAMES, STATE_NAMES

Handler = Callable[[Request], Awaitable[Response]]
SHOWN = 50
DEFAULT_LIMIT, MAX_LIMIT = 500, 10_000
# No script may run on these pages whatever a sender puts into a card or a document.
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}
TEMPLATES = Environment(
    loader=FileSystemLoader(Path(__file__).parent / "templates"), autoescape=True, trim_blocks=True, lstrip_blocks=True
)
# The part of Markdown that Teams shows in a card: bold, italic, lists, links.
_MARKDOWN = MarkdownIt("commonmark", {"html": False, "breaks": True}).disable(
    ["image", "heading", "lheading", "code", "fence", "blockquote", "hr", "reference"]
)


def _markdown(text: str) -> Markup:
    return Markup(_MARKDOWN.render(text))  # noqa: S704 - the renderer escapes, and links only to safe schemes


def _pretty(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False)


TEMPLATES.filters["teams"] = _markdown
TEMPLATES.filters["pretty"] = _pretty


def tickets(sandbox: Sandbox, most: int | None = None) -> list[dict[str, Any]]:
    """The newest incident records with their journals, newest first; all without ``most``."""
    journals = _grouped(sandbox.store.all("sys_journal_field"), "element_id")
    newest = sandbox.store.all("incident")[::-1][:most]
    return [{**record, "journal": journals.get(record["sys_id"], [])} for record in newest]


def published(sandbox: Sandbox, most: int | None = None) -> list[dict[str, Any]]:
    """The newest Confluence pages with labels, properties and the path of their readable form, newest first."""
    kinds = ("label", "property", "attachment")
    labels, props, files = (_grouped(sandbox.store.all(kind), "page") for kind in kinds)
    found = []
    for page in sandbox.store.all("page")[::-1][:most]:
        own = page["id"]
        found.append(
            {
                **page,
                "labels": [row["label"]["name"] for row in labels.get(own, ())],
                "properties": {row["property"]["key"]: row["property"]["value"] for row in props.get(own, ())},
                "attachments": [row["attachment"]["title"] for row in files.get(own, ())],
                "path": f"{ROOT}/spaces/{SPACE_KEY}/pages/{own}",
            }
        )
    return found


def _grouped(rows: list[dict[str, Any]], by: str) -> dict[str, list[dict[str, Any]]]:
    """Rows by what they belong to, read once: a page that looks through all of them for each grows too slow to open."""
    groups: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        groups.setdefault(row[by], []).append(row)
    return groups


def index(sandbox: Sandbox) -> Handler:
    """`GET /`: the panels."""

    async def handle(_request: Request) -> Response:
        received = {system: sandbox.store.received(system, SHOWN) for system in SYSTEMS}
        for entry in received["teams"]:
            entry["cards"] = [readable(card) for card in _cards(entry["body"])]
        html = TEMPLATES.get_template("index.html").render(
            received=received,
            tickets=tickets(sandbox, SHOWN),
            pages=published(sandbox, SHOWN),
            states=STATE_NAMES,
            priorities=PRIORITY_NAMES,
        )
        return HTMLResponse(html, headers=HEADERS)

    return handle


def _cards(body: Any) -> list[Any]:
    attachments = body.get("attachments") if isinstance(body, dict) else None
    return [a.get("content") for a in attachments if isinstance(a, dict)] if isinstance(attachments, list) else []


def received_json(sandbox: Sandbox) -> Handler:
    """`GET /api/received/{system}?limit=N`: entries newest first, and for two systems what they led to.

    Returns:
        ``{"system", "received": [{"id", "at", "method", "path", "status", "verdict", "reason", "title", "body"}]}``
        with ``tickets`` (ServiceNow) or ``pages`` (Confluence) beside it.
    """

    async def handle(request: Request) -> Response:
        system = request.path_params["system"]
        if system not in SYSTEMS:
            return JSONResponse({"error": f"one of {', '.join(SYSTEMS)}"}, status_code=404)
        text = request.query_params.get("limit", "")
        limit = min(int(text), MAX_LIMIT) if text.isascii() and text.isdigit() and len(text) < 8 else DEFAULT_LIMIT
        content: dict[str, Any] = {"system": system, "received": sandbox.store.received(system, limit)}
        if system == "servicenow":
            content["tickets"] = tickets(sandbox)
        if system == "confluence":
            content["pages"] = published(sandbox)
        return JSONResponse(content)

    return handle


def clear(sandbox: Sandbox) -> Handler:
    """`DELETE /_received`: everything is forgotten, tickets and pages too."""

    async def handle(_request: Request) -> Response:
        sandbox.store.clear()
        return Response(status_code=204)

    return handle


def document(sandbox: Sandbox) -> Handler:
    """`GET /confluence/wiki/spaces/{key}/pages/{id}`: a page as a person reads it."""

    async def handle(request: Request) -> Response:
        page = sandbox.store.get("page", request.path_params["id"])
        if page is None or page["status"] == "trashed" or request.path_params["key"] != SPACE_KEY:
            return PlainTextResponse("No such page", status_code=404, headers=HEADERS)
        shown = next(row for row in published(sandbox) if row["id"] == page["id"])
        body = Markup(render(page["storage"]))  # noqa: S704 - built from known elements only, all text escaped
        html = TEMPLATES.get_template("document.html").render(page=shown, space=SPACE, body=body)
        return HTMLResponse(html, headers=HEADERS)

    return handle
