"""What retention took out of the audit trail, as the system chain says it, so that it is told from what was cut out.

In: a chain that is about to go. Out: an entry of the system chain that vouches for it, and how to read such entries.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from shared.model.audit import AuditEntry

WHAT = "audit chain removed by retention"
_WHY = re.compile(r"(\S+): entries 1 to (\d+), the last one ([0-9a-f]{64})")


@dataclass(frozen=True, slots=True)
class Removal:
    """The entries of a chain that are gone for a reason.

    Attributes:
        last: number of the last entry that went; the first was 1.
        hash: of that entry; what came after continues it.
    """

    chain: str
    last: int
    hash: str

    @property
    def why(self) -> str:
        """As the system chain says it, under the words ``WHAT``."""
        return f"{self.chain}: entries 1 to {self.last}, the last one {self.hash}"


def removals(entries: Iterable[AuditEntry]) -> dict[str, list[Removal]]:
    """Removals by chain, in the order they happened."""
    found: dict[str, list[Removal]] = {}
    for entry in entries:
        match = _WHY.match(entry.why) if entry.what == WHAT else None
        if match is not None:
            found.setdefault(match[1], []).append(Removal(match[1], int(match[2]), match[3]))
    return found
