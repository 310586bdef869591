"""What gives first on Azure in a storm of 10,000 alerts times 1, 10, 100 and 1,000: ``python -m benchmarks scale``.

In: options. Out: a table of what saturates, what waits and when people are told, as installed and with the remedies;
with ``--update`` the table and the picture in `docs/`. A simulation: nothing of it was measured on Azure.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import yaml

from benchmarks.grid import grid

ALERTS, SERVICES = 10_000, 200
TIMES = (1, 10, 100, 1000)
PAGE = Path(__file__).resolve().parent.parent / "docs" / "scale.md"
LIMITS = Path(__file__).resolve().parent / "scale_limits.yaml"
BEGIN, END = "<!-- begin: python -m benchmarks scale -->\n```text\n", "\n```\n<!-- end -->"


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the table."""

    times: int
    setup: str
    first: str
    held: str
    waiting: int
    told_within_s: float
    done_s: float


def main(arguments: Sequence[str]) -> int:
    """Command line entry; see the module."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks scale", description=__doc__)
    parser.add_argument("--rps", type=float, default=40.0, help="POSTs a second of one instance as installed (40)")
    parser.add_argument("--services", type=int, default=SERVICES, help="services per 10,000 alerts (200)")
    parser.add_argument("--update", action="store_true", help="write the table into docs/scale.md")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures as JSON too")
    given = parser.parse_args(arguments)
    lines, text = tables(given.rps, given.services)
    print(text)
    if given.json:
        given.json.write_text(json.dumps([asdict(line) for line in lines], indent=1) + "\n", encoding="utf-8")
    if given.update:
        page = PAGE.read_text(encoding="utf-8")
        if BEGIN not in page or END not in page:
            print(f"error: {PAGE} has no place for the table", file=sys.stderr)
            return 2
        PAGE.write_text(page[: page.index(BEGIN) + len(BEGIN)] + text + page[page.index(END) :], encoding="utf-8")
    return 0


def tables(rps: float = 40.0, services: int = SERVICES) -> tuple[list[Line], str]:
    """What is simulated, and the text that the document shows."""
    # Counting needs the world of tests/pipeline: the same wiring of micro-agents and dispatch, with a virtual clock.
    from benchmarks.cost import prices as price_table
    from benchmarks.scale_model import STORM_S, Outcome, Setup, simulate
    from benchmarks.scale_storm import ratios as count

    limits: Mapping[str, float] = yaml.safe_load(LIMITS.read_text(encoding="utf-8"))
    standard, unit = limits["service_bus_standard_credits_s"], limits["service_bus_premium_messages_s"]
    most, region = int(limits["flex_instances_default"]), int(limits["flex_region_mb"]) // 2048
    installed = Setup(1, rps, most, standard)
    wide = Setup(1, 10 * rps, most, standard, 10)
    batched = Setup(64, 10 * rps, region, 4 * unit, 10)
    cells = [Setup(64, 10 * rps, region, 4 * unit, 10, parts) for parts in (4, 40)]
    setups = {
        1: [("as installed", installed), ("A", wide)],
        10: [("as installed", installed), ("A", wide)],
        100: [("as installed", installed), ("A", wide), ("A+B", batched), ("A+B+C", cells[0])],
        1000: [("as installed", installed), ("A+B", batched), ("A+B+C", cells[1])],
    }
    ratios, prices = count(), price_table.read()
    lines: list[Line] = []
    for times in TIMES:
        for name, setup in setups[times]:
            found: Outcome = simulate(
                ALERTS * times, services * times, setup, ratios, prices,
                limits["table_partition_rows_s"], limits["table_account_rows_s"],
            )  # fmt: skip
            held = [(limit, seconds) for limit, seconds in found.held_s.most_common() if seconds >= 1.0]
            lines.append(
                Line(
                    times,
                    name,
                    f"{found.first[0]} at {found.first[1]:.1f} s" if held else "nothing",
                    ", ".join(f"{limit} {seconds:.0f} s" for limit, seconds in held[:3]),
                    round(found.waiting * setup.deployments),
                    found.told_within_s,
                    found.done_s,
                )
            )
    rows = [
        [
            f"{line.times:,} x",
            line.setup,
            line.first,
            f"{line.waiting:,}",
            f"{line.told_within_s:.1f}",
            _until(line.done_s),
        ]
        for line in lines
    ]
    header = ("storm", "settings", "what gives first", "alerts waiting", "told within s", "worked in by s")
    calls, newer = limits["action_group_calls_per_minute"], limits["action_group_calls_per_minute_newer"]
    before = [_before(ALERTS * times, times, STORM_S, calls, newer) for times in TIMES]
    text = "\n\n".join(
        [
            f"{ALERTS:,} alerts of {services:,} services within {STORM_S:.0f} s, times 1 to 1,000 (services too)",
            "Before ARGUS: action groups, one alert a call\n\n"
            + grid(("storm", "alerts a second", f"subscriptions at {calls:,.0f}/min", f"at {newer:,.0f}/min",
                    "s to arrive through one"), before),
            "In ARGUS\n\n" + grid(header, rows),
            "A: 10 messages a batch, 2 GB instances that take 16 POSTs at once; B: 64 alerts a POST, Service Bus"
            f" Premium with 4 units,\nall {region} instances of a region; C:"
            f" {cells[0].deployments} deployments at 100 x, {cells[1].deployments} at 1,000 x",
            "How long each limit held something up\n\n"
            + grid(("storm", "settings", "limits"), [[f"{x.times:,} x", x.setup, x.held or "none"] for x in lines]),
            "Counted: " + ", ".join(f"{name} {value:.2f}" for name, value in asdict(ratios).items()),
        ]
    )  # fmt: skip
    return lines, text


def _before(alerts: int, times: int, seconds: float, calls: float, newer: float) -> list[str]:
    arrive = f"{alerts / calls * 60:,.0f}"
    return [f"{times:,} x", f"{alerts / seconds:,.0f}", _least(alerts, calls), _least(alerts, newer), arrive]


def _until(seconds: float) -> str:
    return f"{seconds:,.0f}" if seconds else "over 4 hours"


def _least(alerts: int, per_minute: float) -> str:
    return f"{-(-alerts // int(per_minute)):,}"
