"""The command `brake`: how the storm brake stands, and on or off by hand.

In: the JSON interface, and a user who signs in like anybody else. Out: a few lines.
"""

from __future__ import annotations

import argparse
import json
from argparse import Namespace
from collections.abc import Callable
from typing import Any

from argus.client import Client
from argus.tables import Paper, age
from argus.target import Trouble


def add(command: Callable[[str, str, str], argparse.ArgumentParser]) -> None:
    """Build the command's parser; ``command`` takes a name, a text and an example."""
    brake = command("brake", "the storm brake: show it, or put it on or off", 'brake on --why "a drill" --as olga')
    brake.add_argument("verb", nargs="?", choices=("show", "on", "off"), default="show", help="default: show")
    brake.add_argument("--why", default="", help="the reason, for the audit trail and the digest")
    brake.add_argument("--as", dest="user", default="", metavar="USER", help="who you are")
    brake.add_argument("--json", action="store_true", help="as JSON")


def run(client: Client, args: Namespace, paper: Paper) -> int:
    """Show the brake or switch it."""
    if args.verb == "show":
        return _show(client, args, paper)
    if not args.user or not args.why:
        raise Trouble(
            f"brake {args.verb} needs --as USER and --why REASON",
            f'such as: python -m argus brake {args.verb} --why "a drill" --as olga',
        )
    client.sign_in(args.user)
    answer = client.act(f"/api/brake/{args.verb}", {"reason": args.why})
    paper.line(f"the storm brake is {args.verb}" + ("" if answer["changed"] else ", as it was before"))
    return 0


def _show(client: Client, args: Namespace, paper: Paper) -> int:
    view = client.read("/api/brake")
    if args.json:
        print(json.dumps(view, indent=2, ensure_ascii=False), file=paper.out)
        return 0
    paper.line(*_head(view))
    if not view["waiting"]:
        return 0
    paper.line(f"next, by {view['order']}:")
    rows = [
        (one["incident_id"][:8], one["severity"], str(one["alerts"]), one["service"], age(one["since"]), one["title"])
        for one in view["first"]
    ]
    paper.table(("INCIDENT", "SEVERITY", "ALERTS", "SERVICE", "WAITS", "TITLE"), rows)
    return 0


def _head(view: dict[str, Any]) -> tuple[str, str]:
    places = f"{view['open_approvals']} approvals have a place, {view['asking']} wait for one"
    counts = f"{view['waiting']} incidents wait, {view['in_work']} in work, {view['let_go']} let through; {places}"
    if view["on"]:
        by = f" by {view['on_by']}" if view["on_by"] else ""
        return f"ON since {age(view['since'])}{by}: {view['why']}\n{counts}", "yellow"
    ended = f" since {age(view['ended_at'])}: {view['ended_why']}" if view["ended_at"] else ""
    return f"off{ended}\n{counts}", ""
