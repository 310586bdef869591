"""Whether an audit chain is whole.

In: the entries of one chain. Out: nothing, or the first broken link in words (rule H12).
"""

from __future__ import annotations

from collections.abc import Sequence

from shared.model.audit import GENESIS, AuditEntry
from shared.ports.anchor import Head


def verify(entries: Sequence[AuditEntry], before: str = GENESIS) -> str:
    """Walk a chain from its first entry.

    Args:
        entries: all entries of one chain, in the order of their rows.
        before: the hash the first entry continues: ``GENESIS`` for an incident, the last hash of the day before for
            a ``system-YYYYMMDD`` chain.

    Returns:
        Empty when every link holds, otherwise what is wrong with the first link that does not.
    """
    previous = before
    for number, entry in enumerate(entries, start=1):
        if entry.number != number:
            return f"entry {number} is missing; entry {entry.number} stands in its place"
        if entry.chain != entries[0].chain:
            return f"entry {number} belongs to another chain"
        if entry.previous != previous:
            return f"entry {number} does not continue the entry before it"
        if entry.hash != entry.expected_hash():
            return f"entry {number} was changed after it was written"
        previous = entry.hash
    return ""


def verify_head(entries: Sequence[AuditEntry], count: int, head: str) -> str:
    """Compare a chain with the head its incident remembers, so that a cut tail shows.

    Args:
        entries: entries read after the incident, so that there may be newer ones.
        count: number of entries the incident knows of.
        head: hash of the last of them.

    Returns:
        Empty when they agree.
    """
    if len(entries) < count:
        return f"entries {len(entries) + 1} to {count} are missing at the end"
    known = entries[count - 1].hash if count else GENESIS
    return "" if known == head else f"entry {count} is not the one the incident remembers"


def cut(entries: Sequence[AuditEntry], head: Head) -> str:
    """Compare a chain with a head that was anchored elsewhere, so that a tail cut with its incident row shows too.

    Args:
        entries: all entries of the head's chain, in the order of their rows; there may be newer ones.
        head: as kept by the anchor.

    Returns:
        Empty when the chain still holds the anchored entry.
    """
    if len(entries) < head.number:
        return (
            f"entries {len(entries) + 1} to {head.number} were anchored at {head.at:%Y-%m-%d %H:%M:%S} UTC and are gone"
        )
    if head.number and entries[head.number - 1].hash != head.hash:
        return f"entry {head.number} is not the one that was anchored at {head.at:%Y-%m-%d %H:%M:%S} UTC"
    return ""


def verify_incident(entries: Sequence[AuditEntry], chain: str, count: int, head: str) -> str:
    """Both checks for the chain of one incident, and that the chain is this incident's own.

    Args:
        chain: the incident id.
        count: number of entries the incident knows of.
        head: hash of the last of them.

    Returns:
        Empty when everything agrees.
    """
    if entries and entries[0].chain != chain:
        return "entry 1 belongs to another chain"
    return verify(entries) or verify_head(entries, count, head)
