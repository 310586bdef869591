"""What may go, after how long, and its deletion in pieces that a crash may fall between.

In: rules and a time. Out: rows that are gone, or would be; open incidents are never touched (rule H11).

Every rule reads what it judges and deletes it by ETag, so that a row which changed meanwhile stays. Doing it again, or
twice at once, changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from shared.config.schema import Retention
from shared.ports.store import Conflict, Delete, Row, Store, Table
from shared.records import incidents

MOST_OPERATIONS = 100  # of one transaction, see the store port
SKEW = timedelta(hours=1)  # no two clocks of ours are further apart


@dataclass(frozen=True, slots=True)
class Rules:
    """How long things are kept; ``None`` is for ever.

    Attributes:
        late: an event may still be on its way for so long after it was released or sent again (rule H10).
    """

    working_rows: timedelta | None
    payloads: timedelta | None
    quarantine: timedelta | None
    counters: timedelta | None
    alerts: timedelta | None
    windows: timedelta | None
    tombstones: timedelta | None
    closed_incidents: timedelta | None
    late: timedelta


def rules_of(settings: Retention, retry_hours: float) -> Rules:
    """The rules of a configuration; what an event needs that is still being retried stays whatever it says."""
    late = timedelta(hours=retry_hours) + timedelta(days=1)

    def days(number: float, least: timedelta = timedelta(0)) -> timedelta | None:
        return max(timedelta(days=number), least) if number else None

    return Rules(
        working_rows=days(settings.working_rows_days, late),
        payloads=days(settings.payloads_days, late),
        quarantine=days(settings.quarantine_days),
        counters=days(settings.counters_days),
        alerts=days(settings.alerts_days),
        windows=days(settings.windows_days),
        tombstones=days(settings.tombstones_days),
        closed_incidents=days(settings.closed_incidents_days),
        late=late,
    )


@dataclass(slots=True)
class Tally:
    """What one rule did, or would do.

    Attributes:
        rows: how many rows went.
        units: how many things they made up: incidents, bodies, series.
        kept: why some that were due stayed, with how many.
    """

    table: Table
    rule: str
    rows: int = 0
    units: int = 0
    kept: dict[str, int] = field(default_factory=dict)

    def keep(self, why: str) -> None:
        """One that was due stays."""
        self.kept[why] = self.kept.get(why, 0) + 1


@dataclass(slots=True)
class Broom:
    """Deletes, or only counts.

    Attributes:
        now: the rules are judged as of this time.
        clock: what stands in the audit trail as the time of a removal.
        dry: delete nothing.
        enough: asked between two deletions; true ends the run, the next one goes on.
        first: called once before the first row goes.
    """

    store: Store
    rules: Rules
    now: datetime
    clock: Callable[[], datetime]
    dry: bool = False
    enough: Callable[[], bool] = lambda: False
    first: Callable[[], None] = lambda: None
    tallies: list[Tally] = field(default_factory=list)
    _begun: bool = False

    def tally(self, table: Table, rule: str) -> Tally:
        """A new line of what happens."""
        self.tallies.append(Tally(table, rule))
        return self.tallies[-1]

    def begin(self) -> None:
        """To be called before anything goes."""
        if not self._begun and not self.dry:
            self.first()
            self._begun = True

    def due(self, table: Table) -> Iterator[str]:
        """Partitions to look at, until it is enough."""
        for partition in self.store.partitions(table):
            if self.enough():
                return
            yield partition

    def sweep(self, tally: Tally, partition: str, rows: Sequence[Row], units: int = 1) -> None:
        """Delete rows of one partition, those that changed meanwhile excepted."""
        if not rows:
            return
        tally.units += units
        if self.dry:
            tally.rows += len(rows)
            return
        self.begin()
        for batch in batches(rows):
            tally.rows += self.delete(tally.table, partition, batch)

    def delete(self, table: Table, partition: str, rows: Sequence[Row]) -> int:
        """Delete at most 100 rows by their ETags; how many went."""
        try:
            self.store.transact(table, partition, [Delete(row.key, row.etag) for row in rows])
        except Conflict:
            if len(rows) == 1:
                return 0  # it changed, so it is in use; or somebody else deleted it
            return sum(self.delete(table, partition, [row]) for row in rows)
        return len(rows)


def batches(rows: Sequence[Row], most: int = MOST_OPERATIONS) -> Iterator[Sequence[Row]]:
    """Rows in pieces that a transaction takes."""
    for start in range(0, len(rows), most):
        yield rows[start : start + most]


def all_rows(store: Store, table: Table, partition: str) -> Iterable[Row]:
    """Every row of a partition, in key order."""
    return incidents.rows(store, partition, "", table)
