"""The command `purge`: what has been kept for long enough goes, or is shown.

In: a store and the section `retention` of its configuration. Out: a table by rule; rows that are gone (rule H11).
"""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from argus.exporting import moment
from argus.opening import opened, person, sections
from argus.tables import Paper
from argus.target import Trouble
from shared.model.errors import ArgusError
from shared.records.retention import Tally, rules_of
from shared.records.retention_run import Order, run


def purge(args: Namespace, paper: Paper, environ: Mapping[str, str], start: Path) -> int:
    """Delete, or with ``--dry-run`` only tell what would go."""
    found = opened(args, environ, start)
    retention, host = sections(found)
    now = datetime.now(UTC)
    as_of = moment(args.now) or now
    if as_of > now and not (args.dry_run or args.yes):
        raise Trouble(
            f"{as_of:%Y-%m-%d %H:%M} UTC is in the future: rows would go before their time",
            "look with --dry-run, or say that it is meant with --yes",
        )
    order = Order(
        as_of, lambda: datetime.now(UTC), args.dry_run, person(args), tell=lambda step: _tell(f"looking at {step} ...")
    )
    try:
        tallies = run(found.store, rules_of(retention, host.retry_hours), order)
    except ArgusError as error:
        raise Trouble(f"the purge stopped: {error}", "what is gone is gone; run it again for the rest") from error
    _tell("")
    _show(paper, tallies, args.dry_run)
    paper.line("Durable's history is purged by the daily timer only (ARGUS_PURGE_SCHEDULE)", "dim")
    return 0


def _show(paper: Paper, tallies: Sequence[Tally], dry: bool) -> None:
    paper.table(
        ("TABLE", "RULE", "ROWS", "THINGS", "STAY"),
        [(str(t.table), t.rule, str(t.rows), str(t.units), _kept(t)) for t in tallies],
    )
    rows = sum(tally.rows for tally in tallies)
    paper.line(f"{rows} rows {'would go' if dry else 'are gone'}", "green")


def _kept(tally: Tally) -> str:
    return "; ".join(f"{count}: {why}" for why, count in tally.kept.items()) or "-"


def _tell(text: str) -> None:
    if sys.stderr.isatty():
        print(f"\r\x1b[K{text}", end="", file=sys.stderr)
