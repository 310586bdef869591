"""Aggregator: counts a closed incident among those alike, and what its action achieved.

In: IncidentClosed. Out: the incident's theme.
"""

from __future__ import annotations

from datetime import datetime

from shared.agents.chronicler.verdict import last_action, result_of
from shared.model.event import Event
from shared.model.incident import Incident, Theme
from shared.model.outcome import Outcome, Put
from shared.ports import Ports
from shared.records import approvals, knowledge
from shared.records.knowledge import Case

MAX_SIMILAR = 5


def handle(event: Event, incident: Incident, now: datetime, ports: Ports) -> Outcome:
    """Count the incident once, however often it is told, and place it among similar ones.

    Args:
        event: IncidentClosed.
    """
    last = last_action(incident)
    request = approvals.read(ports.store, last.approval_id).request if last else None
    case = Case(
        incident_id=incident.id,
        service=incident.service,
        theme=knowledge.theme_of(incident),
        title=incident.title,
        closed_at=incident.closed_at or event.time,
        action=last.action if last else "",
        runbook=request.plan.runbook if request else "",
        result=result_of(incident, last),
    )
    if not incident.cancelled:  # a false alarm teaches nothing about causes and fixes
        knowledge.put_case(ports.store, case)
    known = knowledge.of_service(ports.store, incident.service)
    alike = [item for item in known.cases if item.theme == case.theme]
    others = [item.incident_id for item in alike if item.incident_id != incident.id]
    count = knowledge.tally(item for item in alike if item.action == case.action)
    theme = Theme(
        key=case.theme,
        occurrences=len(alike),
        similar=tuple(reversed(others))[:MAX_SIMILAR],
        action=case.action,
        successes=count.successes,
        failures=count.failures,
    )
    return Outcome(
        f"number {theme.occurrences} of the theme {theme.key}" if not incident.cancelled else "counted nothing",
        _reason(theme, case) if not incident.cancelled else "the incident was cancelled",
        changes=(Put("theme", theme),),
    )


def _reason(theme: Theme, case: Case) -> str:
    if not case.action:
        return f"{len(theme.similar)} similar incident(s) before, and no action was taken"
    return f"{case.action} {case.result}; {theme.successes} of {theme.successes + theme.failures} times in this theme"
