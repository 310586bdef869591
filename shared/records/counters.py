"""Rows of `counters`: how often alerts of a group repeated, and when last; written seldom, summed by readers (rule S6).

In: what one process has counted since it started. Out: the sum over all processes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from shared.ports.store import Conflict, Delete, Operation, Properties, Store, Table, Upsert
from shared.records.rows import moment, pack, shard, unpack
from shared.records.together import write_together

SHARDS = 16
CHUNKS = 16
MAX_ROW_ENTRIES = 400  # with group keys of 500 characters at most, a row stays below 440 KB
MAX_ENTRIES_TOGETHER = 2_000  # and a transaction below 2.2 MB, of the 4 MB a table service takes


@dataclass(frozen=True, slots=True)
class Repeats:
    """Repeats of a group.

    Attributes:
        last_seen: when the last one arrived here; ``None`` when there was none.
        last_at: the newest source time among them.
    """

    count: int = 0
    last_seen: datetime | None = None
    last_at: datetime | None = None

    def plus(self, other: Repeats) -> Repeats:
        """Both together."""
        return Repeats(
            self.count + other.count,
            max(filter(None, (self.last_seen, other.last_seen)), default=None),
            max(filter(None, (self.last_at, other.last_at)), default=None),
        )


@dataclass(frozen=True, slots=True)
class _Doc:
    groups: Mapping[str, Repeats]


def address(group_key: str) -> tuple[str, str]:
    """Partition and chunk in which every process counts this group."""
    return shard(group_key, SHARDS), shard(f"chunk {group_key}", CHUNKS)


def entry(group_key: str, generation: int) -> str:
    """Name of the count of one generation."""
    return f"{generation}|{group_key}"


def read(store: Store, group_key: str, generation: int | None = None) -> Repeats:
    """Repeats of a group over all processes.

    Args:
        generation: only while this one was open; ``None`` for all.
    """
    partition, chunk = address(group_key)
    total = Repeats()
    start: str | None = f"{chunk}|"
    while start is not None:
        page = store.query(Table.COUNTERS, partition, start, f"{chunk}}}")
        for row in page.rows:
            for name, repeats in unpack(_Doc, row.values).groups.items():
                number, _, key = name.partition("|")
                if key == group_key and generation in (None, int(number)):
                    total = total.plus(repeats)
        start = page.next_key
    return total


def counted(values: Properties) -> tuple[tuple[str, int], ...]:
    """Groups and generations that a row has counts of."""
    parts = (name.partition("|") for name in unpack(_Doc, values).groups)
    return tuple((key, int(generation)) for generation, _, key in parts)


def write_chunks(
    store: Store, instance: str, chunks: Mapping[tuple[str, str], Mapping[str, Repeats]], now: datetime
) -> None:
    """Write all counts one process has in some chunks of one partition; it alone writes these rows.

    Args:
        instance: unique for the process.
        chunks: by partition and chunk of `address`, counts since the process started, by `entry`; of a chunk the
            longest silent are left out when they do not fit.
    """
    held: list[Operation] = []
    size = 0
    for (partition, chunk), counted in sorted(chunks.items()):
        newest = counted
        if len(counted) > MAX_ROW_ENTRIES:
            last = sorted(counted.items(), key=lambda item: item[1].last_seen or now, reverse=True)
            newest = dict(last[:MAX_ROW_ENTRIES])
        if held and size + len(newest) > MAX_ENTRIES_TOGETHER:
            write_together(store, Table.COUNTERS, partition, held)
            held, size = [], 0
        held.append(Upsert(f"{chunk}|{instance}", pack(_Doc(newest), written_at=now)))
        size += len(newest)
    if held:
        write_together(store, Table.COUNTERS, partition, held)


def write(store: Store, instance: str, where: tuple[str, str], groups: Mapping[str, Repeats], now: datetime) -> None:
    """Write all counts one process has in one chunk; see `write_chunks`."""
    write_chunks(store, instance, {where: groups}, now)


def purge(store: Store, before: datetime) -> int:
    """Delete rows that no process has written since ``before``.

    Returns:
        How many went.
    """
    gone = 0
    for number in range(SHARDS):
        partition, start = f"{number:02x}", ""
        while True:
            page = store.query(Table.COUNTERS, partition, start)
            for row in page.rows:
                if (moment(row.values, "written_at") or before) < before:
                    try:
                        store.write(Table.COUNTERS, partition, Delete(row.key, row.etag))
                    except Conflict:
                        continue  # its process lives after all
                    gone += 1
            if page.next_key is None:
                break
            start = page.next_key
    return gone
