"""Storm brake: when it goes on, what it holds, who is worked on first, and what people are told.

In: new incidents, events a micro-agent wants to emit, who waits. Out: decisions; nothing is done here.
"""

from __future__ import annotations

import threading
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from shared.config.policy import BrakeSettings
from shared.model import event as ev
from shared.model.incident import Incident
from shared.model.lifecycle import State
from shared.model.notice import Fact, Link, Notice, NoticeKind
from shared.model.outcome import Go, Ruling
from shared.model.signal import Severity
from shared.records.brake import STORM, Brake, Seen, Waiting
from shared.records.index import IncidentLine

MINUTE = timedelta(minutes=1)
HELD_MOST = timedelta(days=1)  # the sweep lets go what the brake's own timer has not by then
A_PERSON_RULES = timedelta(minutes=15)  # so long it does not go on by itself after a person has put it off
WORST = 5
IN_THE_DIGEST = (NoticeKind.REOPENED, NoticeKind.PUBLISHED, NoticeKind.INFO)
PERSON = "person:"  # how the source of an incident begins that a person opened
_GO = Ruling(Go.GO, "")


class Rate:
    """New incidents of this process within a minute, shared by its threads; it remembers as many as the limit."""

    def __init__(self) -> None:
        self._seen: deque[tuple[datetime, str]] = deque()
        self._lock = threading.Lock()

    def opened(self, incident_id: str, now: datetime, most: int) -> str:
        """Take note of a new incident.

        Args:
            incident_id: the same one again counts once.
            most: incidents within a minute that are no storm.

        Returns:
            Empty while it is calm; in a storm the incident before this one, which is there for sure.
        """
        with self._lock:
            while self._seen and (len(self._seen) > most or now - self._seen[0][0] >= MINUTE):
                self._seen.popleft()
            if all(known != incident_id for _, known in self._seen):
                self._seen.append((now, incident_id))
            return self._seen[-2][1] if len(self._seen) > most else ""

    def within(self, now: datetime) -> int:
        """How many were opened in the last minute, as far as they are remembered."""
        with self._lock:
            return sum(now - at < MINUTE for at, _ in self._seen)


@dataclass(frozen=True, slots=True)
class Braked:
    """That the brake is on, for the judgement of what is emitted.

    Attributes:
        cause: the event whose hop emits.
        ticketing: a ticket system is configured.
    """

    cause: ev.Payload
    ticketing: bool


def concerns(payload: ev.Payload) -> bool:
    """Whether the brake has a say in an event at all; nothing is read for the others."""
    if isinstance(payload, ev.NotificationRequested):
        return payload.notice.kind in IN_THE_DIGEST
    if isinstance(payload, ev.InvestigationRequested):
        return not payload.by
    return isinstance(payload, (ev.TicketRequested, ev.TicketUpdateRequested, ev.ApprovalRequested))


def passes(incident: Incident) -> bool:
    """Whether a person has taken the incident out of the queue: by opening or acknowledging it."""
    return bool(incident.acknowledged_by) or incident.source.startswith(PERSON)


def judge(payload: ev.Payload, incident: Incident, braked: Braked) -> Ruling:
    """What becomes of an event that is emitted while the brake is on (rule B1).

    Returns:
        ``hold`` for tickets, investigations and approvals, and for updates of a ticket that is not there yet; ``skip``
        for notices that the digest replaces; ``go`` for all others, and for all of an incident a person has taken.
    """
    if passes(incident) or not concerns(payload):
        return _GO
    if isinstance(payload, ev.NotificationRequested):
        return Ruling(Go.SKIP, f"{STORM}; its digest replaces this notice")
    if isinstance(payload, ev.TicketUpdateRequested) and (incident.ticket is not None or not braked.ticketing):
        return _GO
    if isinstance(payload, ev.InvestigationRequested) and isinstance(braked.cause, ev.InvestigationRequested):
        return _GO  # it looks again in the course of one that was let through
    return Ruling(Go.HOLD, STORM)


