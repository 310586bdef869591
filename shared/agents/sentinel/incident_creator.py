"""Incident creator: makes the incident record, and folds alerts and people's words into it.

In: group changes, manual requests, acknowledgements, assignments. Out: the incident, and what must follow.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from shared.agents import notices
from shared.model.alert import Alert
from shared.model.errors import PermanentError, Reason
from shared.model.event import (
    ClosingKind,
    ClosingRequested,
    Event,
    GroupChanged,
    IncidentAcknowledged,
    IncidentAssigned,
    IncidentRequested,
    InvestigationRequested,
    SignalsReceived,
    TicketRequested,
    TicketUpdateRequested,
    UpdateKind,
)
from shared.model.incident import Incident
from shared.model.lifecycle import Moment, State
from shared.model.notice import Fact, NoticeKind
from shared.model.outcome import Change, Emit, Happened, Outcome, Put
from shared.model.signal import Signal, SignalKind, Status
from shared.ports import Ports
from shared.records import groups, incidents

MAX_TITLE_CHARS = 160  # ServiceNow's short_description; longer titles are cut once, here


def always(event: Event, ports: Ports) -> None:
    """Turn the claim to open on every delivery of a creation (rule S4)."""
    if isinstance(event.data, GroupChanged) and event.data.group_key:
        groups.turn_open(ports.store, event.data.group_key, event.data.generation)


def create(event: Event, now: datetime, ports: Ports) -> tuple[Incident, Outcome]:
    """The new incident, and what follows from it (rule S3).

    Raises:
        PermanentError: the event opens nothing.
    """
    data = event.data
    if isinstance(data, GroupChanged):
        incident = _from_alert(event, data, now)
        reason = f"{data.alert.severity} alert from {data.alert.source} opened group {data.group_key!r}"
        what, person = f"opened: {incident.title}", ""
    elif isinstance(data, IncidentRequested):
        incident = _from_person(event, data, now, ports)
        reason, what, person = f"{data.by} opened it by hand", f"opened: {incident.title}", data.by
    else:
        raise PermanentError(f"{event.type} opens no incident", Reason.BAD_INPUT)
    settings = ports.settings
    facts = (Fact("Service", incident.service), Fact("Severity", incident.severity), Fact("Source", incident.source))
    events = (
        *notices.tell(NoticeKind.OPENED, incident.title, incident.summary or reason, incident, settings, facts),
        *(Emit(TicketRequested(system)) for system in sorted(settings.ticketing)),
        Emit(InvestigationRequested()),
    )
    return incident, Outcome(what, reason, events=events, person=person)


def handle(event: Event, incident: Incident, now: datetime, ports: Ports) -> Outcome:
    """Fold one change into an incident that exists."""
    match event.data:
        case GroupChanged() as change:
            return _join(change, incident, ports)
        case IncidentAcknowledged(by):
            return _acknowledge(by, incident, now)
        case IncidentAssigned(by, assignee):
            note = Emit(TicketUpdateRequested(UpdateKind.NOTE, f"Assigned to {assignee} by {by}."))
            changes = (Put("assignee", assignee),)
            return Outcome(f"assigned to {assignee}", f"{by} said so", changes, (note,), by)
        case IncidentRequested(by):
            return Outcome("already open", f"{by} asked for it twice", person=by)
        case _:
            raise PermanentError(f"{event.type} is nothing an incident can take in", Reason.BAD_INPUT)


def _acknowledge(by: str, incident: Incident, now: datetime) -> Outcome:
    if incident.acknowledged_by:
        return Outcome(f"acknowledged again by {by}", f"{incident.acknowledged_by} was first", person=by)
    if incident.over:
        return Outcome(f"acknowledged by {by} after the end", "the incident is closed already", person=by)
    note = Emit(TicketUpdateRequested(UpdateKind.NOTE, f"Acknowledged by {by}."))
    changes = (Put("acknowledged_by", by), Put("acknowledged_at", now))
    return Outcome(f"acknowledged by {by}", "a person has seen it", changes, (note,), by)


def _join(change: GroupChanged, incident: Incident, ports: Ports) -> Outcome:
    alert = change.alert
    if incident.over and alert.status is Status.FIRING:
        back = Emit(SignalsReceived((_signal(alert),)))
        return Outcome(f"{alert.name} goes back to the signals", "it came after the end (rule C2)", events=(back,))
    known = {held.fingerprint: held for held in incident.alerts}
    earlier = known.get(alert.fingerprint)
    if earlier is not None and groups.rank(earlier) > groups.rank(alert):
        return Outcome(f"{alert.name}: an older state", "a newer state of this alert is known (rule S7)")
    known.pop(alert.fingerprint, None)
    alerts = (*known.values(), alert)
    changes: list[Change] = [Put("alerts", alerts)]
    if earlier is None:
        changes.append(Put("alert_count", incident.alert_count + 1))
    if alert.status is Status.RESOLVED:
        return _resolved(alert, incident, tuple(changes), ports, alerts)
    if alert.severity < incident.severity:
        changes.append(Put("severity", alert.severity))
    if incident.state is State.RESOLVED:
        changes += [Happened(Moment.REOPENED), Put("resolved_at", None), Put("recovery", None)]
        title = f"Reopened: {incident.title}"
        told = notices.tell(NoticeKind.REOPENED, title, f"{alert.name} fires again.", incident, ports.settings)
        reopen = Emit(TicketUpdateRequested(UpdateKind.REOPEN, f"Reopened: {alert.name} fires again."))
        look = Emit(InvestigationRequested())
        return Outcome("reopened", f"{alert.name} fires again", tuple(changes), (*told, reopen, look))
    what = f"{alert.name} fires again" if earlier is not None else f"{alert.name} joined"
    return Outcome(what, f"same group, {alert.severity} from {alert.source}", tuple(changes))


def _resolved(
    alert: Alert, incident: Incident, changes: tuple[Change, ...], ports: Ports, alerts: tuple[Alert, ...]
) -> Outcome:
    still = len(incidents.still_firing(ports.store, replace(incident, alerts=alerts)))
    what = f"{alert.name} resolved at its source"
    if incident.over:
        return Outcome(what, "the incident is closed already", changes)
    closing = Emit(ClosingRequested(ClosingKind.RESOLVED_AT_SOURCE))
    return Outcome(what, f"{still} more still firing" if still else "it was the last one firing", changes, (closing,))


def _signal(alert: Alert) -> Signal:
    return Signal(
        id=alert.signal_id,
        source=alert.source,
        kind=SignalKind.ALERT,
        name=alert.name,
        at=alert.at,
        service=alert.service,
        environment=alert.environment,
        resource=alert.resource,
        labels=alert.labels,
        fingerprint=alert.fingerprint,
        severity=alert.severity,
        status=alert.status,
        starts_at=alert.starts_at,
        summary=alert.summary,
        description=alert.description,
        value=alert.value,
        unit=alert.unit,
        count=alert.count,
        link=alert.link,
        payload=alert.payload,
    )


def _from_alert(event: Event, data: GroupChanged, now: datetime) -> Incident:
    alert = data.alert
    return Incident(
        id=event.subject,
        title=_title(alert),
        service=alert.service,
        environment=alert.environment,
        severity=alert.severity,
        state=State.OPEN,
        opened_at=now,
        updated_at=now,
        summary=alert.description or alert.summary,
        source=alert.source,
        group_key=data.group_key,
        generation=data.generation,
        alerts=(alert,),
        alert_count=1,
    )


def _title(alert: Alert) -> str:
    """What people say: our own rules have a sentence; a source's alert is called by its name, then by what it saw."""
    where = f" on {alert.service}" if alert.service and alert.service.lower() not in alert.name.lower() else ""
    named = f"{alert.name}{where}"
    if not alert.summary or len(alert.summary) > MAX_TITLE_CHARS:
        return named[:MAX_TITLE_CHARS]
    if alert.rule or alert.name.lower() in alert.summary.lower():
        return alert.summary
    both = f"{named}: {alert.summary}"
    return both if len(both) <= MAX_TITLE_CHARS else alert.summary


def _from_person(event: Event, data: IncidentRequested, now: datetime, ports: Ports) -> Incident:
    service = ports.settings.services.get(data.service)
    return Incident(
        id=event.subject,
        title=data.title[:MAX_TITLE_CHARS],
        service=data.service,
        environment=service.environment if service else "",
        severity=data.severity,
        state=State.OPEN,
        opened_at=now,
        updated_at=now,
        summary=data.summary,
        source=f"person:{data.by}",
    )
