"""Alerts out of signals that a source has judged itself.

In: a signal of kind alert. Out: an alert whose texts fit every message and row.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from shared.model.alert import Alert
from shared.model.event import derive_id
from shared.model.signal import Severity, Signal, Status
from shared.records.rows import labels_text

# Together at most about 12,000 characters, so that an event with one alert stays below 48 KB in any script (rule M5).
# The raw body, where there is one, is under ``payload``.
MAX_NAME_CHARS = 200
MAX_SUMMARY_CHARS = 500
MAX_DESCRIPTION_CHARS = 4000
MAX_LINK_CHARS = 2000
MAX_RESOURCE_CHARS = 500
MAX_LABELS_CHARS = 4000
MAX_FINGERPRINT_CHARS = 200


def alert_of(signal: Signal) -> Alert:
    """The alert a signal of kind alert stands for.

    What nobody recognised is an alert of the lowest severity; what a source calls firing without a severity is a Sev3,
    so that it is looked at. Without a beginning of its own a firing began when it was seen.
    """
    severity = signal.severity or Severity.SEV3
    return Alert(
        fingerprint=_fingerprint(signal),
        name=cut(signal.name, MAX_NAME_CHARS),
        service=cut(signal.service, MAX_NAME_CHARS),
        environment=cut(signal.environment, MAX_NAME_CHARS),
        severity=severity if signal.recognised else Severity.SEV4,
        status=signal.status or Status.FIRING,
        at=signal.at,
        starts_at=signal.starts_at or signal.at,
        source=signal.source,
        signal_id=signal.id,
        summary=cut(signal.summary, MAX_SUMMARY_CHARS),
        description=cut(signal.description, MAX_DESCRIPTION_CHARS),
        resource=cut(signal.resource, MAX_RESOURCE_CHARS),
        labels=cut_labels(signal.labels),
        value=signal.value,
        unit=cut(signal.unit, 40),
        count=signal.count,
        link=signal.link if len(signal.link) <= MAX_LINK_CHARS else "",
        payload=signal.payload,
    )


def cut(text: str, most: int) -> str:
    """Text of at most so many characters; what was cut shows."""
    return text if len(text) <= most else f"{text[: most - 1]}…"


def cut_labels(labels: Mapping[str, str]) -> dict[str, str]:
    """Labels in order of their names, as many as fit."""
    kept: dict[str, str] = {}
    room = MAX_LABELS_CHARS
    for name in sorted(labels):
        value = cut(labels[name], MAX_RESOURCE_CHARS)
        room -= len(name) + len(value)
        if room < 0:
            break
        kept[name] = value
    return kept


def _fingerprint(signal: Signal) -> str:
    if not signal.fingerprint:
        return derive_id(
            "alert", signal.source, signal.name, signal.service, signal.resource, labels_text(signal.labels)
        )
    if len(signal.fingerprint) <= MAX_FINGERPRINT_CHARS:
        return signal.fingerprint
    return hashlib.sha256(signal.fingerprint.encode()).hexdigest()
