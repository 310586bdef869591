"""Asks one address whether it answers, and how fast.

In: the moment of a poll. Out: samples ``probe_success`` (1 or 0) and ``probe_duration_ms``.
"""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import Field

from shared.adapters.registry import Adapter, Surroundings
from shared.adapters.sources.fetch import Address, Fetcher, Unreachable
from shared.adapters.sources.measuring import Target, environment_of
from shared.config.schema import Section
from shared.model.signal import Signal
from shared.ports.source import Poller


class Config(Section):
    """Settings of a probe."""

    url: Address = ""
    service: str = Field(default="", description="Service the address belongs to.")
    environment: str = Field(default="", description="Environment; empty takes the service's own.")
    timeout_s: float = Field(default=2, gt=0, le=60, description="No answer after this is a failure, in seconds.")
    method: Literal["GET", "HEAD", "POST", "OPTIONS"] = Field(default="GET", description="HTTP method.")


class ProbePoller:
    """A `Poller` for one address; any status below 400 is a success."""

    def __init__(self, name: str, config: Config, environment: str) -> None:
        self._config = config
        self._target = Target(name, config.service, environment, config.url)
        self._fetcher = Fetcher(config.timeout_s)

    @property
    def name(self) -> str:
        """See the port."""
        return self._target.poller

    def poll(self, due: datetime) -> tuple[Signal, ...]:
        """See the port; without an answer there is no duration, for a quick refusal is not a fast service."""
        if not self._config.url:
            return ()
        try:
            answer = self._fetcher.fetch(self._config.method, self._config.url)
        except Unreachable:
            return (self._target.sample("probe_success", 0.0, due),)
        return (
            self._target.sample("probe_success", 1.0 if answer.status < 400 else 0.0, due),
            self._target.sample("probe_duration_ms", answer.duration_ms, due, "ms"),
        )


def _build(name: str, config: Config, surroundings: Surroundings) -> Poller:
    return ProbePoller(name, config, environment_of(config.service, config.environment, surroundings))


ADAPTER: Adapter[Poller] = Adapter(config=Config, build=_build)
