"""Publisher: brings the drafts to where people read, and learned runbooks to where the recommender looks.

In: IncidentClosed, after the doc writer. Out: documents, and a notice to each channel.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from shared.agents.notices import tell
from shared.model.document import Document, DocumentDraft, DocumentKind
from shared.model.errors import PermanentError, Reason, TransientError
from shared.model.event import Event
from shared.model.incident import DraftRef, Incident
from shared.model.notice import Fact, Link, NoticeKind
from shared.model.outcome import Emit, Outcome, Put
from shared.ports import Ports
from shared.records import evidence as texts
from shared.records import knowledge
from shared.records.knowledge import Learned
from shared.records.runbook import parse

MAX_LINKS = 4  # a card has room for few buttons


def handle(event: Event, incident: Incident, now: datetime, ports: Ports) -> Outcome:
    """Publish every draft to every destination.

    A destination that refuses a draft is named in the reason and stops neither the others nor the other drafts. One
    that is away stops them as little, and what was learned is learned at once; all of it is done again later.

    Args:
        event: IncidentClosed.

    Raises:
        TransientError: a destination cannot be reached; publishing again changes nothing that is there already.
        PermanentError: the text of a draft is gone.
    """
    documents: list[Document] = []
    refused: list[str] = []
    away: dict[str, TransientError] = {}
    for ref in incident.drafts:
        draft = _draft(ref, incident, ports)
        for name in ports.settings.knowledge.publish_to:
            destination = ports.destinations.get(name)
            if destination is None:
                refused.append(f"{name}: not configured")
                continue
            try:
                published = destination.publish(draft)
            except PermanentError as exc:
                refused.append(f"{draft.slug} at {name}: {exc} ({exc.reason})")
                continue
            except TransientError as exc:
                away[name] = exc
                continue
            documents.append(Document(draft.id, draft.kind, draft.title, name, published.url))
        if draft.kind is DocumentKind.RUNBOOK:
            _learn(draft, incident, ports, next((d.url for d in documents if d.id == draft.id), ""))
    if away:
        raise _later(away)
    kept = [
        old
        for old in incident.documents
        if not any((old.id, old.destination) == (d.id, d.destination) for d in documents)
    ]
    return Outcome(
        f"{len(documents)} document(s) published",
        _reason(documents, refused, ports),
        changes=(Put("documents", (*kept, *documents)),),
        events=_notices(incident, documents, ports) if documents else (),
    )


def _later(away: Mapping[str, TransientError]) -> TransientError:
    """One failure for all destinations that are away; the others have the documents, and take them again unchanged."""
    first = next(iter(away.values()))
    waits = [error.retry_after for error in away.values() if error.retry_after is not None]
    text = "; ".join(f"{name}: {error}" for name, error in away.items())
    return TransientError(text, first.reason, max(waits, default=None), sent=None, part=", ".join(away))


def _draft(ref: DraftRef, incident: Incident, ports: Ports) -> DocumentDraft:
    text = texts.get_text(ports.store, incident.id, ref.text)
    if text is None:
        raise PermanentError(f"the text of the draft {ref.id} is gone", Reason.NOT_FOUND)
    return DocumentDraft(
        id=ref.id,
        kind=DocumentKind(ref.kind),
        slug=ref.slug,
        title=ref.title,
        service=incident.service,
        markdown=text,
        incident_id=incident.id,
        cites=ref.cites,
    )


def _learn(draft: DocumentDraft, incident: Incident, ports: Ports, url: str) -> None:
    before = knowledge.of_service(ports.store, incident.service).runbook(draft.id)
    seen = tuple(dict.fromkeys([*(before.incidents if before else ()), incident.id]))
    theme = incident.theme.key if incident.theme else knowledge.theme_of(incident)
    known = url or (before.url if before else "")
    learned = Learned(parse(draft.markdown, draft.id), theme, seen, known)
    knowledge.put_runbook(ports.store, incident.service, learned)


def _reason(documents: Sequence[Document], refused: Sequence[str], ports: Ports) -> str:
    if not ports.settings.knowledge.publish_to:
        return "no destination is configured; the drafts stay with the incident"
    places = ", ".join(dict.fromkeys(document.destination for document in documents)) or "nowhere"
    return f"published to {places}" + (f"; refused: {'; '.join(refused)}" if refused else "")


def _notices(incident: Incident, documents: Sequence[Document], ports: Ports) -> tuple[Emit, ...]:
    kinds = [kind for kind in DocumentKind if any(document.kind is kind for document in documents)]
    return tell(
        NoticeKind.PUBLISHED,
        f"Written down: {incident.title}",
        f"What this incident taught is published: {' and '.join(kinds)}.",
        incident,
        ports.settings,
        facts=(Fact("Service", incident.service or "unknown"), Fact("Documents", str(len(documents)))),
        links=tuple(Link(f"{d.kind.capitalize()} ({d.destination})", d.url) for d in documents[:MAX_LINKS]),
    )
