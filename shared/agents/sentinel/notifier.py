"""Notifier: tells people on one channel.

In: a notice and the channel's name. Out: a delivered card, and what the channel said about it.
"""

from __future__ import annotations

from datetime import datetime

from shared.agents.notices import with_missing
from shared.model.errors import PermanentError, Reason
from shared.model.event import Event, NotificationRequested
from shared.model.incident import Incident
from shared.model.outcome import Outcome
from shared.ports import Ports


def handle(event: Event, incident: Incident, now: datetime, ports: Ports) -> Outcome:
    """Deliver the notice.

    Raises:
        PermanentError: the channel is not configured, or it refuses the notice.
        TransientError: the channel cannot be reached.
    """
    data = event.data
    if not isinstance(data, NotificationRequested):
        raise PermanentError(f"{event.type} is no notification", Reason.BAD_INPUT)
    channel = ports.channels.get(data.channel)
    if channel is None:
        known = ", ".join(sorted(ports.channels)) or "none"
        raise PermanentError(f"no channel {data.channel!r} is configured (there are: {known})", Reason.BAD_INPUT)
    receipt = channel.send(with_missing(data.notice, incident, event.id), event.id, ports.repeat)
    return Outcome(f"told {data.channel}: {data.notice.title}", f"{data.notice.kind} notice; {receipt}")
