"""What the router says to the incident creator: the creation of an incident, and the alerts that join one.

In: the joins of one group and batch. Out: as few messages as they fit into, and when they should be heard.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from shared.agents.sentinel.routing import Join
from shared.model import codec
from shared.model.alert import Alert
from shared.model.event import Event, GroupChanged, GroupChangeKind, GroupJoins, GroupsOpened, derive_id
from shared.model.pipeline import MicroAgent, source_of
from shared.ports import telemetry
from shared.ports.bus import Message
from shared.ports.store import Store
from shared.records import letters
from shared.records.groups import GroupState, incident_id_of

JOIN_EVERY = timedelta(seconds=2)  # mere joins are heard together, at whole multiples of this
CROWD_EVERY = timedelta(seconds=10)  # and of this where the incident has a crowd of alerts already
CROWD = 10
PHASES = 5  # each group has its own part of these ten seconds, so that they are not all heard at once
BUNDLED_FROM = 8  # creations of one batch; fewer travel by themselves, to whichever instance is free
CREATIONS = 16  # in one message: some seconds of work on a store far away
MAX_JOINS_BYTES = 40 * 1024  # alerts of one message; above 48 KB it would travel as a reference (rule M5)
MAX_ROUND_BYTES = 150 * 1024  # alerts of several groups in one message
_FRAME_BYTES = 700  # names, times and ids of an alert


def creation_of(
    group_key: str, generation: int, incident_id: str, alert: Alert, now: datetime, traceparent: str
) -> str:
    """The one event that opens the incident of a generation, as it is kept in the claim (rules M2 and S3)."""
    event = Event(
        id=derive_id("group", group_key, str(generation), GroupChanged.TYPE, incident_id, "0"),
        source=source_of(MicroAgent.ALERT_ROUTER),
        subject=incident_id,
        time=now,
        data=GroupChanged(GroupChangeKind.OPEN, group_key, generation, alert),
        traceparent=telemetry.traceparent() or traceparent,
    )
    return codec.encode_event(event).decode()


def creation_messages(opened: Sequence[GroupState], now: datetime, store: Store) -> Iterator[Message]:
    """The creations as they are sent by everyone who meets the claims; in a storm many in one message.

    However they are bundled, each is worked off as the event that its claim holds, and recognised as that.
    """
    if len(opened) < BUNDLED_FROM:
        for group in opened:
            creation = codec.decode_event(group.creation.encode())
            yield Message(creation.message_id, group.creation.encode(), creation.subject, creation.traceparent)
        return
    for begin in range(0, len(opened), CREATIONS):
        bundle = opened[begin : begin + CREATIONS]
        identity = derive_id(GroupsOpened.TYPE, *(group.incident_id for group in bundle))
        data = GroupsOpened(tuple(group.creation for group in bundle))
        traceparent = codec.decode_event(bundle[0].creation.encode()).traceparent
        event = Event(identity, source_of(MicroAgent.ALERT_ROUTER), "", now, data, traceparent)
        yield letters.message_of(store, event)


def join_messages(
    group: GroupState, joins: Sequence[Join], now: datetime, traceparent: str, store: Store
) -> Iterator[Message]:
    """Messages with the joins of a group that are heard at once, in their order."""
    for part in _parts(joins):
        alerts = tuple(join.alert for join in part)
        joined = GroupJoins(group.group_key, group.generation, alerts)
        yield letters.message_of(store, _event(_id(group, part), (joined,), now, traceparent))


def round_messages(
    waiting: Sequence[tuple[GroupState, Sequence[Join]]],
    due: datetime,
    now: datetime,
    traceparent: str,
    store: Store,
) -> Iterator[Message]:
    """Messages with the joins of many groups that are heard together, at ``due``."""
    bundle: list[tuple[str, GroupJoins]] = []
    room = MAX_ROUND_BYTES
    for group, joins in waiting:
        for part in _parts(joins):
            size = sum(_bytes_of(join.alert) for join in part)
            if bundle and size > room:
                yield letters.message_of(store, _bundled(bundle, due, now, traceparent))
                bundle, room = [], MAX_ROUND_BYTES
            alerts = tuple(join.alert for join in part)
            bundle.append((_id(group, part), GroupJoins(group.group_key, group.generation, alerts)))
            room -= size
    if bundle:
        yield letters.message_of(store, _bundled(bundle, due, now, traceparent))


def apart(event: Event) -> Sequence[Event]:
    """The creations or joins of a message, each as an event of its own; anything else as it is."""
    data = event.data
    if isinstance(data, GroupsOpened):
        return [codec.decode_event(creation.encode()) for creation in data.creations]
    if not isinstance(data, GroupChanged) or not data.beside:
        return (event,)
    own = GroupJoins(data.group_key, data.generation, data.alerts)
    return [
        replace(
            event,
            id=derive_id(event.id, str(number)),
            subject=incident_id_of(joins.group_key, joins.generation),
            data=_changed((joins,)),
        )
        for number, joins in enumerate((own, *data.beside))
    ]


def _bundled(bundle: Sequence[tuple[str, GroupJoins]], due: datetime, now: datetime, traceparent: str) -> Event:
    identity = bundle[0][0] if len(bundle) == 1 else derive_id("joins", *(part for part, _ in bundle))
    return replace(_event(identity, [joins for _, joins in bundle], now, traceparent), not_before=due)


def _event(identity: str, joins: Sequence[GroupJoins], now: datetime, traceparent: str) -> Event:
    return Event(
        id=identity,
        source=source_of(MicroAgent.ALERT_ROUTER),
        subject=incident_id_of(joins[0].group_key, joins[0].generation),
        time=now,
        data=_changed(joins),
        traceparent=telemetry.traceparent() or traceparent,
    )


def _changed(joins: Sequence[GroupJoins]) -> GroupChanged:
    first = joins[0]
    alert, *more = first.alerts
    return GroupChanged(GroupChangeKind.JOIN, first.group_key, first.generation, alert, tuple(more), tuple(joins[1:]))


def next_round(now: datetime, every: timedelta, group_key: str) -> datetime:
    """When the joins of a group are heard that have come by now; groups whose time it is are heard together."""
    seconds = int(every.total_seconds())
    mine = zlib.crc32(group_key.encode("utf-8", "replace")) % PHASES * (seconds // PHASES)
    return datetime.fromtimestamp(((int(now.timestamp()) - mine) // seconds + 1) * seconds + mine, UTC)


def _id(group: GroupState, joins: Sequence[Join]) -> str:
    """The same for the same alerts; in another division they are known by their signals (rule S5).

    After the claim was opened again, what bounced off the closed incident must be heard, so it is another event.
    """
    if len(joins) == 1:
        ordinal = "settles" if joins[0].settles else str(group.reopened)
        return derive_id(joins[0].alert.signal_id, GroupChanged.TYPE, group.incident_id, ordinal)
    signals = (f"{join.alert.signal_id} {'settles' if join.settles else join.alert.status}" for join in joins)
    return derive_id(*signals, GroupChanged.TYPE, group.incident_id, str(group.reopened))


def _parts(joins: Sequence[Join]) -> Iterator[list[Join]]:
    part: list[Join] = []
    room = MAX_JOINS_BYTES
    for join in joins:
        size = _bytes_of(join.alert)
        if part and size > room:
            yield part
            part, room = [], MAX_JOINS_BYTES
        part.append(join)
        room -= size
    if part:
        yield part


def _bytes_of(alert: Alert) -> int:
    """About how long an alert is in a message; one that is longer than that only makes a reference of its message."""
    texts: Iterable[str] = (alert.description, alert.summary, alert.name, alert.resource, alert.link, alert.fingerprint)
    labels = sum(len(name) + len(value) + 6 for name, value in alert.labels.items())
    return _FRAME_BYTES + sum(map(len, texts)) + labels
