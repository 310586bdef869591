"""Sources that gave no answer: the incident says so, and they are asked again until they do.

In: gathered evidence, the incident. Out: what the incident lacks, and when to look again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from shared.agents.triage.rca.ranking import Findings
from shared.model import missing
from shared.model.diagnosis import Evidence, EvidenceStatus
from shared.model.event import Event, InvestigationRequested
from shared.model.incident import Incident
from shared.model.lifecycle import State
from shared.model.missing import Missing, PartKind
from shared.model.outcome import Emit, Revise
from shared.model.pipeline import MicroAgent, source_of

FIRST = timedelta(minutes=1)
CLEARLY = 0.05
MOST = timedelta(minutes=15)  # as long as a far side waits for its next attempt at most (rule H10)
# Once something is being done about it, or it is over, a cause found later changes nothing by itself.
WORTH_IT = (State.OPEN, State.INVESTIGATING, State.AWAITING_APPROVAL)


def of(gathered: Sequence[Evidence], incident: Incident, now: datetime) -> tuple[Missing, ...]:
    """Sources that could not be asked, each once, with the time since when."""
    before = {known.name: known for known in incident.missing if known.kind is PartKind.EVIDENCE}
    found: dict[str, Missing] = {}
    for item in gathered:
        if item.status is not EvidenceStatus.ERROR or item.source in found:
            continue
        known = before.get(item.source)
        since = known.since if known else now
        due = known.next_at if known and known.next_at and known.next_at > now else None
        found[item.source] = Missing(
            PartKind.EVIDENCE, item.source, since, item.summary[: missing.MAX_WHY_CHARS], next_at=due
        )
    return tuple(found.values())


def again(lacking: Sequence[Missing], incident: Incident, now: datetime) -> datetime | None:
    """When to look again: after a minute, then after as long as it has lasted, at most a quarter of an hour.

    Returns:
        ``None`` when nothing is missing, when it would change nothing any more, or when another look is due anyway.
    """
    if not lacking or incident.state not in WORTH_IT or any(m.next_at is not None for m in lacking):
        return None
    lasted = now - min(m.since for m in lacking)
    return now + min(max(lasted, FIRST), MOST)


def noted(lacking: Sequence[Missing], incident: Incident, at: datetime | None) -> Revise:
    """The change that says it on the incident, for as long as somebody will look again."""
    said = tuple(replace(m, next_at=at or m.next_at) for m in lacking) if incident.state in WORTH_IT else ()
    return Revise("missing", lambda known: missing.evidence(known, said))


def look(at: datetime | None) -> tuple[Emit, ...]:
    """The event of the next look, if there is one."""
    return () if at is None else (Emit(InvestigationRequested(), at),)


def is_catching_up(event: Event, incident: Incident) -> bool:
    """Whether this look is only for sources that gave no answer before; its diagnosis was handed on then."""
    promised = any(m.kind is PartKind.EVIDENCE and m.next_at is not None for m in incident.missing)
    return promised and event.source == source_of(MicroAgent.RCA)


def adds(findings: Findings, incident: Incident) -> bool:
    """Whether a later look found a cause, another one as sure, or is clearly surer of the same."""
    before = incident.diagnosis.hypotheses if incident.diagnosis else ()
    if not findings.hypotheses or not before:
        return bool(findings.hypotheses)
    best, known = findings.hypotheses[0], before[0]
    other = (best.cause, best.subject) != (known.cause, known.subject)
    return best.confidence >= known.confidence + (0 if other else CLEARLY)
