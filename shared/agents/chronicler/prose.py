"""Small pieces of Markdown; whatever came from outside is quoted as code and interpreted by nobody.

In: values. Out: text that is safe inside a sentence or a table.
"""

from __future__ import annotations

import re
import unicodedata
from datetime import UTC, datetime, timedelta

MAX_QUOTE_CHARS = 300


def quoted(text: str, limit: int = MAX_QUOTE_CHARS) -> str:
    """Untrusted text as one line of code, without what would end the code or a table cell."""
    line = " ".join(text.replace("`", "'").replace("|", "¦").split())
    line = "".join(char for char in line if unicodedata.category(char)[0] != "C")
    if not line:
        return "`-`"
    return f"`{line if len(line) <= limit else line[: limit - 1] + '…'}`"


def plain(text: str, limit: int = MAX_QUOTE_CHARS) -> str:
    """Text for titles: one line, and no character that Markdown or HTML reads as markup."""
    line = " ".join(re.sub(r"[`*_\[\]<>|#\\{}]", " ", text).split())
    return line if len(line) <= limit else line[: limit - 1] + "…"


def cell(text: str) -> str:
    """A line of the timeline in a table: code spans stay; a bar would end the cell, links may be foreign."""
    safe = text.replace("|", "¦").replace("<", "‹").replace(">", "›").replace("](", "] (")
    return " ".join(safe.split())


def moment(at: datetime) -> str:
    """Date and time in UTC, to the second."""
    return at.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S")


def span(length: timedelta) -> str:
    """A length of time as people say it."""
    seconds = max(length.total_seconds(), 0.0)
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def slug(text: str) -> str:
    """Lower-case letters, digits and hyphens; ``unknown`` when nothing is left."""
    folded = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9]+", "-", folded).strip("-")[:60].strip("-") or "unknown"
