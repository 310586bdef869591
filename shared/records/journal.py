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
from shared.model.event import ApprovalDecided, ApprovalRequested, Event, Payload, derive_id
from shared.model.incident import Incident
from shared.model.lifecycle import Moment, follow
from shared.model.outcome import Append, Change, Go, Happened, Outcome, Put, Revise, Ruling
from shared.model.pipeline import OWNER, Agent, MicroAgent, source_of
from shared.ports import telemetry
from shared.ports.store import Conflict, Delete, Insert, Operation, Replace, Store, Table, Upsert
from shared.records import approvals, heard, incidents
from shared.records.rows import pack

MAX_TRIES = 50
FEW_ALERTS = 12  # that few fit into the row whatever they say: the router cuts an alert at 12,000 characters
MAX_ALERTS_CHARS = 200_000
_FIELDS = frozenset(field.name for field in dataclasses.fields(Incident))


@dataclass(frozen=True, slots=True)
class Entry:
    """What one commit writes, beside inbox and outbox bookkeeping; rows of held events are among the rows."""

    incident: Incident
    rows: tuple[Operation, ...]
    events: tuple[Event, ...]
    held: tuple[Event, ...] = ()


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
            case Revise(name, how):
                incident = replace(incident, **{name: how(getattr(incident, name))})  # type: ignore[arg-type]
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
        judge: the policy, asked for every emitted event; what it holds becomes a row and no message (rule H9).
    """
    rows: list[Operation] = []
    events: list[Event] = []
    held: list[Event] = []
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
                ordinal += 1
                continue
            made = Event(
                id=_id_of(emit.data, event, incident, ordinal),
                source=source_of(name),
                subject=incident.id,
                time=now,
                data=emit.data,
                traceparent=telemetry.traceparent() or event.traceparent,
                not_before=emit.not_before,
            )
            if ruling.go is Go.HOLD:
                held.append(made)
                rows.append(incidents.held_row(made, ruling.reason, ruling.until or now, ruling.release_by, now))
                why += f" ({emit.data.TYPE} held: {ruling.reason})"
            else:
                events.append(made)
            ordinal += 1
        incident, added = _chronicle(incident, before, event, name, replace(outcome, reason=why), now)
        rows += added
    incident = replace(incident, version=incident.version + 1, updated_at=now, alerts=_newest(incident.alerts))
    return Entry(incident, tuple(rows), tuple(events), tuple(held))


def _id_of(payload: Payload, event: Event, incident: Incident, ordinal: int) -> str:
    """Id of an emitted event; the cause of a decision is the decision, whoever carries it on (rule M2)."""
    if isinstance(payload, ApprovalDecided):
        return approvals.decided_id(payload.approval_id, incident.id)
    return derive_id(event.id, payload.TYPE, incident.id, str(ordinal))


def _newest(alerts: tuple[Alert, ...]) -> tuple[Alert, ...]:
    """As many alerts as an incident may hold, in number and in size; it has heard of more, and their group has all."""
    kept = heard.worth_holding(alerts)
    if len(kept) <= FEW_ALERTS:
        return kept
    room = MAX_ALERTS_CHARS
    if sum(map(_most_chars, kept)) <= room:
        return kept
    for i in range(len(kept) - 1, -1, -1):
        room -= len(codec.canonical(kept[i]))
        if room < 0:
            return kept[i + 1 :]
    return kept


def _most_chars(alert: Alert) -> int:
    """More than an alert takes as JSON, where every character may become six; quick to say."""
    labels = sum(len(name) + len(value) for name, value in alert.labels.items())
    texts = (alert.name, alert.summary, alert.description, alert.resource, alert.link, alert.fingerprint, alert.source)
    return 1200 + 6 * (labels + sum(map(len, texts)))


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
    for _ in range(MAX_TRIES):
        if _alone(store, event, MicroAgent.CONDUCTOR, outcome, (row,), now, ends=row.key, due=until):
            return
        if incidents.held_since(store, event):
            return
    raise TransientError("the event is held and released by too many at once", Reason.CONFLICT)


def release(store: Store, kept: incidents.Held, by: str, now: datetime) -> Event | None:
    """Let a held event go, in one transaction (rule H9).

    Args:
        by: the person, or ``incidents.TIMER``.

    Returns:
        The event to send, with one attempt more; ``None`` when somebody else released it.
    """
    data = kept.event.data
    if isinstance(data, ApprovalRequested):  # people get the whole time, however long it was held
        data = ApprovalRequested(approvals.renewed(data.request, now))
    event = replace(kept.event, data=data, attempt=kept.event.attempt + 1, not_before=None)
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


def told(store: Store, event: Event, outcome: Outcome, now: datetime) -> bool:
    """Add what a person did about an event; False when there is no such incident."""
    return _alone(store, event, MicroAgent.CONDUCTOR, outcome, (), now, ends="")


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
        values = incidents.values_of(entry.incident, now)
        operations = [Replace(incidents.INCIDENT, values, loaded.etag), *entry.rows, *extra]
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
    return _system(store, what, why, person, content, now, once=False)


def system_once(store: Store, what: str, why: str, person: str, content: str, now: datetime) -> AuditEntry:
    """As `system`, but the entry that is there already, today or yesterday, for the same thing and content."""
    digest = hashlib.sha256(content.encode()).hexdigest()
    for entry in incidents.audit(store, system_chain(now - timedelta(days=1))):
        if (entry.what, entry.content_hash) == (what, digest):
            return entry
    return _system(store, what, why, person, content, now, once=True)


def _system(store: Store, what: str, why: str, person: str, content: str, now: datetime, once: bool) -> AuditEntry:
    chain = system_chain(now)
    digest = hashlib.sha256(content.encode()).hexdigest()
    for _ in range(MAX_TRIES):
        entries = incidents.audit(store, chain)
        for known in entries if once else ():
            if (known.what, known.content_hash) == (what, digest):
                return known
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
