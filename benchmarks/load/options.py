"""What every load benchmark takes on its command line, and how it ends.

In: arguments. Out: options; printed tables, a JSON file, and an exit code.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any

from benchmarks.load.tables import Table, machine
from benchmarks.load.targets import Missing
from local.stack.places import StackError


def parser(name: str, about: str | None) -> argparse.ArgumentParser:
    """A parser with the options that all have."""
    found = argparse.ArgumentParser(prog=f"python -m benchmarks {name}", description=about)
    found.add_argument("--runs", type=int, default=5, help="runs of each target, in turn (5)")
    found.add_argument("--seed", type=int, default=1)
    found.add_argument("--quick", action="store_true", help="small and once: is everything in place?")
    found.add_argument("--no-peer", action="store_true", help="leave Alertmanager out; ratios are not judged then")
    found.add_argument("--json", metavar="FILE", help="write the figures as JSON too")
    return found


def say(line: str) -> None:
    """Progress, with the machine's load, so that a noisy run can be told."""
    print(f"{line}; {machine()}", file=sys.stderr, flush=True)


def run(given: argparse.Namespace, cases: Sequence[Callable[[], Coroutine[Any, Any, Table]]]) -> int:
    """Run and print every table.

    Returns:
        0 when every gate held, 1 when one was missed, 2 when something is missing.
    """
    tables = []
    try:
        for case in cases:
            tables.append(asyncio.run(case()))
            print(tables[-1].text(), end="\n\n", flush=True)
    except (Missing, StackError) as problem:
        print(f"error: {problem}", file=sys.stderr)
        return 2
    print(machine())
    if given.json:
        text = json.dumps({"machine": machine(), "tables": [table.data() for table in tables]}, indent=1)
        Path(given.json).write_text(text + "\n", encoding="utf-8")
    return 0 if all(table.held for table in tables) else 1
