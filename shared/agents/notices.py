"""What people are told, in one wording for every micro-agent.

In: what happened to an incident. Out: one notification event for each channel that should hear of it.
"""

from __future__ import annotations

from shared.config.schema import Settings
from shared.model.event import NotificationRequested
from shared.model.incident import Incident
from shared.model.notice import Fact, Link, Notice, NoticeKind
from shared.model.outcome import Emit


def tell(
    kind: NoticeKind,
    title: str,
    message: str,
    incident: Incident,
    settings: Settings,
    facts: tuple[Fact, ...] = (),
    links: tuple[Link, ...] = (),
) -> tuple[Emit, ...]:
    """One notification for each channel that hears of incidents, or of approvals where it is one.

    Args:
        message: one or two sentences; untrusted text is escaped by the channels.
    """
    channels = settings.notify.channels
    if kind is NoticeKind.APPROVAL and settings.notify.approvals:
        channels = settings.notify.approvals
    page = Link("Open the incident", f"{settings.portal.base_url.rstrip('/')}/incidents/{incident.id}")
    notice = Notice(kind, title, message, incident.severity, incident.id, facts, (*links, page))
    return tuple(Emit(NotificationRequested(channel, notice)) for channel in channels)