def rank(one: Waiting, line: IncidentLine | None) -> tuple[bool, Severity, int, datetime, str]:
    """Where an incident stands in the queue; the lowest is worked on first.

    Args:
        line: as the list shows it now, where severity and alerts are newer than when it was held.

    Returns:
        What a person has taken, then severity, blast radius (its alerts), age.
    """
    if line is None:
        return True, one.severity, -one.alerts, one.opened_at, one.incident_id
    return not line.acknowledged_by, line.severity, -line.alert_count, one.opened_at, one.incident_id


def over(brake: Brake, seen: Seen, limits: BrakeSettings, now: datetime) -> bool:
    """Whether the brake goes off by itself: it went on by itself, all held work is done, and it is calm."""
    calm_since = brake.seen_at or brake.since or now
    calm = now - calm_since >= timedelta(seconds=limits.quiet_s)
    return brake.on and not brake.on_by and calm and not seen.work and not brake.in_work


def may_go_on(brake: Brake, limits: BrakeSettings, now: datetime) -> bool:
    """Whether the brake may go on by itself."""
    put_off = brake.ended_at is not None and bool(brake.ended_by) and now - brake.ended_at < A_PERSON_RULES
    return limits.enabled and not brake.on and not put_off


def digest(brake: Brake, seen: Seen, lines: Sequence[IncidentLine], limits: BrakeSettings, base: str) -> Notice:
    """The one card people get in place of many.

    Args:
        lines: the newest incidents as the list shows them.
        base: address of the portal.
    """
    since = brake.since
    mine = [line for line in lines if since is None or line.opened_at >= since - MINUTE]
    open_ones = [line for line in mine if line.state is not State.CLOSED]
    waiting, asking = len(seen.work), len(seen.asking)
    title = {
        "on": f"Storm brake on: {brake.why}",
        "more": f"Storm brake still on: {len(mine)} incidents, {waiting} wait to be worked on",
        "off": f"Storm brake off: {brake.let_go} held incidents were worked on"
        + (f", {waiting} still wait" if waiting else ""),
    }[brake.owed]
    if brake.owed == "off":
        text = f"{brake.ended_why[:1].upper()}{brake.ended_why[1:]}."
        if waiting:
            text += " What still waits is worked on by severity, as before."
        if asking:
            text += " Approvals are asked for by severity as places become free."
    else:
        text = (
            "You hear once of every new incident. Tickets, investigations and approvals wait and are worked off by "
            f"severity and blast radius, {limits.parallel} incidents at a time; at most {limits.open_approvals} "
            "approvals are open at once. Acknowledge an incident to have it worked on now."
        )
    facts = [Fact("Incidents", f"{len(mine)}{_split(mine)}"), Fact("Waiting", _waiting(waiting, asking))]
    worst = sorted(open_ones, key=lambda line: (line.severity, -line.alert_count, line.opened_at))[:WORST]
    facts += [Fact(f"Worst {n}", _line(line)) for n, line in enumerate(worst, 1)]
    severity = min((line.severity for line in open_ones), default=Severity.SEV3)
    if brake.owed == "off":
        severity = Severity.SEV3
    link = Link("Open the list of incidents", f"{base.rstrip('/')}/")
    return Notice(
        NoticeKind.STORM, title, text, severity, f"storm-{brake.episode[:8]}", tuple(facts), (link,),
        alerts=sum(line.alert_count for line in mine),
    )  # fmt: skip


def _split(lines: Sequence[IncidentLine]) -> str:
    counts: Mapping[Severity, int] = Counter(line.severity for line in lines)
    parts = ", ".join(f"{counts[severity]} {severity}" for severity in sorted(counts))
    return f" ({parts})" if parts else ""


def _waiting(work: int, asking: int) -> str:
    more = f", {asking} for a place among the open approvals" if asking else ""
    return f"{work} for ticket and investigation{more}"


def _line(line: IncidentLine) -> str:
    alerts = f"{line.alert_count} alert{'' if line.alert_count == 1 else 's'}"
    where = f"{line.service}: " if line.service and line.service.lower() not in line.title.lower() else ""
    return f"{where}{line.title} ({line.severity}, {alerts})"
