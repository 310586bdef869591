"""What the timers cost when nothing happens.

In: one counted run of each timer, and the schedules of `local.settings.example.json`. Out: runs and dollars a day.
"""

from __future__ import annotations

import ast
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.cost import bill
from benchmarks.cost.ledger import Execution
from benchmarks.cost.prices import Prices

ROOT = Path(__file__).resolve().parent.parent.parent
SETTING = {
    "poll": "ARGUS_POLL_SCHEDULE",
    "sweep_pending": "ARGUS_SWEEP_SCHEDULE",
    "work_off_storm": "ARGUS_BRAKE_SCHEDULE",
    "collect_dead_letters": "ARGUS_DEAD_LETTER_SCHEDULE",
    "watch_itself": "ARGUS_WATCH_SCHEDULE",
    "anchor_heads": "ARGUS_ANCHOR_SCHEDULE",
    "purge_old": "ARGUS_PURGE_SCHEDULE",
}
UNITS = (60, 60, 24)  # seconds, minutes, hours; then days, months and days of the week, which are every one here


@dataclass(frozen=True, slots=True)
class Timer:
    """A timer and one run of it."""

    name: str
    schedule: str
    run: Execution

    @property
    def per_day(self) -> int:
        """How often it runs."""
        return times_a_day(self.schedule)

    @property
    def store_calls(self) -> int:
        """Of one run."""
        return self.run.store_calls

    def usd_per_day(self, prices: Prices) -> float:
        """Each run wakes an instance of its own."""
        each = bill.bill([self.run], prices.rules["activation_min_s"], prices)
        return each.total / bill.PER * self.per_day


def timers(runs: Sequence[Execution]) -> list[Timer]:
    """With their schedules."""
    return [Timer(run.label, schedule(run.label), run) for run in runs]


def schedule(name: str) -> str:
    """Of a timer: as the example settings have it, else as the function's own default says."""
    example = json.loads((ROOT / "local.settings.example.json").read_text(encoding="utf-8"))["Values"]
    given: str = example.get(SETTING[name], "")
    return given or _default(SETTING[name])


def times_a_day(schedule: str) -> int:
    """Runs a day of an NCRONTAB expression whose days, months and days of the week are all.

    Raises:
        ValueError: it says something else.
    """
    fields = schedule.split()
    if len(fields) != 6 or fields[3:] != ["*", "*", "*"]:
        raise ValueError(f"{schedule!r} is not the same every day")
    runs = 1
    for field, unit in zip(fields[:3], UNITS, strict=True):
        runs *= (
            unit if field == "*" else -(-unit // int(field[2:])) if field.startswith("*/") else len(field.split(","))
        )
    return runs


def _default(setting: str) -> str:
    """The default that a trigger names, read from its source: importing the triggers would need a configuration."""
    for node in ast.walk(ast.parse((ROOT / "functions" / "conductor.py").read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "schedule":
            values = [ast.literal_eval(argument) for argument in node.args]
            if values[0] == setting:
                return str(values[1])
    raise ValueError(f"{setting} has no default")
