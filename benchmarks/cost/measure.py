"""Plays, counts and prices.

In: nothing. Out: everything that is reported.
"""

from __future__ import annotations

from benchmarks.cost import prices
from benchmarks.cost.background import timers
from benchmarks.cost.incident import CROWD, play
from benchmarks.cost.report import Costs


def costs() -> Costs:
    """One incident, one more poll, a crowd of incidents, and each timer once."""
    played = play()
    return Costs(played.loop, played.poll, played.crowd, CROWD, timers(played.timers), prices.read())
