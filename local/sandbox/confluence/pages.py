"""The v2 interface of the Confluence stand-in: spaces, pages, labels (read), content properties.

In: `/confluence/wiki/api/v2/...`. Out: the vendor's replies and refusals.
"""

from __future__ import annotations

import json
from typing import Any

from starlette.requests import Request

from local.sandbox.confluence.site import (
    FIRST_ID,
    HOME_ID,
    LONG,
    SPACE,
    SPACE_ID,
    bad_request,
    paged,
    refused,
    shown_page,
    signed_in,
    stamp,
    stored_page,
)
from local.sandbox.confluence.storage_format import storage_problem
from local.sandbox.exchange import Answer, Play, Refusal, Sandbox, parsed

MAX_TITLE_CHARS = 255  # support.atlassian.com, Confluence page titles
MAX_PROPERTY_BYTES = 32 * 1024  # developer.atlassian.com, content properties


def spaces(sandbox: Sandbox) -> Play:
    """`GET /spaces`, filtered by ``keys`` and ``ids`` (repeated or comma-separated), and `GET /spaces/{id}`."""

    def play(request: Request, _raw: bytes) -> Answer:
        signed_in(sandbox, request)
        wanted_id = request.path_params.get("id")
        if wanted_id is not None:
            if wanted_id != SPACE_ID:
                raise refused(404, "NOT_FOUND", f"Not Found: no space with id {wanted_id}")
            return Answer(200, SPACE, quiet=True)
        rows: list[dict[str, Any]] = [SPACE]
        for name, field in (("keys", "key"), ("ids", "id")):
            wanted = [part for text in request.query_params.getlist(name) for part in text.split(",")]
            if wanted:
                rows = [row for row in rows if row[field] in wanted]
        return Answer(200, paged(request, rows), quiet=True)

    return play


def page_list(sandbox: Sandbox) -> Play:
    """`GET /pages` and `POST /pages`."""

    def play(request: Request, raw: bytes) -> Answer:
        user = signed_in(sandbox, request)
        if request.method == "POST":
            return _create(sandbox, request, _object(raw), user)
        query = request.query_params
        rows = sandbox.store.all("page")
        states = query.get("status", "current").split(",")
        rows = [row for row in rows if row["status"] in states]
        for name, field in (("space-id", "spaceId"), ("title", "title"), ("id", "id")):
            if name in query:
                rows = [row for row in rows if row[field] in query.getlist(name)]
        body_format = _body_format(request)
        return Answer(200, paged(request, [shown_page(request, row, body_format) for row in rows]), quiet=True)

    return play


def page_one(sandbox: Sandbox) -> Play:
    """`GET`, `PUT` and `DELETE /pages/{id}`."""

    def play(request: Request, raw: bytes) -> Answer:
        user = signed_in(sandbox, request)
        page = stored_page(sandbox, request)
        if request.method == "GET":
            return Answer(200, shown_page(request, page, _body_format(request)), quiet=True)
        if request.method == "DELETE":
            sandbox.store.put("page", page["id"], page | {"status": "trashed"})
            return Answer(204, title=f"{page['title']} moved to the trash")
        return _update(sandbox, request, page, _object(raw), user)

    return play


def labels(sandbox: Sandbox) -> Play:
    """`GET /pages/{id}/labels`; v2 cannot write labels."""

    def play(request: Request, _raw: bytes) -> Answer:
        signed_in(sandbox, request)
        page = stored_page(sandbox, request)
        if request.method != "GET":
            raise refused(405, "METHOD_NOT_ALLOWED", "labels are written through v1: rest/api/content/{id}/label")
        return Answer(200, paged(request, page_labels(sandbox, page["id"])), quiet=True)

    return play


def page_labels(sandbox: Sandbox, page_id: str) -> list[dict[str, Any]]:
    """The labels of a page, oldest first."""
    return [row["label"] for row in sandbox.store.all("label") if row["page"] == page_id]


