"""The commands `held` and `release`: events that wait for a time or a person.

In: the JSON interface, and a user who signs in like anybody else. Out: a table, or what was released.
"""

from __future__ import annotations

import argparse
import json
from argparse import Namespace
from collections.abc import Callable
from datetime import UTC, datetime
from urllib.parse import quote

from argus.client import Client
from argus.tables import Paper, age
from argus.target import Trouble
from shared.portal.words import left


def add(command: Callable[[str, str, str], argparse.ArgumentParser]) -> None:
    """Build the commands' parsers; ``command`` takes a name, a text and an example."""
    held = command("held", "list events that wait to be released, why, until when, and by whom", "held")
    held.add_argument("--json", action="store_true", help="as JSON")
    held.add_argument("--limit", type=int, default=100, help="most lines (default: 100)")
    letting = command("release", "let a held event go", "release 7d3c2a10 --as olga")
    letting.add_argument("incident", help="incident id, or the first six or more characters")
    letting.add_argument("event", nargs="?", default="", help="event id, or its beginning, if several are held")
    letting.add_argument("--all", action="store_true", dest="everything", help="all that are held of this incident")
    letting.add_argument("--as", dest="user", required=True, metavar="USER", help="who you are")


def show(client: Client, args: Namespace, paper: Paper) -> int:
    """List what is held, over all incidents."""
    answer = client.read("/api/held", {"limit": str(args.limit)})
    if args.json:
        print(json.dumps(answer, indent=2, ensure_ascii=False), file=paper.out)
        return 0
    if not answer["held"]:
        paper.line("no event is held")
        return 0
    now = datetime.now(UTC)
    rows = [
        (
            h["incident_id"][:8], h["event_id"][:8], h["kind"], ", ".join(h["micro_agents"]), age(h["since"]),
            left(datetime.fromisoformat(h["until"]), now), h["release_by"], h["reason"],
        )
        for h in answer["held"]
    ]  # fmt: skip
    paper.table(("INCIDENT", "EVENT", "TYPE", "FOR", "HELD", "UNTIL", "RELEASE BY", "WHY"), rows)
    paper.line("let one go: `python -m argus release INCIDENT EVENT --as USER`", "dim")
    return 0


def release(client: Client, args: Namespace, paper: Paper) -> int:
    """Release one held event of an incident, or all of them."""
    view = client.read(f"/api/incidents/{quote(args.incident, safe='')}")
    held = [h for h in view["held"] if h["event_id"].startswith(args.event)]
    if not held:
        what = f"no held event that begins with {args.event}" if args.event else "no held event"
        raise Trouble(f"incident {args.incident} has {what}", "`python -m argus held` lists what is held")
    if len(held) > 1 and not args.everything:
        names = ", ".join(f"{h['event_id'][:8]} ({h['kind']})" for h in held)
        raise Trouble(f"{len(held)} events are held", f"name one, or use --all: {names}")
    client.sign_in(args.user)
    for event in held:
        answer = client.act(f"/api/held/{event['incident_id']}/{quote(event['event_id'], safe='')}/release", {})
        later = "" if answer["queued"] else "; the queue cannot be reached, so it goes within a minute"
        paper.line(f"released {event['kind']} {event['event_id'][:8]} of {event['incident_id'][:8]}{later}")
    return 0
