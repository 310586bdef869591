"""Role: show how work flows through ARGUS: one trace per incident, and figures of every hop.

In: hops as they begin and end. Out: spans and metrics where the configuration sends them; nothing by default.

Contract: telemetry never changes what a hop does and never raises; while it is off it costs next to nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from enum import StrEnum
from typing import Protocol

from shared.model.event import Event
from shared.model.pipeline import MicroAgent, Queue

_CURRENT: ContextVar[str] = ContextVar("argus_traceparent", default="")


class Ending(StrEnum):
    """How a delivery of a message ended."""

    DONE = "done"
    BEFORE = "done_before"
    HELD = "held"
    SKIPPED = "skipped"
    ESCALATED = "escalated"
    AGAIN = "again"
    QUARANTINED = "quarantined"


class Watched(Protocol):
    """One delivery while it is worked off."""

    def end(self, ending: Ending, why: str = "") -> None:
        """Say how it ended; a delivery that says nothing failed together with bus or store."""
        ...


class Telemetry(Protocol):
    """Shows how work flows."""

    def hop(self, queue: Queue, event: Event) -> AbstractContextManager[Watched]:
        """Around one delivery; inside, `traceparent` is its own."""
        ...

    def work(self, micro_agent: MicroAgent, incident_id: str = "") -> AbstractContextManager[None]:
        """Around one micro-agent's work."""
        ...

    def received(self, source: str, signals: int) -> None:
        """Count what came in."""
        ...


def traceparent() -> str:
    """W3C trace context of what this thread is doing; empty while telemetry is off."""
    return _CURRENT.get()


@contextmanager
def inside(context: str) -> Iterator[None]:
    """Make a trace context the current one."""
    token = _CURRENT.set(context)
    try:
        yield
    finally:
        _CURRENT.reset(token)


class _Unwatched:
    def end(self, ending: Ending, why: str = "") -> None:
        """Nobody looks."""

    def __enter__(self) -> _Unwatched:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing to end."""


class _Quiet:
    def __enter__(self) -> None:
        """Nothing to begin."""

    def __exit__(self, *_: object) -> None:
        """Nothing to end."""


class NoTelemetry:
    """Telemetry that is off."""

    _unwatched, _quiet = _Unwatched(), _Quiet()

    def hop(self, queue: Queue, event: Event) -> AbstractContextManager[Watched]:
        """See `Telemetry`."""
        return self._unwatched

    def work(self, micro_agent: MicroAgent, incident_id: str = "") -> AbstractContextManager[None]:
        """See `Telemetry`."""
        return self._quiet

    def received(self, source: str, signals: int) -> None:
        """See `Telemetry`."""
