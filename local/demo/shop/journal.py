"""The shop's structured log.

In: what happened. Out: JSON lines in `shop.log`, and the newest of them over HTTP.
"""

from __future__ import annotations

import json
from collections import deque
from datetime import datetime
from pathlib import Path
from typing import Any, TextIO

KEPT_LINES = 5000
MAX_FILE_BYTES = 20 * 1024 * 1024  # an hour of the default load is about 15 MB; two files stay


class Journal:
    """Appends lines, keeps the newest in memory, turns the file over once it is large."""

    def __init__(self, path: Path, service: str) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path = path
        self._service = service
        self._recent: deque[dict[str, Any]] = deque(_tail(path), maxlen=KEPT_LINES)
        self._file: TextIO = path.open("a", encoding="utf-8")

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def write(self, at: datetime, level: str, message: str, **fields: Any) -> None:
        """Append one line; ``fields`` stand beside ts, level, service and message."""
        line = {"ts": at.isoformat(timespec="milliseconds"), "level": level, "service": self._service}
        entry: dict[str, Any] = {**line, "message": message, **fields}
        self._recent.append(entry)
        self._file.write(json.dumps(entry, ensure_ascii=False) + "\n")
        self._file.flush()
        if self._file.tell() > MAX_FILE_BYTES:
            self._file.close()
            self._path.replace(self._path.with_suffix(".log.1"))
            self._file = self._path.open("a", encoding="utf-8")

    def since(self, start: datetime | None, limit: int) -> list[dict[str, Any]]:
        """The newest ``limit`` lines not older than ``start``, oldest first."""
        if limit <= 0:
            return []
        lines = [line for line in self._recent if start is None or datetime.fromisoformat(line["ts"]) >= start]
        return lines[-limit:]


def _tail(path: Path) -> list[dict[str, Any]]:
    if not path.exists():
        return []
    lines = []
    for text in path.read_text(encoding="utf-8", errors="replace").splitlines()[-KEPT_LINES:]:
        try:
            lines.append(json.loads(text))
        except ValueError:
            continue  # the line that a kill cut short
    return lines
