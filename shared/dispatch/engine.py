"""What a hop needs beside the message: the ports, the workers, and how an invocation is called.

In: built by the composition root. Out: values only; nothing runs here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from shared.agents.sentinel import alert_router
from shared.agents.sentinel.repeats import Bodies
from shared.agents.watch.pulse import Pulse
from shared.dispatch.at_once import AtOnce, Following
from shared.dispatch.brake_state import BrakeState
from shared.dispatch.recent import Recent
from shared.model.event import Event
from shared.model.incident import Incident
from shared.model.outcome import Outcome
from shared.model.pipeline import MicroAgent
from shared.ports import Ports
from shared.ports.telemetry import NoTelemetry, Telemetry
from shared.records.index import Shown


class Handle(Protocol):
    """A micro-agent (rule H4)."""

    def __call__(self, event: Event, incident: Incident, now: datetime, ports: Ports) -> Outcome:
        """Decide, and touch the outside only through ports."""
        ...


class Create(Protocol):
    """The one micro-agent that begins an incident."""

    def __call__(self, event: Event, now: datetime, ports: Ports) -> tuple[Incident, Outcome]:
        """The new incident and what follows from it."""
        ...


@dataclass(frozen=True, slots=True)
class Worker:
    """A micro-agent as dispatch runs it.

    Attributes:
        reads: incident fields whose change between load and commit makes the answer stale (rule H6).
        always: runs on every delivery once the incident is there, also when the inbox says done (rule S4).
    """

    handle: Handle
    reads: tuple[str, ...] = ()
    create: Create | None = None
    always: Callable[[Event, Ports], None] | None = None


@dataclass(frozen=True, slots=True)
class Engine:
    """What a hop needs beside the message.

    Attributes:
        clock: aware UTC now.
        jitter: a number in [0, 1) for the back-off.
        invocation: owner of intents; unique per process and call.
        memory: repeats of alerts, shared by the threads of this process.
        bodies: webhook bodies of repeats that came a moment ago, shared by the threads of this process.
        recent: incidents as this process committed them a moment ago.
        shown: lines of the incident list as this process wrote them.
        brake: the storm brake as this process knows it.
        pulse: how timers and parts did lately, shared by the threads of this process.
        at_once: how much this process works off without sending it.
        following: what the invocation of the moment goes on with; ``None`` where it sends everything.
    """

    ports: Ports
    workers: Mapping[MicroAgent, Worker]
    clock: Callable[[], datetime]
    jitter: Callable[[], float]
    invocation: Callable[[], str]
    telemetry: Telemetry = field(default_factory=NoTelemetry)
    memory: alert_router.FoldMemory = field(default_factory=alert_router.FoldMemory)
    bodies: Bodies = field(default_factory=Bodies)
    pulse: Pulse = field(default_factory=Pulse)
    recent: Recent = field(default_factory=Recent)
    shown: Shown = field(default_factory=Shown)
    brake: BrakeState = field(default_factory=BrakeState)
    at_once: AtOnce = field(default_factory=AtOnce)
    following: Following | None = None
