"""Run a benchmark: ``python -m benchmarks NAME [options]``.

In: a name of the table below and its own options. Out: what it measured; exit code 0 when the promise was kept.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Mapping, Sequence

# Each module has ``main(arguments) -> exit code``; it is imported only when it is asked for.
COMMANDS: Mapping[str, tuple[str, str]] = {
    "crash": ("benchmarks.crash.command", "kill -9 at seeded points; nothing is lost and nothing happens twice"),
    "cost": ("benchmarks.cost.command", "store calls, messages and dollars of one incident"),
    "duplicates": ("benchmarks.duplicates", "repeats of open alerts, beside Alertmanager"),
    "lists": ("benchmarks.lists", "list page, search and status change with 100,000 alerts in the store"),
    "latency": ("benchmarks.latency", "from the POST to the notification, idle"),
    "growth": ("benchmarks.growth", "ten times the alerts: cost of each, and memory"),
    "scale": ("benchmarks.scale", "what gives first on Azure in storms of ten to a thousand times; simulated"),
    "tables": ("benchmarks.tables_client", "processor time of the two clients for Table Storage"),
    "storm": ("benchmarks.storm", "distinct alerts as fast as they are taken, beside Alertmanager"),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Hand over to one benchmark.

    Returns:
        Its exit code; 2 for a name that is not in the table.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    if not given or given[0] in ("-h", "--help"):
        print("usage: python -m benchmarks NAME [options]; NAME --help tells the options\n")
        for name, (_, what) in COMMANDS.items():
            print(f"  {name:<12} {what}")
        return 0 if given else 2
    if given[0] not in COMMANDS:
        print(f"error: no benchmark {given[0]!r}; there are {', '.join(COMMANDS)}", file=sys.stderr)
        return 2
    code: int = importlib.import_module(COMMANDS[given[0]][0]).main(given[1:])
    return code


if __name__ == "__main__":
    sys.exit(main())
