"""Heads of audit chains, checked and handed to the anchor; and how much the anchor held, noted in the store.

In: a store and an anchor. Out: heads that continue what was anchored before, or what is wrong with their chain
(rule H12).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from shared.model.audit import GENESIS, AuditEntry
from shared.model.errors import ArgusError
from shared.ports.anchor import Anchor, Extent, Head, Ledger
from shared.ports.store import Store, Table, Upsert
from shared.records import audit_chain, incidents, journal
from shared.records.rows import moment, number, text, unpack

NOTES = "anchors"  # a partition of `incidents` that is no chain
NOTED = "noted"
SYSTEM = "system-"


@dataclass(frozen=True, slots=True)
class Anchored:
    """What one run did.

    Attributes:
        heads: how many were added.
        problems: chain and what is wrong with it; such a head is not anchored, or the forgery would be vouched for.
    """

    heads: int
    problems: tuple[tuple[str, str], ...]


def run(
    store: Store, anchor: Anchor, now: datetime, everything: bool = False, marked: Iterable[str] | None = None
) -> Anchored:
    """Anchor what is new.

    Args:
        everything: every chain there is, a full scan; otherwise those of incidents with a marker and of two days.
        marked: incidents with a marker, where that is known already.

    Raises:
        TransientError: the anchor cannot be reached.
    """
    known = anchor.latest()
    heads: list[Head] = []
    problems: list[tuple[str, str]] = []
    for chain in dict.fromkeys(_chains(store, now, everything, marked)):
        try:
            head, problem = _head(store, chain, known, now)
        except (ArgusError, ValueError) as error:
            head, problem = None, f"it cannot be read: {error}"
        if problem:
            problems.append((chain, problem))
        elif head is not None:
            heads.append(head)
    anchor.add(heads)
    return Anchored(len(heads), tuple(problems))


def note(store: Store, ledger: Ledger, now: datetime) -> Extent:
    """Note how much the anchor holds, so that cutting it shows as well as cutting a chain."""
    extent = ledger.extent()
    if noted(store)[0] != extent:
        row = Upsert(NOTED, {"lines": extent.lines, "digest": extent.digest, "at": now})
        store.write(Table.INCIDENTS, NOTES, row)
    return extent


def noted(store: Store) -> tuple[Extent | None, datetime | None]:
    """How much the anchor held when it was last noted, and when that was."""
    row = store.get(Table.INCIDENTS, NOTES, NOTED)
    if row is None:
        return None, None
    return Extent(number(row.values, "lines"), text(row.values, "digest")), moment(row.values, "at")


def problem_of(store: Store, ledger: Ledger) -> str:
    """What is wrong with the anchor itself; empty when it still holds all that was noted."""
    known, at = noted(store)
    if known is None:
        return ""
    when = f"{at:%Y-%m-%d %H:%M:%S} UTC" if at else "some time"
    found = ledger.extent(known.lines)
    if found.lines < known.lines:
        return f"it held {known.lines} lines at {when} and holds {found.lines} now: it was cut"
    if found.digest != known.digest:
        return f"its first {known.lines} lines are not those it held at {when}: it was changed"
    return ""


def _chains(store: Store, now: datetime, everything: bool, marked: Iterable[str] | None) -> Iterator[str]:
    yield from (incident_id for incident_id, *_ in incidents.pending(store)) if marked is None else marked
    for back in (1, 0):
        yield journal.system_chain(now - timedelta(days=back))
    if everything:
        yield from (name for name in store.partitions(Table.INCIDENTS) if name != NOTES)


def _head(store: Store, chain: str, known: Mapping[str, Head], now: datetime) -> tuple[Head | None, str]:
    """The head of a chain if it is newer than the one that is known, and what is wrong with what came since."""
    before = known.get(chain)
    start = before.number if before is not None else 0
    loaded = None if chain.startswith(SYSTEM) else incidents.load(store, chain)  # a day has no incident
    end = loaded.incident.entries if loaded is not None else None
    if end is not None and end <= start:
        return None, ""  # nothing new; that it was cut is for `argus audit verify` to say
    since = _entries(store, chain, start + 1)
    if end is not None:
        since = since[: end - start]
    if not since:
        removed = loaded is None or loaded.incident.purged_before is not None  # by retention, perhaps before its time
        return None, "" if removed else f"entries {start + 1} to {end} are missing at the end"
    # Of the first entry of a day only its own day is known here; the day before it is checked by `argus audit verify`.
    opening = since[0].previous if chain.startswith(SYSTEM) and start == 0 else GENESIS
    previous = before.hash if before is not None else opening
    problem = audit_chain.verify(since, previous, start + 1)
    if not problem and loaded is not None and since[-1].hash != loaded.incident.audit_head:
        problem = f"entry {since[-1].number} is not the last one that the incident remembers"
    return (None, problem) if problem else (Head(chain, since[-1].number, since[-1].hash, now), "")


def _entries(store: Store, chain: str, first: int) -> list[AuditEntry]:
    found: list[AuditEntry] = []
    start: str | None = f"{incidents.AUDIT}{first:08d}"
    while start is not None:
        page = store.query(Table.INCIDENTS, chain, start, incidents.AUDIT[:-1] + "}")
        found += [unpack(AuditEntry, row.values) for row in page.rows]
        start = page.next_key
    return found


def furthest(heads: Iterable[Head]) -> int:
    """The highest number among heads of one chain; 0 when there is none."""
    return max((head.number for head in heads), default=0)
