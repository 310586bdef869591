"""The walk over every audit chain of a store, past every page and interface.

In: a store and what an anchor keeps. Out: each chain with the first broken link in words (rule H12).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from shared.model.audit import GENESIS, AuditEntry
from shared.model.errors import PermanentError
from shared.ports.anchor import Head
from shared.ports.store import Store, Table
from shared.records import anchoring, audit_chain, incidents, index, removals
from shared.records.anchoring import SYSTEM

GRACE = timedelta(minutes=15)  # three runs of the anchor timer
UNREADABLE = "a row of it cannot be read"
GONE = "the incident of this chain is gone"
History = Mapping[str, Sequence[Head]]


@dataclass(frozen=True, slots=True)
class Walked:
    """One chain.

    Attributes:
        problem: empty when it is whole.
        first: number of its first entry; above 1 where retention removed the ones before.
        before: the hash that the first entry continues.
        remembered: number and hash of the last entry that its incident knows of.
        unvouched_since: time of the oldest entry that no anchored head covers, if any.
    """

    chain: str
    entries: int
    problem: str = ""
    first: int = field(default=1, compare=False)
    before: str = field(default=GENESIS, compare=False)
    remembered: tuple[int, str] | None = field(default=None, compare=False)
    unvouched_since: datetime | None = field(default=None, compare=False)


def walk(store: Store, history: History) -> Iterator[tuple[Walked, tuple[AuditEntry, ...]]]:
    """Verify every chain of a store, the system's days first; one chain at a time is in memory.

    Args:
        history: every anchored head, by chain; heads show a cut tail, a forgery and a chain that is gone.
    """
    before, day = GENESIS, ""
    gone: dict[str, list[removals.Removal]] = {}
    listed = frozenset(_listed(store))  # a chain that is gone is still known to the list and to the anchor
    found_here = {*store.partitions(Table.INCIDENTS), *history, *listed} - {anchoring.NOTES}
    for chain in sorted(found_here, key=lambda name: (not name.startswith(SYSTEM), name)):
        heads = history.get(chain, ())
        try:
            if chain.startswith(SYSTEM):
                entries = incidents.audit(store, chain)
                problem = audit_chain.verify(entries, before, after=day) or _foreign(entries, chain)
                walked = Walked(chain, len(entries), problem or audit_chain.against(entries, heads), before=before)
                if entries:
                    before, day = entries[-1].hash, chain
                for name, removed in removals.removals(entries).items():
                    gone.setdefault(name, []).extend(removed)
            else:
                found = _incident(store, chain, heads, gone.get(chain, []), chain in listed)
                if found is None:
                    continue  # rows of an incident that is being created
                walked, entries = found
        except (PermanentError, ValueError):  # rows that nothing of ours has written
            yield Walked(chain, 0, UNREADABLE), ()
            continue
        yield _with_unvouched(walked, entries, heads), entries


def _incident(
    store: Store, chain: str, heads: Sequence[Head], gone: Sequence[removals.Removal], listed: bool
) -> tuple[Walked, tuple[AuditEntry, ...]] | None:
    loaded = incidents.load(store, chain)
    entries = incidents.audit(store, chain)
    if loaded is None:
        if not (entries or heads or listed):
            return None
        return Walked(chain, len(entries), audit_chain.verify(entries) or GONE), entries
    held = loaded.incident
    removed = _removed(entries, held.entries, gone)
    first, before = (removed.last + 1, removed.hash) if removed is not None else (1, GENESIS)
    problem = (
        _foreign(entries, chain)
        or audit_chain.verify(entries, before, first)
        or audit_chain.verify_head(entries, held.entries, held.audit_head, first, before)
        or audit_chain.against(entries, heads, first)
    )
    return Walked(chain, len(entries), problem, first, before, (held.entries, held.audit_head)), entries


def _removed(entries: Sequence[AuditEntry], count: int, gone: Sequence[removals.Removal]) -> removals.Removal | None:
    """The removal that explains why a chain does not begin with entry 1; it may have died before its end."""
    first = entries[0].number if entries else count + 1
    for one in gone:
        if first > 1 and one.last == first - 1:
            return one
        if first > 1 and one.last >= first and entries:
            return removals.Removal(one.chain, first - 1, entries[0].previous)
    return None


def _foreign(entries: Sequence[AuditEntry], chain: str) -> str:
    return f"entry {entries[0].number} belongs to another chain" if entries and entries[0].chain != chain else ""


def _with_unvouched(walked: Walked, entries: Sequence[AuditEntry], heads: Sequence[Head]) -> Walked:
    reach = anchoring.furthest(heads)
    late = next((entry.at for entry in entries if entry.number > reach), None)
    return replace(walked, unvouched_since=late)


def _listed(store: Store) -> Iterator[str]:
    for partition in store.partitions(Table.INCIDENT_INDEX):
        for row in incidents.rows(store, partition, "", Table.INCIDENT_INDEX):
            yield index.id_of(row.key)
