"""The ServiceNow Table API, as pysnow and plain HTTP clients speak it.

In: `/servicenow/api/now/table/{table}[/{sys_id}]`. Out: `{"result": ...}`, or the vendor's error shape.
"""

from __future__ import annotations

import uuid
from typing import Any

from starlette.requests import Request

from local.sandbox.credentials import caller
from local.sandbox.exchange import Answer, Play, Refusal, Sandbox, parsed
from local.sandbox.servicenow.query import parse_query
from local.sandbox.servicenow.rules import (
    CLOSE_CODES,
    HOLD_REASONS,
    INCIDENT_FIELDS,
    LEVEL_NAMES,
    PRIORITY_NAMES,
    REFERENCES,
    STATE_NAMES,
    PolicyError,
    as_text,
    glide_time,
    write_incident,
)

SYSTEM = "servicenow"
INCIDENT, JOURNAL, ARTICLE = "incident", "sys_journal_field", "kb_knowledge"
MAX_ROWS = 10_000  # the API's own default for sysparm_limit
ARTICLE_WRITABLE = ("short_description", "text", "kb_knowledge_base", "article_type", "meta_description", "topic")
JOURNAL_FIELDS = ("sys_id", "name", "element", "element_id", "value", "sys_created_on", "sys_created_by")
FIELDS = {
    INCIDENT: INCIDENT_FIELDS,
    JOURNAL: frozenset(JOURNAL_FIELDS),
    ARTICLE: frozenset((*ARTICLE_WRITABLE, "sys_id", "number", "workflow_state", "sys_created_on", "sys_created_by")),
}
CHOICES = {
    "state": STATE_NAMES,
    "incident_state": STATE_NAMES,
    "priority": PRIORITY_NAMES,
    "impact": LEVEL_NAMES,
    "urgency": LEVEL_NAMES,
    "hold_reason": HOLD_REASONS,
    "close_code": {code: code for code in CLOSE_CODES},
}


def error(status: int, message: str, detail: str | None, headers: dict[str, str] | None = None) -> Refusal:
    """A refusal in the Table API's error shape."""
    content = {"error": {"message": message, "detail": detail}, "status": "failure"}
    return Refusal(status, content, f"{message}: {detail}" if detail else message, headers=headers)


def table(sandbox: Sandbox) -> Play:
    """The behaviour of one table: list and insert, or one record's read and write."""

    def play(request: Request, raw: bytes) -> Answer:
        user = caller(request.headers.get("authorization", ""), sandbox.credentials.servicenow_token)
        if user is None:
            challenge = {"WWW-Authenticate": 'Basic realm="Service-now"'}
            raise error(401, "User Not Authenticated", "Required to provide Auth information", challenge)
        name = request.path_params["table"]
        if name not in FIELDS:
            raise error(400, f"Invalid table {name}", None)
        sys_id = request.path_params.get("sys_id")
        if request.method == "GET":
            return _one(sandbox, request, name, sys_id) if sys_id else _list(sandbox, request, name)
        if name == JOURNAL or request.method == "DELETE":
            raise error(403, "Operation Failed", "ACL Exception Insert, Update or Delete Failed due to security")
        fields = _fields(request, raw)
        if sys_id is None:
            return _insert(sandbox, request, name, fields, user)
        return _update(sandbox, request, name, sys_id, fields, user)

    return play


def _fields(request: Request, raw: bytes) -> dict[str, Any]:
    kind = request.headers.get("content-type", "application/json").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise error(415, "Unsupported Media Type", f"The endpoint does not support the format {kind}")
    try:
        fields = parsed(raw)
    except ValueError:
        fields = None
    if not isinstance(fields, dict):
        raise error(400, "Exception while reading request", "The payload is not valid JSON.")
    return fields


