"""What one process remembers about repeats, so that most of them cost no look at the store (rule S6).

In: members of open groups that the router or the edge has just read, and repeats of them. Out: counts, written every
few seconds.
"""

from __future__ import annotations

import logging
import threading
import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from shared.model.alert import Alert
from shared.model.errors import TransientError
from shared.model.signal import Severity, Status
from shared.ports.store import Store
from shared.records import counters
from shared.records.counters import Repeats
from shared.records.groups import Claim, GroupState, Member, Rows

log = logging.getLogger("argus.alert_router")

FRESH = timedelta(seconds=10)  # rule S6
READ_AGAIN = timedelta(seconds=1)  # a group whose incident is not open yet, or just ended
WRITE_EVERY = timedelta(seconds=5)  # rule S6
FORGOTTEN = timedelta(days=7)
MAX_SEEN = 50_000
MAX_SAID = 20_000
OFFERED = timedelta(seconds=10)  # a creation waits no longer on its queue, or it is worth another


@dataclass(frozen=True, slots=True)
class Firing:
    """As much of an alert that fires as tells whether it is a repeat."""

    group_key: str
    fingerprint: str
    starts_at: datetime
    severity: Severity
    at: datetime
    count: int = 1

    @property
    def name(self) -> tuple[str, str]:
        """Which alert it is."""
        return self.group_key, self.fingerprint

    @property
    def state(self) -> tuple[datetime, Severity]:
        """What no repeat changes."""
        return self.starts_at, self.severity

    @property
    def digest(self) -> int:
        """Alert and state as one number: tens of thousands are remembered, and one that is mistaken costs a look."""
        return _digest(self.name, self.state)


@dataclass(frozen=True, slots=True)
class _Seen:
    signal_id: str
    starts_at: datetime
    severity: Severity
    generation: int
    incident_id: str
    read_at: datetime


def _digest(name: tuple[str, str], state: tuple[datetime, Severity]) -> int:
    return hash((name, state))


