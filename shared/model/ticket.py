"""A ticket in somebody else's system.

In: what the ticket writer asks for. Out: where the ticket is.
"""

from __future__ import annotations

from dataclasses import dataclass

from shared.model.signal import Severity


@dataclass(frozen=True, slots=True)
class TicketDraft:
    """What a ticket should say.

    Attributes:
        correlation_id: the incident id; a second ticket with it is never opened.
        link: address of the incident in the portal.
    """

    correlation_id: str
    title: str
    description: str
    service: str
    severity: Severity
    link: str


@dataclass(frozen=True, slots=True)
class Ticket:
    """An opened ticket: configured system name, its own key, the number people say, and its address."""

    system: str
    key: str
    number: str
    url: str
