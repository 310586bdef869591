"""Doc writer: drafts the post-incident review and, when there is something to learn, a runbook.

In: IncidentClosed, after the aggregator. Out: drafts, with their text in evidence rows.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime

from shared.agents.chronicler import learned, review
from shared.agents.chronicler.facts import Facts, gather
from shared.agents.chronicler.verdict import last_action, result_of
from shared.model.document import DocumentKind
from shared.model.event import Event
from shared.model.incident import DraftRef, Incident
from shared.model.outcome import Outcome, Put
from shared.ports import Ports
from shared.records import evidence as texts
from shared.records import knowledge
from shared.records.runbook import parse, render

_CITE = re.compile(r"\[(t\d+|e:[0-9a-f]+)\]")


def handle(event: Event, incident: Incident, now: datetime, ports: Ports) -> Outcome:
    """Write the documents of a closed incident.

    Args:
        event: IncidentClosed.
    """
    facts = gather(ports.store, incident, event.time)
    runbook = _runbook(facts, ports)
    found = (_review(facts), runbook) if runbook else (_review(facts),)
    drafts = (
        DraftRef(d.id, d.kind, d.slug, d.title, texts.text_id(d.text), tuple(dict.fromkeys(_CITE.findall(d.text))))
        for d in found
    )
    return Outcome(
        f"{' and '.join(draft.kind for draft in found)} drafted",
        f"from {len(facts.timeline)} timeline lines and {len(facts.evidence)} pieces of evidence"
        + ("" if runbook else "; no runbook, as no fix was shown to work"),
        changes=(Put("drafts", tuple(drafts)),),
        texts=tuple(draft.text for draft in found),
    )


@dataclass(frozen=True, slots=True)
class _Written:
    kind: DocumentKind
    id: str
    slug: str
    title: str
    text: str


def _review(facts: Facts) -> _Written:
    incident = facts.incident
    slug = f"review-{incident.opened_at:%Y-%m-%d}-{incident.handle}"
    return _Written(DocumentKind.REVIEW, f"review-{incident.id}", slug, review.title_of(facts), review.write(facts))


def _runbook(facts: Facts, ports: Ports) -> _Written | None:
    incident = facts.incident
    if not learned.learnable(facts, result_of(incident, last_action(incident)) == knowledge.WORKED):
        return None
    key = learned.id_of(facts)
    before = knowledge.of_service(ports.store, incident.service).runbook(key)
    service = ports.settings.services.get(incident.service)
    found = learned.write(facts, service.owner if service else "", before)
    text = render(found.runbook)
    parse(text, key)  # what cannot be read back must not be published
    return _Written(DocumentKind.RUNBOOK, key, key, found.runbook.title, text)
