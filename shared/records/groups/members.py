"""The newest state of each alert of a group.

In: alerts by their source's times (rule S7). Out: the claim and its members by one query, written by one transaction.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from shared.model.signal import Status
from shared.ports.store import Conflict, Delete, Insert, Operation, Properties, Replace, Row, Store, Table
from shared.records.groups.states import GroupState, Held, Member, partition_of, rank
from shared.records.rows import key_of, pack, unpack

CHUNKS = 16
MAX_TOGETHER = 120  # members in a group's first row; those that come later are spread over the chunks
REMEMBERED = timedelta(hours=24)  # tombstones and members of past generations (rule S7)


@dataclass(frozen=True, slots=True)
class Rows:
    """A group as one query found it.

    Attributes:
        held: the claim; ``None`` when the group never had one.
        members: everything known, of every generation, by fingerprint.
        places: row keys of members.
        etags: of the rows of members, by key.
        inside: the members of each row, by key.
    """

    held: Held | None
    members: Mapping[str, Member]
    places: Mapping[str, str]
    etags: Mapping[str, str]
    inside: Mapping[str, Mapping[str, Member]]

    @property
    def group(self) -> GroupState | None:
        """The claim without its ETag."""
        return self.held.group if self.held else None

    @property
    def current(self) -> tuple[Member, ...]:
        """The alerts of the group's current incident, by fingerprint; those of the last one when it is closed."""
        if self.held is None:
            return ()
        generation = self.held.group.generation
        return tuple(m for _, m in sorted(self.members.items()) if m.generation == generation)


@dataclass(frozen=True, slots=True)
class _Doc:
    members: Mapping[str, Member]


def load(store: Store, group_key: str) -> Rows:
    """The claim and all members, by one query.

    Table Storage answers a query of one partition from one moment, so a claim is never older than the members that
    come with it; where an answer takes several pages, the claim is read again after the last.
    """
    key, prefix = key_of(group_key), f"{key_of(group_key)}|m|"
    partition = partition_of(group_key)
    while True:
        found: list[Row] = []
        start: str | None = key
        pages = 0
        while start is not None:
            page = store.query(Table.GROUPS, partition, start, f"{prefix[:-1]}}}")
            found += [row for row in page.rows if row.key == key or row.key.startswith(prefix)]
            start, pages = page.next_key, pages + 1
        claimed = found.pop(0) if found and found[0].key == key else None
        if pages == 1 or _same(claimed, store.get(Table.GROUPS, partition, key)):
            return _rows(claimed, found)


def put_members(store: Store, group_key: str, rows: Rows, changed: Mapping[str, Member], now: datetime) -> bool:
    """Write members into the rows as they were read, in one transaction; what is old and over is forgotten.

    Args:
        rows: as they were read; those of members only are checked, the claim may have moved on.
        changed: new states, by fingerprint.

    Returns:
        False when somebody else changed one of the rows meanwhile; nothing is written then.
    """
    current = rows.group.generation if rows.group else 0
    first = f"{key_of(group_key)}|m|{0:x}"
    kept = {
        key: {
            name: known
            for name, known in inside.items()
            if (known.generation == current and current > 0) or now - known.noted_at < REMEMBERED
        }
        for key, inside in rows.inside.items()
    }
    touched = {key for key, left in kept.items() if len(left) < len(rows.inside[key])}
    kept.setdefault(first, {})
    for fingerprint, member in changed.items():
        place = rows.places.get(fingerprint, "")
        if not place:
            place = first if len(kept[first]) < MAX_TOGETHER else _chunk_key(group_key, fingerprint)
        kept.setdefault(place, {})[fingerprint] = member
        touched.add(place)
    operations: list[Operation] = []
    for key in sorted(touched):
        values, etag = pack(_Doc(kept[key])), rows.etags.get(key, "")
        if not kept[key]:
            operations.append(Delete(key, etag))
        else:
            operations.append(Replace(key, values, etag) if etag else Insert(key, values))
    try:
        if len(operations) == 1:
            store.write(Table.GROUPS, partition_of(group_key), operations[0])
        elif operations:
            store.transact(Table.GROUPS, partition_of(group_key), operations)
    except Conflict:
        return False
    return True


def members(store: Store, group_key: str) -> tuple[Member, ...]:
    """The alerts of the group's current incident, by fingerprint; those of the last one when it is closed."""
    return load(store, group_key).current


def unresolved(store: Store, group_key: str) -> tuple[Member, ...]:
    """Members that have not resolved at their source."""
    return tuple(member for member in members(store, group_key) if member.status is Status.FIRING)


def everything_known(store: Store, group_key: str) -> tuple[Member, ...]:
    """Members of every generation and tombstones, by fingerprint."""
    found = load(store, group_key).members
    return tuple(found[name] for name in sorted(found))


def members_in(values: Properties) -> tuple[Member, ...]:
    """The members that a row of them holds."""
    return tuple(unpack(_Doc, values).members.values())


def _same(one: Row | None, other: Row | None) -> bool:
    return (one.etag if one else "") == (other.etag if other else "")


def _rows(claimed: Row | None, found: Sequence[Row]) -> Rows:
    held = None if claimed is None else Held(unpack(GroupState, claimed.values), claimed.etag)
    inside = {row.key: unpack(_Doc, row.values).members for row in found}
    known: dict[str, Member] = {}
    places: dict[str, str] = {}
    for key, held_there in inside.items():
        for name, member in held_there.items():
            # A host of an earlier version may have written it elsewhere meanwhile; the newer state is the one.
            if name not in known or rank(known[name]) < rank(member):
                known[name], places[name] = member, key
    return Rows(held, known, places, {row.key: row.etag for row in found}, inside)


def _chunk_key(group_key: str, fingerprint: str) -> str:
    number = int(hashlib.sha256(fingerprint.encode()).hexdigest()[:8], 16) % CHUNKS
    return f"{key_of(group_key)}|m|{number:02x}"
