"""One JSON line per hop in a file, for people who look live.

In: log records named ``hop`` of `dispatch`. Out: lines with time, micro_agent, what, why, incident and state.
"""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime
from pathlib import Path

FIELDS = ("micro_agent", "what", "why", "incident", "state")


class HopFormatter(logging.Formatter):
    """A hop record as one JSON line."""

    def format(self, record: logging.LogRecord) -> str:
        """The line, without its end."""
        fields = {name: str(getattr(record, name, "")) for name in FIELDS}
        return json.dumps({"time": datetime.fromtimestamp(record.created, UTC).isoformat(), **fields})


def attach(path: str) -> None:
    """Write every hop into a file from now on; an empty path does nothing, and twice is once."""
    logger = logging.getLogger("argus.dispatch")
    if not path or any(isinstance(handler.formatter, HopFormatter) for handler in logger.handlers):
        return
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    handler = logging.FileHandler(path, encoding="utf-8")
    handler.setFormatter(HopFormatter())
    handler.addFilter(lambda record: record.msg == "hop")
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