def _number(request: Request, name: str, default: int) -> int:
    text = request.query_params.get(name, "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else default


def _list(sandbox: Sandbox, request: Request, name: str) -> Answer:
    query = parse_query(request.query_params.get("sysparm_query", ""), FIELDS[name])
    rows = query.select(sandbox.store.all(name))
    offset = _number(request, "sysparm_offset", 0)
    page = rows[offset : offset + _number(request, "sysparm_limit", MAX_ROWS)]
    content = {"result": [_shown(request, name, row) for row in page]}
    if query.ignored:
        reason = f"terms ignored, so the result is wider: {', '.join(query.ignored)}"
        return Answer(200, content, reason=reason, title=f"query {name}", headers={"X-Total-Count": str(len(rows))})
    return Answer(200, content, headers={"X-Total-Count": str(len(rows))}, quiet=True)


def _one(sandbox: Sandbox, request: Request, name: str, sys_id: str) -> Answer:
    return Answer(200, {"result": _shown(request, name, _stored(sandbox, name, sys_id))}, quiet=True)


def _stored(sandbox: Sandbox, name: str, sys_id: str) -> dict[str, Any]:
    row = sandbox.store.get(name, sys_id)
    if row is None:
        raise error(404, "No Record found", "Record doesn't exist or ACL restricts the record retrieval")
    return row


def _insert(sandbox: Sandbox, request: Request, name: str, fields: dict[str, Any], user: str) -> Answer:
    sys_id = uuid.uuid4().hex
    if name == INCIDENT:
        row, notes = _write(sandbox, None, sys_id, fields, user)
        title = f"{row['number']} opened: {row['short_description']}"
    else:
        row, notes = _article(sandbox, sys_id, fields, user)
        title = f"{row['number']} drafted: {row['short_description']}"
    base = str(request.base_url).rstrip("/")
    headers = {"Location": f"{base}/servicenow/api/now/table/{name}/{sys_id}"}
    return Answer(201, {"result": _shown(request, name, row)}, reason="; ".join(notes), title=title, headers=headers)


def _update(sandbox: Sandbox, request: Request, name: str, sys_id: str, fields: dict[str, Any], user: str) -> Answer:
    before = _stored(sandbox, name, sys_id)
    if name == INCIDENT:
        row, notes = _write(sandbox, before, sys_id, fields, user)
    else:
        row = before | {key: as_text(value) for key, value in fields.items() if key in ARTICLE_WRITABLE}
        notes = tuple(f"{key} dropped" for key in fields if key not in ARTICLE_WRITABLE)
        sandbox.store.put(name, sys_id, row)
    title = f"{row['number']} updated: {', '.join(sorted(fields)) or 'nothing'}"
    return Answer(200, {"result": _shown(request, name, row)}, reason="; ".join(notes), title=title)


def _write(
    sandbox: Sandbox, before: dict[str, Any] | None, sys_id: str, fields: dict[str, Any], user: str
) -> tuple[dict[str, str], tuple[str, ...]]:
    now = sandbox.now()
    try:
        written = write_incident(before, fields, user, now)
    except PolicyError as exc:
        raise error(403, "Operation Failed", str(exc)) from exc
    row = written.record
    if before is None:
        row |= {"sys_id": sys_id, "number": f"INC{sandbox.store.next_number('incident', 10001):07d}"}
    sandbox.store.put(INCIDENT, sys_id, row)
    for element, value in written.journal:
        entry = {"sys_id": uuid.uuid4().hex, "name": INCIDENT, "element": element, "element_id": sys_id, "value": value}
        entry |= {"sys_created_on": glide_time(now), "sys_created_by": user}
        sandbox.store.put(JOURNAL, entry["sys_id"], entry)
    return row, written.notes


def _article(
    sandbox: Sandbox, sys_id: str, fields: dict[str, Any], user: str
) -> tuple[dict[str, str], tuple[str, ...]]:
    row = {key: as_text(fields.get(key)) for key in ARTICLE_WRITABLE}
    if not row["short_description"].strip():
        raise error(403, "Operation Failed", "Data Policy Exception: Short description is mandatory")
    # Publishing is a workflow of the knowledge base; whatever state is sent, an insert is a draft.
    row |= {"sys_id": sys_id, "number": f"KB{sandbox.store.next_number('article', 10001):07d}"}
    row |= {"workflow_state": "draft", "sys_created_on": glide_time(sandbox.now()), "sys_created_by": user}
    sandbox.store.put(ARTICLE, sys_id, row)
    return row, tuple(f"{key} dropped" for key in fields if key not in ARTICLE_WRITABLE)


def _shown(request: Request, name: str, row: dict[str, Any]) -> dict[str, Any]:
    """A row as a reply shows it: asked-for columns, references as links, choices by name when asked."""
    wanted = [field for field in request.query_params.get("sysparm_fields", "").split(",") if field]
    display = request.query_params.get("sysparm_display_value", "false").lower()
    links = request.query_params.get("sysparm_exclude_reference_link", "false").lower() != "true"
    base = str(request.base_url).rstrip("/")
    result: dict[str, Any] = {}
    for field in wanted or sorted(row):
        if field not in row:
            continue
        value = str(row[field])
        label = CHOICES.get(field, {}).get(value, value)
        if display == "all":
            result[field] = {"display_value": label, "value": value}
        elif field in REFERENCES and value and links and name != JOURNAL:
            result[field] = {"link": f"{base}/servicenow/api/now/table/{field}/{value}", "value": value}
        else:
            result[field] = label if display == "true" else value
    return result
