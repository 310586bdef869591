"""Commands that act as a person: ack, assign, close, open, approve, reject.

In: a user who signs in like anybody else. Out: what the portal accepted.
"""

from __future__ import annotations

from argparse import Namespace
from urllib.parse import quote

from argus.client import Client
from argus.tables import Paper
from argus.target import Trouble


def acknowledge(client: Client, args: Namespace, paper: Paper) -> int:
    """Say: I have seen it."""
    return _act(client, args, paper, "acknowledge", {}, f"acknowledged by {args.user}")


def assign(client: Client, args: Namespace, paper: Paper) -> int:
    """Give an incident to somebody."""
    return _act(client, args, paper, "assign", {"assignee": args.assignee}, f"assigned to {args.assignee}")


def close(client: Client, args: Namespace, paper: Paper) -> int:
    """Close an incident by hand."""
    return _act(client, args, paper, "close", {"reason": args.reason}, f"closed by {args.user}")


def open_incident(client: Client, args: Namespace, paper: Paper) -> int:
    """Open an incident by hand."""
    client.sign_in(args.user)
    fields = {"title": args.title, "service": args.service, "severity": args.severity, "summary": args.summary}
    answer = client.act("/api/incidents", fields)
    paper.line(
        f"accepted: incident {answer['incident']}; see `python -m argus show {answer['incident'][:8]}` in a moment"
    )
    return 0


def decide(client: Client, args: Namespace, paper: Paper) -> int:
    """Approve or reject; an incident's id stands for the approval it waits for."""
    client.sign_in(args.user)
    paper.line(client.decide(_approval_id(client, args.approval), args.command, args.comment))
    return 0


def _act(client: Client, args: Namespace, paper: Paper, verb: str, fields: dict[str, str], done: str) -> int:
    client.sign_in(args.user)
    answer = client.act(f"/api/incidents/{quote(args.id, safe='')}/{verb}", fields)
    paper.line(f"accepted: {answer['incident'][:8]} will be {done} in a moment")
    return 0


def _approval_id(client: Client, name: str) -> str:
    try:
        incident = client.read(f"/api/incidents/{quote(name, safe='')}")
    except Trouble:
        return name  # no incident is called so; it is an approval, or the portal will say what is wrong
    approval = incident["approval"]
    if not approval or approval["verdict"]:
        raise Trouble(f"incident {name} waits for no approval", f"see `python -m argus show {name}`")
    return str(approval["id"])
