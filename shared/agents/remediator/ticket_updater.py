"""Ticket updater: writes into the incident's ticket what happened, and moves its state.

In: a note or a state change. Out: the note in the ticket, once.
"""

from __future__ import annotations

from datetime import datetime

from shared.model.errors import PermanentError, Reason, TransientError
from shared.model.event import Event, TicketUpdateRequested, UpdateKind
from shared.model.incident import Incident
from shared.model.outcome import Outcome
from shared.ports import Ports


def handle(event: Event, incident: Incident, now: datetime, ports: Ports) -> Outcome:
    """Write the note, resolve or reopen.

    Raises:
        TransientError: the ticket is not open yet, or its system cannot be reached.
        PermanentError: the system refuses.
    """
    data = event.data
    if not isinstance(data, TicketUpdateRequested):
        raise PermanentError(f"{event.type} is no ticket update", Reason.BAD_INPUT)
    if not ports.ticketing:
        return Outcome("no ticket to update", "no ticket system is configured")
    if incident.ticket is None:
        raise TransientError("the ticket is not open yet", Reason.NOT_YET, sent=False)
    system = ports.ticketing.get(incident.ticket.system)
    if system is None:
        raise PermanentError(f"ticket system {incident.ticket.system!r} is no longer configured", Reason.BAD_INPUT)
    ticket, done = (
        incident.ticket,
        {UpdateKind.NOTE: "noted", UpdateKind.RESOLVE: "resolved", UpdateKind.REOPEN: "reopened"},
    )
    match data.kind:
        case UpdateKind.NOTE:
            system.note(ticket, data.text, event.id, ports.repeat)
        case UpdateKind.RESOLVE:
            system.resolve(ticket, data.text, event.id)
        case UpdateKind.REOPEN:
            system.reopen(ticket, data.text, event.id)
    return Outcome(f"ticket {ticket.number} {done[data.kind]}", data.text.splitlines()[0][:200] if data.text else "")
