"""One entry of the hash-chained audit trail, and one line of the timeline.

In: what a hop did. Out: rows that prove their own order (rule H12).
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from datetime import datetime

GENESIS = "0" * 64  # the hash before the first entry of a chain


@dataclass(frozen=True, slots=True)
class TimelineEntry:
    """What a person reads: when, who, what, why."""

    number: int
    at: datetime
    agent: str
    micro_agent: str
    what: str
    why: str
    person: str = ""
    event_id: str = ""


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """What a verifier reads.

    Attributes:
        number: 1 for the first entry of a chain, then consecutive.
        content_hash: SHA-256 of what changed.
        previous: hash of the entry before, ``GENESIS`` for the first.
        hash: SHA-256 over all the fields above and below but itself.
    """

    chain: str
    number: int
    at: datetime
    agent: str
    micro_agent: str
    person: str
    what: str
    why: str
    content_hash: str
    previous: str
    hash: str = ""

    def expected_hash(self) -> str:
        """The hash this entry must carry.

        Returns:
            64 hex digits over the canonical JSON of every field but ``hash``.
        """
        fields = [
            self.chain,
            self.number,
            self.at.isoformat(),
            self.agent,
            self.micro_agent,
            self.person,
            self.what,
            self.why,
            self.content_hash,
            self.previous,
        ]
        return hashlib.sha256(json.dumps(fields, ensure_ascii=False, separators=(",", ":")).encode()).hexdigest()
