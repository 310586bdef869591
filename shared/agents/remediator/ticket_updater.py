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

_DONE = {UpdateKind.NOTE: "noted", UpdateKind.RESOLVE: "resolved", UpdateKind.REOPEN: "reopened"}


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
    ticket = incident.ticket
    past = {UpdateKind.RESOLVE: not incident.over, UpdateKind.REOPEN: incident.over}.get(data.kind, False)
    if past:  # updates may overtake each other; the last word must be the incident's state
        return Outcome(f"ticket {ticket.number} left as it is", f"the incident is {incident.state} by now")
    match data.kind:
        case UpdateKind.NOTE:
            system.note(ticket, data.text, event.id, ports.repeat)
        case UpdateKind.RESOLVE:
            system.resolve(ticket, data.text, event.id)
        case UpdateKind.REOPEN:
            system.reopen(ticket, data.text, event.id)
    first_line = data.text.strip().partition("\n")[0][:200]
    return Outcome(f"ticket {ticket.number} {_DONE[data.kind]}", first_line or "no text")
