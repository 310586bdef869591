"""Ticket writer: opens one ticket per incident in one system.

In: the incident and the system's name. Out: the ticket, found or opened.
"""

from __future__ import annotations

from datetime import datetime

from shared.model.errors import PermanentError, Reason
from shared.model.event import Event, TicketRequested
from shared.model.incident import Incident
from shared.model.outcome import Outcome, Put
from shared.model.ticket import TicketDraft
from shared.ports import Ports


def handle(event: Event, incident: Incident, now: datetime, ports: Ports) -> Outcome:
    """Open the ticket; the far side is asked first, so a repeat finds it (rule H2).

    Raises:
        PermanentError: the system is not configured, or it refuses the ticket.
        TransientError: the system cannot be reached.
    """
    data = event.data
    if not isinstance(data, TicketRequested):
        raise PermanentError(f"{event.type} is no request for a ticket", Reason.BAD_INPUT)
    system = ports.ticketing.get(data.system)
    if system is None:
        raise PermanentError(f"no ticket system {data.system!r} is configured", Reason.BAD_INPUT)
    link = f"{ports.settings.portal.base_url.rstrip('/')}/incidents/{incident.id}"
    ticket = system.open(
        TicketDraft(incident.id, incident.title, _text(incident), incident.service, incident.severity, link)
    )
    return Outcome(
        f"ticket {ticket.number} opened", f"every incident has one in {data.system}", (Put("ticket", ticket),)
    )


def _text(incident: Incident) -> str:
    lines = [incident.summary or incident.title, "", f"Service: {incident.service or 'unknown'}"]
    lines += [f"Alert: {alert.name} ({alert.severity}, {alert.source})" for alert in incident.alerts]
    more = incident.alert_count - len(incident.alerts)
    return "\n".join([*lines, f"and {more} more alerts"] if more > 0 else lines)
