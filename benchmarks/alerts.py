"""Alerts as monitoring systems send them, made from a few words; shared by benchmarks and tests that play storms.

In: what fires, where, how badly. Out: webhook bodies that are the same every time they are made.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from local.demo.operator import azure_alert

BEGAN = datetime(2026, 11, 20, 3, 0, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Planned:
    """One alert: what it is, how often it fires, and whether it ends.

    Attributes:
        source: ``azure_monitor`` or ``alertmanager``.
        severity: 0 (worst) to 4 (listed only).
    """

    source: str
    service: str
    name: str
    severity: int
    firings: int
    ends: bool

    def body(self, number: int) -> bytes:
        """The webhook of one firing; the number after the last firing is the resolve."""
        resolved = number == self.firings
        text = f"said for the {number + 1}. time"
        return self._azure(resolved, text) if self.source == "azure_monitor" else self._alertmanager(resolved, text)

    def _azure(self, resolved: bool, text: str) -> bytes:
        body = json.loads(azure_alert(BEGAN))
        resource = f"/subscriptions/0/resourceGroups/rg/providers/Microsoft.Web/sites/{self.service}"
        body["data"]["essentials"] |= {
            "alertId": f"/subscriptions/0/providers/Microsoft.AlertsManagement/alerts/{self.name}-{self.service}",
            "originAlertId": f"{self.name}-{self.service}",
            "alertRule": self.name,
            "severity": f"Sev{self.severity}",
            "monitorCondition": "Resolved" if resolved else "Fired",
            "alertTargetIDs": [resource],
            "configurationItems": [self.service],
            "description": text,
            **({"resolvedDateTime": (BEGAN + timedelta(minutes=20)).isoformat()} if resolved else {}),
        }
        return json.dumps(body).encode()

    def _alertmanager(self, resolved: bool, text: str) -> bytes:
        ended = BEGAN + timedelta(minutes=20)
        alert = {
            "status": "resolved" if resolved else "firing",
            "labels": {"alertname": self.name, "service": self.service, "severity": f"sev{self.severity}"},
            "annotations": {"summary": text},
            "startsAt": BEGAN.isoformat(),
            "endsAt": ended.isoformat() if resolved else "0001-01-01T00:00:00Z",
        }
        return json.dumps({"version": "4", "status": alert["status"], "alerts": [alert]}).encode()
