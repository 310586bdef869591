"""Role: keep a ticket in somebody else's system.

In: drafts and notes. Out: the ticket.

Contract: one ticket per ``correlation_id`` however often ``open`` is called; a note with the same ``marker`` is written
once when ``repeat`` is true (the adapter looks first). Failures are ``TransientError`` or ``PermanentError``.
"""

from __future__ import annotations

from typing import Protocol

from shared.model.ticket import Ticket, TicketDraft


class Ticketing(Protocol):
    """Keeps tickets."""

    def open(self, draft: TicketDraft) -> Ticket:
        """Find the ticket of ``draft.correlation_id``, or open it."""
        ...

    def note(self, ticket: Ticket, text: str, marker: str, repeat: bool) -> None:
        """Write a work note that carries ``[argus:<marker>]``."""
        ...

    def resolve(self, ticket: Ticket, text: str, marker: str) -> None:
        """Bring the ticket to its resolved state; resolving twice is no error."""
        ...

    def reopen(self, ticket: Ticket, text: str, marker: str) -> None:
        """Bring a resolved ticket back into work; reopening an open one only writes the note."""
        ...
