"""Hold the broker to Microsoft's own tests and to the JavaScript SDK: ``python -m tests.local.servicebus_conformance``.

In: options, the package registries the first time. Out: progress, then passed, failed, skipped; exit 0 if all is well.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TypeAlias

from tests.local.servicebus_conformance import javascript
from tests.local.servicebus_conformance.broker_process import ROOT
from tests.local.servicebus_conformance.download import DownloadFailed, javascript_sdk, microsoft_tests
from tests.local.servicebus_conformance.microsoft import Run
from tests.local.servicebus_conformance.outcomes import Outcome, all_well, progress, summary
from tests.local.servicebus_conformance.skips import SKIPS

FILES = {
    "sync": ("azure-servicebus 7.15.0, tests/test_queues.py", "test_queues.py"),
    "aio": ("azure-servicebus 7.15.0, tests/async_tests/test_queues_async.py", "async_tests/test_queues_async.py"),
}
JAVASCRIPT = "@azure/service-bus 7.9.5, js/client.cjs"
# What to print, whether all went well, and the names of Microsoft's tests.
Report: TypeAlias = tuple[str, bool, set[str]]
CACHE = ROOT / ".argus" / "conformance"


def main(argv: Sequence[str] | None = None) -> int:
    """Run what the options name; returns 0 when nothing failed, 1 when something did, 2 when nothing could be run."""
    options = _parser().parse_args(argv)
    try:
        reports = [_microsoft(options, CACHE, *FILES[name]) for name in FILES if options.only in (None, name)]
        if options.only in (None, "js"):
            reports.append(_javascript(CACHE))
    except DownloadFailed as exc:
        print(f"conformance cannot run: {exc}", file=sys.stderr)
        return 2
    for text, _, _ in reports:
        print(text)
    well = all(fine for _, fine, _ in reports)
    if options.only is None and not options.k:
        stale = sorted(set(SKIPS).difference(*(names for _, _, names in reports)))
        if stale:
            print("\nthe table of skips names tests that do not exist: " + ", ".join(stale))
            well = False
    print(f"\nconformance: {'all in scope passed' if well else 'FAILED'}")
    return 0 if well else 1


def _microsoft(options: argparse.Namespace, cache: Path, title: str, file: str) -> Report:
    tests = microsoft_tests(cache)
    print(f"\n{title}: {options.workers} at once, most of them sleep; some minutes", flush=True)
    run = Run(tests, file, cache, options.workers, options.k, options.timeout * 60)
    outcomes: list[Outcome] = []
    for found in run.outcomes():
        outcomes.append(found)
        print(progress(found, len(outcomes), run.total), flush=True)
    text = summary(title, outcomes, run.total)
    if not run.total:
        text += f"\n   nothing was collected; see {run.log}"
    return text, all_well(outcomes, run.total), {found.name for found in outcomes}


def _javascript(cache: Path) -> Report:
    node_modules = javascript_sdk(cache)
    queues = javascript.checks(node_modules)
    print(f"\n{JAVASCRIPT}: {len(queues)} checks", flush=True)
    outcomes: list[Outcome] = []
    for found in javascript.run(node_modules, queues):
        outcomes.append(found)
        print(progress(found, len(outcomes), len(queues)), flush=True)
    table = "\n".join(f"  {each.outcome:<7} {each.name}" for each in outcomes)
    return f"{summary(JAVASCRIPT, outcomes, len(queues))}\n{table}", all_well(outcomes, len(queues)), set()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tests.local.servicebus_conformance",
        description="Microsoft's own Service Bus tests, and its JavaScript SDK, against the local broker.",
    )
    parser.add_argument("--only", choices=[*FILES, "js"], help="one part only")
    parser.add_argument("--workers", type=int, default=6, help="tests at once (6)")
    parser.add_argument("--timeout", type=float, default=45, help="minutes until a part is given up (45)")
    parser.add_argument("-k", default="", help="only tests that match, as pytest's -k")
    return parser


if __name__ == "__main__":
    sys.exit(main())
