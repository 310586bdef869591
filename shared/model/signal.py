"""What a monitoring system told us, in one shape for all of them.

In: what a source adapter read from a webhook body or a poll. Out: values for the evaluator.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum


class Severity(StrEnum):
    """Azure Monitor's scale, used for every source; Sev0 is the worst."""

    SEV0 = "sev0"
    SEV1 = "sev1"
    SEV2 = "sev2"
    SEV3 = "sev3"
    SEV4 = "sev4"

    @property
    def opens_incident(self) -> bool:
        """Sev0 to Sev3 open an incident; Sev4 is listed (ARCHITECTURE, section 5)."""
        return self is not Severity.SEV4


class Status(StrEnum):
    """State of an alert as its source sees it."""

    FIRING = "firing"
    RESOLVED = "resolved"


class SignalKind(StrEnum):
    """Whether the source judged already (alert) or only measured (sample)."""

    ALERT = "alert"
    SAMPLE = "sample"


@dataclass(frozen=True, slots=True)
class Signal:
    """One observation.

    Attributes:
        id: UUIDv5 of the receipt and the position in it; a repeat has the same id (rule M2).
        source: registered source name, such as ``azure_monitor``; pollers use their own name.
        kind: ``alert`` (the source has judged) or ``sample`` (a number for our rules).
        name: alert rule, or metric name for a sample.
        at: the source's own time of this state or measurement, aware UTC.
        service: the service concerned as the source names it; empty when it does not say.
        resource: the thing itself: ARM id, instance, URL; empty when unknown.
        labels: what else identifies it.
        fingerprint: identity of the alert at its source; stable over firing, repeat and resolve.
        severity: for alerts only.
        status: for alerts only.
        starts_at: when the alert began firing, by the source's clock.
        value: the measured number of a sample, or the value that fired.
        unit: unit of ``value``, such as ``ratio`` or ``ms``; empty when unknown.
        count: how many events this stands for.
        payload: reference into ``payloads`` to the raw body; empty when there is none.
        recognised: false when no known shape fitted and the raw body is all there is.
    """

    id: str
    source: str
    kind: SignalKind
    name: str
    at: datetime
    service: str = ""
    environment: str = ""
    resource: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    fingerprint: str = ""
    severity: Severity | None = None
    status: Status | None = None
    starts_at: datetime | None = None
    summary: str = ""
    description: str = ""
    value: float | None = None
    unit: str = ""
    count: int = 1
    link: str = ""
    payload: str = ""
    recognised: bool = True
