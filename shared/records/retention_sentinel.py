"""Retention of what the sentinel keeps: counters of dead processes, dead series, old members, lines of the alert list.

In: the age of rows, and whether their group still has an incident. Out: rows that are gone; claims stay for ever, or a
group would count its generations, and so its incident ids, from 1 again (rule S3).
"""

from __future__ import annotations

from datetime import datetime

from shared.model.errors import PermanentError
from shared.model.signal import Status
from shared.ports.store import Row, Store, Table
from shared.records import counters, groups, incidents, index, windows
from shared.records.retention import Broom, all_rows
from shared.records.rows import moment, unpack

OPEN = "their incident is open"
FIRING = "it fires"


def purge(broom: Broom) -> None:
    """Every table of the sentinel."""
    _purge_counters(broom)
    _purge_members(broom)
    _purge_windows(broom)
    _purge_alerts(broom)


def _purge_counters(broom: Broom) -> None:
    if broom.rules.counters is None:
        return
    before = broom.now - broom.rules.counters
    tally = broom.tally(Table.COUNTERS, "counters of processes that ended")
    for partition in broom.due(Table.COUNTERS):
        gone = []
        for row in all_rows(broom.store, Table.COUNTERS, partition):
            if (moment(row.values, "written_at") or broom.now) >= before:
                continue
            if any(_counts(broom.store, key, generation) for key, generation in counters.counted(row.values)):
                tally.keep(OPEN)  # its repeats are part of what people read on that incident
            else:
                gone.append(row)
        broom.sweep(tally, partition, gone, len(gone))


def _counts(store: Store, group_key: str, generation: int) -> bool:
    group = groups.state_of(store, group_key)
    return group is not None and group.generation == generation and group.state is not groups.Claim.CLOSED


def _purge_members(broom: Broom) -> None:
    if broom.rules.tombstones is None:
        return
    before = broom.now - broom.rules.tombstones
    tally = broom.tally(Table.GROUPS, "members of closed groups, and resolves without a firing")
    for partition in broom.due(Table.GROUPS):
        gone = []
        for row in all_rows(broom.store, Table.GROUPS, partition):
            claim, member_row, _ = row.key.rpartition("|m|")
            if member_row and _forgotten(row, before):
                held = broom.store.get(Table.GROUPS, partition, claim)
                if held is None or unpack(groups.GroupState, held.values).state is groups.Claim.CLOSED:
                    gone.append(row)
                else:
                    tally.keep(OPEN)
        broom.sweep(tally, partition, gone, len(gone))


def _forgotten(row: Row, before: datetime) -> bool:
    return all(
        member.noted_at < before and member.status is not Status.FIRING for member in groups.members_in(row.values)
    )


def _purge_windows(broom: Broom) -> None:
    if broom.rules.windows is None:
        return
    before = broom.now - broom.rules.windows
    tally = broom.tally(Table.WINDOWS, "series that nobody measures any more")
    for partition in broom.due(Table.WINDOWS):
        gone = []
        for row in all_rows(broom.store, Table.WINDOWS, partition):
            window = windows.window_of(row)
            if (window.newest or window.standing.at or broom.now) >= before:
                continue
            if window.standing.phase is windows.Phase.FIRING:
                tally.keep(FIRING)
            else:
                gone.append(row)
        broom.sweep(tally, partition, gone, len(gone))


def _purge_alerts(broom: Broom) -> None:
    if broom.rules.alerts is None:
        return
    before = broom.now - broom.rules.alerts
    tally = broom.tally(Table.ALERT_INDEX, "lines of the alert list")
    for partition in broom.due(Table.ALERT_INDEX):
        gone = []
        for row in all_rows(broom.store, Table.ALERT_INDEX, partition):
            line = unpack(index.AlertLine, row.values)
            if line.alert.at >= before:
                continue
            if _is_open(broom.store, line.incident_id):
                tally.keep(OPEN)
            else:
                gone.append(row)
        broom.sweep(tally, partition, gone, len(gone))


def _is_open(store: Store, incident_id: str) -> bool:
    try:
        loaded = incidents.load(store, incident_id)
    except (PermanentError, ValueError):
        return True
    return loaded is not None and not loaded.incident.over
