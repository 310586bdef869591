"""Looks everywhere for what the markers should know, and makes projections anew.

In: a whole store. Out: incidents with something to send or release and no marker (rule H8), and the list of incidents
made from the incidents themselves (rule P1).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from shared.model.errors import PermanentError
from shared.model.incident import Incident
from shared.ports.store import Conflict, Delete, Row, Store, Table, Upsert
from shared.records import approvals, groups, incidents, index
from shared.records.rows import shard

LAYOUT = "layout"


@dataclass(frozen=True, slots=True)
class Forgotten:
    """An incident that no sweep would look at, though it has something to do."""

    incident_id: str
    outbox: int
    held: int
    why: str = ""

    @property
    def words(self) -> str:
        """What it has, for people."""
        counts = {"to send": self.outbox, "held": self.held}
        parts = [f"{count} {what}" for what, count in counts.items() if count]
        return ", ".join([*parts, *([self.why] if self.why else [])])


def forgotten(store: Store) -> Iterator[Forgotten]:
    """Every incident with outbox or held rows, an open wait or a half closed group, and no marker; a full scan."""
    for partition in store.partitions(Table.INCIDENTS):
        if store.get(Table.PENDING, shard(partition, incidents.SHARDS), partition) is not None:
            continue
        outbox = sum(1 for _ in incidents.rows(store, partition, incidents.OUTBOX))
        held = sum(1 for _ in incidents.rows(store, partition, incidents.HELD))
        try:
            loaded = incidents.load(store, partition)
            why = _open_end(store, loaded.incident) if loaded is not None else ""
        except (PermanentError, ValueError):
            why = ""  # for `argus audit verify` to say
        if outbox or held or why:
            yield Forgotten(partition, outbox, held, why)


def _open_end(store: Store, incident: Incident) -> str:
    """What only the sweep would go on with."""
    waiting = incident.approval
    if waiting is not None and waiting.verdict is None and not incident.over:
        return "waits for a decision" if approvals.decision_of(store, waiting.id) is None else "was decided"
    group = groups.state_of(store, incident.group_key) if incident.group_key else None
    if group is not None and group.generation == incident.generation:
        half = group.state is groups.Claim.CLOSING or (incident.over and group.state is not groups.Claim.CLOSED)
        return "its group is half closed" if half else ""
    return ""


def repair(store: Store, found: Forgotten, now: datetime) -> None:
    """Write the marker; the next sweep does the rest."""
    incidents.mark_pending(store, found.incident_id, now)


@dataclass(slots=True)
class Rebuilt:
    """What making the list anew did."""

    incidents: int = 0
    written: int = 0
    removed: int = 0


def rebuild_index(store: Store) -> Rebuilt:
    """Write the line of every incident, and take out lines of incidents that are not there.

    Safe while hosts run: a line never goes back to an older version.
    """
    done, known = Rebuilt(), set[tuple[str, str]]()
    for partition in store.partitions(Table.INCIDENTS):
        try:
            loaded = incidents.load(store, partition)
        except (PermanentError, ValueError):
            continue
        if loaded is None or _is_stub(store, loaded.incident):
            continue  # a chain of the system has no incident
        place = index.place_of(loaded.incident)
        before = store.get(Table.INCIDENT_INDEX, *place)
        index.put_incident(store, loaded.incident)
        after = store.get(Table.INCIDENT_INDEX, *place)
        known.update((place[0], key) for key in index.keys_of(loaded.incident))
        done.incidents += 1
        done.written += before is None or after is None or before.values != after.values
    for partition in store.partitions(Table.INCIDENT_INDEX):
        for row in list(incidents.rows(store, partition, "", Table.INCIDENT_INDEX)):
            if (partition, row.key) not in known and _remove_stray(store, partition, row):
                done.removed += row.key < index.LINES_END  # what is beside a line is no line
    return done


def upgrade_index(store: Store) -> Rebuilt | None:
    """Make the list anew where an older ARGUS wrote it, whose lines have no rows beside them.

    Returns:
        What was done; ``None`` when the list is as it must be. The mark that says so is no part of a backup.
    """
    if store.get(Table.HEARTBEATS, LAYOUT, str(Table.INCIDENT_INDEX)) is not None:
        return None
    done = rebuild_index(store)
    store.write(Table.HEARTBEATS, LAYOUT, Upsert(str(Table.INCIDENT_INDEX), {"rows_beside": True}))
    return done


def _is_stub(store: Store, incident: Incident) -> bool:
    """Whether it is what stays of an incident that retention took out."""
    if incident.purged_before is None:
        return False
    return not any(True for _ in incidents.rows(store, incident.id, incidents.TIMELINE))


def _remove_stray(store: Store, partition: str, row: Row) -> bool:
    loaded = incidents.load(store, index.id_of(row.key))
    mine = (
        loaded is not None
        and index.place_of(loaded.incident)[0] == partition
        and row.key in index.keys_of(loaded.incident)
    )
    if mine and loaded is not None and not _is_stub(store, loaded.incident):
        return False  # it was opened since the scan
    try:
        store.write(Table.INCIDENT_INDEX, partition, Delete(row.key, row.etag))
    except Conflict:
        return False
    return True
