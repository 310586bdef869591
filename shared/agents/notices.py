"""What people are told, in one wording for every micro-agent.

In: what happened to an incident. Out: one notification event for each channel that should hear of it.
"""

from __future__ import annotations

from dataclasses import replace

from shared.config.schema import Settings
from shared.model.event import NotificationRequested, Payload, TicketRequested, TicketUpdateRequested
from shared.model.incident import Incident
from shared.model.missing import Missing, PartKind
from shared.model.notice import Fact, Link, Notice, NoticeKind
from shared.model.outcome import Emit

_GIVEN_UP = "Given up"


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
    notice = Notice(
        kind,
        title,
        message,
        incident.severity,
        incident.id,
        facts,
        (*links, _page(incident, settings)),
        service=incident.service,
        alerts=incident.alert_count,
    )
    return tuple(Emit(NotificationRequested(channel, notice)) for channel in channels_for(kind, settings))


def channels_for(kind: NoticeKind, settings: Settings) -> tuple[str, ...]:
    """Channels that hear of something of this kind."""
    asked = kind is NoticeKind.APPROVAL and settings.notify.approvals
    return tuple(settings.notify.approvals if asked else settings.notify.channels)


def fallback(settings: Settings) -> tuple[str, ...]:
    """Channels that are told when those that should be cannot be reached; every other one when none is named."""
    return tuple(settings.notify.fallback or settings.channels)


def call(
    kind: PartKind, name: str, refused: Payload, why: str, incident: Incident, settings: Settings
) -> tuple[Emit, ...]:
    """Tell people that something will not come by itself, on every channel but the one it is about.

    Args:
        refused: what went to quarantine; a call that is refused itself calls nobody, or two channels would call on.
    """
    if isinstance(refused, NotificationRequested) and refused.notice.title.startswith(_GIVEN_UP):
        return ()
    what = _title_of(refused)
    text = f"ARGUS tried, and {name} did not take it: {why}. It is in quarantine; a person must look."
    notice = Notice(
        NoticeKind.ESCALATED,
        f"{_GIVEN_UP}: {what}",
        text,
        incident.severity,
        incident.id,
        (Fact("Where", f"{kind} {name}"), Fact("Incident", incident.title)),
        (_page(incident, settings),),
        service=incident.service,
        alerts=incident.alert_count,
    )
    told = settings.notify.channels
    if kind is PartKind.CHANNEL:
        told = [other for other in told if other != name] or [other for other in fallback(settings) if other != name]
    return tuple(Emit(NotificationRequested(channel, notice)) for channel in told)


def with_missing(notice: Notice, incident: Incident, event_id: str) -> Notice:
    """The notice with what the incident lacks at this moment, and with how late it is itself."""
    if notice.kind is NoticeKind.STORM:  # the incident only carries it
        return notice
    facts = tuple(_late(m) if event_id in m.waiting else Fact("Missing", m.says) for m in incident.missing)
    return replace(notice, facts=(*notice.facts, *facts)) if facts else notice


def _late(missing: Missing) -> Fact:
    return Fact("Late", f"this channel could not be reached since {missing.since:%d %b %H:%M} UTC")


def _title_of(payload: Payload) -> str:
    match payload:
        case NotificationRequested(channel, notice):
            return f"a card for {channel} ({notice.title})"
        case TicketRequested(system):
            return f"the ticket in {system}"
        case TicketUpdateRequested(kind, _):
            return f"a ticket change ({kind})"
        case _:
            return payload.TYPE.removeprefix("argus.").removesuffix(".v1")


def _page(incident: Incident, settings: Settings) -> Link:
    return Link("Open the incident", f"{settings.portal.base_url.rstrip('/')}/incidents/{incident.id}")
