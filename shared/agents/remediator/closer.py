"""Closer: finds out whether it is really over, closes, and says so everywhere.

In: a reason to look. Out: a closed incident, another look later, or a person who is told (rules C1 to C3).
"""

from __future__ import annotations

from datetime import datetime, timedelta

from shared.agents import notices
from shared.model.errors import PermanentError, Reason, TransientError
from shared.model.event import (
    ClosingKind,
    ClosingRequested,
    Event,
    IncidentClosed,
    InvestigationRequested,
    TicketUpdateRequested,
    UpdateKind,
)
from shared.model.incident import Incident, Recovery
from shared.model.lifecycle import Moment, State
from shared.model.notice import Fact, NoticeKind
from shared.model.outcome import Change, Emit, Happened, Outcome, Put
from shared.ports import Ports
from shared.records import approvals, groups, incidents, windows


def handle(event: Event, incident: Incident, now: datetime, ports: Ports) -> Outcome:
    """Look, and close when it is over."""
    data = event.data
    if not isinstance(data, ClosingRequested):
        raise PermanentError(f"{event.type} is no reason to close", Reason.BAD_INPUT)
    if data.kind is ClosingKind.SETTLE:
        return _settle(incident, now, ports)
    if incident.over:
        return Outcome("closed already", f"{data.kind} came after the end", person=data.by)
    if data.kind is ClosingKind.MANUAL:
        reason = data.reason or "closed by hand"
        return _close(event, incident, f"{data.by}: {reason}", False, now, ports, person=data.by)
    if _acting(incident, now, ports):
        later = now + timedelta(seconds=ports.settings.closing.check_every_s)
        why = "it has begun, and the end is written down with what came of it"
        return Outcome(
            "waits for the result of an action", why, events=(Emit(ClosingRequested(ClosingKind.RECHECK), later),)
        )
    group = groups.load(ports.store, incident.group_key) if incident.group_key else None
    if incident.alerts and not incidents.still_firing(incident, group.current if group else ()):
        held = group.held if group else None
        return _close(event, incident, "every alert resolved at its source", True, now, ports, held=held)
    if data.kind is ClosingKind.RECHECK and incident.recovery and incident.recovery.measured_at > event.time:
        return Outcome("measured already", "another check has taken over")
    return _measure(incident, now, ports, event)


def _acting(incident: Incident, now: datetime, ports: Ports) -> bool:
    """Whether an approved action has begun and nobody knows yet what came of it: its host may have died in it."""
    asked = incident.approval
    if incident.state is not State.EXECUTING or asked is None or not approvals.begun(ports.store, asked.id):
        return False
    return now - _last_news(incident) <= timedelta(seconds=ports.settings.closing.give_up_s)


def _measure(incident: Incident, now: datetime, ports: Ports, event: Event) -> Outcome:
    closing = ports.settings.closing
    reading = windows.health(incident.service, ports.settings, ports.store, now)
    what = f"measured {incident.service or 'nothing'}: {reading.state}"
    if reading.measured_at is None:
        why = "nothing here measures this service; it waits for the resolve of its source or for a person (rule C3)"
        return Outcome(what, why)
    recovery = incident.recovery
    later = now + timedelta(seconds=closing.check_every_s)
    if reading.state != "good":
        if now - _last_news(incident) > timedelta(seconds=closing.give_up_s):
            return _give_up(incident, reading.text, ports)
        again = Emit(ClosingRequested(ClosingKind.RECHECK), later)
        if _did_not_help(incident, now, timedelta(seconds=closing.look_again_s)):
            return _look_again(incident, what, reading.text, now, again, ports)
        return Outcome(what, reading.text, (Put("recovery", Recovery(None, reading.text, now)),), (again,))
    fresh = recovery is None or recovery.good_since is None
    good_since = now if recovery is None or recovery.good_since is None else recovery.good_since
    checks = 1 if fresh or recovery is None else recovery.checks + 1
    done_at = good_since + timedelta(seconds=closing.recovery_s)
    if now >= done_at:  # never on the first good reading, which may be luck
        good = f"good for {(now - good_since).total_seconds():.0f} s: {reading.text}"
        return _close(event, incident, good, True, now, ports)
    again = Emit(ClosingRequested(ClosingKind.RECHECK), min(later, max(done_at, now + timedelta(seconds=1))))
    why = f"good since {good_since:%H:%M:%S} UTC, {closing.recovery_s:.0f} s are needed; {reading.text}"
    return Outcome(what, why, (Put("recovery", Recovery(good_since, reading.text, now, checks)),), (again,))


def _last_news(incident: Incident) -> datetime:
    """When something last happened that could have mended it, so that measuring is worth its while."""
    acted = (result.at for result in incident.actions)
    return max((incident.opened_at, *acted, *(alert.at for alert in incident.alerts)))


