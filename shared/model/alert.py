"""An alert: a judged signal with an identity, ready to be routed.

In: signals and rule evaluations. Out: what the router groups and incidents hold.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from shared.model.signal import Severity, Status


@dataclass(frozen=True, slots=True)
class Alert:
    """One alert in one state.

    Attributes:
        fingerprint: identity; firing, repeats and resolve of one alert share it.
        at: the source's time of this state; an older state never overwrites a newer one (rule S7).
        starts_at: when this firing began.
        rule: id of our own rule that fired; empty when the source judged.
        signal_id: the signal that caused this state.
    """

    fingerprint: str
    name: str
    service: str
    severity: Severity
    status: Status
    at: datetime
    starts_at: datetime
    source: str
    signal_id: str
    environment: str = ""
    summary: str = ""
    description: str = ""
    resource: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    rule: str = ""
    value: float | None = None
    unit: str = ""
    count: int = 1
    link: str = ""
    payload: str = ""
