"""Seeded alerts, and how each kind of sender writes them.

In: a seed and counts. Out: the same alerts in the same order, whatever the format; request bodies.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson

NAMES = (
    *("HighErrorRate", "HighLatencyP99", "PodCrashLooping", "DiskPressure", "QueueBacklog"),
    *("CpuThrottled", "DbConnectionsExhausted", "CertificateExpiring", "MemoryHigh", "Http5xx"),
)
SEVERITIES = ("critical", "warning", "info", "warning")
AZURE = {"critical": "Sev0", "warning": "Sev2", "info": "Sev3"}
SUBSCRIPTION = "/subscriptions/11111111-1111-1111-1111-111111111111"
PADDING = "x" * 120  # alerts of the field have a description of about this length


@dataclass(frozen=True, slots=True)
class Identity:
    """What makes an alert the one it is."""

    number: int
    service: str
    name: str
    host: str
    severity: str
    region: str
    value: float
    fingerprint: str


def identities(seed: int, distinct: int, services: int, prefix: str = "svc") -> list[Identity]:
    """Distinct alerts in a shuffled order; every service has ``distinct / services`` of them."""
    rng = random.Random(seed)  # noqa: S311  the same alerts every time, nothing secret
    found = [
        Identity(
            number=i,
            service=f"{prefix}-{i % services:04d}",
            name=NAMES[(i // services) % len(NAMES)],
            host=f"node-{i:06d}",
            severity=rng.choice(SEVERITIES),
            region=rng.choice(("weu", "neu", "eus2")),
            value=round(rng.random() * 100, 3),
            fingerprint=f"{rng.getrandbits(64):016x}",
        )
        for i in range(distinct)
    ]
    rng.shuffle(found)
    return found


def labels(alert: Identity) -> dict[str, str]:
    """Prometheus labels."""
    return {
        "alertname": alert.name,
        "service": alert.service,
        "instance": alert.host,
        "severity": alert.severity,
        "region": alert.region,
        "env": "prod",
    }


def _notes(alert: Identity) -> dict[str, str]:
    return {
        "summary": f"{alert.name} on {alert.service} at {alert.host}",
        "description": f"value {alert.value} over threshold for 5m {PADDING}",
        "runbook_url": f"https://runbooks.example/{alert.name}",
    }


def prometheus(alerts: Sequence[Identity], at: datetime) -> Any:
    """The list that Prometheus posts to an Alertmanager."""
    return [
        {
            "labels": labels(alert),
            "annotations": _notes(alert),
            "startsAt": at.isoformat(),
            "endsAt": (at + timedelta(hours=1)).isoformat(),
            "generatorURL": "http://prometheus.example/graph",
        }
        for alert in alerts
    ]


def alertmanager(alerts: Sequence[Identity], at: datetime) -> Any:
    """Alertmanager's webhook, version 4."""
    firing = [
        {
            "status": "firing",
            "labels": labels(alert),
            "annotations": _notes(alert),
            "startsAt": at.isoformat(),
            "endsAt": "0001-01-01T00:00:00Z",
            "generatorURL": "http://prometheus.example/graph",
            "fingerprint": alert.fingerprint,
        }
        for alert in alerts
    ]
    return {"version": "4", "groupKey": "{}", "status": "firing", "receiver": "argus", "alerts": firing}


def azure(alerts: Sequence[Identity], at: datetime) -> Any:
    """Azure Monitor's common alert schema; one alert a body."""
    (alert,) = alerts
    resource = (
        f"{SUBSCRIPTION}/resourcegroups/rg-{alert.service}/providers/microsoft.compute/virtualmachines/{alert.host}"
    )
    essentials = {
        "alertId": f"{SUBSCRIPTION}/providers/Microsoft.AlertsManagement/alerts/{alert.fingerprint}",
        "alertRule": alert.name,
        "severity": AZURE[alert.severity],
        "signalType": "Metric",
        "monitorCondition": "Fired",
        "monitoringService": "Platform",
        "alertTargetIDs": [resource],
        "configurationItems": [alert.host],
        "originAlertId": f"{alert.fingerprint}_{resource}",
        "firedDateTime": at.isoformat(),
        "description": _notes(alert)["description"],
        "essentialsVersion": "1.0",
        "alertContextVersion": "1.0",
        "targetResourceType": "microsoft.compute/virtualmachines",
    }
    measured = {
        "metricName": alert.name,
        "metricNamespace": "Microsoft.Compute/virtualMachines",
        "operator": "GreaterThan",
        "threshold": "25",
        "timeAggregation": "Average",
        "dimensions": [{"name": "service", "value": alert.service}, {"name": "host", "value": alert.host}],
        "metricValue": alert.value,
        "webTestName": None,
    }
    context = {
        "properties": None,
        "conditionType": "SingleResourceMultipleMetricCriteria",
        "condition": {
            "windowSize": "PT5M",
            "allOf": [measured],
            "windowStartTime": (at - timedelta(minutes=5)).isoformat(),
            "windowEndTime": at.isoformat(),
        },
    }
    custom = {"service": alert.service, "env": "prod", "region": alert.region}
    return {
        "schemaId": "azureMonitorCommonAlertSchema",
        "data": {"essentials": essentials, "alertContext": context, "customProperties": custom},
    }


FORMATS: Mapping[str, Callable[[Sequence[Identity], datetime], Any]] = {
    "prometheus": prometheus,
    "alertmanager": alertmanager,
    "azure": azure,
}


@dataclass(frozen=True, slots=True)
class Body:
    """One request body, and which alerts it holds."""

    content: bytes
    alerts: tuple[Identity, ...]


def bodies(format_: str, alerts: Sequence[Identity], count: int, batch: int, at: datetime | None = None) -> list[Body]:
    """Request bodies for ``count`` alerts, beginning again after the last.

    Alertmanager's webhook carries one group, so its bodies hold alerts of one service. A body that was written before
    is the same object, so that a hundred thousand repeats fit into memory.

    Args:
        at: when every alert began; now by default.
    """
    write, grouped = FORMATS[format_], format_ == "alertmanager"
    at = at or datetime.now(UTC)
    order = sorted(alerts, key=lambda alert: alert.service) if grouped else list(alerts)
    known: dict[tuple[int, int], Body] = {}
    found: list[Body] = []
    sent = 0
    while sent < count:
        first, size = sent % len(order), min(batch, count - sent, len(order) - sent % len(order))
        chosen = tuple(order[first : first + size])
        if grouped:
            chosen = tuple(alert for alert in chosen if alert.service == chosen[0].service)
        place = (first, len(chosen))
        if place not in known:
            known[place] = Body(orjson.dumps(write(chosen, at)), chosen)
        found.append(known[place])
        sent += len(chosen)
    return found