def _did_not_help(incident: Incident, now: datetime, patience: timedelta) -> bool:
    """Whether what was done last has had its time and the trouble is still there."""
    done = incident.actions[-1] if incident.actions else None
    return incident.state is State.VERIFYING and done is not None and now - done.at >= patience


def _look_again(incident: Incident, what: str, text: str, now: datetime, again: Emit, ports: Ports) -> Outcome:
    """Tell people that the action did not help, and have the cause looked for once more, with what is known by now."""
    done = incident.actions[-1]
    title = f"Still bad after {done.action}: {incident.title}"
    told = notices.tell(NoticeKind.ESCALATED, title, f"The cause is looked for again. {text}", incident, ports.settings)
    changes = (Put("recovery", Recovery(None, text, now)), Happened(Moment.ESCALATED))
    why = f"{done.action} on {done.target} did not help, so the cause is looked for again; {text}"
    return Outcome(what, why, changes, (again, Emit(InvestigationRequested()), *told))


def _give_up(incident: Incident, text: str, ports: Ports) -> Outcome:
    told = notices.tell(
        NoticeKind.ESCALATED,
        f"Not recovering: {incident.title}",
        f"Measuring ends here. {text}",
        incident,
        ports.settings,
    )
    return Outcome(
        "stopped measuring", "it did not recover in time; a person must look", (Happened(Moment.ESCALATED),), told
    )


def _close(
    event: Event,
    incident: Incident,
    reason: str,
    recovered: bool,
    now: datetime,
    ports: Ports,
    person: str = "",
    held: groups.Held | None = None,
) -> Outcome:
    """Turn the claim to closing, and answer with everything that ends an incident (rule C1).

    Args:
        held: the claim as it was read just now.
    """
    if incident.group_key:
        held = held or groups.read(ports.store, incident.group_key)
        # Closed and open again since: a repeat of the event that closed it then must not turn the claim once more.
        if held and held.group.reopened and incidents.done(ports.store, event):
            return Outcome("looked before", "this very event was worked off before")
        groups.begin_closing(ports.store, incident.group_key, incident.generation, now, held)
    settings = ports.settings
    took = int((now - incident.opened_at).total_seconds())
    changes: tuple[Change, ...] = (
        *((Happened(Moment.RECOVERED),) if recovered else ()),
        Put("resolved_at", incident.resolved_at or now),
        Put("resolution", reason),
        Put("closed_at", now),
        Happened(Moment.CLOSED),
    )
    facts = (Fact("Resolution", reason), Fact("Open for", f"{took // 60} min {took % 60} s"))
    events = (
        Emit(TicketUpdateRequested(UpdateKind.RESOLVE, f"Closed: {reason}")),
        *notices.tell(NoticeKind.CLOSED, f"Closed: {incident.title}", reason, incident, settings, facts),
        Emit(IncidentClosed(reason)),
        Emit(ClosingRequested(ClosingKind.SETTLE), now + timedelta(seconds=settings.closing.settle_s)),
    )
    return Outcome(f"closed: {incident.title}", reason, changes, events, person)


def _settle(incident: Incident, now: datetime, ports: Ports) -> Outcome:
    """Free the group, or open the incident again; not before every repeat has had time to be counted (rule C1)."""
    if not incident.group_key:
        return Outcome("nothing to settle", "a manual incident has no group")
    if not incident.over:
        return Outcome("nothing to settle", f"the incident is {incident.state} again")
    held = groups.read(ports.store, incident.group_key)
    group = held.group if held else None
    if group is not None and group.state is groups.Claim.CLOSING and group.generation == incident.generation:
        early = (group.closing_at or now) + timedelta(seconds=ports.settings.closing.settle_s) - now
        if early > timedelta(0):
            raise TransientError("a repeat may still be on its way", Reason.NOT_YET, early)
    if not groups.finish_closing(ports.store, incident.group_key, incident.generation, now, held):
        return Outcome("the group is free again", "no alert repeated while it was closing")
    empty = ("closed_at", "resolved_at", "recovery")
    changes: tuple[Change, ...] = (
        Happened(Moment.REOPENED),
        Put("resolution", ""),
        *(Put(name, None) for name in empty),
    )
    title = f"Reopened: {incident.title}"
    told = notices.tell(NoticeKind.REOPENED, title, "An alert repeated after the end.", incident, ports.settings)
    events = (
        Emit(TicketUpdateRequested(UpdateKind.REOPEN, "Reopened: an alert repeated after the end.")),
        *told,
        Emit(InvestigationRequested()),
    )
    return Outcome("reopened", "an alert repeated while the group was closing (rule C1)", changes, events)
