"""One run of retention: every rule, and what the system chain says of it.

In: a store, rules, and a time as of which they are judged. Out: a tally for each rule (rules H11 and H12).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from shared.ports.store import Store
from shared.records import journal, retention_bodies, retention_incidents, retention_sentinel
from shared.records.retention import Broom, Rules, Tally

BEGUN = "purge begun"
DONE = "purge done"
STEPS: tuple[tuple[str, Callable[[Broom], None]], ...] = (
    ("incidents", retention_incidents.purge),
    ("quarantine and kept bodies", retention_bodies.purge),
    ("counters, groups, series and the alert list", retention_sentinel.purge),
)


@dataclass(frozen=True, slots=True)
class Order:
    """How to run.

    Attributes:
        as_of: the rules are judged at this time.
        clock: the time that the audit trail is written with.
        dry: only count.
        person: who asked for it; empty for the timer.
        enough: true ends the run before its end.
        tell: hears which step begins.
    """

    as_of: datetime
    clock: Callable[[], datetime]
    dry: bool = False
    person: str = ""
    enough: Callable[[], bool] = lambda: False
    tell: Callable[[str], None] = lambda step: None


def run(store: Store, rules: Rules, order: Order) -> tuple[Tally, ...]:
    """Apply every rule; the system chain is told before the first row goes, and again at the end."""
    said = f"what is due at {order.as_of.isoformat(timespec='seconds')}"

    def begin() -> None:
        journal.system(store, BEGUN, said, order.person, repr(rules), order.clock())

    broom = Broom(store, rules, order.as_of, order.clock, order.dry, order.enough, begin)
    for name, step in STEPS:
        order.tell(name)
        step(broom)
    gone = [tally for tally in broom.tallies if tally.rows]
    if gone and not order.dry:
        told = "; ".join(f"{tally.rows} rows: {tally.rule}" for tally in gone)
        journal.system(store, DONE, told, order.person, told, order.clock())
    return tuple(broom.tallies)
