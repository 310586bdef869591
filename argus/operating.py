"""Commands for whoever runs ARGUS: queues, status.

In: the addresses of a stack. Out: what is reachable, what waits.
"""

from __future__ import annotations

import json
from argparse import Namespace
from datetime import timedelta
from typing import Any

from argus.client import Client
from argus.tables import Paper
from argus.target import Target, Trouble
from argus.watching import itself
from shared.portal.words import span


def queues(client: Client, target: Target, args: Namespace, paper: Paper) -> int:
    """Show the queues of the development broker."""
    if not target.stats:
        raise Trouble(
            "only a local stack shows its queues here",
            "in Azure look at the Service Bus namespace: az servicebus queue list --query '[].countDetails'",
        )
    rows = client.get_json(f"{target.stats}/queues")
    if args.json:
        print(json.dumps(rows, indent=2), file=paper.out)
        return 0
    head = ("QUEUE", "ACTIVE", "LOCKED", "SCHEDULED", "DEAD", "OLDEST")
    paper.table(head, [_queue(row) for row in rows])
    return 0


def _queue(row: dict[str, Any]) -> tuple[str, ...]:
    counts = (str(row[name]) for name in ("active", "locked", "scheduled", "dead_letter"))
    oldest = row.get("oldest_s")
    return (str(row["name"]), *counts, "-" if not oldest else span(timedelta(seconds=float(oldest))))


def status(client: Client, target: Target, args: Namespace, paper: Paper) -> int:
    """Say in a few lines whether ARGUS works.

    Returns:
        0 when everything that is known answers, 1 otherwise.
    """
    places = {
        "host": f"{target.url}/healthz",
        "portal": f"{target.portal or target.url}/signin",
        "sandbox": f"{target.sandbox}/" if target.sandbox else "",
        "broker": f"{target.stats}/healthz" if target.stats else "",
    }
    rows, well = [], True
    for name, url in places.items():
        if url:
            problem = client.reaches(url)
            well = well and not problem
            rows.append((name, "down" if problem else "ok", f"{url}  {problem}".strip()))
    paper.table(("PART", "STATE", "ADDRESS"), rows)
    for show in (_work, _open, _quarantine):
        try:
            show(client, target, paper)
        except Trouble as trouble:
            paper.line(f"unknown: {trouble}", "red")
            well = False
    try:
        return 0 if itself(client, paper) and well else 1
    except Trouble as trouble:
        paper.line(f"unknown: {trouble}", "red")
    return 1


def _work(client: Client, target: Target, paper: Paper) -> None:
    if not target.stats:
        return
    rows = client.get_json(f"{target.stats}/queues")
    waiting = sum(int(row["active"]) + int(row["locked"]) for row in rows)
    dead = sum(int(row["dead_letter"]) for row in rows)
    paper.line(f"queues: {waiting} messages in work, {dead} dead-lettered", "red" if dead else "")


def _open(client: Client, target: Target, paper: Paper) -> None:
    lines = client.read("/api/incidents", {"state": "open", "limit": "1000"})["incidents"]
    asked = sum(bool(line["awaiting"]) for line in lines)
    paper.line(f"incidents: {len(lines)} open, {asked} waiting for a decision", "yellow" if asked else "")


def _quarantine(client: Client, target: Target, paper: Paper) -> None:
    found = client.read("/api/quarantine", {"limit": "1000"})
    held = client.read("/api/held", {"limit": "1000"})["count"]
    seen = "; see `python -m argus quarantine`" if found["count"] else ""
    paper.line(f"quarantine: {found['count']} waiting{seen}", "yellow" if found["count"] else "")
    brake = client.read("/api/brake")
    if brake["on"]:
        paper.line(f"the storm brake is on: {brake['waiting']} incidents wait; see `python -m argus brake`", "yellow")
    if held:
        paper.line(f"held: {held} events wait to be released; see `python -m argus held`", "yellow")
