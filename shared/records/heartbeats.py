"""Rows of `heartbeats`: when timers and parts last worked, what was told about them, and the last look at it all.

In: what the watch and the timers saw. Out: one partition that is read with one query.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from shared.model.signal import Severity
from shared.ports.queue_watch import QueueState
from shared.ports.store import Conflict, Delete, Store, Table, Upsert
from shared.records.rows import key_of, pack, unpack

PARTITION = "argus"
BEAT = "beat|"
RAISED = "raised|"
REPORT = "report"
TIMER = "timer"  # kinds of beats, as the first word of their names
MAX_WHY_CHARS = 300


@dataclass(frozen=True, slots=True)
class Beat:
    """How a timer or a part last did.

    Attributes:
        name: such as ``timer sweep`` or ``channel ops-teams``.
        failures: in a row; 0 when it works.
        since: when the first of them was.
    """

    name: str
    ok_at: datetime | None = None
    failed_at: datetime | None = None
    failures: int = 0
    since: datetime | None = None
    why: str = ""

    @property
    def last_at(self) -> datetime | None:
        """When it was last tried, whatever came of it."""
        return max((at for at in (self.ok_at, self.failed_at) if at is not None), default=None)


@dataclass(frozen=True, slots=True)
class Raised:
    """A problem of ARGUS itself that somebody was told about.

    Attributes:
        key: what is broken and how; the same as long as it lasts.
        direct: people were told directly on the channels.
        piped: a signal about it went into the pipeline.
    """

    key: str
    title: str
    text: str
    severity: Severity
    since: datetime
    told_at: datetime
    direct: bool = False
    piped: bool = False


@dataclass(frozen=True, slots=True)
class WaitingHold:
    """A held event."""

    incident_id: str
    reason: str
    until: datetime
    since: datetime


@dataclass(frozen=True, slots=True)
class WaitingApproval:
    """An approval nobody has decided yet."""

    approval_id: str
    incident_id: str
    title: str
    deadline: datetime
    votes: int = 0
    reminded: bool = False


@dataclass(frozen=True, slots=True)
class Report:
    """What the watch saw when it last looked."""

    at: datetime
    queues: tuple[QueueState, ...] = ()
    held: tuple[WaitingHold, ...] = ()
    approvals: tuple[WaitingApproval, ...] = ()
    dead_letters: int = 0
    unknown: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Known:
    """Everything there is, from one query."""

    beats: tuple[Beat, ...] = ()
    raised: tuple[Raised, ...] = ()
    report: Report | None = None

    def beat(self, name: str) -> Beat | None:
        """The beat of a name, or ``None``."""
        return next((beat for beat in self.beats if beat.name == name), None)


def is_late(beat: Beat | None, limit_s: float, started_at: datetime, now: datetime) -> bool:
    """Whether a timer has not run for too long; one that never ran is late from when somebody began to look."""
    last = beat.last_at if beat and beat.last_at else started_at
    return now - last > timedelta(seconds=limit_s)


def read(store: Store) -> Known:
    """Everything the watch knows."""
    beats: list[Beat] = []
    raised: list[Raised] = []
    report: Report | None = None
    start: str | None = ""
    while start is not None:
        page = store.query(Table.HEARTBEATS, PARTITION, start)
        for row in page.rows:
            if row.key.startswith(BEAT):
                beats.append(unpack(Beat, row.values))
            elif row.key.startswith(RAISED):
                raised.append(unpack(Raised, row.values))
            elif row.key == REPORT:
                report = unpack(Report, row.values)
        start = page.next_key
    return Known(tuple(beats), tuple(raised), report)


def beat_of(store: Store, name: str) -> Beat | None:
    """One beat, or ``None``."""
    row = store.get(Table.HEARTBEATS, PARTITION, BEAT + key_of(name))
    return None if row is None else unpack(Beat, row.values)


def put_beat(store: Store, beat: Beat) -> None:
    """Write a beat over the one before."""
    store.write(Table.HEARTBEATS, PARTITION, Upsert(BEAT + key_of(beat.name), pack(beat)))


def put_raised(store: Store, raised: Raised) -> None:
    """Remember that somebody was told."""
    store.write(Table.HEARTBEATS, PARTITION, Upsert(RAISED + key_of(raised.key), pack(raised)))


def drop(store: Store, raised: Sequence[Raised] = (), beats: Sequence[Beat] = ()) -> None:
    """Forget problems that are over, and beats of parts nobody tries any more."""
    for key in (*(RAISED + key_of(r.key) for r in raised), *(BEAT + key_of(b.name) for b in beats)):
        try:
            store.write(Table.HEARTBEATS, PARTITION, Delete(key, None))
        except Conflict:
            continue  # another host was faster


def put_report(store: Store, report: Report) -> None:
    """Keep the last look, for pages and the command line."""
    store.write(Table.HEARTBEATS, PARTITION, Upsert(REPORT, pack(report)))
