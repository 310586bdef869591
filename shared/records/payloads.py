"""Rows of `payloads` and `quarantine`: raw bodies kept for people and replay.

In: bodies as they arrived, secrets redacted. Out: references that fit into events (rule M5).
"""

from __future__ import annotations

import gzip
from dataclasses import dataclass
from datetime import datetime, timedelta

from shared.model.errors import Reason
from shared.ports.store import Store, Table, Upsert, Value
from shared.records.redaction import redact
from shared.records.rows import key_of, moment, number, shard, text

CHUNK_BYTES = 60 * 1024  # a property takes 64 KiB
SHARDS = 4
DAYS_LISTED = 7


@dataclass(frozen=True, slots=True)
class Quarantined:
    """Something nobody could work off, kept and shown."""

    id: str
    at: datetime
    origin: str
    reason: str
    message: str
    subject: str
    payload: str


def put(store: Store, receipt: str, body: bytes, now: datetime, raw: bool = True) -> str:
    """Keep a body.

    Args:
        receipt: id of the delivery; the same one overwrites itself.
        raw: it came from outside, so what looks like a secret is redacted; our own events are kept as they are.

    Returns:
        A reference for `get`.
    """
    partition = f"{now:%Y%m%d}-{shard(receipt, SHARDS)}"
    packed = gzip.compress(redact(body) if raw else body, mtime=0)
    chunks = [packed[i : i + CHUNK_BYTES] for i in range(0, len(packed), CHUNK_BYTES)] or [b""]
    for i, chunk in enumerate(chunks):
        store.write(
            Table.PAYLOADS,
            partition,
            Upsert(f"{key_of(receipt)}|{i:04d}", {"data": chunk, "chunks": len(chunks), "at": now}),
        )
    return f"{partition}/{key_of(receipt)}"


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


def strike(store: Store, event_id: str, now: datetime) -> int:
    """Count a failure that nobody foresaw (rule H10).

    Returns:
        How often this event has failed so today, this time included.
    """
    partition, key = f"bugs-{now:%Y%m%d}", key_of(event_id)
    row = store.get(Table.QUARANTINE, partition, key)
    times = 1 if row is None else number(row.values, "times") + 1
    store.write(Table.QUARANTINE, partition, Upsert(key, {"times": times, "at": now}))
    return times


def quarantine(
    store: Store,
    identity: str,
    origin: str,
    reason: Reason,
    message: str,
    subject: str,
    body: bytes,
    now: datetime,
    raw: bool = True,
) -> Quarantined:
    """Keep a body that nobody could work off, with the reason.

    Args:
        identity: what makes it this one; the same one is kept once.
        origin: queue or source it came from.
        raw: see `put`; what is kept as it is can be replayed.
    """
    reference = put(store, f"q-{identity}", body, now, raw)
    entry = Quarantined(key_of(identity), now, origin, reason, message[:2000], subject, reference)
    values: dict[str, Value] = {
        "at": now,
        "origin": origin,
        "reason": str(reason),
        "message": entry.message,
        "subject": subject,
        "payload": reference,
    }
    store.write(Table.QUARANTINE, f"{now:%Y%m%d}", Upsert(entry.id, values))
    return entry


def quarantined(store: Store, now: datetime, limit: int = 100) -> tuple[Quarantined, ...]:
    """What is in quarantine from the last days, newest first."""
    found: list[Quarantined] = []
    for day in range(DAYS_LISTED):
        for row in store.query(Table.QUARANTINE, f"{now - timedelta(days=day):%Y%m%d}").rows:
            at = moment(row.values, "at") or now
            v = row.values
            found.append(
                Quarantined(
                    row.key,
                    at,
                    text(v, "origin"),
                    text(v, "reason"),
                    text(v, "message"),
                    text(v, "subject"),
                    text(v, "payload"),
                )
            )
    return tuple(sorted(found, key=lambda entry: entry.at, reverse=True)[:limit])
