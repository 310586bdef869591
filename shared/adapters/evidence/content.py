"""What all evidence sources share: identity by content, honest empty answers, how a far side is asked.

In: an evidence without an id, or an address. Out: an evidence with its id, or the parsed answer.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import replace
from datetime import UTC, datetime
from urllib.parse import quote, urlsplit, urlunsplit

import httpx2
from pydantic import SecretStr

from shared.adapters import http
from shared.model.codec import canonical
from shared.model.diagnosis import Evidence, EvidenceKind, EvidenceStatus

MAX_ITEMS = 20  # the port's bound on one answer
MAX_LINES = 40  # the model's bound on one evidence
MAX_LINE_CHARS = 400

_SECRET = re.compile(
    r"(?i)\b((?:[\w-]*(?:password|passwd|secret|token|api[_-]?key|authorization)[\w-]*)[\"']?\s*[=:]\s*[\"']?"
    r"(?:bearer\s+|basic\s+)?)[^\s\"',;&]+"
)


def identify(evidence: Evidence) -> Evidence:
    """The same evidence under the id of its content.

    Returns:
        ``id`` is the first 16 hex digits of the SHA-256 of everything else.
    """
    digest = hashlib.sha256(canonical(replace(evidence, id="")).encode("utf-8", "replace")).hexdigest()
    return replace(evidence, id=digest[:16])


def empty(
    kind: EvidenceKind,
    source: str,
    query: str,
    title: str,
    summary: str,
    status: EvidenceStatus = EvidenceStatus.NO_DATA,
) -> Evidence:
    """Evidence that there is nothing to see, or that nobody could look."""
    return identify(Evidence("", kind, source, query, status, title, summary))


def line(text: str) -> str:
    """A log or diff line as evidence: one line, cut, without what looks like a secret."""
    printable = "".join(c if c.isprintable() else " " for c in text[: 4 * MAX_LINE_CHARS])
    cleaned = _SECRET.sub(r"\1***", printable).rstrip()
    return cleaned if len(cleaned) <= MAX_LINE_CHARS else f"{cleaned[: MAX_LINE_CHARS - 1]}…"


def parse_time(value: object) -> datetime | None:
    """An ISO 8601 text, or seconds since 1970, as aware UTC; ``None`` when it is neither."""
    try:
        if isinstance(value, int | float) and not isinstance(value, bool):
            return datetime.fromtimestamp(value, UTC)
        moment = datetime.fromisoformat(str(value))
    except (ValueError, OverflowError, OSError):
        return None
    return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)


def fill(template: str, **values: str) -> str:
    """The address with ``{name}`` replaced by the quoted value."""
    for name, value in values.items():
        template = template.replace(f"{{{name}}}", quote(value, safe=""))
    return template


def shown(url: str) -> str:
    """The address without a user or password, for ``query``."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


def fetch(client: httpx2.Client, system: str, url: str, token: SecretStr, timeout_s: float) -> object:
    """The parsed JSON, or JSON lines as a list, of one GET; ``None`` when it is neither.

    Raises:
        TransientError: see `shared.adapters.http`.
        PermanentError: see `shared.adapters.http`.
    """
    secret = token.get_secret_value()
    headers = {"authorization": f"Bearer {secret}"} if secret else {}
    reply = http.call(client, system, "GET", url, headers=headers, timeout_s=timeout_s)
    failure = http.refusal(system, reply.status, reply.headers)
    if failure is not None:
        raise failure
    parsed = reply.json()
    if parsed is not None or not reply.body.strip():
        return parsed
    texts = reply.body.decode("utf-8", "replace").splitlines()
    rows = [http.Reply(200, {}, text.encode()).json() for text in texts if text.strip()]
    return rows if any(isinstance(row, dict) for row in rows) else None
