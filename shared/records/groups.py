"""Rows of `groups`: the claim of a group on an incident, and the newest state of each alert in it.

In: alerts by their source's times, and the steps of opening and closing (rules S3 to S7, C1). Out: one incident per
group and generation, whoever asks and however often.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum

from shared.model.alert import Alert
from shared.model.errors import Reason, TransientError
from shared.model.event import derive_id
from shared.model.signal import Severity, Status
from shared.ports.store import Conflict, Insert, Replace, Store, Table
from shared.records import counters
from shared.records.rows import key_of, pack, unpack

CHUNKS = 16
MAX_TRIES = 20
REMEMBERED = timedelta(hours=24)  # tombstones and members of past generations (rule S7)


class Claim(StrEnum):
    """Where the claim of a group stands."""

    CLAIMING = "claiming"
    OPEN = "open"
    CLOSING = "closing"
    CLOSED = "closed"


@dataclass(frozen=True, slots=True)
class GroupState:
    """The claim.

    Attributes:
        generation: 1 for the first incident of the group.
        creation: CloudEvents JSON of the event that opens the incident; whoever meets ``claiming`` sends it (rule S3).
        creator: the alert in it.
        closing_at: when it last began to close.
        reopened: how often closing ended in opening again; a join after that is another event than before.
    """

    group_key: str
    state: Claim
    generation: int
    incident_id: str
    creation: str
    creator: Alert
    claimed_at: datetime
    closing_at: datetime | None = None
    reopened: int = 0

    @property
    def live(self) -> bool:
        """The incident takes alerts."""
        return self.state in (Claim.CLAIMING, Claim.OPEN)


@dataclass(frozen=True, slots=True)
class Held:
    """A claim as it was read, and with which ETag."""

    group: GroupState
    etag: str


@dataclass(frozen=True, slots=True)
class Member:
    """Newest state of one alert by its source's times (rule S7).

    Attributes:
        generation: of the incident it was sent to; 0 for a resolve that came before its firing, a tombstone.
        noted_at: when it was written; old ones are forgotten by this.
    """

    fingerprint: str
    name: str
    severity: Severity
    status: Status
    at: datetime
    starts_at: datetime
    generation: int
    signal_id: str
    noted_at: datetime


@dataclass(frozen=True, slots=True)
class Chunk:
    """The members that share a row, by fingerprint; ``etag`` is empty while there is no row."""

    members: Mapping[str, Member] = field(default_factory=dict)
    etag: str = ""


@dataclass(frozen=True, slots=True)
class _Doc:
    members: Mapping[str, Member]


def incident_id_of(group_key: str, generation: int) -> str:
    """Id of the incident of one generation (rule S3)."""
    return derive_id("incident", group_key, str(generation))


def rank(state: Alert | Member) -> tuple[datetime, int, datetime, int]:
    """Order of the states of one alert by its source's times, whatever the order of arrival (rule S7).

    A firing counts from its beginning, a resolve from its moment: a firing that began before a resolve is over, however
    late its repeats are stamped. A firing that begins in the very moment of a resolve is another one, unless the
    resolve says it ends just that. Of two equal ones the worse severity stands.
    """
    worse = -int(state.severity.value.removeprefix("sev"))
    if state.status is Status.FIRING:
        return state.starts_at, 1, state.at, worse
    return max(state.at, state.starts_at), 2 if state.starts_at >= state.at else 0, state.at, worse


def member_of(alert: Alert, generation: int, now: datetime) -> Member:
    """The state an alert brings."""
    return Member(
        fingerprint=alert.fingerprint,
        name=alert.name,
        severity=alert.severity,
        status=alert.status,
        at=alert.at,
        starts_at=alert.starts_at,
        generation=generation,
        signal_id=alert.signal_id,
        noted_at=now,
    )


def read(store: Store, group_key: str) -> Held | None:
    """The claim with its ETag."""
    row = store.get(Table.GROUPS, _partition(group_key), key_of(group_key))
    return None if row is None else Held(unpack(GroupState, row.values), row.etag)


def state_of(store: Store, group_key: str) -> GroupState | None:
    """The claim, or ``None`` when this group never had an incident."""
    held = read(store, group_key)
    return None if held is None else held.group


def claim(store: Store, group: GroupState, held: Held | None) -> bool:
    """Write the claim of a new generation.

    Args:
        held: the closed claim before it, as it was read.

    Returns:
        False when somebody else was faster.
    """
    return _write(store, group, held.etag if held else "")


def turn_open(store: Store, group_key: str, generation: int) -> bool:
    """The incident is there (rule S4); on every delivery of its creation.

    Returns:
        Whether the claim is open.
    """

    def step(group: GroupState) -> GroupState:
        return replace(group, state=Claim.OPEN) if group.state is Claim.CLAIMING else group

    after = _turn(store, group_key, generation, step)
    return after is not None and after.state is Claim.OPEN


def begin_closing(store: Store, group_key: str, generation: int, now: datetime) -> bool:
    """The incident is about to be committed closed (rule C1); again is no error and keeps the first moment.

    Returns:
        Whether the claim is closing.
    """

    def step(group: GroupState) -> GroupState:
        return replace(group, state=Claim.CLOSING, closing_at=now) if group.live else group

    after = _turn(store, group_key, generation, step)
    return after is not None and after.state is Claim.CLOSING


def finish_closing(store: Store, group_key: str, generation: int, now: datetime) -> bool:
    """Free the group, or open the claim again when an alert repeated since closing began (rule C1).

    Call it no sooner than 20 s after `begin_closing`: 10 s a router may still fold, and 5 s until it has written.

    Args:
        now: closing counts from here where nobody began it.

    Returns:
        True when a repeat was seen: the claim is open again, and the incident must be reopened.
    """
    last_seen = counters.read(store, group_key, generation).last_seen

    def step(group: GroupState) -> GroupState:
        if not _unsettled(group):
            return group
        if last_seen is not None and last_seen > (group.closing_at or now):
            return replace(group, state=Claim.OPEN, reopened=group.reopened + 1)
        return replace(group, state=Claim.CLOSED)

    after = _turn(store, group_key, generation, step)
    return after is not None and after.state is Claim.OPEN


def reopen_claim(store: Store, group_key: str, generation: int) -> bool:
    """Open a claim again whose incident turned out not to be closed.

    Returns:
        Whether the claim is open.
    """

    def step(group: GroupState) -> GroupState:
        if group.state is not Claim.CLOSING:
            return group
        return replace(group, state=Claim.OPEN, reopened=group.reopened + 1)

    after = _turn(store, group_key, generation, step)
    return after is not None and after.state is Claim.OPEN


def chunk_of(store: Store, group_key: str, fingerprint: str) -> Chunk:
    """The members in the row this alert belongs to."""
    row = store.get(Table.GROUPS, _partition(group_key), _chunk_key(group_key, fingerprint))
    return Chunk() if row is None else Chunk(unpack(_Doc, row.values).members, row.etag)


def put_member(store: Store, group_key: str, chunk: Chunk, member: Member, current: int, now: datetime) -> bool:
    """Write a member into its chunk as it was read; what is old and of no current incident is forgotten.

    Args:
        current: generation of the claim; 0 when there is none.

    Returns:
        False when somebody else changed the chunk meanwhile.
    """
    kept = {
        fingerprint: known
        for fingerprint, known in chunk.members.items()
        if (known.generation == current and current > 0) or now - known.noted_at < REMEMBERED
    }
    key = _chunk_key(group_key, member.fingerprint)
    values = pack(_Doc({**kept, member.fingerprint: member}))
    try:
        store.write(
            Table.GROUPS,
            _partition(group_key),
            Replace(key, values, chunk.etag) if chunk.etag else Insert(key, values),
        )
    except Conflict:
        return False
    return True


def members(store: Store, group_key: str) -> tuple[Member, ...]:
    """The alerts of the group's current incident, by fingerprint; those of the last one when it is closed."""
    group = state_of(store, group_key)
    if group is None:
        return ()
    return tuple(m for m in everything_known(store, group_key) if m.generation == group.generation)


