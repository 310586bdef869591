"""What monitoring systems tell us: webhooks that they post, and pages that we ask."""

from __future__ import annotations

from collections.abc import Mapping

from shared.adapters.registry import Adapter
from shared.adapters.sources import alertmanager, azure_monitor, probe, prometheus_text
from shared.ports.source import Poller, Source

SOURCES: Mapping[str, Adapter[Source]] = {
    "azure_monitor": azure_monitor.ADAPTER,
    "alertmanager": alertmanager.ADAPTER,
}
POLLERS: Mapping[str, Adapter[Poller]] = {
    "probe": probe.ADAPTER,
    "prometheus_text": prometheus_text.ADAPTER,
}
