"""Which incidents are played, from the seed alone; each cycle plays the same under other names.

In: a seed. Out: scripts, and the alerts of one performance of each.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from benchmarks.alerts import Planned
from benchmarks.crash.choose import seeded
from benchmarks.crash.town import depot_service

DEPOT_ALERT = "depot-stuck"
SHOP = "shop"


class Play(StrEnum):
    """What happens in a script."""

    RESOLVE = "resolve"
    QUIET = "quiet"
    APPROVE = "approve"
    REJECT = "reject"
    WAIT = "wait"
    LOOP = "loop"


@dataclass(frozen=True, slots=True)
class Script:
    """One incident to be played, or one alert that opens none.

    Attributes:
        number: its place in the plan; with the cycle it makes the service's name.
        joins: alerts of the same service that come after the first one.
    """

    number: int
    play: Play
    source: str
    severity: int
    firings: int
    joins: int

    @property
    def label(self) -> str:
        """A short name."""
        return f"{self.play}-{self.number}"


@dataclass(frozen=True, slots=True)
class Performance:
    """A script played once.

    Attributes:
        service: nobody else's, but for the shop, which there is only one of.
        generation: which incident of the service it is.
    """

    script: Script
    cycle: int
    service: str
    generation: int = 1

    @property
    def alerts(self) -> tuple[Planned, ...]:
        """What the monitoring says, first alert first."""
        script, acts = self.script, self.script.play in (Play.APPROVE, Play.REJECT, Play.WAIT)
        name = DEPOT_ALERT if acts else f"latency-{script.number}"
        first = Planned(script.source, self.service, name, script.severity, script.firings, ends=True)
        others = (
            Planned("alertmanager", self.service, f"also-{script.number}-{i}", 3, 1, ends=True)
            for i in range(script.joins)
        )
        return (first, *others)

    def __str__(self) -> str:
        return f"{self.script.label} ({self.service})"


def plan(seed: int, light: bool) -> tuple[Script, ...]:
    """The scripts of one cycle.

    Args:
        light: only a few, and none that has to be measured; for a test that must be quick.
    """
    rng = seeded(seed)
    if light:
        plays = [Play.RESOLVE, Play.APPROVE]
    else:
        plays = [Play.RESOLVE] * 3 + [Play.APPROVE] * 3 + [Play.REJECT, Play.QUIET]
        rng.shuffle(plays)
        plays += [Play.WAIT, Play.LOOP]
    return tuple(_script(rng, number, play) for number, play in enumerate(plays))


def _script(rng: random.Random, number: int, play: Play) -> Script:
    if play is Play.LOOP:
        return Script(number, play, "azure_monitor", 2, 1, 0)
    severity = 4 if play is Play.QUIET else rng.randint(0, 3)
    joins = rng.choice((0, 1, 2)) if play is Play.RESOLVE else 0
    return Script(number, play, rng.choice(("azure_monitor", "alertmanager")), severity, rng.choice((1, 2, 3)), joins)


def perform(script: Script, cycle: int, of: int) -> Performance:
    """The performance of a cycle.

    Args:
        of: how many scripts there are.
    """
    if script.play is Play.LOOP:
        return Performance(script, cycle, SHOP, cycle + 1)
    if script.play in (Play.APPROVE, Play.REJECT, Play.WAIT):
        return Performance(script, cycle, depot_service(cycle * of + script.number))
    return Performance(script, cycle, f"svc-{script.number}-{cycle:04d}")


def of_slots(scripts: Sequence[Script]) -> tuple[Script, ...]:
    """Scripts that many can play at once; the shop has one stage, and who waits holds no stage up."""
    return tuple(script for script in scripts if script.play not in (Play.LOOP, Play.WAIT))
