"""Documents that incidents leave behind.

In: a closed incident and its audit trail. Out: drafts, and where they were published.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class DocumentKind(StrEnum):
    """What kind of document it is."""

    RUNBOOK = "runbook"
    REVIEW = "review"


@dataclass(frozen=True, slots=True)
class DocumentDraft:
    """A document before publishing.

    Attributes:
        id: stable id; publishing it again updates the same page.
        slug: file name without extension.
        markdown: the whole text, front matter included for runbooks.
        cites: timeline and audit numbers and evidence ids its sentences rest on.
    """

    id: str
    kind: DocumentKind
    slug: str
    title: str
    service: str
    markdown: str
    incident_id: str
    cites: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Document:
    """A published document: which, where, and its address."""

    id: str
    kind: DocumentKind
    title: str
    destination: str
    url: str
