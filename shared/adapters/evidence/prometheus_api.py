"""A Prometheus server's query interface.

In: a question and configured PromQL. Out: one evidence per series.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from statistics import fmean
from typing import Any

from pydantic import ConfigDict, Field, SecretStr, model_validator

from shared.adapters import http
from shared.adapters.evidence import content
from shared.adapters.registry import Surroundings
from shared.config.schema import Section
from shared.model.diagnosis import Evidence, EvidenceKind, EvidenceStatus, Point
from shared.model.errors import PermanentError, TransientError
from shared.ports.evidence import Question

MAX_SERIES = 5  # of one query
MAX_POINTS = 120
_SERVICE = re.compile(r"[A-Za-z0-9._:/-]{1,120}")  # it goes into PromQL between quotes


class PrometheusConfig(Section):
    """Queries to a Prometheus server."""

    model_config = ConfigDict(hide_input_in_errors=True)

    url: str = Field(default="", description="Address of the server, without `/api`; empty: the source is off.")
    token: SecretStr = Field(default=SecretStr(""), description="Sent as a bearer; empty for none.")
    service: str = Field(default="", description="Only asked for this service; empty for every service.")
    queries: dict[str, str] = Field(
        default_factory=dict, description="PromQL by name; `{service}` is replaced by the service's name."
    )
    units: dict[str, str] = Field(default_factory=dict, description="Units of the queries, by their name.")
    timeout_s: float = Field(default=10, gt=0, le=10, description="Longest wait for all queries together, in seconds.")

    @model_validator(mode="after")
    def _usable(self) -> PrometheusConfig:
        problem = http.address_problem(self.url) if self.url else ""
        if problem:
            raise ValueError(problem)
        strangers = sorted(set(self.units) - set(self.queries))
        if strangers:
            raise ValueError(f"units names a query that is not there: {strangers[0]}")
        return self


class PrometheusSource:
    """Asks one server."""

    kind = EvidenceKind.METRIC

    def __init__(self, name: str, config: PrometheusConfig) -> None:
        self._name = name
        self._config = config
        self._http = http.client(config.timeout_s)

    def gather(self, question: Question) -> tuple[Evidence, ...]:
        """Series of the configured queries; see the port `shared.ports.evidence`."""
        config = self._config
        if not config.url or (config.service and config.service != question.service):
            return ()
        found: list[Evidence] = []
        for name, template in config.queries.items():
            if not _SERVICE.fullmatch(question.service):
                words = "the service's name may not stand in a query"
                found.append(self._nothing(template, name, words, EvidenceStatus.ERROR))
            else:
                found += self._ask(name, template.replace("{service}", question.service), question)
        return tuple(found[: content.MAX_ITEMS])

    def _ask(self, name: str, promql: str, question: Question) -> list[Evidence]:
        span = max(1.0, (question.end - question.start).total_seconds())
        step = max(1, math.ceil(span / MAX_POINTS))
        base = f"{self._config.url.rstrip('/')}/api/v1/query_range"
        times = f"start={question.start.timestamp():.3f}&end={question.end.timestamp():.3f}&step={step}"
        url = content.fill(f"{base}?query={{query}}&{times}", query=promql)
        timeout_s = self._config.timeout_s / max(1, len(self._config.queries))
        try:
            answer = content.fetch(self._http, f"Prometheus {self._name}", url, self._config.token, timeout_s)
        except (TransientError, PermanentError) as failure:
            return [self._nothing(promql, name, str(failure), EvidenceStatus.ERROR)]
        series = _series(answer)
        if series is None:
            return [self._nothing(promql, name, "the answer is no matrix", EvidenceStatus.ERROR)]
        evidence = [self._evidence(name, promql, labels, points, question) for labels, points in series if points]
        return evidence[:MAX_SERIES] or [self._nothing(promql, name, "no samples in the window")]

    def _nothing(
        self, promql: str, title: str, summary: str, status: EvidenceStatus = EvidenceStatus.NO_DATA
    ) -> Evidence:
        return content.empty(EvidenceKind.METRIC, self._name, promql, title, summary, status)

    def _evidence(self, name: str, promql: str, labels: str, points: tuple[Point, ...], question: Question) -> Evidence:
        before = [point.value for point in points if point.at < question.onset]
        since = [point.value for point in points if point.at >= question.onset]
        unit = self._config.units.get(name, "")
        words = [
            f"mean {fmean(values):.4g}{f' {unit}' if unit else ''} {when}"
            for values, when in ((before, "before the onset"), (since, "since"))
            if values
        ]
        title = f"{name} {labels}".strip()[:200]
        summary = f"{', '.join(words)}; {len(points)} samples"
        status, kind = EvidenceStatus.OK, EvidenceKind.METRIC
        return content.identify(
            Evidence("", kind, self._name, promql, status, title, summary, points=points, unit=unit)
        )


def _series(answer: object) -> list[tuple[str, tuple[Point, ...]]] | None:
    """Labels and points of every series of a matrix; ``None`` when the answer is something else.

    Source: prometheus.io/docs/prometheus/latest/querying/api, "Range queries".
    """
    data = answer.get("data") if isinstance(answer, dict) and answer.get("status") == "success" else None
    if not isinstance(data, dict) or data.get("resultType") != "matrix" or not isinstance(data.get("result"), list):
        return None
    series = []
    for item in data["result"]:
        if not isinstance(item, dict) or not isinstance(item.get("values"), list):
            return None
        metric = item.get("metric")
        labels = {k: v for k, v in metric.items() if k != "__name__"} if isinstance(metric, dict) else {}
        shown = content.line(" ".join(f"{k}={v}" for k, v in sorted(labels.items())))
        series.append((shown, _points(item["values"])))
    return series


def _points(values: Sequence[Any]) -> tuple[Point, ...]:
    """Finite samples, oldest first; NaN and Inf say nothing that can be drawn or compared."""
    points = []
    for pair in values:
        try:
            at, value = datetime.fromtimestamp(float(pair[0]), UTC), float(pair[1])
        except (ValueError, TypeError, LookupError, OverflowError, OSError):
            continue
        if math.isfinite(value):
            points.append(Point(at, value))
    return tuple(sorted(points, key=lambda point: point.at))


def build(name: str, config: PrometheusConfig, surroundings: Surroundings) -> PrometheusSource:
    """The evidence source of one section."""
    return PrometheusSource(name, config)
