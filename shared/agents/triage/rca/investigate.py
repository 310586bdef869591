"""RCA: gather the evidence, keep it, and rank what may have caused the incident.

In: InvestigationRequested. Out: a diagnosis with at most three hypotheses, and DiagnosisMade.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from shared.agents.triage.rca import unanswered
from shared.agents.triage.rca.ranking import Findings, rank
from shared.model.alert import Alert
from shared.model.diagnosis import Diagnosis, Evidence, EvidenceKind, EvidenceStatus
from shared.model.event import DiagnosisMade, Event, InvestigationRequested
from shared.model.incident import Incident
from shared.model.lifecycle import Moment
from shared.model.missing import Missing
from shared.model.outcome import Emit, Happened, Outcome, Put
from shared.ports import Ports
from shared.ports.evidence import Question
from shared.records import evidence as rows

MAX_ALERTS = 20
SURE = 0.5  # a plan needs as much
YOUNG = timedelta(seconds=40)
AGAIN = timedelta(seconds=8)


def handle(event: Event, incident: Incident, now: datetime, ports: Ports) -> Outcome:
    """Investigate an incident.

    Args:
        event: InvestigationRequested.

    Raises:
        TransientError: the store cannot take the evidence.
    """
    alerted_at = _alerted_at(incident)
    reach = timedelta(seconds=ports.settings.investigation.baseline_s)
    question = Question(incident.service, alerted_at - reach, alerted_at, max(now, alerted_at))
    gathered = [rows.identified(item) for item in ports.investigator.gather(question)]
    gathered += [_of_alert(alert) for alert in incident.alerts[-MAX_ALERTS:]]
    findings = rank(gathered, incident.service, alerted_at, reach)
    person = event.data.by if isinstance(event.data, InvestigationRequested) else ""
    lacking = unanswered.of(gathered, incident, now)
    early = _too_early(findings, incident, now)
    again = None if early else unanswered.again(lacking, incident, now)
    told, looks = unanswered.noted(lacking, incident, again), unanswered.look(again)
    if unanswered.is_catching_up(event, incident) and not unanswered.adds(findings, incident):
        return Outcome(*_nothing_new(lacking), (told,), looks)
    diagnosis = Diagnosis(
        made_at=now,
        window_start=question.start,
        window_end=question.end,
        hypotheses=findings.hypotheses,
        evidence=tuple(dict.fromkeys(item.id for item in gathered)),
        summary=findings.summary,
        onset=findings.onset,
    )
    said = (told,) if lacking or incident.missing else ()
    changes = (Put("diagnosis", diagnosis), Happened(Moment.INVESTIGATION_STARTED), *said)
    if early:
        why = f"too early to be sure, so it looks again in {AGAIN.seconds} s; {findings.summary}"
        look = (Emit(InvestigationRequested(), now + AGAIN),)
        return Outcome(_what(findings), why, changes, look, evidence=tuple(gathered))
    without = f" (without {', '.join(m.name for m in lacking)})" if lacking else ""
    return Outcome(
        what=_what(findings),
        reason=findings.summary + without,
        changes=changes,
        events=(Emit(DiagnosisMade(len(findings.hypotheses))), *looks),
        person=person,
        evidence=tuple(gathered),
    )


def _nothing_new(lacking: Sequence[Missing]) -> tuple[str, str]:
    if lacking:
        return "looked again", f"{', '.join(m.name for m in lacking)} still cannot be asked"
    return "looked again with every source", "what was missing before changes nothing about the cause"


def _too_early(findings: Findings, incident: Incident, now: datetime) -> bool:
    """Whether a change is suspected on thin evidence while the incident is so young that more is on its way."""
    suspects = [found for found in findings.hypotheses if found.subject]
    return bool(suspects) and findings.hypotheses[0].confidence < SURE and now - incident.opened_at < YOUNG


def _alerted_at(incident: Incident) -> datetime:
    alerts = incident.firing or incident.alerts
    return min((alert.starts_at for alert in alerts), default=incident.opened_at)


def _of_alert(alert: Alert) -> Evidence:
    said = " ".join(text for text in (alert.summary, alert.description) if text)
    return rows.identified(
        Evidence(
            id="",
            kind=EvidenceKind.ALERT,
            source=alert.source,
            query=f"alert {alert.fingerprint}",
            status=EvidenceStatus.OK,
            title=alert.name,
            summary=said or alert.name,
            at=alert.starts_at,
            unit=alert.unit,
            link=alert.link,
        )
    )


def _what(findings: Findings) -> str:
    if not findings.hypotheses:
        return "looked for the cause and found no evidence of one"
    best = findings.hypotheses[0]
    blamed = f" {best.subject}" if best.subject else ""
    return f"most likely cause: {best.cause}{blamed} ({best.confidence:.0%})"
