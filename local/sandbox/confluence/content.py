"""The v1 interface of the Confluence stand-in, for what v2 cannot write: labels and attachments.

In: `/confluence/wiki/rest/api/content/{id}/...`. Out: the vendor's replies and refusals.
"""

from __future__ import annotations

import hashlib
from email.parser import BytesParser
from email.policy import HTTP
from typing import Any

from starlette.requests import Request

from local.sandbox.confluence.pages import page_labels
from local.sandbox.confluence.site import FIRST_ID, paged, refused_v1, signed_in, stamp, stored_page
from local.sandbox.exchange import Answer, Play, Sandbox, parsed

FORBIDDEN_IN_LABEL = frozenset(" :;,.?&[]()#^*@!<>/\\\"'")  # support.atlassian.com, "Add labels": invalid characters
MAX_LABEL_CHARS = 255


def labels(sandbox: Sandbox) -> Play:
    """`POST .../label` adds labels (repeating one is no error); `GET` lists them."""

    def play(request: Request, raw: bytes) -> Answer:
        signed_in(sandbox, request)
        page = stored_page(sandbox, request)
        if request.method == "POST":
            added = _labels(raw)
            for prefix, name in added:
                key = f"{page['id']}:{prefix}:{name}"
                if sandbox.store.get("label", key) is None:
                    number = str(sandbox.store.next_number("content", FIRST_ID))
                    label = {"id": number, "prefix": prefix, "name": name, "label": name}
                    sandbox.store.put("label", key, {"page": page["id"], "label": label})
        rows = page_labels(sandbox, page["id"])
        content = {"results": rows, "start": 0, "limit": 200, "size": len(rows)}
        if request.method == "GET":
            return Answer(200, content, quiet=True)
        return Answer(200, content, title=f"labels of {page['title']}: {', '.join(name for _, name in added)}")

    return play


def _labels(raw: bytes) -> list[tuple[str, str]]:
    try:
        sent = parsed(raw)
    except ValueError:
        sent = None
    sent = [sent] if isinstance(sent, dict) else sent
    if not isinstance(sent, list) or not sent or not all(isinstance(item, dict) for item in sent):
        raise refused_v1(400, "the body must be a list of labels")
    pairs = []
    for item in sent:
        prefix, name = item.get("prefix", "global"), item.get("name")
        if prefix not in ("global", "my", "team"):
            raise refused_v1(400, "prefix must be global, my or team")
        if not isinstance(name, str) or not 1 <= len(name) <= MAX_LABEL_CHARS or FORBIDDEN_IN_LABEL & set(name):
            raise refused_v1(400, f"invalid label: {name!r:.80}")
        pairs.append((prefix, name.lower()))
    return pairs


def attachments(sandbox: Sandbox) -> Play:
    """`PUT .../child/attachment` creates a file or its next version, `POST` only creates; `GET` lists (both APIs)."""

    def play(request: Request, raw: bytes) -> Answer:
        user = signed_in(sandbox, request)
        page = stored_page(sandbox, request)
        rows = [row for row in sandbox.store.all("attachment") if row["page"] == page["id"]]
        if request.method == "GET":
            return Answer(200, paged(request, [row["attachment"] for row in rows]), quiet=True)
        if request.headers.get("x-atlassian-token", "").lower() not in ("nocheck", "no-check"):
            raise refused_v1(403, "XSRF check failed")
        name, kind, data = _file(request, raw)
        before = next((row for row in rows if row["attachment"]["title"] == name), None)
        if before and request.method == "POST":
            text = f"Cannot add a new attachment with same file name as an existing attachment: {name}"
            raise refused_v1(400, text)
        number = before["attachment"]["version"]["number"] + 1 if before else 1
        new_id = before["attachment"]["id"] if before else f"att{sandbox.store.next_number('content', FIRST_ID)}"
        attachment = {
            "id": new_id,
            "type": "attachment",
            "status": "current",
            "title": name,
            "version": {"number": number, "when": stamp(sandbox.now()), "by": {"accountId": user}},
            "extensions": {"mediaType": kind, "fileSize": len(data), "fileId": hashlib.sha256(data).hexdigest()},
        }
        sandbox.store.put("attachment", new_id, {"page": page["id"], "attachment": attachment})
        title = f"{name} attached to {page['title']}, version {number}, {len(data)} bytes"
        return Answer(200, {"results": [attachment], "start": 0, "limit": 1, "size": 1}, title=title)

    return play


def _file(request: Request, raw: bytes) -> tuple[str, str, bytes]:
    """The part called ``file`` of a multipart body: name, media type, bytes."""
    kind = request.headers.get("content-type", "")
    if not kind.lower().startswith("multipart/form-data"):
        raise refused_v1(415, "Unsupported Media Type: multipart/form-data is required")
    message = BytesParser(policy=HTTP).parsebytes(b"Content-Type: " + kind.encode("latin-1") + b"\r\n\r\n" + raw)
    for part in message.iter_parts() if message.is_multipart() else ():
        name = part.get_filename()
        if part.get_param("name", header="content-disposition") == "file" and name:
            payload: Any = part.get_payload(decode=True)
            return str(name), part.get_content_type(), bytes(payload or b"")
    raise refused_v1(400, "At least one attachment must be uploaded: a part called file")
