"""What begins outside a queue: a webhook, a timer that polls, a timer that sweeps.

In: webhook calls and timer ticks. Out: signals on the bus, and what a crash left undone.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from datetime import datetime

from shared.agents import sweep
from shared.agents.sentinel import collector
from shared.dispatch.engine import Engine
from shared.dispatch.showing import show
from shared.model.errors import ArgusError
from shared.model.pipeline import MicroAgent
from shared.ports.anchor import Anchor

log = logging.getLogger("argus.dispatch")


def receive(engine: Engine, name: str, raw: bytes, headers: Mapping[str, str]) -> collector.Received:
    """Take in one webhook call; see `collector.receive` for what it raises."""
    with engine.telemetry.work(MicroAgent.COLLECTOR):
        try:
            received = collector.receive(name, raw, headers, engine.clock(), engine.ports)
        except ArgusError:
            raise
        except Exception:  # the sender would say the same again until it gives up, and nobody would hear of it
            log.exception("source %s cannot read what it was sent", name)
            received = collector.receive(name, raw, headers, engine.clock(), engine.ports, blind=True)
    engine.telemetry.received(name, received.signals)
    why = f"webhook of {len(raw)} bytes" + ("" if received.recognised else " in a shape nobody knows")
    show(MicroAgent.COLLECTOR, f"{received.signals} signal(s) from {name}", why, "")
    return received


def poll(engine: Engine, timer: str, due: datetime) -> None:
    """Ask every target that does not speak by itself."""
    with engine.telemetry.work(MicroAgent.COLLECTOR):
        count = collector.poll(timer, due, engine.clock(), engine.ports)
    log.debug("%d samples polled", count)


def tidy(engine: Engine, anchor: Anchor) -> None:
    """The conductor's round: what a crash left undone is done or sent again, and said when there was anything."""
    now = engine.clock()
    if sweep.note_configuration(engine.ports, now):
        show(MicroAgent.CONDUCTOR, "configuration noted", "it is not the one the audit trail knew", "")
    done = sweep.run(engine.ports, anchor, now)
    if done.worth_telling:
        show(MicroAgent.CONDUCTOR, f"swept up: {done.worth_telling}", "something was left undone", "")
