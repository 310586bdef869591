"""What an incident has heard of each alert, in a few characters, so that it needs not hold every alert to know them.

In: alerts as they join, by whatever messages. Out: the newest state of each, the same however often it is said.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from shared.model.alert import Alert
from shared.model.incident import MAX_ALERTS_HELD, Incident
from shared.model.signal import Severity, Status

MAX_HEARD = 2000  # about 70 characters each; what an incident forgets beyond this its group still knows
KEPT_WHEN_FULL = 1800
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_SIGNAL_CHARS = 12


@dataclass(frozen=True, slots=True)
class Heard:
    """The newest state of one alert.

    Attributes:
        signal: digest of the signal that brought it.
    """

    status: Status
    at: datetime
    starts_at: datetime
    severity: Severity
    signal: str


def state_of(incident: Incident, fingerprint: str) -> Heard | None:
    """What the incident knows of an alert, whether it holds it whole or not; ``None`` when it never heard of it."""
    kept = incident.heard.get(_name(fingerprint))
    if kept is not None:
        return _parse(kept)
    held = next((alert for alert in incident.alerts if alert.fingerprint == fingerprint), None)
    return None if held is None else _parse(_line(held))


def of(alert: Alert) -> Heard:
    """The state an alert brings."""
    return _parse(_line(alert))


def first(alert: Alert) -> dict[str, str]:
    """What an incident that begins with this alert has heard."""
    return {_name(alert.fingerprint): _line(alert)}


def said_before(state: Heard | None, alert: Alert) -> bool:
    """Whether this is the very state that is known, from the same signal."""
    return state is not None and state == of(alert)


def adding(incident: Incident, alerts: Iterable[Alert]) -> dict[str, str]:
    """What the incident has heard after some alerts, in their order.

    An incident of an earlier version begins with the alerts it holds.
    """
    heard = dict(incident.heard) or {_name(alert.fingerprint): _line(alert) for alert in incident.alerts}
    heard.update((_name(alert.fingerprint), _line(alert)) for alert in alerts)
    if len(heard) <= MAX_HEARD:
        return heard
    newest = sorted(heard.items(), key=lambda item: (item[1][0] == "F", _parse(item[1]).at))[-KEPT_WHEN_FULL:]
    return dict(newest)


def firing(incident: Incident) -> Iterator[str]:
    """Digests of fingerprints that fire; use `digest` to compare."""
    return (name for name, line in incident.heard.items() if line[0] == "F")


def digest(fingerprint: str) -> str:
    """How a fingerprint is called in ``heard``."""
    return _name(fingerprint)


def worth_holding(alerts: tuple[Alert, ...], most: int = MAX_ALERTS_HELD) -> tuple[Alert, ...]:
    """The alerts to hold whole: the one that began first, the newest that fire, then the newest; in their order."""
    if len(alerts) <= most:
        return alerts
    first = min(range(len(alerts)), key=lambda i: alerts[i].starts_at)
    order = sorted(range(len(alerts)), key=lambda i: (i == first, alerts[i].status is Status.FIRING, i))
    return tuple(alerts[i] for i in sorted(order[-most:]))


def _name(fingerprint: str) -> str:
    return hashlib.sha256(fingerprint.encode("utf-8", "replace")).hexdigest()[:12]


def _line(alert: Alert) -> str:
    fires = "F" if alert.status is Status.FIRING else "R"
    signal = hashlib.sha256(alert.signal_id.encode("utf-8", "replace")).hexdigest()[:_SIGNAL_CHARS]
    return f"{fires} {_micros(alert.starts_at)} {_micros(alert.at)} {alert.severity.value} {signal}"


def _parse(line: str) -> Heard:
    fires, starts, at, severity, signal = line.split(" ")
    status = Status.FIRING if fires == "F" else Status.RESOLVED
    return Heard(status, _moment(at), _moment(starts), Severity(severity), signal)


def _micros(at: datetime) -> int:
    return (at - _EPOCH) // _MICROSECOND


def _moment(micros: str) -> datetime:
    return _EPOCH + int(micros) * _MICROSECOND