class FoldMemory:
    """Shared by the threads of one process.

    Args:
        instance: unique for the process; readers sum over all instances.
    """

    def __init__(self, instance: str = "") -> None:
        self._instance = instance or uuid.uuid4().hex
        self._lock = threading.Lock()
        self._flushing = threading.Lock()
        self._seen: dict[tuple[str, str], _Seen] = {}
        self._said: set[int] = set()
        self._said_before: set[int] = set()
        self._read_again: dict[str, datetime] = {}
        self._offered: dict[str, datetime] = {}
        self._tidied_at: datetime | None = None
        self._counts: dict[tuple[str, str], dict[str, Repeats]] = {}
        self._unwritten: set[tuple[str, str]] = set()
        self._flushed_at: datetime | None = None

    def learn(self, group: GroupState, member: Member, now: datetime) -> None:
        """Remember a firing member of a group that was read as open at ``now``, which is before the reading."""
        with self._lock:
            self._learn(group, member, now)

    def learn_group(self, group_key: str, rows: Rows, now: datetime) -> None:
        """Remember every firing member of a group, if it is open; ``now`` is before the reading."""
        group = rows.group
        takes = group is not None and group.state is Claim.OPEN
        with self._lock:
            if len(self._read_again) >= MAX_SEEN:
                self._read_again = {key: then for key, then in self._read_again.items() if then > now}
            self._read_again[group_key] = now + (FRESH if takes else READ_AGAIN)
            if group is None or not takes:
                return
            for member in rows.members.values():
                if member.status is Status.FIRING and member.generation == group.generation:
                    self._learn(group, member, now)

    def said(self, firing: Firing) -> None:
        """This process has put a firing on the bus; the next of the kind may be a repeat worth a look at the store."""
        with self._lock:
            self._say(firing.digest)

    def worth_reading(self, firing: Firing, now: datetime) -> bool:
        """Whether a look at its group may show that it is a repeat; true once in 10 s for each group that is open."""
        with self._lock:
            seen = self._seen.get(firing.name)
            if seen is not None:
                known = (seen.starts_at, seen.severity) == firing.state
            else:
                known = firing.digest in self._said or firing.digest in self._said_before
            return known and self._read_again.get(firing.group_key, now) <= now

    def repeated(self, firing: Firing, now: datetime) -> int:
        """The generation of the group in which it certainly is a repeat; 0 when it must be routed.

        For what comes from outside: other than in `fold`, the signal itself is as good as a repeat of it, because its
        member was written after the incident was told (rule S5), and nothing from outside comes back from an incident.
        """
        with self._lock:
            seen = self._seen.get(firing.name)
            fresh = seen is not None and timedelta(0) <= now - seen.read_at <= FRESH
            same = seen is not None and (seen.starts_at, seen.severity) == firing.state
            return seen.generation if seen is not None and fresh and same else 0

    def add(self, firing: Firing, generation: int, now: datetime, back: bool = False) -> None:
        """Count what `repeated` at ``now``, at once, so that its end is put off in time (rule C1).

        Args:
            back: its sender was told that it was not received, and will send it again: it does not count; that it was
                heard stays true.
        """
        with self._lock:
            count = -firing.count if back else firing.count
            self._add(firing.group_key, generation, Repeats(count, now, firing.at))

    def offered(self, incident_id: str, now: datetime) -> bool:
        """Whether this process has put the creation of this incident on the bus a moment ago."""
        with self._lock:
            return now < self._offered.get(incident_id, now)

    def offer(self, incident_ids: Iterable[str], now: datetime) -> None:
        """The bus has the creations of these incidents; for some seconds nobody here need send them again (rule S3)."""
        with self._lock:
            if len(self._offered) >= MAX_SEEN:
                self._offered = {known: until for known, until in self._offered.items() if until > now}
            self._offered.update(dict.fromkeys(incident_ids, now + OFFERED))

    def forget(self, group_key: str, fingerprint: str) -> None:
        """The alert is in another state now; its next firing must be looked at."""
        with self._lock:
            self._seen.pop((group_key, fingerprint), None)

    def fold(self, group_key: str, alert: Alert, now: datetime) -> str:
        """Count a repeat, if it is certain to be one.

        The very signal that the incident was told of is none: it may have come back from an incident that had closed.

        Returns:
            The incident it repeats in; empty when it must be routed.
        """
        with self._lock:
            seen = self._seen.get((group_key, alert.fingerprint))
            if (
                seen is None
                or alert.status is not Status.FIRING
                or alert.signal_id == seen.signal_id
                or (seen.starts_at, seen.severity) != (alert.starts_at, alert.severity)
                or not timedelta(0) <= now - seen.read_at <= FRESH
            ):
                return ""
            self._count(group_key, seen.generation, alert, now)
            return seen.incident_id

    def count(self, group_key: str, generation: int, alert: Alert, now: datetime) -> None:
        """Count a repeat that the router recognised in the store."""
        with self._lock:
            self._count(group_key, generation, alert, now)

    def flush(self, store: Store, now: datetime, force: bool = False) -> bool:
        """Write what was counted, at most every 5 s; a store that cannot be reached keeps it for the next time.

        Args:
            force: write now, such as before the process ends.

        Returns:
            False when something is still unwritten.
        """
        if not self._flushing.acquire(blocking=False):
            return False  # another thread is writing; a second writer could overtake it with older counts
        try:
            with self._lock:
                if not force and self._flushed_at is not None and now - self._flushed_at < WRITE_EVERY:
                    return not self._unwritten
                self._flushed_at = now
                self._drop_old(now)
                due = {where: dict(self._counts.get(where, {})) for where in self._unwritten}
                self._unwritten = set()
            for partition in sorted({where[0] for where in due}):
                together = {where: groups for where, groups in due.items() if where[0] == partition}
                try:
                    counters.write_chunks(store, self._instance, together, now)
                except TransientError as error:
                    log.warning("repeat counts wait: %s", error)
                    with self._lock:
                        self._unwritten.update(together)
            with self._lock:
                return not self._unwritten
        finally:
            self._flushing.release()

    def _learn(self, group: GroupState, member: Member, now: datetime) -> None:
        name = group.group_key, member.fingerprint
        known = self._seen.get(name)
        if known is not None and known.read_at > now:
            return  # somebody has read it later, and may have read another state
        if self._tidied_at is None or now - self._tidied_at >= FRESH:
            self._tidy(now)
        if known is None and len(self._seen) >= MAX_SEEN:
            return
        self._seen[name] = _Seen(
            member.signal_id, member.starts_at, member.severity, group.generation, group.incident_id, now
        )

    def _say(self, digest: int) -> None:
        self._said.add(digest)
        if len(self._said) >= MAX_SAID:  # the newest stay, as many again at the most
            self._said, self._said_before = set(), self._said

    def _tidy(self, now: datetime) -> None:
        """Of what is too old to fold by, only that a repeat of it is worth a look."""
        self._tidied_at = now
        old = [(name, seen) for name, seen in self._seen.items() if now - seen.read_at > FRESH]
        for name, seen in old:
            del self._seen[name]
            self._say(_digest(name, (seen.starts_at, seen.severity)))

    def _count(self, group_key: str, generation: int, alert: Alert, now: datetime) -> None:
        self._add(group_key, generation, Repeats(alert.count, now, alert.at))

    def _add(self, group_key: str, generation: int, more: Repeats) -> None:
        where, name = counters.address(group_key), counters.entry(group_key, generation)
        chunk = self._counts.setdefault(where, {})
        known = chunk.get(name)
        chunk[name] = more if known is None else known.plus(more)
        self._unwritten.add(where)

    def _drop_old(self, now: datetime) -> None:
        for where, chunk in self._counts.items():
            self._counts[where] = {
                name: repeats
                for name, repeats in chunk.items()
                if repeats.last_seen is None or now - repeats.last_seen < FORGOTTEN
            }
