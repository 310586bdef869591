"""Doc writer: drafts the post-incident review and, when there is something to learn, a runbook.

In: IncidentClosed, after the aggregator. Out: drafts, with their text in evidence rows.
"""

from __future__ import annotations

import re
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
    facts = gather(ports.store, incident)
    drafts = [_review(facts, ports)]
    runbook = _runbook(facts, ports)
    if runbook is not None:
        drafts.append(runbook)
    written = " and ".join(draft.kind for draft in drafts)
    return Outcome(
        f"{written} drafted",
        f"from {len(facts.timeline)} timeline lines and {len(facts.evidence)} pieces of evidence"
        + ("" if runbook else "; no runbook, as no fix was shown to work"),
        changes=(Put("drafts", tuple(drafts)),),
    )


def _review(facts: Facts, ports: Ports) -> DraftRef:
    incident = facts.incident
    day = incident.opened_at.strftime("%Y-%m-%d")
    return _draft(
        ports,
        incident,
        DocumentKind.REVIEW,
        draft_id=f"review-{incident.id}",
        slug=f"review-{day}-{incident.handle}",
        title=review.title_of(facts),
        text=review.write(facts),
    )


def _runbook(facts: Facts, ports: Ports) -> DraftRef | None:
    incident = facts.incident
    if not learned.learnable(facts, result_of(incident, last_action(incident)) == knowledge.WORKED):
        return None
    key = learned.id_of(facts)
    before = knowledge.runbook_of(ports.store, incident.service, key)
    service = ports.settings.services.get(incident.service)
    found = learned.write(facts, service.owner if service else "", before)
    text = render(found.runbook)
    parse(text, key)  # what cannot be read back must not be published
    return _draft(ports, incident, DocumentKind.RUNBOOK, draft_id=key, slug=key, title=found.runbook.title, text=text)


def _draft(
    ports: Ports, incident: Incident, kind: DocumentKind, draft_id: str, slug: str, title: str, text: str
) -> DraftRef:
    return DraftRef(
        id=draft_id,
        kind=kind,
        slug=slug,
        title=title,
        text=texts.put_text(ports.store, incident.id, text),
        cites=tuple(dict.fromkeys(_CITE.findall(text))),
    )
