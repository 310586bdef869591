"""Commands that show: incidents, show, alerts.

In: the JSON interface. Out: tables, or the JSON itself.
"""

from __future__ import annotations

import json
from argparse import Namespace
from typing import Any
from urllib.parse import quote

from argus.client import Client
from argus.tables import Paper, age, clock, state


def incidents(client: Client, args: Namespace, paper: Paper) -> int:
    """List incidents."""
    query = {"state": "all" if args.all else "open", "limit": str(args.limit)}
    answer = client.read("/api/incidents", {**query, **({"service": args.service} if args.service else {})})
    if args.json:
        return _as_json(answer, paper)
    lines = answer["incidents"]
    if not lines:
        paper.line("no incidents" if args.all else "no open incidents; --all lists closed ones too")
        return 0
    paper.table(
        ("ID", "SEV", "STATE", "SERVICE", "AGE", "SEEN BY", "TICKET", "TITLE"),
        [
            (
                line["id"][:8],
                line["severity"],
                state(line["state"]),
                line["service"] or "-",
                age(line["opened_at"]),
                line["acknowledged_by"] or "-",
                line["ticket"] or "-",
                line["title"],
            )
            for line in lines
        ],
    )
    for line in lines:
        if line["awaiting"] and line["state"] != "closed":
            paper.line(f"waiting: python -m argus approve {line['awaiting']} --as USER    ({line['title']})", "yellow")
    return 0


def alerts(client: Client, args: Namespace, paper: Paper) -> int:
    """List alerts with what became of them."""
    answer = client.read("/api/alerts", {"limit": str(args.limit)})
    if args.json:
        return _as_json(answer, paper)
    if not answer["alerts"]:
        paper.line("no alerts; try `python -m argus send azure_monitor --sample`")
        return 0
    rows = []
    for line in answer["alerts"]:
        alert = line["alert"]
        incident = line["incident_id"][:8] or "-"
        name, why = alert["name"], line["why"]
        service = alert["service"] or "-"
        rows.append(
            (alert["severity"], alert["status"], service, age(alert["starts_at"]), incident, alert["source"], name, why)
        )
    paper.table(("SEV", "STATUS", "SERVICE", "AGE", "INCIDENT", "SOURCE", "NAME", "WHY"), rows)
    return 0


def show(client: Client, args: Namespace, paper: Paper) -> int:
    """Show one incident."""
    view = client.read(f"/api/incidents/{quote(args.id, safe='')}")
    if args.json:
        return _as_json(view, paper)
    incident = view
    paper.line(f"{incident['severity']}  {incident['title']}", "bold")
    ticket = incident["ticket"] or {}
    paper.facts(
        [
            ("id", incident["id"]),
            ("state", state(incident["state"]) + (" (cancelled)" if incident["cancelled"] else "")),
            ("service", incident["service"]),
            ("opened", f"{clock(incident['opened_at'])} UTC, {age(incident['opened_at'])} ago"),
            ("seen by", incident["acknowledged_by"] or "nobody"),
            ("assigned to", incident["assignee"] or "nobody"),
            ("ticket", f"{ticket.get('number', '')} {ticket.get('url', '')}".strip()),
            ("summary", incident["summary"]),
            ("resolution", incident["resolution"]),
        ]
    )
    _findings(view, paper)
    for asked in view["approvals"]:
        _approval(asked, paper)
    for done in incident["actions"]:
        paper.line(f"action: {done['state']}: {done['action']} on {done['target']}: {done['message']}")
    for document in incident["documents"]:
        paper.line(f"document: {document['title']}  {document['url']}")
    paper.line()
    paper.table(
        ("AT (UTC)", "WHO", "WHAT", "WHY"),
        [
            (clock(entry["at"]), entry["person"] or entry["micro_agent"], entry["what"], entry["why"])
            for entry in view["timeline"]
        ],
    )
    audit = view["audit"]
    whole = f"audit: whole, {len(audit['entries'])} entries"
    paper.line(whole if audit["verified"] else f"audit: BROKEN: {audit['problem']}", "" if audit["verified"] else "red")
    return 0


def _findings(view: dict[str, Any], paper: Paper) -> None:
    diagnosis = view["diagnosis"]
    if not diagnosis:
        return
    titles = {item["id"]: item["title"] for item in view["evidence"]}
    for hypothesis in diagnosis["hypotheses"]:
        paper.line(f"cause: {round(100 * (hypothesis['confidence'] or 0))} %  {hypothesis['statement']}", "bold")
        for evidence in hypothesis["evidence"]:
            paper.line(f"       evidence: {titles.get(evidence, evidence)}")
    if not diagnosis["hypotheses"]:
        paper.line(f"cause: {diagnosis['summary'] or 'the evidence names none'}")


def _approval(asked: dict[str, Any], paper: Paper) -> None:
    request, plan = asked["request"], asked["request"]["plan"]
    paper.line(f"plan: {plan['title']}: {plan['action']} on {plan['target']}")
    if asked["decision"]:
        decision = asked["decision"]
        paper.line(f"      {decision['verdict']} by {', '.join(decision['by'])} at {clock(decision['at'])} UTC")
        return
    paper.line(f"      waiting until {clock(request['deadline'])} UTC, {len(asked['votes'])} votes", "yellow")
    paper.line(f"      python -m argus approve {request['id']} --as USER", "yellow")


def _as_json(answer: object, paper: Paper) -> int:
    print(json.dumps(answer, indent=2, ensure_ascii=not paper.out.isatty()), file=paper.out)
    return 0
