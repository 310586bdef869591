"""What one incident costs in store calls, messages and dollars: ``python -m benchmarks cost``.

In: options. Out: tables; exit code 1 with ``--gate`` when a promise is broken or a count is above the baseline.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

BASELINE = Path(__file__).resolve().parent.parent / "cost_baseline.json"


def main(arguments: Sequence[str]) -> int:
    """Command line entry; see the module."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks cost", description=__doc__)
    parser.add_argument("--gate", action="store_true", help="exit 1 when a gate is missed or the baseline is exceeded")
    parser.add_argument("--update", action="store_true", help="write the counts of now as the baseline")
    parser.add_argument("--baseline", type=Path, default=BASELINE, metavar="FILE", help="counts to compare with")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures as JSON too")
    given = parser.parse_args(arguments)
    if not given.update and not given.baseline.exists():
        print(f"error: {given.baseline} is not there; --update writes it", file=sys.stderr)
        return 2
    # Needs the world of tests/pipeline: the same wiring of micro-agents and dispatch, with a virtual clock.
    from benchmarks.cost import report
    from benchmarks.cost.measure import costs

    found = costs()
    print(report.text(found))
    if given.json:
        given.json.write_text(report.dumped(report.data(found)), encoding="utf-8")
    counts = found.counts()
    if given.update:
        given.baseline.write_text(report.dumped(counts), encoding="utf-8")
    baseline = json.loads(given.baseline.read_text(encoding="utf-8"))
    more, fewer = report.above(counts, baseline), report.below(counts, baseline)
    if more:
        print("\nMore than the baseline:\n  " + "\n  ".join(more))
    elif fewer:
        print("\nLess than the baseline (--update writes it down):\n  " + "\n  ".join(fewer))
    missed = [gate for gate in found.gates() if not gate.held]
    return 1 if given.gate and (more or missed) else 0
