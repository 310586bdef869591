"""Whether an audit chain is whole.

In: the entries of one chain. Out: nothing, or the first broken link in words (rule H12).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from shared.model.audit import GENESIS, AuditEntry
from shared.ports.anchor import Head


def verify(entries: Sequence[AuditEntry], before: str = GENESIS, first: int = 1, after: str = "") -> str:
    """Walk a chain from its first entry.

    Args:
        entries: all entries of one chain, in the order of their rows.
        before: the hash the first entry continues: ``GENESIS`` for an incident, the last hash of the day before for
            a ``system-YYYYMMDD`` chain.
        first: number of the first entry; above 1 when the ones before were removed by retention.
        after: the chain that ``before`` is of, where it is another one.

    Returns:
        Empty when every link holds, otherwise what is wrong with the first link that does not.
    """
    previous = before
    for number, entry in enumerate(entries, start=first):
        if entry.number != number:
            if any(other.number == number for other in entries):
                return f"entry {entry.number} stands where entry {number} belongs; their order was changed"
            return f"entry {number} is missing; entry {entry.number} stands in its place"
        if entry.chain != entries[0].chain:
            return f"entry {number} belongs to another chain"
        if entry.previous != previous:
            of = f"the last entry of {after}" if number == 1 and after else "the entry before it"
            return f"entry {number} does not continue {of}"
        if entry.hash != entry.expected_hash():
            return f"entry {number} was changed after it was written"
        previous = entry.hash
    return ""


def verify_head(entries: Sequence[AuditEntry], count: int, head: str, first: int = 1, before: str = GENESIS) -> str:
    """Compare a chain with the head its incident remembers, so that a cut tail shows.

    Args:
        entries: entries read after the incident, so that there may be newer ones.
        count: number of the last entry the incident knows of.
        head: hash of that one.
        first: number of the first entry, see `verify`.
        before: what the first entry continues, see `verify`.

    Returns:
        Empty when they agree.
    """
    last = first - 1 + len(entries)
    if last < count:
        return f"entries {last + 1} to {count} are missing at the end"
    known = entries[count - first].hash if count >= first else before
    return "" if known == head else f"entry {count} is not the one the incident remembers"


def cut(entries: Sequence[AuditEntry], head: Head, first: int = 1) -> str:
    """Compare a chain with a head that was anchored elsewhere, so that a tail cut with its incident row shows too.

    Args:
        entries: all entries of the head's chain, in the order of their rows; there may be newer ones.
        head: as kept by the anchor.
        first: number of the first entry, see `verify`; heads before it cannot be compared any more.

    Returns:
        Empty when the chain still holds the anchored entry.
    """
    when = f"{head.at:%Y-%m-%d %H:%M:%S} UTC"
    last = first - 1 + len(entries)
    if last < head.number:
        return f"entries {last + 1} to {head.number} were anchored at {when} and are gone"
    if head.number >= first and entries[head.number - first].hash != head.hash:
        return f"entry {head.number} is not the one that was anchored at {when}"
    return ""


def against(entries: Sequence[AuditEntry], heads: Iterable[Head], first: int = 1) -> str:
    """Compare a chain with every head of it that was ever anchored.

    The furthest one would not do: whoever writes a chain anew and longer has that one anchored as well.

    Returns:
        Empty when the chain holds them all, otherwise what is wrong with the lowest it does not.
    """
    problems = ((head.number, cut(entries, head, first)) for head in heads)
    return min(((number, problem) for number, problem in problems if problem), default=(0, ""))[1]


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
