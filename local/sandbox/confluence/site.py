"""What the v1 and v2 interfaces of the Confluence stand-in share: who calls, how it refuses, what a page is.

In: requests and stored pages. Out: the caller, refusals in the vendor's shapes, a page as the API shows it.
"""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any
from urllib.parse import quote_plus

from starlette.requests import Request

from local.sandbox.credentials import caller
from local.sandbox.exchange import Refusal, Sandbox

SYSTEM = "confluence"
ROOT = "/confluence/wiki"
SPACE_KEY, SPACE_ID, HOME_ID = "OPS", "32769", "32770"
SPACE = {
    "id": SPACE_ID,
    "key": SPACE_KEY,
    "name": "Operations",
    "type": "global",
    "status": "current",
    "homepageId": HOME_ID,
    "authorId": "site-admin",
    "createdAt": "2026-01-05T08:00:00.000Z",
    "_links": {"webui": f"/spaces/{SPACE_KEY}"},
}
FIRST_ID = 65537
LONG = re.compile(r"^[0-9]{1,18}$")


def refused(status: int, code: str, title: str) -> Refusal:
    """A refusal in the v2 error shape."""
    content = {"errors": [{"status": status, "code": code, "title": title, "detail": None}]}
    return Refusal(status, content, title)


def refused_v1(status: int, message: str) -> Refusal:
    """A refusal in the v1 error shape."""
    return Refusal(status, {"statusCode": status, "message": message, "data": {"authorized": True}}, message)


def bad_request(title: str) -> Refusal:
    """A 400 of the v2 interface."""
    return refused(400, "INVALID_REQUEST_PARAMETER", title)


def signed_in(sandbox: Sandbox, request: Request) -> str:
    """The caller's account id; refuses whoever does not know the token."""
    user = caller(request.headers.get("authorization", ""), sandbox.credentials.confluence_token)
    if user is None:
        raise refused(401, "UNAUTHORIZED", "Unauthorized")
    return user


def stamp(at: datetime) -> str:
    """A time as the API writes it."""
    return at.strftime("%Y-%m-%dT%H:%M:%S.") + f"{at.microsecond // 1000:03d}Z"


def stored_page(sandbox: Sandbox, request: Request) -> dict[str, Any]:
    """The page named in the path; 400 for an id that is no number, 404 for one that does not exist."""
    page_id = request.path_params["id"]
    if not LONG.match(page_id):
        raise bad_request(f"Provided value {{{page_id}}} for 'id' is not the correct type. Expected type is long")
    page = sandbox.store.get("page", page_id)
    if page is None or page["status"] == "trashed":
        raise refused(404, "NOT_FOUND", f"Not Found: no page with id {page_id}")
    return page


def shown_page(request: Request, page: dict[str, Any], body_format: str) -> dict[str, Any]:
    """A page as v2 shows it; the body only in the format asked for."""
    plain = {key: value for key, value in page.items() if key != "storage"}
    path = f"/spaces/{SPACE_KEY}/pages/{page['id']}"
    links = {
        "webui": f"{path}/{quote_plus(page['title'])}",
        "editui": f"/pages/resumedraft.action?draftId={page['id']}",
        "tinyui": f"/x/{int(page['id']):x}",
        "base": str(request.base_url).rstrip("/") + ROOT,
    }
    body = {body_format: {"representation": body_format, "value": page["storage"]}} if body_format else {}
    return {**plain, "body": body, "_links": links}


def paged(request: Request, rows: list[dict[str, Any]]) -> dict[str, Any]:
    """One page of a list: ``limit`` 1 to 250 (default 25), the rest behind a cursor in ``_links.next``."""
    limit_text = request.query_params.get("limit", "25")
    if not limit_text.isascii() or not limit_text.isdigit() or not 1 <= int(limit_text[:6]) <= 250:
        raise bad_request("limit must be between 1 and 250")
    cursor = request.query_params.get("cursor", "0")
    start = int(cursor) if LONG.match(cursor) else 0
    end = start + int(limit_text)
    links = {"base": str(request.base_url).rstrip("/") + ROOT}
    if end < len(rows):
        kept = [(key, value) for key, value in request.query_params.multi_items() if key != "cursor"]
        query = "&".join(f"{quote_plus(key)}={quote_plus(value)}" for key, value in [*kept, ("cursor", str(end))])
        links["next"] = f"{request.url.path.removeprefix('/confluence')}?{query}"
    return {"results": rows[start:end], "_links": links}
