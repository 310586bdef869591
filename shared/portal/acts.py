"""What people do to incidents, as events on the queues.

In: a signed-in person's fields. Out: one event; whether it applies is decided by the hop that receives it.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from shared.config.schema import Settings
from shared.model import codec
from shared.model.event import (
    ClosingKind,
    ClosingRequested,
    Event,
    IncidentAcknowledged,
    IncidentAssigned,
    IncidentRequested,
    InvestigationRequested,
    Payload,
    derive_id,
)
from shared.model.pipeline import DESTINATION
from shared.model.signal import Severity
from shared.portal.exchange import Refused
from shared.ports.bus import Bus, Message

MAX_TITLE_CHARS = 200
MAX_NAME_CHARS = 100
MAX_TEXT_CHARS = 4000
MAX_HASH_CHARS = 100

ACTS: Mapping[str, str] = {
    "acknowledge": "acknowledged",
    "assign": "assigned",
    "close": "closing",
    "investigate": "investigating",
}
"""Acts on an incident, each with the note it answers."""


def payload_of(act: str, user: str, fields: Mapping[str, str], settings: Settings) -> Payload:
    """The event data of an act.

    Args:
        act: one of ``ACTS``.
        fields: ``assignee`` for assign, ``reason`` for close.

    Raises:
        Refused: 400 for a field that is missing, too long or names nobody.
    """
    if act == "acknowledge":
        return IncidentAcknowledged(user)
    if act == "investigate":
        return InvestigationRequested(user)
    if act == "close":
        reason = text_of(fields, "reason", MAX_TEXT_CHARS, required=False)
        return ClosingRequested(ClosingKind.MANUAL, user, reason or "closed by hand")
    assignee = text_of(fields, "assignee", MAX_NAME_CHARS)
    if settings.people and assignee not in settings.people:
        known = ", ".join(sorted(settings.people))
        raise Refused(400, f"Nobody is called {assignee}", f"Known people: {known}.")
    return IncidentAssigned(user, assignee)


def requested(user: str, fields: Mapping[str, str]) -> IncidentRequested:
    """The event data of an incident opened by hand.

    Raises:
        Refused: 400 for a field that is missing or too long, or a severity that opens no incident.
    """
    named = text_of(fields, "severity", MAX_NAME_CHARS).lower()
    allowed = [severity.value for severity in Severity if severity.opens_incident]
    if named not in allowed:
        raise Refused(400, f"Severity {named!r} opens no incident", f"Use one of {', '.join(allowed)}.")
    return IncidentRequested(
        by=user,
        title=text_of(fields, "title", MAX_TITLE_CHARS),
        service=text_of(fields, "service", MAX_NAME_CHARS),
        severity=Severity(named),
        summary=text_of(fields, "summary", MAX_TEXT_CHARS, required=False),
    )


def send(bus: Bus, data: Payload, user: str, incident_id: str, now: datetime) -> None:
    """Put a person's act on its queue.

    Raises:
        TransientError: the bus cannot be reached.
    """
    event = Event(
        id=derive_id("person", user, incident_id, data.TYPE, now.isoformat()),
        source=f"/people/{user}",
        subject=incident_id,
        time=now,
        data=data,
    )
    bus.send(DESTINATION[type(data)], [Message(event.message_id, codec.encode_event(event), subject=incident_id)])


def text_of(fields: Mapping[str, str], name: str, most: int, required: bool = True) -> str:
    """A trimmed text field.

    Raises:
        Refused: 400 when it is required and empty, longer than ``most`` characters, or no valid text.
    """
    value = fields.get(name, "").strip().replace("\r\n", "\n")
    if not value and required:
        raise Refused(400, f"The field {name} is missing", "Fill it in and send the form again.")
    if len(value) > most:
        raise Refused(400, f"The field {name} is too long", f"At most {most} characters.")
    if any("\ud800" <= c <= "\udfff" or c == "\x00" for c in value):
        raise Refused(400, f"The field {name} is not valid text", "Remove the characters that cannot be stored.")
    return value
