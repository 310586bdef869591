"""What the broker still has, read beside it from its file.

In: the broker's file. Out: whether a message, or anything about an incident, is on a queue, due or scheduled.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from local.servicebus.encode import encode

_MESSAGE = (
    "SELECT 1 FROM message_ids JOIN messages USING (queue)"
    " WHERE message_ids.queue = ? AND message_ids.key = ? AND messages.first_seq = message_ids.seq"
)
_ABOUT = "SELECT 1 FROM messages WHERE instr(body, CAST(? AS BLOB)) > 0 LIMIT 1"


class Queues:
    """Reads; every answer is "yes" while nobody can tell."""

    def __init__(self, file: Path) -> None:
        self._address = f"{file.resolve().as_uri()}?mode=ro"

    def hold(self, queue: str, message_id: str) -> bool:
        """Whether a message is on its queue."""
        return self._found(_MESSAGE, queue, encode(message_id))

    def speak_of(self, incident_id: str) -> bool:
        """Whether any message is about an incident."""
        return self._found(_ABOUT, incident_id)

    def _found(self, query: str, *values: str | bytes) -> bool:
        try:
            with closing(sqlite3.connect(self._address, uri=True)) as db:
                return db.execute(query, values).fetchone() is not None
        except sqlite3.Error:
            return True
