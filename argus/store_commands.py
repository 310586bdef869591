"""Commands that open the store itself: `audit`, `purge`, `backup`, `restore`, `doctor`, `index`.

In: the parser of the command line. Out: their options and help, and what runs them.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from argus import auditing, doctoring, exporting, keeping, purging
from argus.tables import Paper

Run = Callable[[argparse.Namespace, Paper, Mapping[str, str], Path], int]
INTO_EXISTING = """--into-existing completes a store that is not empty, such as after a restore that was interrupted: an
incident or approval of which all that is there is in the backup too gets the rest; one that differs is
left alone and named, because two states of one incident cannot be mixed; of every other table the missing
rows are written. Stop the hosts first."""


def add(command: Any) -> None:
    """Add the commands."""
    audit = command("audit", "walk the hash chains of the audit trail in the store itself", "audit verify")
    audit.add_argument("what", choices=("verify", "show", "export"), help="verify chains, show one, or export them")
    audit.add_argument("id", nargs="?", default="", help="incident id, its beginning, or system-YYYYMMDD")
    audit.add_argument("--format", choices=("jsonl", "csv"), default="jsonl", help="of an export (default: jsonl)")
    audit.add_argument("--out", default="-", help="file of an export (default: - for standard output)")
    audit.add_argument("--incident", default="", metavar="ID", help="export only this chain")
    audit.add_argument("--since", default="", metavar="TIME", help="export only entries from this time on (UTC)")
    audit.add_argument("--until", default="", metavar="TIME", help="export only entries before this time")
    purge = command("purge", "let go what was kept for long enough; open incidents are not touched", "purge --dry-run")
    purge.add_argument("--dry-run", action="store_true", help="only tell what would go, by table and rule")
    purge.add_argument("--now", default="", metavar="TIME", help="judge as of this time instead of now")
    purge.add_argument("--yes", action="store_true", help="a --now in the future is meant")
    backup = command("backup", "write every row of the store into one file", "backup argus.jsonl.gz")
    backup.add_argument("file", help="file to write; gzip, JSON lines")
    restore = command("restore", "write a backup into an empty store of either kind", "restore argus.jsonl.gz")
    restore.add_argument("file", help="file that `backup` wrote")
    restore.add_argument("--into-existing", action="store_true", help="complete a store that is not empty")
    restore.add_argument("--queues-kept", action="store_true", help="the queues still hold their messages")
    doctor = command("doctor", "look at the whole store for events that no sweep would find", "doctor --outbox")
    doctor.add_argument("--outbox", action="store_true", help="unsent and held events without a marker (the default)")
    doctor.add_argument("--repair", action="store_true", help="write the missing markers")
    index = command("index", "make the list of incidents anew", "index rebuild")
    index.add_argument("what", choices=("rebuild",), help="from the incidents themselves")
    for parser in (audit, purge, backup, restore, doctor, index):
        parser.add_argument("--config", help="configuration that names the store (or ARGUS_CONFIG)")
    for parser in (purge, restore):
        parser.add_argument("--as", dest="user", default="", metavar="USER", help="who you are, for the audit trail")
    for parser, text in ((backup, keeping.KEPT_OUT), (restore, f"{INTO_EXISTING}\n\n{keeping.KEPT_OUT}")):
        parser.formatter_class = argparse.RawDescriptionHelpFormatter
        parser.epilog = f"{text}\n\n{parser.epilog}"


def runner(args: argparse.Namespace) -> Run | None:
    """What runs a command of these; ``None`` for another one."""
    audits: dict[str, Run] = {"verify": auditing.verify, "show": auditing.show, "export": exporting.export}
    runs: dict[str, Run] = {
        "purge": purging.purge,
        "backup": keeping.write,
        "restore": keeping.read,
        "doctor": doctoring.examine,
        "index": doctoring.index,
    }
    return audits[args.what] if args.command == "audit" else runs.get(args.command)
