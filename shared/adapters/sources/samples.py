"""A believable body for each webhook source, to try a stack without the product.

In: a registered source and the time. Out: the bytes the product would post.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from shared.adapters.sources.alertmanager import fingerprint
from shared.model.errors import PermanentError, Reason
from shared.model.event import derive_id

_SUBSCRIPTION = "/subscriptions/00000000-0000-0000-0000-000000000000"
_LASTS = timedelta(minutes=5)


def sample(source: str, now: datetime, service: str = "shop", resolved: bool = False) -> bytes:
    """A body that fires now, or resolves now what fired five minutes ago.

    Args:
        source: product name, as in the registry.
        service: the service in trouble; the same service gives the same alert, so a resolve finds its firing.

    Raises:
        PermanentError: there is no sample for this source.
    """
    make = _SAMPLES.get(source)
    if make is None:
        raise PermanentError(f"no sample for {source!r}; there are {', '.join(sorted(_SAMPLES))}", Reason.NOT_FOUND)
    now = now.astimezone(UTC)
    body = make(service, now - _LASTS if resolved else now, now if resolved else None)
    return json.dumps(body, indent=2).encode()


def _iso(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _azure_monitor(service: str, fired: datetime, resolved: datetime | None) -> dict[str, Any]:
    site = f"{_SUBSCRIPTION}/resourceGroups/rg-{service}/providers/Microsoft.Web/sites/{service}"
    alert_id = derive_id("sample", "azure_monitor", service)
    return {
        "schemaId": "azureMonitorCommonAlertSchema",
        "data": {
            "essentials": {
                "alertId": f"{_SUBSCRIPTION}/providers/Microsoft.AlertsManagement/alerts/{alert_id}",
                "alertRule": f"{service}-server-errors",
                "severity": "Sev2",
                "signalType": "Metric",
                "monitorCondition": "Resolved" if resolved else "Fired",
                "monitoringService": "Platform",
                "alertTargetIDs": [site.lower()],
                "configurationItems": [service],
                "originAlertId": f"rg-{service}_microsoft.insights_metricAlerts_{service}-server-errors_1",
                "firedDateTime": _iso(fired),
                **({"resolvedDateTime": _iso(resolved)} if resolved else {}),
                "description": f"{service} answers more than five requests in five minutes with a server error.",
                "essentialsVersion": "1.0",
                "alertContextVersion": "1.0",
            },
            "alertContext": {
                "properties": {"service": service},
                "conditionType": "SingleResourceMultipleMetricCriteria",
                "condition": {
                    "windowSize": "PT5M",
                    "allOf": [
                        {
                            "metricName": "Http5xx",
                            "metricNamespace": "Microsoft.Web/sites",
                            "operator": "GreaterThan",
                            "threshold": "5",
                            "timeAggregation": "Total",
                            "dimensions": [],
                            "metricValue": 0 if resolved else 42,
                            "webTestName": None,
                        }
                    ],
                    "windowStartTime": _iso((resolved or fired) - _LASTS),
                    "windowEndTime": _iso(resolved or fired),
                },
            },
            "customProperties": {"service": service},
        },
    }


def _alertmanager(service: str, fired: datetime, resolved: datetime | None) -> dict[str, Any]:
    labels = {
        "alertname": "ServerErrorsHigh",
        "service": service,
        "severity": "critical",
        "instance": f"{service}:8080",
    }
    notes = {
        "summary": f"{service} answers with server errors",
        "description": f"More than one in twenty requests to {service} has failed for five minutes.",
    }
    status = "resolved" if resolved else "firing"
    return {
        "version": "4",
        "groupKey": f'{{}}:{{alertname="ServerErrorsHigh", service="{service}"}}',
        "truncatedAlerts": 0,
        "status": status,
        "receiver": "argus",
        "groupLabels": {"alertname": "ServerErrorsHigh", "service": service},
        "commonLabels": labels,
        "commonAnnotations": notes,
        "externalURL": "http://127.0.0.1:9093",
        "alerts": [
            {
                "status": status,
                "labels": labels,
                "annotations": notes,
                "startsAt": _iso(fired),
                "endsAt": _iso(resolved) if resolved else "0001-01-01T00:00:00Z",
                "generatorURL": "http://127.0.0.1:9090/graph?g0.expr=job%3Ahttp_errors%3Aratio5m+%3E+0.05",
                "fingerprint": fingerprint(labels),
            }
        ],
    }


_SAMPLES: Mapping[str, Callable[[str, datetime, datetime | None], dict[str, Any]]] = {
    "azure_monitor": _azure_monitor,
    "alertmanager": _alertmanager,
}