def properties(sandbox: Sandbox) -> Play:
    """`/pages/{id}/properties[/{property_id}]`: named by number in the path, by ``key`` in the query."""

    def play(request: Request, raw: bytes) -> Answer:
        user = signed_in(sandbox, request)
        page = stored_page(sandbox, request)
        rows = [row for row in sandbox.store.all("property") if row["page"] == page["id"]]
        property_id = request.path_params.get("property_id")
        if property_id is None:
            if request.method == "GET":
                key = request.query_params.get("key")
                return Answer(200, paged(request, [r["property"] for r in rows if key in (None, r["key"])]), quiet=True)
            return _write_property(sandbox, page, rows, _object(raw), user, None)
        if not LONG.match(property_id):
            raise bad_request(
                f"Provided value {{{property_id}}} for 'property-id' is not the correct type. Expected long"
            )
        row = next((r for r in rows if r["property"]["id"] == property_id), None)
        if row is None:
            raise refused(404, "NOT_FOUND", f"Not Found: no property with id {property_id}")
        if request.method == "GET":
            return Answer(200, row["property"], quiet=True)
        if request.method == "DELETE":
            sandbox.store.delete("property", property_id)
            return Answer(204, title=f"property {row['key']} of {page['title']} deleted")
        return _write_property(sandbox, page, rows, _object(raw), user, row)

    return play


def _write_property(
    sandbox: Sandbox,
    page: dict[str, Any],
    rows: list[dict[str, Any]],
    sent: dict[str, Any],
    user: str,
    before: dict[str, Any] | None,
) -> Answer:
    key = sent.get("key")
    if not isinstance(key, str) or not 1 <= len(key) <= 255 or "value" not in sent:
        raise bad_request("key (1 to 255 characters) and value are required")
    if len(json.dumps(sent["value"]).encode()) > MAX_PROPERTY_BYTES:
        raise bad_request(f"value is larger than {MAX_PROPERTY_BYTES} bytes")
    number = 1
    if before is None:
        if any(row["key"] == key for row in rows):
            raise refused(409, "CONFLICT", f"a property with key {key} exists on this page")
        property_id = str(sandbox.store.next_number("content", FIRST_ID))
    else:
        property_id, number = before["property"]["id"], before["property"]["version"]["number"] + 1
        if before["key"] != key:
            raise bad_request("key cannot be changed")
        _next_version(sent, number)
    version = {"number": number, "message": "", "minorEdit": False, "authorId": user, "createdAt": stamp(sandbox.now())}
    shown = {"id": property_id, "key": key, "value": sent["value"], "version": version}
    sandbox.store.put("property", property_id, {"page": page["id"], "key": key, "property": shown})
    return Answer(200, shown, title=f"property {key} of {page['title']}, version {number}")


def _object(raw: bytes) -> dict[str, Any]:
    try:
        sent = parsed(raw)
    except ValueError:
        sent = None
    if not isinstance(sent, dict):
        raise bad_request("the body must be a JSON object")
    return sent


def _body_format(request: Request) -> str:
    body_format = request.query_params.get("body-format", "")
    if body_format not in ("", "storage"):
        raise bad_request(f"Provided value {{{body_format}}} for 'body-format' is not served here; use storage")
    return body_format


def _create(sandbox: Sandbox, request: Request, sent: dict[str, Any], user: str) -> Answer:
    if str(sent.get("spaceId", "")) != SPACE_ID:
        raise refused(404, "NOT_FOUND", f"Not Found: no space with id {sent.get('spaceId')}")
    if sent.get("status", "current") not in ("current", "draft"):
        raise bad_request("status must be current or draft")
    title = _title(sandbox, sent, None)
    text = _storage(sent)
    page_id = str(sandbox.store.next_number("content", FIRST_ID))
    now = stamp(sandbox.now())
    page = {
        "id": page_id,
        "status": sent.get("status", "current"),
        "title": title,
        "spaceId": SPACE_ID,
        "parentId": _parent(sandbox, sent, page_id) or HOME_ID,
        "parentType": "page",
        "position": None,
        "authorId": user,
        "ownerId": user,
        "createdAt": now,
        "version": {"number": 1, "message": "", "minorEdit": False, "authorId": user, "createdAt": now},
        "storage": text,
    }
    sandbox.store.put("page", page_id, page)
    return Answer(200, shown_page(request, page, "storage"), title=f"{title} created")


