"""An action that changes nothing, for dry runs.

In: an action request. Out: what would have been done, kept for whoever asks.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Mapping

from pydantic import Field

from shared.adapters.registry import Surroundings
from shared.config.schema import Section
from shared.model.action import ActionRequest
from shared.ports.action import Settled

_log = logging.getLogger(__name__)


class NoopConfig(Section):
    """A dry run."""

    keep: int = Field(default=100, ge=1, le=10_000, description="How many requests are remembered, newest last.")


class NoopAction:
    """Says what would be done."""

    def __init__(self, config: NoopConfig) -> None:
        self._seen: deque[ActionRequest] = deque(maxlen=config.keep)

    @property
    def seen(self) -> tuple[ActionRequest, ...]:
        """Requests that were run, oldest first."""
        return tuple(self._seen)

    def facts(self, target: str) -> Mapping[str, str]:
        """Nothing; see the port `shared.ports.action`."""
        return {}

    def allowed(self, request: ActionRequest) -> str:
        """Always allowed."""
        return ""

    def run(self, request: ActionRequest) -> str:
        """Remember the request and say what it would have done."""
        self._seen.append(request)
        parameters = ", ".join(f"{name}={value}" for name, value in sorted(request.parameters.items()))
        words = f"nothing was changed; would have run {request.action} on {request.target} ({parameters})"
        _log.info("noop: %s", words)
        return words

    def settle(self, request: ActionRequest) -> Settled:
        """Never done: there is nothing to happen twice."""
        return Settled.NOT_DONE


def build(name: str, config: NoopConfig, surroundings: Surroundings) -> NoopAction:
    """The action of one section."""
    return NoopAction(config)
