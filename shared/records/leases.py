"""Rows of `leases`: one action at a time per target, a rest between two, and a budget of attempts.

In: a target and the event that wants to act on it. Out: permission, or why not (rule D4).
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime, timedelta

from shared.model.event import derive_id
from shared.ports.store import Conflict, Insert, Replace, Row, Store, Table, Value
from shared.records.rows import moment, text

LEASE = "lease"


@dataclass(frozen=True, slots=True)
class Grant:
    """The answer.

    Attributes:
        given: the event may act.
        reason: why not, for people.
        retry_at: when asking again makes sense; ``None`` when it does not.
        row: the lease as it was written, for giving it back without reading it.
    """

    given: bool
    reason: str = ""
    retry_at: datetime | None = None
    row: Row | None = None


@dataclass(frozen=True, slots=True)
class Limits:
    """Guardrails, all positive: lease, rest between actions, and attempts within a window."""

    lease: timedelta
    cooldown: timedelta
    max_attempts: int
    window: timedelta


def acquire(store: Store, target: str, event_id: str, limits: Limits, now: datetime) -> Grant:
    """Take the lease of a target for one event; an event re-enters its own.

    Args:
        target: what is acted on.
        event_id: the key of lease, cooldown and budget alike.
    """
    partition = derive_id("lease", target)
    while True:
        row = store.get(Table.LEASES, partition, LEASE)
        holder = "" if row is None else text(row.values, "holder")
        attempts: dict[str, str] = {} if row is None else json.loads(text(row.values, "attempts") or "{}")
        recent = {e: at for e, at in attempts.items() if now - datetime.fromisoformat(at) < limits.window}
        if event_id not in recent:
            until = None if row is None else moment(row.values, "until")
            rested = None if row is None else moment(row.values, "rested_at")
            if holder and holder != event_id and until is not None and until > now:
                return Grant(False, f"another action holds {target}", until)
            if rested is not None and rested > now:
                return Grant(False, f"{target} rests until {rested:%H:%M:%S} UTC after the last action", rested)
            if len(recent) >= limits.max_attempts:
                return Grant(False, f"{len(recent)} actions on {target} are used up; a person must look")
            recent[event_id] = now.isoformat()
        elif holder and holder != event_id:
            until = None if row is None else moment(row.values, "until")
            if until is not None and until > now:
                return Grant(False, f"another action holds {target}", until)
        values: dict[str, Value] = {
            "target": target,
            "holder": event_id,
            "until": now + limits.lease,
            "rested_at": now,
            "attempts": json.dumps(recent),
        }
        try:
            etag = store.write(
                Table.LEASES, partition, Insert(LEASE, values) if row is None else Replace(LEASE, values, row.etag)
            )
        except Conflict:
            continue
        return Grant(True, row=Row(partition, LEASE, etag, values))


def release(
    store: Store, target: str, event_id: str, limits: Limits, now: datetime, grant: Grant | None = None
) -> None:
    """Give the lease back and begin the rest; does nothing when another event holds it.

    Args:
        grant: what `acquire` gave; without it the lease is read first.
    """
    partition = derive_id("lease", target)
    row = grant.row if grant else store.get(Table.LEASES, partition, LEASE)
    if row is None or text(row.values, "holder") != event_id:
        return
    values = {**row.values, "holder": "", "rested_at": now + limits.cooldown}
    try:
        store.write(Table.LEASES, partition, Replace(LEASE, values, row.etag))
    except Conflict:
        if grant:  # somebody else wrote it since: whose is it now?
            release(store, target, event_id, limits, now)
