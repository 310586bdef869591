"""Reads a ``/metrics`` page and sums the series that a rule asks for.

In: the moment of a poll. Out: one sample per configured metric, and ``scrape_success`` (1 or 0).
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from datetime import datetime

from pydantic import Field, field_validator

from shared.adapters.registry import Adapter, Surroundings
from shared.adapters.sources import exposition
from shared.adapters.sources.fetch import Address, Fetcher, Unreachable
from shared.adapters.sources.measuring import Target, environment_of
from shared.config.schema import Section
from shared.model.signal import Signal
from shared.ports.source import Poller

_ACCEPT = "text/plain;version=0.0.4;q=1,*/*;q=0.1"


class Metric(Section):
    """One sample made of series."""

    name: str = Field(min_length=1, description="Name of the sample, as rules call it.")
    metric: str = Field(min_length=1, description="Prometheus metric whose series are summed.")
    labels: dict[str, str] = Field(
        default_factory=dict,
        description="Only series with these labels; a value that starts with `~` is a regular expression for the whole "
        "value. A label the series lacks is the empty value.",
    )
    unit: str = Field(default="", description="Unit of the sample, such as `ms`.")

    @field_validator("labels")
    @classmethod
    def _readable(cls, labels: dict[str, str]) -> dict[str, str]:
        for name, wanted in labels.items():
            if wanted.startswith("~"):
                try:
                    re.compile(wanted[1:])
                except re.error as exc:
                    raise ValueError(f"{name}: {wanted[1:]!r} is no regular expression: {exc}") from None
        return labels


class Config(Section):
    """Settings of a metrics page."""

    url: Address = ""
    service: str = Field(default="", description="Service the page belongs to.")
    environment: str = Field(default="", description="Environment; empty takes the service's own.")
    timeout_s: float = Field(default=2, gt=0, le=60, description="No answer after this is a failure, in seconds.")
    metrics: list[Metric] = Field(default_factory=list, description="Samples to make.")


class PrometheusTextPoller:
    """A `Poller` for one metrics page. Counters stay as they are; rules know about resets."""

    def __init__(self, name: str, config: Config, environment: str) -> None:
        self._config = config
        self._target = Target(name, config.service, environment, config.url)
        self._fetcher = Fetcher(config.timeout_s)
        self._matchers = [
            {label: re.compile(want[1:] if want[:1] == "~" else re.escape(want)) for label, want in m.labels.items()}
            for m in config.metrics
        ]

    @property
    def name(self) -> str:
        """See the port."""
        return self._target.poller

    def poll(self, due: datetime) -> tuple[Signal, ...]:
        """See the port; a page that cannot be read whole gives ``scrape_success`` 0 and nothing else."""
        if not self._config.url:
            return ()
        try:
            answer = self._fetcher.fetch("GET", self._config.url, _ACCEPT)
            if answer.status != 200:
                raise Unreachable(f"status {answer.status}")
            series = list(exposition.parse(answer.body.decode()))
        except (Unreachable, exposition.BadExposition, UnicodeDecodeError):
            return (self._target.sample("scrape_success", 0.0, due),)
        return (self._target.sample("scrape_success", 1.0, due), *self._sums(series, due))

    def _sums(self, series: Sequence[exposition.Sample], due: datetime) -> list[Signal]:
        found = []
        for metric, matchers in zip(self._config.metrics, self._matchers, strict=True):
            family = [one for one in series if one.name == metric.metric]
            matching = [
                one.value
                for one in family
                if all(pattern.fullmatch(one.labels.get(label, "")) for label, pattern in matchers.items())
            ]
            known = [value for value in matching if math.isfinite(value)]
            # A known metric without a matching series has counted nothing yet; an unknown metric says nothing.
            if family and len(known) == len(matching):
                found.append(self._target.sample(metric.name, math.fsum(known), due, metric.unit))
        return found


def _build(name: str, config: Config, surroundings: Surroundings) -> Poller:
    return PrometheusTextPoller(name, config, environment_of(config.service, config.environment, surroundings))


ADAPTER: Adapter[Poller] = Adapter(config=Config, build=_build)