def _update(sandbox: Sandbox, request: Request, page: dict[str, Any], sent: dict[str, Any], user: str) -> Answer:
    missing = [name for name in ("id", "status", "title", "body", "version") if name not in sent]
    if missing:
        raise bad_request(f"required and missing: {', '.join(missing)}")
    if str(sent["id"]) != page["id"]:
        raise bad_request("id in the body differs from the id in the path")
    if sent["status"] not in ("current", "draft"):
        raise bad_request("status must be current or draft")
    number = page["version"]["number"] + 1
    _next_version(sent, number)
    title = _title(sandbox, sent, page["id"])
    version = {"number": number, "message": str(sent["version"].get("message") or ""), "minorEdit": False}
    version |= {"authorId": user, "createdAt": stamp(sandbox.now())}
    page = page | {"title": title, "status": sent["status"], "storage": _storage(sent), "version": version}
    page["parentId"] = _parent(sandbox, sent, page["id"]) or page["parentId"]
    sandbox.store.put("page", page["id"], page)
    return Answer(200, shown_page(request, page, "storage"), title=f"{title} updated to version {number}")


def _next_version(sent: dict[str, Any], expected: int) -> None:
    version = sent.get("version")
    number = version.get("number") if isinstance(version, dict) else None
    if not isinstance(number, int) or isinstance(number, bool):
        raise bad_request("version.number is required")
    if number != expected:
        counts = f"Current Version: [{expected - 1}]. Provided version: [{number}]"
        raise refused(409, "CONFLICT", f"Version must be incremented when updating. {counts}")


def _title(sandbox: Sandbox, sent: dict[str, Any], page_id: str | None) -> str:
    title = sent.get("title")
    if not isinstance(title, str) or not 1 <= len(title.strip()) <= MAX_TITLE_CHARS:
        raise bad_request(f"title must have 1 to {MAX_TITLE_CHARS} characters")
    title = title.strip()
    for page in sandbox.store.all("page"):
        taken = page["title"].casefold() == title.casefold() and page["status"] == "current"
        if taken and page["id"] != page_id:
            raise bad_request(
                "A page with this title already exists: A page already exists with the same TITLE in this space"
            )
    return title


def _parent(sandbox: Sandbox, sent: dict[str, Any], page_id: str) -> str:
    parent = str(sent.get("parentId") or "")
    if parent and parent != HOME_ID and (parent == page_id or sandbox.store.get("page", parent) is None):
        raise refused(404, "NOT_FOUND", f"Not Found: no parent page with id {parent}")
    return parent


def _storage(sent: dict[str, Any]) -> str:
    body = sent.get("body")
    nested = body.get("storage", body) if isinstance(body, dict) else None
    if not isinstance(nested, dict) or not isinstance(nested.get("value"), str):
        raise bad_request("body.storage.value is required")
    if "representation" not in nested:
        # Seen at the real service with this very client: atlassian-python-api issue 1683, 2026-09.
        reason = "body without representation: the vendor answers 500; pass representation='storage'"
        content = refused(500, "INTERNAL_SERVER_ERROR", "Internal Server Error").answer.content
        raise Refusal(500, content, reason)
    if nested["representation"] != "storage":
        raise bad_request("representation must be storage")
    problem = storage_problem(nested["value"])
    if problem:
        raise bad_request(problem)
    return str(nested["value"])
