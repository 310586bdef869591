"""Enricher: writes the diagnosis into the ticket, with what belongs to it.

In: DiagnosisMade. Out: a work note; nothing in the incident changes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from shared.agents.triage.runbook_match import Fit, candidates, rank
from shared.model.diagnosis import Diagnosis, Evidence
from shared.model.errors import Reason, TransientError
from shared.model.event import Event
from shared.model.incident import Incident
from shared.model.outcome import Outcome
from shared.ports import Ports
from shared.records import evidence as evidence_rows
from shared.records import knowledge
from shared.records.knowledge import Case

PATIENCE = 5  # attempts that wait for the ticket; the diagnosis is in the portal meanwhile
MAX_NOTE_CHARS = 3900  # a journal field of ServiceNow holds 4000 as installed
MAX_SIMILAR = 3
MAX_RUNBOOKS = 3


def handle(event: Event, incident: Incident, now: datetime, ports: Ports) -> Outcome:
    """Write the diagnosis into the ticket.

    Args:
        event: DiagnosisMade.

    Raises:
        TransientError: tickets are configured and this incident has none yet (reason ``not_yet``), or the far side
            cannot be reached.
        PermanentError: the ticket system refuses the note.
    """
    if not ports.settings.ticketing:
        return Outcome("left the diagnosis in the portal", "no ticket system is configured")
    ticket = incident.ticket
    if ticket is None:
        if event.attempt < PATIENCE:
            raise TransientError("the ticket is not open yet", Reason.NOT_YET, sent=False)
        return Outcome("left the diagnosis in the portal", f"there was no ticket after {event.attempt} attempts")
    if incident.diagnosis is None:
        return Outcome("wrote nothing into the ticket", "the incident holds no diagnosis")
    system = ports.ticketing.get(ticket.system)
    if system is None:
        return Outcome(
            "left the diagnosis in the portal", f"ticket system {ticket.system!r} is not configured any more"
        )
    known = knowledge.of_service(ports.store, incident.service)
    fits = rank(
        incident,
        candidates(ports.library.runbooks(), known.runbooks),
        known.runbooks,
        known.cases,
        ports.settings.knowledge.min_score,
    )
    cited = [item for hypothesis in incident.diagnosis.hypotheses for item in hypothesis.evidence]
    evidence = evidence_rows.some_of(ports.store, incident.id, cited)
    alike = similar(incident, known.cases)
    text = note(incident, incident.diagnosis, evidence, fits, alike, ports.settings.portal.base_url)
    system.note(ticket, text, marker=event.id, repeat=ports.repeat)
    return Outcome(
        f"diagnosis written into ticket {ticket.number}",
        f"{len(incident.diagnosis.hypotheses)} hypotheses, {len(fits)} matching runbooks",
    )


def similar(incident: Incident, cases: Sequence[Case]) -> tuple[Case, ...]:
    """Closed incidents of the same theme, newest first."""
    theme = knowledge.theme_of(incident)
    alike = [case for case in cases if case.theme == theme and case.incident_id != incident.id]
    return tuple(reversed(alike))[:MAX_SIMILAR]


def note(
    incident: Incident,
    diagnosis: Diagnosis,
    evidence: Mapping[str, Evidence],
    fits: Sequence[Fit],
    past: Sequence[Case],
    portal: str,
) -> str:
    """The work note: what was found, with what it rests on and where to read on.

    Returns:
        Plain text of at most ``MAX_NOTE_CHARS``, which ends with the address of the incident in any case.
    """
    address = f"{portal.rstrip('/')}/incidents"
    lines = ["ARGUS looked for the cause.", diagnosis.summary, ""]
    for number, hypothesis in enumerate(diagnosis.hypotheses, 1):
        lines.append(f"{number}. {hypothesis.cause} ({hypothesis.confidence:.0%}): {hypothesis.statement}")
        for item in hypothesis.evidence:
            found = evidence.get(item)
            lines.append(f"   - [e:{item[:8]}] {found.kind}: {_line(found.title)}" if found else f"   - [e:{item[:8]}]")
    if not diagnosis.hypotheses:
        lines.append("No hypothesis: the evidence does not point anywhere.")
    if fits:
        lines += ["", "Runbooks that match:"]
        lines += [f"- {fit.runbook.title} ({fit.runbook.id}): {fit.why}" for fit in fits[:MAX_RUNBOOKS]]
    if past:
        lines += ["", "Similar incidents:"]
        lines += [
            f"- {case.closed_at:%Y-%m-%d} {_line(case.title)}{_ended(case)}: {address}/{case.incident_id}"
            for case in past
        ]
    end = f"\n\nIncident in the portal: {address}/{incident.id}"
    body = "\n".join(lines)
    room = MAX_NOTE_CHARS - len(end)
    return (body if len(body) <= room else body[: room - 2].rstrip() + " …") + end


def _ended(case: Case) -> str:
    return f" ({case.action} {case.result})" if case.action else ""


def _line(text: str) -> str:
    return " ".join(text.split())[:160]
