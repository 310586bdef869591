"""The claim of a group on an incident, from claiming to closed.

In: the steps of opening and closing (rules S3, S4, C1). Out: one incident per group and generation, whoever asks and
however often.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime

from shared.model.errors import Reason, TransientError
from shared.ports.store import Conflict, Insert, Replace, Store, Table
from shared.records import counters
from shared.records.groups.states import Claim, GroupState, Held, partition_of
from shared.records.rows import key_of, pack, unpack

MAX_TRIES = 20


def read(store: Store, group_key: str) -> Held | None:
    """The claim with its ETag."""
    row = store.get(Table.GROUPS, partition_of(group_key), key_of(group_key))
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


def begin_closing(store: Store, group_key: str, generation: int, now: datetime, held: Held | None = None) -> bool:
    """The incident is about to be committed closed (rule C1); again is no error and keeps the first moment.

    Args:
        held: the claim as it was read just now; without it, it is read first.

    Returns:
        Whether the claim is closing.
    """

    def step(group: GroupState) -> GroupState:
        return replace(group, state=Claim.CLOSING, closing_at=now) if group.live else group

    after = _turn(store, group_key, generation, step, held)
    return after is not None and after.state is Claim.CLOSING


def finish_closing(store: Store, group_key: str, generation: int, now: datetime, held: Held | None = None) -> bool:
    """Free the group, or open the claim again when an alert repeated since closing began (rule C1).

    Call it no sooner than 20 s after `begin_closing`: 10 s a router may still fold, and 5 s until it has written.

    Args:
        now: closing counts from here where nobody began it.
        held: the claim as it was read just now; without it, it is read first.

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

    after = _turn(store, group_key, generation, step, held)
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


def _unsettled(group: GroupState) -> bool:
    # Open for the first time: closing never began, but the incident is closed, so the group must be freed all the same.
    # Open again: this very step was done before, and the answer is the same.
    return group.state is Claim.CLOSING or (group.live and group.reopened == 0)


def _turn(
    store: Store,
    group_key: str,
    generation: int,
    step: Callable[[GroupState], GroupState],
    first: Held | None = None,
) -> GroupState | None:
    """The claim after a step; ``None`` when there is none of this generation."""
    for held in _readings(store, group_key, first):
        if held is None or held.group.generation != generation:
            return None
        after = step(held.group)
        if after == held.group or _write(store, after, held.etag):
            return after
    raise TransientError(f"group {group_key!r} is changed by too many at once", Reason.CONFLICT)


def _readings(store: Store, group_key: str, first: Held | None) -> Iterator[Held | None]:
    if first is not None:
        yield first
    for _ in range(MAX_TRIES):
        yield read(store, group_key)


def _write(store: Store, group: GroupState, etag: str) -> bool:
    key = key_of(group.group_key)
    operation = Replace(key, pack(group), etag) if etag else Insert(key, pack(group))
    try:
        store.write(Table.GROUPS, partition_of(group.group_key), operation)
    except Conflict:
        return False
    return True
