"""What begins outside a queue: a webhook, a timer that polls, a timer that sweeps.

In: webhook calls and timer ticks. Out: signals on the bus, what a crash left undone, dead letters in quarantine.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from datetime import datetime, timedelta

from shared.agents import dead_letters, sweep
from shared.agents.sentinel import collector
from shared.dispatch.beating import beats, undone
from shared.dispatch.engine import Engine
from shared.dispatch.showing import show
from shared.model.errors import ArgusError, PermanentError
from shared.model.pipeline import MicroAgent
from shared.ports.anchor import Anchor
from shared.ports.dead_letters import DeadLetter, DeadLetters
from shared.records import doctor, payloads, quarantine, replaying

log = logging.getLogger("argus.dispatch")

UPGRADED_FOR = timedelta(minutes=15)  # a backup that is put back meanwhile may bring an older list
NOTED_FOR = timedelta(hours=1)  # a process keeps its configuration; the chain of the day must have it all the same


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


@beats("poll")
def poll(engine: Engine, timer: str, due: datetime) -> None:
    """Ask every target that does not speak by itself."""
    with engine.telemetry.work(MicroAgent.COLLECTOR):
        count = collector.poll(timer, due, engine.clock(), engine.ports)
    log.debug("%d samples polled", count)


@beats("dead_letters")
def collect_dead_letters(engine: Engine, dead: DeadLetters) -> None:
    """The conductor's round through what the bus gave up, and through replays that were cut off."""

    def keep(letter: DeadLetter) -> None:
        try:
            dead_letters.keep(engine.ports, letter, engine.clock())
        except ArgusError:
            raise
        except Exception:  # one that breaks its reader would stay for ever, and those after it with it
            log.exception("a dead letter of %s cannot be looked into", letter.queue)
            dead_letters.keep(engine.ports, letter, engine.clock(), blind=True)

    done = dead_letters.collect(dead, keep)
    if done.failed:
        undone(engine, "dead_letters", f"{done.failed} queue(s) could not be asked; see the log")
    if done.kept:
        show(MicroAgent.CONDUCTOR, f"{done.kept} dead letter(s) quarantined", "the bus gave up delivering them", "")
    for entry in replaying.unfinished(engine.ports.store, engine.clock()):
        _go_on(engine, entry)
    quarantine.forget_a_day(engine.ports.store, engine.clock())


def _go_on(engine: Engine, entry: quarantine.Quarantined) -> None:
    """Finish what somebody began with a quarantine entry; a webhook body is taken in again."""
    ports = engine.ports
    told = replaying.finish(ports.store, ports.bus, entry, engine.clock())
    if told.ok and told.entry.standing is quarantine.Standing.REPLAYING:
        body = payloads.get(ports.store, entry.payload)
        try:
            if body is None or entry.origin not in ports.sources:
                raise PermanentError(f"no source is called {entry.origin}, or what was kept has expired")
            receive(engine, entry.origin, body, {})
            told = replaying.done(ports.store, told.entry)
        except PermanentError as error:
            told = replaying.fail(ports.store, told.entry, str(error), engine.clock())
    show(MicroAgent.CONDUCTOR, f"quarantine entry {entry.id[:8]}: {told.words}", f"{entry.by} asked for it", "")


@beats("sweep")
def tidy(engine: Engine, anchor: Anchor) -> None:
    """The conductor's round: what a crash left undone is done or sent again, and said when there was anything."""
    now = engine.clock()
    configuration = f"configuration {sweep.digest_of(engine.ports.settings)}"
    if engine.pulse.due(configuration, NOTED_FOR, now):
        if sweep.note_configuration(engine.ports, now):
            show(MicroAgent.CONDUCTOR, "configuration noted", "it is not the one the audit trail knew", "")
        engine.pulse.did(configuration, now)
    remade = None
    if engine.pulse.due("layout", UPGRADED_FOR, now):
        remade = doctor.upgrade_index(engine.ports.store)
        engine.pulse.did("layout", now)
    if remade is not None and remade.incidents:
        log.info(
            "the list of %d incident(s) was looked through, for an older ARGUS may have written it", remade.incidents
        )
    done = sweep.run(engine.ports, anchor, now)
    if done.failed:
        undone(engine, "sweep", f"{done.failed} incident(s) could not be cared for; see the log")
    if done.worth_telling:
        show(MicroAgent.CONDUCTOR, f"swept up: {done.worth_telling}", "something was left undone", "")
