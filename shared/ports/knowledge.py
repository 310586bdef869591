"""Role: publish documents where people read them.

In: a draft. Out: where it is.

Contract: publishing a draft of the same id again updates the same page; an unchanged one changes nothing; a page that a
person edited since is not overwritten (``PermanentError``, reason ``conflict``).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from shared.model.document import DocumentDraft


@dataclass(frozen=True, slots=True)
class Published:
    """Address of the document, and whether anything changed there."""

    url: str
    changed: bool


class Knowledge(Protocol):
    """Publishes documents."""

    def publish(self, draft: DocumentDraft) -> Published:
        """Create or update the page of ``draft.id``."""
        ...
