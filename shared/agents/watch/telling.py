"""How people hear of a problem of ARGUS itself: as an incident like any other, or directly where that cannot work.

In: problems. Out: signals in the pipeline; or cards on the channels, without store and bus; or at least a log line.
"""

from __future__ import annotations

import logging
from datetime import datetime

from shared.agents import notices
from shared.agents.watch.judging import Problem
from shared.model.errors import ArgusError
from shared.model.event import Event, NotificationRequested, SignalsReceived, derive_id
from shared.model.notice import Fact, Link, Notice, NoticeKind
from shared.model.pipeline import MicroAgent, source_of
from shared.model.signal import Signal, SignalKind, Status
from shared.ports import Ports
from shared.records import incidents, letters
from shared.records.heartbeats import Raised, WaitingApproval

log = logging.getLogger("argus.watch")

SOURCE = SERVICE = "argus"
ENVIRONMENT = "production"
THREAD = "argus-itself"


def signal(ports: Ports, raised: Raised, status: Status, now: datetime) -> None:
    """Say into the pipeline that a problem is there, or over; every alert of one problem has one fingerprint.

    Raises:
        TransientError: the bus cannot be reached.
    """
    identity = derive_id(SOURCE, raised.key, raised.since.isoformat(), str(status), now.isoformat())
    said = Signal(
        id=identity,
        source=SOURCE,
        kind=SignalKind.ALERT,
        name=raised.title,
        at=now,
        service=SERVICE,
        environment=ENVIRONMENT,
        resource=raised.key,
        fingerprint=derive_id(SOURCE, raised.key),
        severity=raised.severity,
        status=status,
        starts_at=raised.since,
        summary=raised.text,
        link=_page(ports),
    )
    event = Event(identity, source_of(MicroAgent.CONDUCTOR), "", now, SignalsReceived((said,)))
    letters.send(ports.store, ports.bus, event)


def directly(ports: Ports, raised: Raised, over: bool, now: datetime) -> bool:
    """Tell people without store and bus; False when no channel took it, and only the log has it."""
    title = f"{'Recovered' if over else 'ARGUS itself'}: {raised.title}"
    since = f"{raised.since:%d %b %H:%M} UTC"
    text = f"It works again; it was broken since {since}." if over else raised.text
    facts = (Fact("Since", since), Fact("What", raised.key))
    kind = NoticeKind.INFO if over else NoticeKind.ESCALATED
    notice = Notice(kind, title, text, raised.severity, THREAD, facts, (Link("Open the status page", _page(ports)),))
    key = derive_id(SOURCE, raised.key, raised.since.isoformat(), "over" if over else now.isoformat())
    took = False
    for name in channels(ports):
        try:
            ports.channels[name].send(notice, key, False)
            took = True
        except ArgusError as error:
            log.warning("channel %s cannot be told about ARGUS itself: %s", name, error)
    say = log.info if over and took else log.error
    say("%s: %s (%s)", title, text, "told" if took else "no channel could be told")
    return took


def channels(ports: Ports) -> tuple[str, ...]:
    """Channels that are told directly: those named for it, or all that hear of incidents, and the fallback."""
    settings = ports.settings
    named = settings.self_monitoring.channels or [*settings.notify.channels, *notices.fallback(settings)]
    return tuple(name for name in dict.fromkeys(named) if name in ports.channels)


def remind(ports: Ports, approval: WaitingApproval, now: datetime) -> None:
    """Remind the approvers of a plan, through the pipeline and once: the id of each card is the approval's.

    Raises:
        TransientError: bus or store cannot be reached.
    """
    loaded = incidents.load(ports.store, approval.incident_id)
    if loaded is None:
        return
    page = f"{ports.settings.portal.base_url.rstrip('/')}/approvals/{approval.approval_id}"
    title = f"Still waiting for a decision: {approval.title}"
    text = f"Nobody has voted, and at {approval.deadline:%H:%M:%S} UTC it expires; nothing is done then."
    notice = Notice(
        NoticeKind.APPROVAL, title, text, loaded.incident.severity, approval.incident_id,
        (Fact("Decide by", f"{approval.deadline:%Y-%m-%d %H:%M:%S} UTC"),), (Link("Review and decide", page),),
    )  # fmt: skip
    for name in notices.channels_for(NoticeKind.APPROVAL, ports.settings):
        identity = derive_id(approval.approval_id, "reminder", name)
        source = source_of(MicroAgent.CONDUCTOR)
        data = NotificationRequested(name, notice)
        letters.send(ports.store, ports.bus, Event(identity, source, approval.incident_id, now, data))


def raised_of(problem: Problem, now: datetime) -> Raised:
    """What is remembered of a problem that is told now."""
    return Raised(problem.key, problem.title, problem.text, problem.severity, problem.since, now)


def _page(ports: Ports) -> str:
    return f"{ports.settings.portal.base_url.rstrip('/')}/status"
