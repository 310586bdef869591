"""One commit of an incident: the patched row, its timeline and audit entries, and the events that follow.

In: an incident as loaded and what the micro-agents answered. Out: rows for one transaction (rules H5, H9, H12).
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from shared.model import codec
from shared.model.alert import Alert
from shared.model.audit import GENESIS, AuditEntry, TimelineEntry
from shared.model.errors import Reason, TransientError
from shared.model.event import ApprovalDecided, Event, Payload, derive_id
from shared.model.incident import MAX_ALERTS_HELD, Incident
from shared.model.lifecycle import Moment, follow
from shared.model.outcome import Append, Change, Go, Happened, Outcome, Put, Ruling
from shared.model.pipeline import OWNER, Agent, MicroAgent, source_of
from shared.ports import telemetry
from shared.ports.store import Conflict, Delete, Insert, Operation, Replace, Store, Table, Upsert
from shared.records import approvals, incidents
from shared.records.rows import pack

MAX_TRIES = 50
FEW_ALERTS = 12  # that few fit into the row whatever they say: the router cuts an alert at 12,000 characters
MAX_ALERTS_CHARS = 200_000
_FIELDS = frozenset(field.name for field in dataclasses.fields(Incident))


@dataclass(frozen=True, slots=True)
class Entry:
    """What one commit writes, beside inbox and outbox bookkeeping."""

    incident: Incident
    rows: tuple[Operation, ...]
    events: tuple[Event, ...]


def apply(incident: Incident, changes: Sequence[Change]) -> Incident:
    """The incident after changes; a lifecycle moment that does not apply changes nothing.

    Raises:
        ValueError: a change names a field that incidents do not have.
    """
    for change in changes:
        match change:
            case Put(name, value):
                if name not in _FIELDS:
                    raise ValueError(f"incidents have no field {name}")
                incident = replace(incident, **{name: value})  # type: ignore[arg-type]
            case Append(name, item):
                incident = replace(incident, **{name: (*getattr(incident, name), item)})  # type: ignore[arg-type]
            case Happened(moment):
                incident = _move(incident, moment)
    return incident


def _move(incident: Incident, moment: Moment) -> Incident:
    state = follow(incident.state, moment)
    if state is None:
        return incident
    return replace(incident, state=state, cancelled=incident.cancelled or moment is Moment.CANCELLED)


def write(
    incident: Incident,
    event: Event,
    answers: Sequence[tuple[MicroAgent, Outcome]],
    now: datetime,
    judge: Callable[[Payload, Incident], Ruling],
) -> Entry:
    """Rows and events of one commit.

    Args:
        incident: as it is in the store now; numbers and the previous hash are taken from it.
        answers: outcomes in the order of the chain.
        judge: the policy, asked for every emitted event.
    """
    rows: list[Operation] = []
    events: list[Event] = []
    ordinal = 0
    for name, outcome in answers:
        before = incident
        incident = apply(incident, outcome.changes)
        ignored = [
            c.moment for c in outcome.changes if isinstance(c, Happened) and follow(before.state, c.moment) is None
        ]
        why = outcome.reason + "".join(f" ({moment} does not apply to {before.state})" for moment in ignored)
        for emit in outcome.events:
            ruling = judge(emit.data, incident)
            if ruling.go is Go.SKIP:
                why += f" ({emit.data.TYPE} not sent: {ruling.reason})"
            else:
                events.append(
                    Event(
                        id=_id_of(emit.data, event, incident, ordinal),
                        source=source_of(name),
                        subject=incident.id,
                        time=now,
                        data=emit.data,
                        traceparent=telemetry.traceparent() or event.traceparent,
                        not_before=emit.not_before,
                    )
                )
            ordinal += 1
        incident, added = _chronicle(incident, before, event, name, replace(outcome, reason=why), now)
        rows += added
    incident = replace(incident, version=incident.version + 1, updated_at=now, alerts=_newest(incident.alerts))
    return Entry(incident, tuple(rows), tuple(events))


def _id_of(payload: Payload, event: Event, incident: Incident, ordinal: int) -> str:
    """Id of an emitted event; the cause of a decision is the decision, whoever carries it on (rule M2)."""
    if isinstance(payload, ApprovalDecided):
        return approvals.decided_id(payload.approval_id, incident.id)
    return derive_id(event.id, payload.TYPE, incident.id, str(ordinal))


def _newest(alerts: tuple[Alert, ...]) -> tuple[Alert, ...]:
    """As many of the newest alerts as an incident may hold, in number and in size; their group has them all."""
    kept = alerts[-MAX_ALERTS_HELD:]
    if len(kept) <= FEW_ALERTS:
        return kept
    room = MAX_ALERTS_CHARS
    for i in range(len(kept) - 1, -1, -1):
        room -= len(codec.canonical(kept[i]))
        if room < 0:
            return kept[i + 1 :]
    return kept


def _chronicle(
    incident: Incident, before: Incident, event: Event, name: MicroAgent, outcome: Outcome, now: datetime
) -> tuple[Incident, list[Operation]]:
    number = incident.entries + 1
    agent = OWNER[name]
    changed = {
        field: codec.to_json(getattr(incident, field))
        for field in sorted(_FIELDS)
        if getattr(before, field) != getattr(incident, field)
    }
    content = hashlib.sha256(codec.canonical({"event": event.id, "changed": changed}).encode()).hexdigest()
    audit = incidents.seal(
        AuditEntry(
            incident.id,
            number,
            now,
            agent,
            name,
            outcome.person,
            outcome.what,
            outcome.reason,
            content,
            incident.audit_head,
        )
    )
    line = TimelineEntry(number, now, agent, name, outcome.what, outcome.reason, outcome.person, event.id)
    incident = replace(incident, entries=number, audit_head=audit.hash)
    return incident, [incidents.timeline_row(line), incidents.audit_row(audit)]


def hold(store: Store, event: Event, ruling: Ruling, until: datetime, now: datetime) -> None:
    """Keep an event back, in one transaction with its timeline and audit entry (rule H9)."""
    outcome = Outcome(f"held {event.type}", f"{ruling.reason}; until {until:%Y-%m-%d %H:%M:%S} UTC or released")
    row = incidents.held_row(event, ruling.reason, until, ruling.release_by, now)
    _alone(store, event, MicroAgent.CONDUCTOR, outcome, (row,), now, ends=row.key, due=until)


def release(store: Store, kept: incidents.Held, by: str, now: datetime) -> Event | None:
    """Let a held event go, in one transaction (rule H9).

    Args:
        by: the person, or ``incidents.TIMER``.

    Returns:
        The event to send, with one attempt more; ``None`` when somebody else released it.
    """
    event = replace(kept.event, attempt=kept.event.attempt + 1, not_before=None)
    outcome = Outcome(f"released {event.type}", f"by {by}; it was held because {kept.reason}", person=_person(by))
    operations: tuple[Operation, ...] = (
        Delete(incidents.HELD + event.id, kept.etag),
        Upsert(incidents.OUTBOX + event.id, incidents.event_values(event, now)),
        incidents.released_row(event, kept.reason, by, now),
    )
    done = _alone(store, event, MicroAgent.CONDUCTOR, outcome, operations, now, ends=incidents.HELD + event.id)
    return event if done else None


def note(store: Store, event: Event, name: MicroAgent, what: str, why: str, now: datetime) -> None:
    """Add a timeline and audit entry without anything else, such as a quarantine."""
    _alone(store, event, name, Outcome(what, why), (), now, ends="")


def _let_pass(payload: Payload, incident: Incident) -> Ruling:
    return Ruling(Go.GO, "")


def _person(by: str) -> str:
    return "" if by == incidents.TIMER else by


def _alone(
    store: Store,
    event: Event,
    name: MicroAgent,
    outcome: Outcome,
    extra: Sequence[Operation],
    now: datetime,
    ends: str,
    due: datetime | None = None,
) -> bool:
    for _ in range(MAX_TRIES):
        loaded = incidents.load(store, event.subject)
        if loaded is None:
            return False
        entry = write(loaded.incident, event, [(name, outcome)], now, _let_pass)
        operations = [Replace(incidents.INCIDENT, pack(entry.incident), loaded.etag), *entry.rows, *extra]
        outbox = incidents.OUTBOX + event.id
        if all(op.key != outbox for op in extra) and store.get(Table.INCIDENTS, event.subject, outbox) is not None:
            operations.append(Delete(outbox, None))
        incidents.mark_pending(store, event.subject, now, due)
        try:
            store.transact(Table.INCIDENTS, event.subject, operations)
        except Conflict as conflict:
            if ends and conflict.row_key == ends:
                return False
            continue
        return True
    raise TransientError("the incident is changed by too many at once", Reason.CONFLICT)


def system_chain(day: datetime) -> str:
    """Name of the chain of what has no incident, one a day (rule H12)."""
    return f"system-{day:%Y%m%d}"


def system(store: Store, what: str, why: str, person: str, content: str, now: datetime) -> AuditEntry:
    """Write what has no incident into the chain of the day (rule H12).

    The first entry of a day holds the last hash of the last day that has one.
    """
    chain = system_chain(now)
    digest = hashlib.sha256(content.encode()).hexdigest()
    for _ in range(MAX_TRIES):
        entries = incidents.audit(store, chain)
        previous = entries[-1].hash if entries else _last_of_earlier_days(store, now)
        entry = incidents.seal(
            AuditEntry(
                chain, len(entries) + 1, now, Agent.CONDUCTOR, MicroAgent.CONDUCTOR, person, what, why, digest, previous
            )
        )
        try:
            store.write(Table.INCIDENTS, chain, Insert(f"{incidents.AUDIT}{entry.number:08d}", pack(entry)))
        except Conflict:
            continue
        return entry
    raise TransientError("the system chain is written by too many at once", Reason.CONFLICT)


def _last_of_earlier_days(store: Store, now: datetime, days: int = 400) -> str:
    for back in range(1, days):
        entries = incidents.audit(store, system_chain(now - timedelta(days=back)))
        if entries:
            return entries[-1].hash
    return GENESIS
