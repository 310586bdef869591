"""Repeats as the edge sees them: which signals of a body say what is known, and which bodies came a moment ago.

In: signals, and what this process remembers of open groups. Out: firings to look up; whole bodies known by heart.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from datetime import datetime
from typing import cast

from shared.agents.sentinel.alerts import (
    MAX_FINGERPRINT_CHARS,
    MAX_LABELS_CHARS,
    MAX_NAME_CHARS,
    MAX_RESOURCE_CHARS,
    alert_of,
)
from shared.agents.sentinel.collector import Received
from shared.agents.sentinel.fold_memory import Firing
from shared.agents.sentinel.grouping import group_key
from shared.config.schema import Routing
from shared.model.alert import Alert
from shared.model.signal import Severity, Signal, SignalKind, Status

MAX_BODIES = 4_000
MAX_SIGNALS = 64  # of a body that is known by heart


def firing_of(signal: Signal, routing: Routing) -> Firing | None:
    """What the router would look up for this signal; ``None`` for what never is a repeat (rule S6)."""
    if signal.kind is not SignalKind.ALERT or signal.status is Status.RESOLVED:
        return None
    if _short(signal):  # the alert would have the very same texts
        severity = (signal.severity or Severity.SEV3) if signal.recognised else Severity.SEV4
        key = group_key(cast(Alert, signal), routing)
        began = signal.starts_at or signal.at
        return Firing(key, signal.fingerprint, began, severity, signal.at, signal.count)
    alert = alert_of(signal)
    return Firing(group_key(alert, routing), alert.fingerprint, alert.starts_at, alert.severity, alert.at, alert.count)


def _short(signal: Signal) -> bool:
    return (
        0 < len(signal.fingerprint) <= MAX_FINGERPRINT_CHARS
        and len(signal.name) <= MAX_NAME_CHARS
        and len(signal.service) <= MAX_NAME_CHARS
        and len(signal.environment) <= MAX_NAME_CHARS
        and len(signal.resource) <= MAX_RESOURCE_CHARS
        and sum(map(len, signal.labels)) + sum(map(len, signal.labels.values())) <= MAX_LABELS_CHARS
        and all(len(value) <= MAX_RESOURCE_CHARS for value in signal.labels.values())
    )


@dataclass(frozen=True, slots=True)
class Known:
    """A body that held nothing but repeats, and would be read the same until ``until``."""

    received: Received
    firings: tuple[Firing, ...]
    until: datetime


class Bodies:
    """Bodies that came a moment ago, so that the same bytes again need not be read; shared by threads.

    Senders say a state again byte for byte: an Alertmanager that repeats, and each of a pair of them.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: dict[tuple[str, bytes], Known] = {}

    def find(self, source: str, digest: bytes, now: datetime) -> Known | None:
        """What is known of these bytes from this source."""
        known = self._known.get((source, digest))
        return known if known is not None and now <= known.until else None

    def learn(self, source: str, digest: bytes, known: Known) -> None:
        """Remember a body; those that were learned longest ago make room."""
        if len(known.firings) > MAX_SIGNALS:
            return
        with self._lock:
            self._known.pop((source, digest), None)
            self._known[source, digest] = known
            if len(self._known) > MAX_BODIES:
                del self._known[next(iter(self._known))]
