"""Alert router: gives every alert to the one incident of its group, opens that incident, or lists the alert.

In: one alert. Out: messages for the incident creator, rows of the group, a line in the alert list (S3, S5 to S8, C2).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from shared.agents.sentinel.fold_memory import FoldMemory
from shared.agents.sentinel.grouping import group_key, listing_of
from shared.agents.sentinel.routing import Join, Step, decide
from shared.model import codec
from shared.model.alert import Alert
from shared.model.errors import Reason, TransientError
from shared.model.event import Event, GroupChanged, GroupChangeKind, derive_id
from shared.model.pipeline import DESTINATION, MicroAgent, source_of
from shared.model.signal import Status
from shared.ports import Ports, telemetry
from shared.ports.bus import Message
from shared.ports.store import Store
from shared.records import groups, index
from shared.records.groups import Claim, GroupState, Held, Member

__all__ = ["FOLDED", "FoldMemory", "Routed", "route"]

FOLDED = "folded"
MAX_TRIES = 40
CLOSING_AGAIN = timedelta(seconds=5)
CROWDED_AGAIN = timedelta(seconds=1)


@dataclass(frozen=True, slots=True)
class Routed:
    """What became of an alert; ``incident_id`` is empty when no incident has it."""

    what: str
    reason: str
    incident_id: str


def route(alert: Alert, ports: Ports, now: datetime, memory: FoldMemory) -> Routed:
    """Route one alert; everything is sent and written when this returns, and doing it again changes nothing.

    Args:
        memory: of this process; the caller flushes it.

    Raises:
        TransientError: the group is closing (rule C2) or crowded, or bus or store cannot be reached; route it again.
    """
    routing, store = ports.settings.routing, ports.store
    key = group_key(alert, routing)
    folded_into = memory.fold(key, alert, now)
    if folded_into:
        return Routed(FOLDED, "it repeats a firing that is known (rule S6)", folded_into)
    listed = listing_of(alert, routing, now)
    for _ in range(MAX_TRIES):
        # The alert's chunk is read before the claim: a claim that changes in between is met, never missed, because
        # every new member of it changes the chunk too.
        chunk = groups.chunk_of(store, key, alert.fingerprint)
        held = groups.read(store, key)
        group = held.group if held else None
        known = chunk.members.get(alert.fingerprint)
        step = decide(alert, group, known, listed, now)
        if step.wait:
            raise TransientError(f"{alert.name}: {step.reason}", Reason.NOT_YET, CLOSING_AGAIN)
        if step.claim:
            groups.claim(store, _new_claim(alert, key, held, now), held)
            continue  # won or lost, the claim that stands now says what follows
        _send(step, group, ports, now)
        if step.member is not None:
            current = group.generation if group else 0
            if not groups.put_member(store, key, chunk, step.member, current, now):
                continue  # what was sent is recognised when it is sent again
        if group is not None:
            _remember(alert, step, group, step.member or known, memory, now)
        return _list(step, group, store)
    raise TransientError(f"group {key!r} is changed by too many at once", Reason.CONFLICT, CROWDED_AGAIN)


def _new_claim(alert: Alert, key: str, held: Held | None, now: datetime) -> GroupState:
    """The claim of the next generation, with the one event that creates its incident (rules M2 and S3)."""
    generation = held.group.generation + 1 if held else 1
    incident_id = groups.incident_id_of(key, generation)
    event = Event(
        id=derive_id("group", key, str(generation), GroupChanged.TYPE, incident_id, "0"),
        source=source_of(MicroAgent.ALERT_ROUTER),
        subject=incident_id,
        time=now,
        data=GroupChanged(GroupChangeKind.OPEN, key, generation, alert),
        traceparent=telemetry.traceparent(),
    )
    creation = codec.encode_event(event).decode()
    return GroupState(key, Claim.CLAIMING, generation, incident_id, creation, alert, claimed_at=now)


def _send(step: Step, group: GroupState | None, ports: Ports, now: datetime) -> None:
    """Send before the member is written, so that a redelivery sends the same again (rule S5)."""
    if group is None:
        return
    messages = []
    if step.create:
        creation = codec.decode_event(group.creation.encode())
        messages.append(Message(creation.message_id, group.creation.encode(), creation.subject, creation.traceparent))
    if step.join is not None:
        join = _join(step.join, group, now)
        messages.append(Message(join.message_id, codec.encode_event(join), join.subject, join.traceparent))
    for message in messages:  # one by one, so that the creation is on disk before its joins
        ports.bus.send(DESTINATION[GroupChanged], (message,))


def _join(join: Join, group: GroupState, now: datetime) -> Event:
    # After the claim was opened again, what bounced off the closed incident must be heard, so it is another event.
    ordinal = "settles" if join.settles else str(group.reopened)
    return Event(
        id=derive_id(join.alert.signal_id, GroupChanged.TYPE, group.incident_id, ordinal),
        source=source_of(MicroAgent.ALERT_ROUTER),
        subject=group.incident_id,
        time=now,
        data=GroupChanged(GroupChangeKind.JOIN, group.group_key, group.generation, join.alert),
        traceparent=telemetry.traceparent(),
    )


def _remember(
    alert: Alert, step: Step, group: GroupState, member: Member | None, memory: FoldMemory, now: datetime
) -> None:
    if step.repeat:
        memory.count(group.group_key, group.generation, alert, now)
    fires = member is not None and member.status is Status.FIRING and member.generation == group.generation
    if member is not None and fires and group.state is Claim.OPEN:
        memory.learn(group, member, now)
    else:
        memory.forget(group.group_key, alert.fingerprint)


def _list(step: Step, group: GroupState | None, store: Store) -> Routed:
    told = step.member is not None and group is not None and step.member.generation == group.generation
    incident_id = group.incident_id if group is not None and (step.inside or told) else ""
    if step.line is not None:
        index.put_alert(store, index.AlertLine(step.line, incident_id, step.reason, step.line.starts_at))
    return Routed(step.what, step.reason, incident_id)
