"""What the readers of Azure's shapes agree on.

In: nothing. Out: two records, one for an alert and one for its context.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from shared.model.signal import Severity, Status


@dataclass(frozen=True, slots=True)
class Story:
    """What an ``alertContext`` tells, whatever service wrote it.

    Attributes:
        name: a name for the alert when its rule has none.
        at: when it happened, by the context's own clock.
        identity: what tells this alert from others of the same rule.
        items: computers or resources by name.
        related: further resource ids that may lead to a service.
        custom: properties the rule's author added.
    """

    name: str = ""
    summary: str = ""
    description: str = ""
    at: datetime | None = None
    identity: tuple[str, ...] = ()
    items: tuple[str, ...] = ()
    related: tuple[str, ...] = ()
    labels: Mapping[str, Any] = field(default_factory=dict)
    custom: Mapping[str, Any] = field(default_factory=dict)
    value: float | None = None
    unit: str = ""
    links: tuple[Any, ...] = ()


@dataclass(frozen=True, slots=True)
class Found:
    """One alert of any shape, before it becomes a signal.

    Attributes:
        identity: shared by firing and resolve of one alert, and by no other alert.
        severity: as Azure wrote it; empty when it did not.
        usual_severity: what this kind of alert has when Azure wrote none.
        seen_at: a time to use when ``fired_at`` is unknown.
        targets: resource ids, the affected one first.
        items: names of what is affected.
    """

    name: str
    status: Status
    identity: tuple[str, ...]
    severity: str = ""
    usual_severity: Severity | None = None
    fired_at: datetime | None = None
    resolved_at: datetime | None = None
    seen_at: datetime | None = None
    targets: tuple[str, ...] = ()
    items: tuple[str, ...] = ()
    related: tuple[str, ...] = ()
    labels: Mapping[str, Any] = field(default_factory=dict)
    custom: Mapping[str, Any] = field(default_factory=dict)
    summary: str = ""
    description: str = ""
    value: float | None = None
    unit: str = ""
    links: tuple[Any, ...] = ()