def unresolved(store: Store, group_key: str) -> tuple[Member, ...]:
    """Members that have not resolved at their source."""
    return tuple(member for member in members(store, group_key) if member.status is Status.FIRING)


def everything_known(store: Store, group_key: str) -> tuple[Member, ...]:
    """Members of every generation and tombstones, by fingerprint."""
    prefix = f"{key_of(group_key)}|m|"
    rows = store.query(Table.GROUPS, _partition(group_key), prefix, f"{prefix[:-1]}}}").rows
    found = {name: known for row in rows for name, known in unpack(_Doc, row.values).members.items()}
    return tuple(found[name] for name in sorted(found))


def _unsettled(group: GroupState) -> bool:
    # Open for the first time: closing never began, but the incident is closed, so the group must be freed all the same.
    # Open again: this very step was done before, and the answer is the same.
    return group.state is Claim.CLOSING or (group.live and group.reopened == 0)


def _turn(store: Store, group_key: str, generation: int, step: Callable[[GroupState], GroupState]) -> GroupState | None:
    """The claim after a step; ``None`` when there is none of this generation."""
    for held in _readings(store, group_key):
        if held is None or held.group.generation != generation:
            return None
        after = step(held.group)
        if after == held.group or _write(store, after, held.etag):
            return after
    raise TransientError(f"group {group_key!r} is changed by too many at once", Reason.CONFLICT)


def _readings(store: Store, group_key: str) -> Iterator[Held | None]:
    for _ in range(MAX_TRIES):
        yield read(store, group_key)


def _write(store: Store, group: GroupState, etag: str) -> bool:
    key = key_of(group.group_key)
    operation = Replace(key, pack(group), etag) if etag else Insert(key, pack(group))
    try:
        store.write(Table.GROUPS, _partition(group.group_key), operation)
    except Conflict:
        return False
    return True


def _partition(group_key: str, tenant: str = "default") -> str:
    return f"{tenant}-{hashlib.sha256(group_key.encode()).hexdigest()[:2]}"


def _chunk_key(group_key: str, fingerprint: str) -> str:
    number = int(hashlib.sha256(fingerprint.encode()).hexdigest()[:8], 16) % CHUNKS
    return f"{key_of(group_key)}|m|{number:02x}"
