"""Incidents as this process committed them a moment ago, for the hops that follow from that very commit.

In: commits. Out: the incident with its ETag, where that spares reading it again (PROTOCOL, rule H1).
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from shared.model.event import (
    ApprovalRequested,
    DiagnosisMade,
    Event,
    IncidentClosed,
    InvestigationRequested,
    NotificationRequested,
    TicketRequested,
    TicketUpdateRequested,
    UpdateKind,
)
from shared.records.incidents import Loaded

FRESH = timedelta(seconds=2)  # shorter than any hop may take, so it is as if the hop had loaded first and been slow
MAX_INCIDENTS = 256
MAX_EMITTED = 64

_AT_ONCE = (
    ApprovalRequested, DiagnosisMade, IncidentClosed, InvestigationRequested, NotificationRequested, TicketRequested,
)  # fmt: skip


@dataclass(slots=True)
class _Kept:
    """``loaded`` is let go of when it is no longer fresh; in a storm an incident has heard of thousands of alerts."""

    loaded: Loaded | None
    version: int
    at: datetime
    emitted: OrderedDict[str, None]


class Recent:
    """What this process knows of incidents, by their commits; threads share it, a restart forgets it.

    It answers only for an event that a commit of this process emitted less than `FRESH` ago: the incident it gives
    holds that commit, and a commit made from it must match its ETag. Who acts on a workload, closes, or reopens a
    ticket is never answered: they read the store.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: OrderedDict[str, _Kept] = OrderedDict()
        self._fresh: OrderedDict[str, _Kept] = OrderedDict()

    def keep(self, loaded: Loaded, emitted: Iterable[str], now: datetime) -> None:
        """Remember a commit and the ids of the events it emitted; an older version never replaces a newer one."""
        incident = loaded.incident
        with self._lock:
            known = self._kept.pop(incident.id, None)
            ids = known.emitted if known else OrderedDict()
            ids.update(dict.fromkeys(emitted))
            while len(ids) > MAX_EMITTED:
                ids.popitem(last=False)
            if known is None or known.version < incident.version:
                known = _Kept(loaded, incident.version, now, ids)
                self._fresh.pop(incident.id, None)
                self._fresh[incident.id] = known
            self._kept[incident.id] = known
            while len(self._kept) > MAX_INCIDENTS:
                self._fresh.pop(self._kept.popitem(last=False)[0], None)
            self._let_go(now)

    def tidy(self, now: datetime) -> None:
        """Let go of what is no longer fresh, also when no further commit comes."""
        with self._lock:
            self._let_go(now)

    def forget(self, incident_id: str) -> None:
        """Somebody else changed the incident; what this process emitted stays known."""
        with self._lock:
            known = self._kept.get(incident_id)
            if known is not None:
                known.loaded = None

    def of(self, event: Event, now: datetime) -> Loaded | None:
        """The incident of an event, where it need not be read."""
        data = event.data
        note = isinstance(data, TicketUpdateRequested) and data.kind is not UpdateKind.REOPEN
        if event.attempt or not (note or isinstance(data, _AT_ONCE)):
            return None
        with self._lock:
            known = self._kept.get(event.subject)
            if known is None or event.id not in known.emitted or abs(now - known.at) >= FRESH:
                return None
            return known.loaded

    def emitted(self, event: Event) -> bool:
        """Whether a commit of this process wrote the event into the outbox."""
        with self._lock:
            known = self._kept.get(event.subject)
            return known is not None and event.id in known.emitted

    def _let_go(self, now: datetime) -> None:
        while self._fresh:
            known = next(iter(self._fresh.values()))
            if abs(now - known.at) < FRESH:
                return
            known.loaded = None
            self._fresh.popitem(last=False)
