"""What one process remembers about repeats, so that most of them cost no look at the store (rule S6).

In: members the router has just read in open groups, and repeats of them. Out: counts, written every few seconds.
"""

from __future__ import annotations

import logging
import threading
import uuid
from dataclasses import dataclass
from datetime import datetime, timedelta

from shared.model.alert import Alert
from shared.model.errors import TransientError
from shared.model.signal import Severity, Status
from shared.ports.store import Store
from shared.records import counters
from shared.records.counters import Repeats
from shared.records.groups import GroupState, Member

log = logging.getLogger("argus.alert_router")

FRESH = timedelta(seconds=10)  # rule S6
WRITE_EVERY = timedelta(seconds=5)  # rule S6
FORGOTTEN = timedelta(days=7)
MAX_SEEN = 50_000


@dataclass(frozen=True, slots=True)
class _Seen:
    signal_id: str
    starts_at: datetime
    severity: Severity
    generation: int
    incident_id: str
    read_at: datetime


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
        self._counts: dict[tuple[str, str], dict[str, Repeats]] = {}
        self._unwritten: set[tuple[str, str]] = set()
        self._flushed_at: datetime | None = None

    def learn(self, group: GroupState, member: Member, now: datetime) -> None:
        """Remember a firing member of a group that was read as open at ``now``."""
        with self._lock:
            if len(self._seen) >= MAX_SEEN:
                self._seen = {key: seen for key, seen in self._seen.items() if now - seen.read_at <= FRESH}
            if len(self._seen) < MAX_SEEN:
                self._seen[group.group_key, member.fingerprint] = _Seen(
                    member.signal_id, member.starts_at, member.severity, group.generation, group.incident_id, now
                )

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
            for where in sorted(due):
                try:
                    counters.write(store, self._instance, where, due[where], now)
                except TransientError as error:
                    log.warning("repeat counts wait: %s", error)
                    with self._lock:
                        self._unwritten.add(where)
            with self._lock:
                return not self._unwritten
        finally:
            self._flushing.release()

    def _count(self, group_key: str, generation: int, alert: Alert, now: datetime) -> None:
        where, name = counters.address(group_key), counters.entry(group_key, generation)
        chunk = self._counts.setdefault(where, {})
        chunk[name] = chunk.get(name, Repeats()).plus(Repeats(alert.count, now, alert.at))
        self._unwritten.add(where)

    def _drop_old(self, now: datetime) -> None:
        for where, chunk in self._counts.items():
            self._counts[where] = {
                name: repeats
                for name, repeats in chunk.items()
                if repeats.last_seen is None or now - repeats.last_seen < FORGOTTEN
            }
