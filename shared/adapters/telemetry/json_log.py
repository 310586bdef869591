"""Every log record as one JSON line: time, level, words, and whose work it was.

In: log records; those of a hop carry micro_agent, incident, what and why. Out: JSON lines.
"""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime

import orjson

from shared.ports import telemetry

HOP = "hop"


class JsonFormatter(logging.Formatter):
    """A record as one line of JSON; fields that say nothing are left out."""

    def format(self, record: logging.LogRecord) -> str:
        """The line, without its end."""
        line: dict[str, str] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.msg == HOP:
            line |= hop_fields(record)
            line["message"] = f"{line['micro_agent']}: {line['what']}"
        if trace := telemetry.traceparent():
            _, line["trace_id"], line["span_id"], _ = trace.split("-")
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        said = {name: value for name, value in line.items() if value}
        try:
            return orjson.dumps(said).decode()
        except TypeError:  # half characters, which only Python's own writes
            return json.dumps(said, ensure_ascii=False)


def hop_fields(record: logging.LogRecord) -> dict[str, str]:
    """What a hop's record says beside its words."""
    said = {name: str(getattr(record, name, "")) for name in ("micro_agent", "what", "why", "incident", "state")}
    return {
        "micro_agent": said["micro_agent"],
        "what": said["what"],
        "reason": said["why"],
        "incident": said["incident"],
        "state": said["state"],
    }


def use() -> None:
    """Let every handler of this process write JSON lines; the platform's own handler asks its formatter, too."""
    for handler in logging.getLogger().handlers:
        handler.setFormatter(JsonFormatter())
