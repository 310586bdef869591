"""One JSON line per hop in a file, for people who look live.

In: log records named ``hop`` of `dispatch`. Out: lines with time, micro_agent, what, reason, incident and state.
"""

from __future__ import annotations

import logging
from pathlib import Path

from shared.adapters.telemetry.json_log import HOP, JsonFormatter


def attach(path: str) -> None:
    """Write every hop into a file from now on; an empty path does nothing, and twice is once."""
    logger = logging.getLogger("argus.dispatch")
    if not path or any(isinstance(handler, _HopFile) for handler in logger.handlers):
        return
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    logger.addHandler(_HopFile(path))
    logger.setLevel(logging.INFO)


class _HopFile(logging.FileHandler):
    def __init__(self, path: str) -> None:
        super().__init__(path, encoding="utf-8")
        self.setFormatter(JsonFormatter())
        self.addFilter(lambda record: record.msg == HOP)
