"""Evidence sources; one registry line each."""

from __future__ import annotations

from collections.abc import Mapping

from shared.adapters.evidence import changes_http, log_http, prometheus_api
from shared.adapters.registry import Adapter
from shared.ports.evidence import EvidenceSource

EVIDENCE: Mapping[str, Adapter[EvidenceSource]] = {
    "changes_http": Adapter(changes_http.ChangesConfig, changes_http.build),
    "log_http": Adapter(log_http.LogConfig, log_http.build),
    "prometheus_api": Adapter(prometheus_api.PrometheusConfig, prometheus_api.build),
}
