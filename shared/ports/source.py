"""Role: understand what a monitoring system says.

In: a webhook body, or the moment of a poll. Out: signals.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from shared.model.signal import Signal


@dataclass(frozen=True, slots=True)
class Delivery:
    """One webhook call.

    Attributes:
        body: parsed JSON.
        receipt: what makes this delivery what it is; signal ids derive from it and their position (rule M2).
        received_at: arrival, aware UTC.
    """

    body: object
    headers: Mapping[str, str]
    receipt: str
    received_at: datetime
    payload: str = ""


class Source(Protocol):
    """Understands one product's webhooks."""

    def parse(self, delivery: Delivery) -> tuple[Signal, ...]:
        """Signals of the body, in order; an empty tuple when no known shape fits (the collector keeps the raw body).

        Never raises on any JSON value.
        """
        ...

    def receipt(self, body: object, headers: Mapping[str, str], digest: str, received_at: datetime) -> str:
        """The receipt of a delivery (rule M2).

        Args:
            digest: SHA-256 of the raw body.

        Returns:
            The delivery id or the digest; with the arrival added when the body carries no time of its own, so that a
            later firing with the same words is a new one.
        """
        ...


class Poller(Protocol):
    """Asks one target on a timer."""

    @property
    def name(self) -> str:
        """Configured name; the source of its signals."""
        ...

    def poll(self, due: datetime) -> tuple[Signal, ...]:
        """Samples at ``due``; an unreachable target is a sample too, never an exception."""
        ...
