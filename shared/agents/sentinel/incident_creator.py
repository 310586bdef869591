"""Incident creator: makes the incident record, and folds alerts and people's words into it.

In: group changes, manual requests, acknowledgements, assignments. Out: the incident, and what must follow.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from shared.agents import notices
from shared.model.alert import Alert
from shared.model.errors import PermanentError, Reason
from shared.model.event import (
    ClosingKind,
    ClosingRequested,
    Event,
    GroupChanged,
    GroupChangeKind,
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
from shared.model.signal import Severity, Signal, SignalKind, Status
from shared.ports import Ports
from shared.records import groups, heard, incidents, journal

MAX_NAMES = 5  # of alerts that join together, in a line of the timeline
MAX_TITLE_CHARS = 160  # ServiceNow's short_description; longer titles are cut once, here


def always(event: Event, ports: Ports) -> None:
    """Turn the claim to open on every delivery of a creation (rule S4)."""
    if isinstance(event.data, GroupChanged) and event.data.kind is GroupChangeKind.OPEN:
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
            return _acknowledge(by, incident, event.time)
        case IncidentAssigned(by, assignee):
            if incident.assigned_at is not None and event.time < incident.assigned_at:
                later = f"{incident.assignee} was named later"
                return Outcome(f"assigned to {assignee} before", later, person=by)
            note = Emit(TicketUpdateRequested(UpdateKind.NOTE, f"Assigned to {assignee} by {by}."))
            changes = (Put("assignee", assignee), Put("assigned_at", event.time))
            return Outcome(f"assigned to {assignee}", f"{by} said so", changes, (note,), by)
        case IncidentRequested(by):
            return Outcome("already open", f"{by} asked for it twice", person=by)
        case _:
            raise PermanentError(f"{event.type} is nothing an incident can take in", Reason.BAD_INPUT)


def _acknowledge(by: str, incident: Incident, at: datetime) -> Outcome:
    """Take note of who was first; by their own times, whoever's message comes first."""
    known_at = incident.acknowledged_at
    if incident.acknowledged_by and (known_at is None or known_at <= at):
        return Outcome(f"acknowledged again by {by}", f"{incident.acknowledged_by} was first", person=by)
    if incident.over:
        return Outcome(f"acknowledged by {by} after the end", "the incident is closed already", person=by)
    note = Emit(TicketUpdateRequested(UpdateKind.NOTE, f"Acknowledged by {by}."))
    changes = (Put("acknowledged_by", by), Put("acknowledged_at", at))
    return Outcome(f"acknowledged by {by}", "a person has seen it", changes, (note,), by)


def known(change: GroupChanged, incident: Incident) -> bool:
    """Whether the incident has heard all of this, from the same signals; then it changes nothing (rule S5)."""
    return all(heard.said_before(heard.state_of(incident, alert.fingerprint), alert) for alert in change.alerts)


@dataclass(slots=True)
class _Joined:
    """What some alerts bring to an incident, in their order.

    Attributes:
        states: what is known of alerts by now, by fingerprint.
        held: whole alerts by fingerprint, the newest last.
        taken: those that brought something new.
        back: those that come after the end.
    """

    held: dict[str, Alert]
    states: dict[str, heard.Heard | None] = field(default_factory=dict)
    taken: list[Alert] = field(default_factory=list)
    back: list[Alert] = field(default_factory=list)
    older: list[Alert] = field(default_factory=list)
    new: int = 0

    def take(self, alert: Alert, incident: Incident) -> None:
        name = alert.fingerprint
        state = self.states[name] if name in self.states else heard.state_of(incident, name)
        self.states[name] = state
        if heard.said_before(state, alert) or (state is not None and groups.rank(state) > groups.rank(alert)):
            self.older.append(alert)
        elif incident.over and alert.status is Status.FIRING:
            self.back.append(alert)
        else:
            self.new += state is None
            self.states[name] = heard.of(alert)
            self.held.pop(name, None)
            self.held[name] = alert
            self.taken.append(alert)


def _join(change: GroupChanged, incident: Incident, ports: Ports) -> Outcome:
    joined = _Joined({alert.fingerprint: alert for alert in incident.alerts})
    for alert in change.alerts:
        joined.take(alert, incident)
    back = (Emit(SignalsReceived(tuple(map(_signal, joined.back)))),) if joined.back else ()
    if not joined.taken and back:
        return Outcome(f"{_names(joined.back)} back to the signals", "it came after the end (rule C2)", events=back)
    if not joined.taken:
        known_better = "a newer state of this alert is known (rule S7)"
        return Outcome(f"{_names(joined.older)}: an older state", known_better)
    taken = tuple(joined.taken)
    changes: list[Change] = [
        Put("alerts", heard.worth_holding(tuple(joined.held.values()))),
        Put("heard", heard.adding(incident, taken)),
    ]
    if joined.new:
        changes.append(Put("alert_count", incident.alert_count + joined.new))
    newest = {alert.fingerprint: alert for alert in taken}
    firing = [alert for alert in newest.values() if alert.status is Status.FIRING]
    worst = min([incident.severity, *(alert.severity for alert in taken if alert.status is Status.FIRING)])
    if worst < incident.severity:
        changes.append(Put("severity", worst))
    if firing and incident.state is State.RESOLVED:
        return _reopened(firing, incident, changes, ports)
    resolved = [alert for alert in taken if alert.status is Status.RESOLVED]
    if resolved:
        outcome = _resolved(resolved, incident, tuple(changes), ports)
        return replace(outcome, events=(*outcome.events, *back))
    what = f"{_names(firing)} fires again" if not joined.new else f"{_names(taken)} joined"
    return Outcome(what, f"same group, {worst_of(taken)} from {taken[-1].source}", tuple(changes), back)


def worst_of(alerts: Sequence[Alert]) -> Severity:
    """The severity of the worst of some alerts."""
    return min(alert.severity for alert in alerts)


def _names(alerts: Sequence[Alert]) -> str:
    """What to call some alerts in one line of the timeline."""
    names = list(dict.fromkeys(alert.name for alert in alerts))
    if len(alerts) == 1:
        return names[0]
    told = ", ".join(names[:MAX_NAMES])
    return f"{len(alerts)} alerts ({told}{', and more' if len(names) > MAX_NAMES else ''})"


def _reopened(firing: Sequence[Alert], incident: Incident, changes: Sequence[Change], ports: Ports) -> Outcome:
    again = f"{_names(firing)} fires again"
    told = notices.tell(NoticeKind.REOPENED, f"Reopened: {incident.title}", f"{again}.", incident, ports.settings)
    reopen = Emit(TicketUpdateRequested(UpdateKind.REOPEN, f"Reopened: {again}."))
    moved = (Happened(Moment.REOPENED), Put("resolved_at", None), Put("recovery", None))
    return Outcome("reopened", again, (*changes, *moved), (*told, reopen, Emit(InvestigationRequested())))


def _resolved(resolved: Sequence[Alert], incident: Incident, changes: tuple[Change, ...], ports: Ports) -> Outcome:
    still = len(incidents.still_firing(journal.apply(incident, changes), ()))  # the closer asks the group as well
    what = f"{_names(resolved)} resolved at {'its source' if len(resolved) == 1 else 'their source'}"
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
        heard=heard.first(alert),
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
