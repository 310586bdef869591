"""Rows of `payloads`: raw bodies kept for people and replay.

In: bodies as they arrived, secrets redacted. Out: references that fit into events (rule M5).
"""

from __future__ import annotations

import gzip
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import cast

from shared.ports.store import Operation, Store, Table, Upsert
from shared.records.redaction import redact
from shared.records.rows import key_of, number, shard
from shared.records.together import write_together

CHUNK_BYTES = 60 * 1024  # a property takes 64 KiB
SHARDS = 4
LEVEL = 1  # a third of the time of the default, and a tenth more bytes
MAX_TOGETHER = 100  # operations in one transaction (shared.ports.store)
MAX_BYTES_TOGETHER = 2 * 1024 * 1024  # of the 4 MiB a table service takes, as base64 and with the rest around it


@dataclass(frozen=True, slots=True)
class Body:
    """A body to keep, and the reference it will be found by."""

    reference: str
    raw: bytes


def address(receipt: str, now: datetime, turn: int | None = None) -> str:
    """The reference of a body that is kept at ``now``.

    Args:
        turn: bodies of one turn share a partition, so that one transaction keeps them; left out, the receipt decides.
    """
    number = shard(receipt, SHARDS) if turn is None else f"{turn % SHARDS:02x}"
    return f"{now:%Y%m%d}-{number}/{key_of(receipt)}"


def put(store: Store, receipt: str, body: bytes, now: datetime, raw: bool = True) -> str:
    """Keep a body.

    Args:
        receipt: id of the delivery; the same one overwrites itself.
        raw: it came from outside, so what looks like a secret is redacted; our own events are kept as they are.

    Returns:
        A reference for `get`.
    """
    reference = address(receipt, now)
    partition = reference.partition("/")[0]
    for operation in _chunks(reference, redact(body) if raw else body, now):  # each may fill most of a transaction
        store.write(Table.PAYLOADS, partition, operation)
    return reference


def put_all(store: Store, bodies: Iterable[Body], now: datetime) -> None:
    """Keep bodies from outside, with as few transactions as their partitions and sizes allow."""
    partitions: dict[str, dict[str, Upsert]] = {}
    for body in bodies:
        rows = partitions.setdefault(body.reference.partition("/")[0], {})
        for operation in _chunks(body.reference, redact(body.raw), now):
            rows[operation.key] = operation  # the same delivery twice is one
    for partition, rows in partitions.items():
        together: list[Operation] = []
        size = 0
        for operation in rows.values():
            weight = len(cast(bytes, operation.values["data"]))
            if together and (len(together) == MAX_TOGETHER or size + weight > MAX_BYTES_TOGETHER):
                write_together(store, Table.PAYLOADS, partition, together)
                together, size = [], 0
            together.append(operation)
            size += weight
        write_together(store, Table.PAYLOADS, partition, together)


def _chunks(reference: str, body: bytes, now: datetime) -> Iterator[Upsert]:
    key = reference.partition("/")[2]
    packed = gzip.compress(body, LEVEL, mtime=0)
    pieces = [packed[i : i + CHUNK_BYTES] for i in range(0, len(packed), CHUNK_BYTES)] or [b""]
    for i, piece in enumerate(pieces):
        yield Upsert(f"{key}|{i:04d}", {"data": piece, "chunks": len(pieces), "at": now})


def get(store: Store, reference: str) -> bytes | None:
    """The body behind a reference, or ``None`` when it has expired."""
    partition, _, key = reference.partition("/")
    parts: list[bytes] = []
    while True:
        row = store.get(Table.PAYLOADS, partition, f"{key}|{len(parts):04d}")
        data = None if row is None else row.values.get("data")
        if row is None or not isinstance(data, bytes):
            return None
        parts.append(data)
        if len(parts) >= number(row.values, "chunks"):
            return gzip.decompress(b"".join(parts))
