"""What every poller does the same way: a number becomes a sample of its target.

In: a measurement at a due time. Out: a signal whose id is the same for the same poll (rule M2).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from shared.adapters.registry import Surroundings
from shared.model.event import derive_id
from shared.model.signal import Signal, SignalKind


@dataclass(frozen=True, slots=True)
class Target:
    """Whose numbers they are; ``poller`` is the configured name of who asks."""

    poller: str
    service: str
    environment: str
    url: str

    def sample(self, metric: str, value: float, due: datetime, unit: str = "") -> Signal:
        """One number, measured at ``due``."""
        due = due.astimezone(UTC)
        return Signal(
            id=derive_id(self.poller, due.isoformat(), metric),
            source=self.poller,
            kind=SignalKind.SAMPLE,
            name=metric,
            at=due,
            service=self.service,
            environment=self.environment,
            resource=self.url,
            value=value,
            unit=unit,
        )


def environment_of(service: str, configured: str, surroundings: Surroundings) -> str:
    """The environment written in the section, else the one of its service."""
    owner = surroundings.services.get(service)
    return configured or (owner.environment if owner else "")
