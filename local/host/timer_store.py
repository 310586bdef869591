"""Schedule monitor and leases of timers, in a SQLite file that several hosts may share.

In: claims and results of runs. Out: who may run an occurrence, and what was due while nobody ran.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

BUSY_TIMEOUT_S = 5.0
_SCHEMA = """
CREATE TABLE IF NOT EXISTS timers (
    name TEXT PRIMARY KEY, schedule TEXT NOT NULL, last TEXT, next TEXT NOT NULL, updated TEXT NOT NULL,
    owner TEXT, lease_until REAL NOT NULL DEFAULT 0
) WITHOUT ROWID
"""


@dataclass(frozen=True, slots=True)
class TimerStatus:
    """What is known of a timer; moments are aware and UTC.

    Attributes:
        schedule: expression the other fields belong to.
        last: when it last ran, None before the first run.
        next_due: the occurrence to run next, possibly past.
        updated: when this was written.
    """

    schedule: str
    last: datetime | None
    next_due: datetime
    updated: datetime


# A lease that ends later than any given now could was given before the clock was set back: it is over.
_FREE = "(owner IS NULL OR lease_until<? OR lease_until>?)"


def _free(now: datetime, lease_s: float) -> tuple[float, float]:
    return now.timestamp(), now.timestamp() + 2 * lease_s


def _iso(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat()


class TimerStore:
    """One file, opened anew for each short operation, so that it works from any thread and any host.

    Args:
        path: created when absent.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        with closing(self._connect()) as connection:
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute(_SCHEMA)

    def _connect(self) -> sqlite3.Connection:
        return sqlite3.connect(self._path, timeout=BUSY_TIMEOUT_S, isolation_level=None)

    @contextmanager
    def _write(self) -> Iterator[sqlite3.Connection]:
        with closing(self._connect()) as connection:
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
            except BaseException:
                connection.execute("ROLLBACK")
                raise
            connection.execute("COMMIT")

    def enrol(self, name: str, schedule: str, first: datetime, now: datetime) -> TimerStatus:
        """The timer's status; begun anew when it is unknown or its schedule has changed."""
        with self._write() as connection:
            row = connection.execute(
                "SELECT schedule, last, next, updated FROM timers WHERE name=?", (name,)
            ).fetchone()
            if row is None or row[0] != schedule:
                last = None if row is None else row[1]
                connection.execute(
                    "INSERT INTO timers (name, schedule, last, next, updated) VALUES (?,?,?,?,?) ON CONFLICT(name)"
                    " DO UPDATE SET schedule=excluded.schedule, next=excluded.next, updated=excluded.updated",
                    (name, schedule, last, _iso(first), _iso(now)),
                )
                row = (schedule, last, _iso(first), _iso(now))
        return TimerStatus(
            row[0],
            None if row[1] is None else datetime.fromisoformat(row[1]),
            datetime.fromisoformat(row[2]),
            datetime.fromisoformat(row[3]),
        )

    def claim(self, name: str, due: datetime, owner: str, now: datetime, lease_s: float) -> bool:
        """Takes an occurrence: true for one host only, and for none while the timer runs anywhere."""
        with self._write() as connection:
            cursor = connection.execute(
                f"UPDATE timers SET owner=?, lease_until=? WHERE name=? AND next=? AND {_FREE}",  # noqa: S608 - fixed
                (owner, now.timestamp() + lease_s, name, _iso(due), *_free(now, lease_s)),
            )
            return cursor.rowcount == 1

    def claim_now(self, name: str, owner: str, now: datetime, lease_s: float) -> bool:
        """Takes the timer for a run that no schedule asked for; false while it runs anywhere."""
        with self._write() as connection:
            cursor = connection.execute(
                f"UPDATE timers SET owner=?, lease_until=? WHERE name=? AND {_FREE}",  # noqa: S608 - fixed
                (owner, now.timestamp() + lease_s, name, *_free(now, lease_s)),
            )
            return cursor.rowcount == 1

    def renew(self, name: str, owner: str, now: datetime, lease_s: float) -> None:
        """Keeps a running timer's lease alive."""
        with self._write() as connection:
            connection.execute(
                "UPDATE timers SET lease_until=? WHERE name=? AND owner=?", (now.timestamp() + lease_s, name, owner)
            )

    def set_back(self, name: str, due: datetime, sooner: datetime, now: datetime) -> None:
        """Puts the next occurrence to where a clock that was set back wants it, unless somebody has already."""
        with self._write() as connection:
            connection.execute(
                "UPDATE timers SET next=?, updated=? WHERE name=? AND next=?",
                (_iso(sooner), _iso(now), name, _iso(due)),
            )

    def finish(self, name: str, owner: str, last: datetime, next_due: datetime | None, now: datetime) -> None:
        """Records a run and gives the lease back; `next_due` None leaves the schedule where it was."""
        with self._write() as connection:
            connection.execute(
                "UPDATE timers SET last=?, next=coalesce(?, next), updated=?, owner=NULL, lease_until=0"
                " WHERE name=? AND owner=?",
                (_iso(last), None if next_due is None else _iso(next_due), _iso(now), name, owner),
            )

    def status(self, name: str) -> TimerStatus | None:
        """The timer's status, None when it was never enrolled."""
        with closing(self._connect()) as connection:
            row = connection.execute(
                "SELECT schedule, last, next, updated FROM timers WHERE name=?", (name,)
            ).fetchone()
        if row is None:
            return None
        last = None if row[1] is None else datetime.fromisoformat(row[1])
        return TimerStatus(row[0], last, datetime.fromisoformat(row[2]), datetime.fromisoformat(row[3]))
