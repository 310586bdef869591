"""The commands `doctor` and `index`: a look at the whole store for what the sweep would not find, and the list anew.

In: a store. Out: incidents that nobody looks at, and repaired ones (rules H8 and P1).
"""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from argus.opening import opened
from argus.tables import Paper
from argus.target import Trouble
from shared.model.errors import ArgusError
from shared.records import doctor


def examine(args: Namespace, paper: Paper, environ: Mapping[str, str], start: Path) -> int:
    """Look for incidents without a marker that have something to do; 1 when there is one and it is not repaired."""
    store = opened(args, environ, start).store
    count = 0
    try:
        for found in doctor.forgotten(store):
            count += 1
            if args.repair:
                doctor.repair(store, found, datetime.now(UTC))
            paper.line(f"{'marked' if args.repair else 'FORGOTTEN'}  {found.incident_id}: {found.words}", "yellow")
    except ArgusError as error:
        raise Trouble(f"the store cannot be read: {error}") from error
    if not count:
        paper.line("every incident with something left to do has its marker", "green")
    elif args.repair:
        paper.line(f"{count} incidents marked; the next sweep goes on with them", "green")
    else:
        paper.line(f"{count} incidents that no sweep looks at; --repair writes their markers", "red")
    return 1 if count and not args.repair else 0


def index(args: Namespace, paper: Paper, environ: Mapping[str, str], start: Path) -> int:
    """Make the list of incidents anew from the incidents."""
    store = opened(args, environ, start).store
    try:
        done = doctor.rebuild_index(store)
    except ArgusError as error:
        raise Trouble(f"the store cannot be read: {error}") from error
    paper.line(f"{done.incidents} incidents: {done.written} lines written, {done.removed} removed", "green")
    return 0
