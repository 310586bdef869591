"""Stories that are counted: one incident alone, a crowd of them, and a wait nobody answers.

In: nothing. Out: ledgers: alerts come in by webhook, a person reads and approves, the action runs, the alerts end by
webhook, everything is written up. Then every timer runs once over what is left.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

from benchmarks.cost.ledger import TIMER, Execution, Ledger
from benchmarks.cost.town import CountedWorld
from benchmarks.load.identities import Identity
from shared import dispatch
from shared.adapters.stores.anchor_file import AnchorFile
from shared.model.lifecycle import State
from shared.ports.dead_letters import NoDeadLetters
from shared.records import incidents

CROWD = 8  # incidents at once; the brake and the limit of open approvals have no say yet
ANSWERED_AFTER = timedelta(seconds=45)  # within the first poll of the wait; what each further one costs is printed
ENDED_AFTER = timedelta(minutes=3)  # monitoring sees the recovery some minutes after the action


@dataclass(frozen=True, slots=True)
class Played:
    """Executions, in order.

    Attributes:
        loop: of one incident.
        crowd: of `CROWD` incidents at once.
        poll: of one poll of the wait while nobody answers.
        timers: one run of each timer after the one incident.
    """

    loop: Sequence[Execution]
    crowd: Sequence[Execution]
    poll: Sequence[Execution]
    timers: Sequence[Execution]


def play() -> Played:
    """All stories.

    Raises:
        RuntimeError: one did not end as it should; the counts would be those of another story.
    """
    with _world(1) as (world, heads):
        loop = _loop(world, 1)
        timers = _timers(world, heads)
    with _world(CROWD) as (world, _):
        crowd = _loop(world, CROWD)
    with _world(1) as (world, _):
        poll = _poll(world)
    return Played(loop, crowd, poll, timers)


@contextmanager
def _world(services: int) -> Iterator[tuple[CountedWorld, AnchorFile]]:
    with tempfile.TemporaryDirectory(prefix="argus-cost-") as folder:
        world = CountedWorld(Path(folder), _services(services))
        with world.ledger.logging():
            yield world, AnchorFile(Path(folder) / "heads.jsonl")


def _services(count: int) -> list[str]:
    return ["shop", *(f"shop-{number:02}" for number in range(1, count))]


def _alerts(count: int) -> list[Identity]:
    return [
        Identity(number, name, "HighErrorRatio", name, "warning", "weu", 7.5, f"{0xA1B2C3D4E5F60000 + number:016x}")
        for number, name in enumerate(_services(count))
    ]


def _loop(world: CountedWorld, count: int) -> Sequence[Execution]:
    """Incidents from their first webhook until nothing is on its way any more."""
    alerts = _alerts(count)
    _ask(world, count)
    world.pass_time(ANSWERED_AFTER)
    for approval_id in _waiting(world):
        world.approve(approval_id)
    world.settle()
    world.pass_time(ENDED_AFTER)
    world.webhooks("Resolved", alerts)
    world.settle()
    states = [world.incident(number).state for number in range(count)]
    if len(world.ids()) != count or set(states) != {State.CLOSED} or world.crashes or len(world.fleet.runs) != count:
        raise RuntimeError(f"the incidents are {states}: {'; '.join(world.story())}")
    return world.ledger.executions


def _ask(world: CountedWorld, count: int) -> None:
    world.webhooks("Fired", _alerts(count))
    world.run_until(lambda: len(_waiting(world)) == count)
    world.settle()


def _waiting(world: CountedWorld) -> list[str]:
    loaded = [incidents.load(world.inner, name) for name in world.ids()]
    return [one.incident.approval.id for one in loaded if one is not None and one.incident.approval is not None]


def _poll(world: CountedWorld) -> Sequence[Execution]:
    """What one more minute of waiting for a person adds."""
    _ask(world, 1)
    before = len(world.ledger.executions)
    world.pass_time(timedelta(seconds=world.settings.approvals.poll_s + 1))
    polled = world.ledger.executions[before:]
    return [replace(one, cause=None if one.cause is None else one.cause - before) for one in polled]


def _timers(world: CountedWorld, heads: AnchorFile) -> Sequence[Execution]:
    """Every timer once, in a store that holds this one incident."""
    ledger, engine = Ledger(world.billed, world.bus.sent), world.engine
    runs: dict[str, Callable[[], object]] = {
        "poll": lambda: dispatch.poll(engine, "poll", world.now),
        "sweep_pending": lambda: dispatch.tidy(engine, heads),
        "work_off_storm": lambda: dispatch.work_off(engine),
        "collect_dead_letters": lambda: dispatch.collect_dead_letters(engine, NoDeadLetters()),
        "watch_itself": lambda: dispatch.watch(engine),
        "anchor_heads": lambda: dispatch.anchor(engine, heads),
        "purge_old": lambda: dispatch.purge(engine, heads),
    }
    for _ in range(2):  # the first run of each also does what is done once
        ledger.executions.clear()
        for name, run in runs.items():
            with ledger.execution(TIMER, name, world.now, None):
                run()
    return ledger.executions
