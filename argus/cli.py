"""The operator's commands and their help.

In: arguments. Out: an exit code: 0 ok, 1 not ok, 2 wrong usage.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from argus import held, operating, people, quarantine, reading, sending, store_commands, storm
from argus.client import Client
from argus.tables import Paper
from argus.target import Trouble, find

EXAMPLES = """examples:
  python -m argus status                           is everything up, what is open
  python -m argus incidents                        open incidents
  python -m argus show 7d3c2a                      one incident; six characters of its id are enough
  python -m argus ack 7d3c2a --as olga             I have seen it
  python -m argus approve 7d3c2a --as olga         approve the plan it waits for
  python -m argus send azure_monitor --sample      try it: a sample alert
  python -m argus quarantine                       what could not be worked off, and why
  python -m argus brake                            the storm brake: on or off, and who waits
  python -m argus audit verify                     is the audit trail whole?
  python -m argus purge --dry-run                  what has been kept for long enough
  python -m argus backup argus.jsonl.gz            the whole store in one file

exit codes: 0 ok, 1 not ok, 2 wrong usage.
Without --url the stack is found through .argus/up.json here or in a folder above, or through the
variable ARGUS_DATA, which names the data folder of one that was started with --data."""


def parser() -> argparse.ArgumentParser:
    """All commands."""
    where = argparse.ArgumentParser(add_help=False)
    unset: dict[str, Any] = {"default": argparse.SUPPRESS}
    where.add_argument("--url", help="address of ARGUS (or ARGUS_URL)", **unset)
    where.add_argument("--key", help="key for reading and sending (or ARGUS_KEY)", **unset)
    where.add_argument("--no-color", action="store_true", help="no colours (or NO_COLOR)", **unset)
    whole = argparse.ArgumentParser(
        prog="python -m argus", description="See and steer incidents of a running ARGUS.", epilog=EXAMPLES,
        parents=[where], formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    commands = whole.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def command(name: str, text: str, example: str) -> argparse.ArgumentParser:
        return commands.add_parser(
            name, help=text, description=text, epilog=f"example: python -m argus {example}", parents=[where]
        )

    _reading(command)
    _acting(command)
    send = command("send", "post a webhook body, as the monitoring system would", "send azure_monitor alert.json")
    send.add_argument("source", help="registered source, such as azure_monitor")
    send.add_argument("file", nargs="?", help="file with the body; - for standard input")
    send.add_argument("--sample", action="store_true", help="send a believable body instead of a file")
    send.add_argument("--service", default="shop", help="service of the sample (default: shop)")
    send.add_argument("--resolved", action="store_true", help="the sample resolves what an earlier one fired")
    queues = command("queues", "what waits on the queues of a local stack", "queues")
    queues.add_argument("--json", action="store_true", help="as JSON")
    command("status", "is everything up, what is open", "status")
    kept = command("quarantine", "what could not be worked off, and why: list, show, replay, drop", "quarantine")
    quarantine.add(kept, where)
    held.add(command)
    storm.add(command)
    store_commands.add(command)
    return whole


def _reading(command: Any) -> None:
    listing = command("incidents", "list open incidents", "incidents --all --service shop")
    listing.add_argument("--all", action="store_true", help="closed ones too")
    listing.add_argument("--service", default="", help="only this service")
    alerts = command("alerts", "list alerts, and why they did or did not open an incident", "alerts")
    for listed in (listing, alerts):
        listed.add_argument("--json", action="store_true", help="as JSON")
        listed.add_argument("--limit", type=int, default=100, help="most lines (default: 100)")
    show = command("show", "show one incident with its timeline", "show 7d3c2a10")
    show.add_argument("id", help="incident id, or the first six or more characters")
    show.add_argument("--json", action="store_true", help="as JSON")


def _acting(command: Any) -> None:
    acks = command("ack", "say: I have seen it", "ack 7d3c2a10 --as olga")
    assign = command("assign", "give an incident to somebody", "assign 7d3c2a10 sam --as olga")
    close = command("close", "close an incident by hand", 'close 7d3c2a10 --as olga --reason "a drill"')
    for acting in (acks, assign, close):
        acting.add_argument("id", help="incident id, or the first six or more characters")
    assign.add_argument("assignee", help="user who takes it")
    close.add_argument("--reason", default="", help="why it is over")
    opening = command("open", "open an incident by hand", 'open --title "Nobody can pay" --service shop --as olga')
    opening.add_argument("--title", required=True, help="what is wrong, in a few words")
    opening.add_argument("--service", required=True, help="service concerned")
    opening.add_argument("--severity", default="sev2", help="sev0 (worst) to sev3 (default: sev2)")
    opening.add_argument("--summary", default="", help="what is known")
    approve = command("approve", "approve a plan", 'approve 7d3c2a10 --as olga --comment "agreed"')
    reject = command("reject", "reject a plan", 'reject 7d3c2a10 --as olga --comment "not now"')
    for deciding in (approve, reject):
        deciding.add_argument("approval", help="approval id, or the id of the incident that waits for it")
        deciding.add_argument("--comment", default="", help="goes into the audit trail")
    for acting in (acks, assign, close, opening, approve, reject):
        acting.add_argument("--as", dest="user", required=True, metavar="USER", help="who you are")


ONLINE = {
    "incidents": reading.incidents,
    "alerts": reading.alerts,
    "brake": storm.run,
    "held": held.show,
    "release": held.release,
    "show": reading.show,
    "ack": people.acknowledge,
    "assign": people.assign,
    "close": people.close,
    "open": people.open_incident,
    "approve": people.decide,
    "reject": people.decide,
    "send": sending.send,
}


def main(arguments: Sequence[str], environ: Mapping[str, str] | None = None, start: Path | None = None) -> int:
    """Run one command.

    Args:
        environ: environment variables; the process's own by default.
        start: folder from which ``.argus/up.json`` is looked for; the current one by default.

    Returns:
        The exit code.
    """
    environ = os.environ if environ is None else environ
    start = Path.cwd() if start is None else start
    whole = parser()
    args = whole.parse_args(arguments)
    if args.command == "audit" and args.what == "show" and not args.id:
        whole.error("audit show needs an id")
    paper = Paper(no_color=getattr(args, "no_color", False) or bool(environ.get("NO_COLOR")))
    try:
        return _run(args, paper, environ, start)
    except Trouble as trouble:
        print(f"argus: {trouble}", file=sys.stderr)
        if trouble.hint:
            print(f"       {trouble.hint}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # `argus incidents | head` ends here
        sys.stderr.close()
        return 0


def _run(args: argparse.Namespace, paper: Paper, environ: Mapping[str, str], start: Path) -> int:
    run = store_commands.runner(args)
    if run is not None:
        return run(args, paper, environ, start)
    target = find(getattr(args, "url", None), getattr(args, "key", None), environ, start)
    client = Client(target)
    try:
        if args.command == "queues":
            return operating.queues(client, target, args, paper)
        if args.command == "quarantine":
            return quarantine.run(client, target, args, paper)
        if args.command == "status":
            return operating.status(client, target, args, paper)
        return ONLINE[args.command](client, args, paper)
    finally:
        client.close()
