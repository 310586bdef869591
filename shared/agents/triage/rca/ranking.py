"""From evidence to at most three ranked hypotheses.

In: gathered evidence and when the first alert began. Out: hypotheses, onset and summary, the same for the same input.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from shared.agents.triage.rca import statement
from shared.agents.triage.rca.changes import Suspect, suspects
from shared.agents.triage.rca.logs import Template, telling, templates
from shared.agents.triage.rca.onset import Shift, shifts
from shared.agents.triage.rca.signatures import Sign, signs
from shared.model.diagnosis import Evidence, EvidenceKind, EvidenceStatus, Hypothesis

MAX_HYPOTHESES = 3
MIN_CONFIDENCE = 0.15
SOLID = 0.5  # a change this well explained leaves little room for the other classes
LEAST_SLACK = timedelta(seconds=5)
MOST_SLACK = timedelta(minutes=10)
NO_CHANGE_CONFIDENCE = 0.3


@dataclass(frozen=True, slots=True)
class Findings:
    """What the evidence shows."""

    hypotheses: tuple[Hypothesis, ...]
    onset: datetime
    summary: str


def rank(evidence: Sequence[Evidence], service: str, alerted_at: datetime, allowed: timedelta) -> Findings:
    """Find what most likely caused the trouble.

    Args:
        evidence: alerts, metrics, logs and changes, with ids; order does not matter.
        alerted_at: when the first alert began, aware.
        allowed: the longest delay between a change and its effect.
    """
    evidence = sorted(evidence, key=lambda item: (item.kind, item.source, item.title, item.id))
    shifted = shifts(evidence, alerted_at)
    worst = next((shift for shift in shifted if shift.adverse), None)
    onset = min(worst.at, alerted_at) if worst else alerted_at
    slack = min(max(worst.step if worst else LEAST_SLACK, LEAST_SLACK), MOST_SLACK)
    told = telling(templates(evidence, onset - slack))
    alerts = [item for item in evidence if item.kind is EvidenceKind.ALERT]
    words = [text for alert in alerts for text in (alert.title, alert.summary)]
    blamed = suspects(evidence, told, words, service, onset, slack, allowed)
    found = [_of_change(suspect, service, onset, worst) for suspect in blamed]
    found += [_of_sign(sign, blamed) for sign in signs(told, alerts, shifted)]
    found += _no_change(evidence, blamed, worst, told)
    found = [item for item in found if item.confidence >= MIN_CONFIDENCE]
    ranked = sorted(found, key=lambda item: (-item.confidence, item.cause, item.subject, item.evidence))
    best = tuple(ranked[:MAX_HYPOTHESES])
    return Findings(best, onset, _summary(best, worst, told, evidence))


def _of_change(suspect: Suspect, service: str, onset: datetime, worst: Shift | None) -> Hypothesis:
    ids = [suspect.evidence.id, suspect.log, worst.evidence if worst else ""]
    return Hypothesis(
        cause="release" if suspect.evidence.version else "change",
        statement=statement.of_change(suspect, service or "the service", onset),
        confidence=suspect.score,
        evidence=tuple(dict.fromkeys(item for item in ids if item)),
        subject=suspect.evidence.version,
        previous=suspect.evidence.previous,
    )


def _of_sign(sign: Sign, blamed: Sequence[Suspect]) -> Hypothesis:
    explained = bool(blamed) and blamed[0].score >= SOLID and blamed[0].explains
    confidence = sign.confidence * (0.5 if explained else 1.0)
    return Hypothesis(sign.cause, statement.of_sign(sign), round(confidence, 3), tuple(dict.fromkeys(sign.evidence)))


def _no_change(
    evidence: Sequence[Evidence], blamed: Sequence[Suspect], worst: Shift | None, told: Sequence[Template]
) -> list[Hypothesis]:
    """That no change did it is a finding only when the changes were asked for and there is trouble to explain."""
    answers = [item for item in evidence if item.kind is EvidenceKind.CHANGE]
    asked = bool(answers) and all(item.status is not EvidenceStatus.ERROR for item in answers)
    if not asked or (worst is None and not told) or any(suspect.explains for suspect in blamed):
        return []
    changes = sum(item.status is EvidenceStatus.OK for item in answers)
    ids = [item.id for item in answers[:3]] + ([worst.evidence] if worst else [])
    text = statement.of_no_change(changes, len(blamed))
    return [Hypothesis("no_change", text, NO_CHANGE_CONFIDENCE, tuple(dict.fromkeys(ids)))]


def _summary(
    best: Sequence[Hypothesis], worst: Shift | None, told: Sequence[Template], evidence: Sequence[Evidence]
) -> str:
    failed = sorted({item.source for item in evidence if item.status is EvidenceStatus.ERROR})
    parts: list[str] = []
    if best:
        parts.append(best[0].statement)
    elif worst or told:
        parts.append("Something changed in the evidence, but nothing in it names a cause.")
    else:
        parts.append("No evidence beyond the alert: no metric left its usual range, no new log message, no change.")
    if worst:
        parts.append(f"{statement.of_shift(worst)}.")
    if failed:
        parts.append(f"Could not be asked: {', '.join(statement.quote(source, 40) for source in failed)}.")
    return " ".join(parts)
