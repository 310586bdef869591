"""Which alerts belong together, and which open no incident; values in, values out.

In: an alert and the routing settings. Out: its group's key, or the reason why it is only listed.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime

from shared.config.schema import Routing
from shared.model.alert import Alert

MAX_KEY_CHARS = 500
_OWN = ("service", "environment", "name", "resource", "source")


def group_key(alert: Alert, routing: Routing) -> str:
    """The same for alerts that are alike in everything ``group_by`` names; a missing label is the empty value.

    Alerts that name no service are told apart by what they do name; they have nothing in common but that gap.
    """
    parts = [f"{name}={_escaped(_value(alert, name))}" for name in routing.group_by]
    if "service" in routing.group_by and not alert.service:
        parts.append(f"unowned={_escaped(alert.resource or f'{alert.source} {alert.name}')}")
    key = "|".join(parts) or "everything"
    if len(key) <= MAX_KEY_CHARS:
        return key
    return f"{key[: MAX_KEY_CHARS - 80]}~{hashlib.sha256(key.encode()).hexdigest()}"


@dataclass(frozen=True, slots=True)
class Listing:
    """An alert that opens no incident: ``listed`` or ``suppressed``, and why."""

    what: str
    why: str


def listing_of(alert: Alert, routing: Routing, now: datetime) -> Listing | None:
    """Why a firing opens no incident by itself; ``None`` when it does."""
    for window in routing.maintenance:
        if window.service in ("*", alert.service) and _moment(window.start) <= now < _moment(window.end):
            reason = f": {window.reason}" if window.reason else ""
            covered = "everything" if window.service == "*" else window.service
            return Listing("suppressed", f"{covered} is in maintenance until {window.end}{reason}")
    if alert.severity not in routing.incident_severities:
        return Listing("listed", f"{alert.severity} opens no incident")
    return None


def _value(alert: Alert, name: str) -> str:
    return str(getattr(alert, name)) if name in _OWN else alert.labels.get(name, "")


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace("|", "\\|")


def _moment(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
