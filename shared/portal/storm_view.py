"""What pages and JSON show of the storm brake.

In: a store. Out: frozen views; the JSON interface answers with exactly these.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from shared.model.errors import ArgusError
from shared.model.signal import Severity
from shared.ports.store import Store
from shared.records import brake

FIRST = 5
ORDER = "what a person has acknowledged, then severity, then number of alerts, then age"


@dataclass(frozen=True, slots=True)
class InQueue:
    """An incident that waits to be worked on."""

    incident_id: str
    title: str
    service: str
    severity: Severity
    alerts: int
    since: datetime


@dataclass(frozen=True, slots=True)
class BrakeView:
    """The storm brake.

    Attributes:
        since: when it went on, or went on last; ``on_by`` is the person who put it on, empty when it did so itself.
        ended_at: when it last went off, by whom and why.
        waiting: incidents that wait for ticket and investigation, in the order of ``order``; ``first`` are the first.
        asking: incidents whose approval waits for a place; ``open_approvals`` is how many places are taken.
        in_work: held incidents that are worked on now; ``let_go`` is how many were let through this time.
    """

    on: bool
    since: datetime | None
    on_by: str
    why: str
    ended_at: datetime | None
    ended_by: str
    ended_why: str
    waiting: int
    asking: int
    open_approvals: int
    in_work: int
    let_go: int
    order: str
    first: tuple[InQueue, ...]


def view(store: Store) -> BrakeView:
    """Everything about the brake, with one query."""
    seen = brake.seen(store)
    known = seen.brake
    order = sorted(seen.work, key=lambda one: (one.severity, -one.alerts, one.opened_at))
    return BrakeView(
        on=known.on,
        since=known.since,
        on_by=known.on_by,
        why=known.why,
        ended_at=known.ended_at,
        ended_by=known.ended_by,
        ended_why=known.ended_why,
        waiting=len(seen.work),
        asking=len(seen.asking),
        open_approvals=len(seen.places),
        in_work=len(known.in_work),
        let_go=known.let_go,
        order=ORDER,
        first=tuple(
            InQueue(one.incident_id, one.title, one.service, one.severity, one.alerts, one.since)
            for one in order[:FIRST]
        ),
    )


def banner(store: Store) -> BrakeView | None:
    """What stands above every page while the brake is on or somebody still waits; ``None`` otherwise.

    A page is shown without it when it cannot be read, so that a refusal can still say why.
    """
    try:
        known = brake.read(store)
        if not known.episode:
            return None
        found = view(store)
    except ArgusError:
        return None
    return found if found.on or found.waiting or found.in_work else None
