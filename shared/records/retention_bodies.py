"""Retention of quarantine rows and kept bodies: what nothing refers to any more.

In: the age of rows, and every reference that something open, held or quarantined holds. Out: rows that are gone
(rule M5).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from shared.model.errors import PermanentError
from shared.ports.store import Properties, Row, Store, Table
from shared.records import incidents, payloads
from shared.records.quarantine import DAYS, Standing
from shared.records.retention import Broom, all_rows
from shared.records.rows import key_of, moment, text

REFERRED = "something open, held or quarantined refers to it"
UNSETTLED = "still waits for a person"
STRIKES = "bugs-"
_REFERENCE = re.compile(r"\b\d{8}-[0-9a-f]{2}/[^\"\\\s]{1,300}")
_DAY = re.compile(r"(\d{8})(?:-|$)")


@dataclass(slots=True)
class References:
    """What must stay: whole references, and the receipts of events whose bodies may be on their way, on any day."""

    bodies: set[str] = field(default_factory=set)
    receipts: set[str] = field(default_factory=set)

    def read(self, words: str) -> None:
        """Every reference that a text holds, however deep."""
        self.bodies.update(_REFERENCE.findall(words))

    def event(self, event_id: str) -> None:
        """An event that may be sent by reference; the name of its body is that of `letters.send`."""
        self.receipts.add(key_of(f"event-{event_id}"))


def purge(broom: Broom) -> None:
    """Quarantine first: what it let go of no longer refers to a body."""
    _purge_quarantine(broom)
    _purge_payloads(broom)


def settled_at(values: Properties) -> datetime | None:
    """When somebody replayed or dropped a quarantined event; ``None`` while it waits for a person."""
    settled = text(values, "standing") in (Standing.REPLAYED, Standing.DROPPED)
    return (moment(values, "acted_at") or moment(values, "at")) if settled else None


def _purge_quarantine(broom: Broom) -> None:
    if broom.rules.quarantine is None:
        return
    before = broom.now - broom.rules.quarantine
    settled = broom.tally(Table.QUARANTINE, "settled quarantine rows")
    strikes = broom.tally(Table.QUARANTINE, "counts of failures that nobody foresaw")
    for partition in broom.due(Table.QUARANTINE):
        if partition == DAYS:
            continue  # one small row a day, which a row of that day must not come before
        rows = list(all_rows(broom.store, Table.QUARANTINE, partition))
        old = [row for row in rows if (moment(row.values, "at") or broom.now) < before]
        if partition.startswith(STRIKES):
            broom.sweep(strikes, partition, old, len(old))
            continue
        gone = [row for row in old if (settled_at(row.values) or broom.now) < before]
        broom.sweep(settled, partition, gone, len(gone))
        for _ in range(len(old) - len(gone)):
            settled.keep(UNSETTLED)


def _purge_payloads(broom: Broom) -> None:
    if broom.rules.payloads is None:
        return
    tally = broom.tally(Table.PAYLOADS, "kept bodies")
    before = broom.now - broom.rules.payloads
    due = [name for name in broom.store.partitions(Table.PAYLOADS) if _day_of(name) < before - timedelta(days=1)]
    if not due:
        return
    referred = references(broom.store, broom.now, broom.rules.late)
    for partition in due:
        if broom.enough():
            return
        for receipt, rows in _bodies(all_rows(broom.store, Table.PAYLOADS, partition)):
            if f"{partition}/{receipt}" in referred.bodies or receipt in referred.receipts:
                tally.keep(REFERRED)
            else:
                broom.sweep(tally, partition, rows)


def _bodies(rows: Iterable[Row]) -> Iterator[tuple[str, list[Row]]]:
    """The chunks of each body; they lie side by side."""
    receipt, chunks = "", list[Row]()
    for row in rows:
        name = row.key.rpartition("|")[0]
        if name != receipt and chunks:
            yield receipt, chunks
            chunks = []
        receipt = name
        chunks.append(row)
    if chunks:
        yield receipt, chunks


def _day_of(partition: str) -> datetime:
    """The day that a partition's name begins with; far in the future when it begins with none."""
    match = _DAY.match(partition)
    try:
        return datetime.strptime(match[1], "%Y%m%d").replace(tzinfo=UTC) if match else datetime.max.replace(tzinfo=UTC)
    except ValueError:
        return datetime.max.replace(tzinfo=UTC)


def references(store: Store, now: datetime, late: timedelta) -> References:
    """Everything that refers to a body: open incidents, unsent and held events, quarantine; a full scan.

    Args:
        late: an event that was released or replayed may be on its way for so long.
    """
    found = References()
    for partition in store.partitions(Table.INCIDENTS):
        _read_incident(store, partition, now - late, found)
    for partition in store.partitions(Table.QUARANTINE):
        if not partition.startswith(STRIKES) and partition != DAYS:
            for row in all_rows(store, Table.QUARANTINE, partition):
                _read_quarantined(store, row, found)
    return found


def _read_incident(store: Store, incident_id: str, recent: datetime, found: References) -> None:
    for prefix in (incidents.OUTBOX, incidents.HELD):
        for row in incidents.rows(store, incident_id, prefix):
            found.event(row.key.removeprefix(prefix))
            found.read("".join(text(row.values, name) for name in sorted(row.values) if name.startswith("body")))
    for row in incidents.rows(store, incident_id, incidents.RELEASED):
        if (moment(row.values, "at") or recent) >= recent:
            found.event(row.key.split("|")[1])
    try:
        loaded = incidents.load(store, incident_id)
    except (PermanentError, ValueError):
        loaded = None
    if loaded is not None and not loaded.incident.over:
        found.bodies.update(alert.payload for alert in loaded.incident.alerts if alert.payload)


def _read_quarantined(store: Store, row: Row, found: References) -> None:
    """A row refers to its body, and its body may be an event that refers to another one."""
    reference = text(row.values, "payload")
    found.bodies.add(reference)
    # Rows of schema 1 were named by the message id, `id.attempt` (rule M3).
    found.event(text(row.values, "event_id") or row.key.rpartition(".")[0])
    body = payloads.get(store, reference) if reference else None
    if body is not None:
        found.read(body.decode("utf-8", "replace"))
