"""A journal in memory, and messages to put into queues."""

from local.servicebus.encode import described_list, encode, encode_map_raw, section
from local.servicebus.entry import Entry, QueuePolicy
from local.servicebus.queue import Queue
from local.servicebus.sections import Message, parse_message
from local.servicebus.types import Symbol, Timestamp, UInt, Value


class FakeJournal:
    """Keeps what a store would keep, and can be read back."""

    def __init__(self) -> None:
        self.entries: dict[int, Entry] = {}
        self.ids: dict[bytes, tuple[int, int]] = {}
        self.last = 0

    def put(self, queue: str, entry: Entry) -> None:
        kept = Entry(entry.seq, entry.first_seq, parse_message(entry.message.encode()), entry.enqueued_ms, entry.ttl_ms)
        kept.delivery_count, kept.due_ms, kept.dead = entry.delivery_count, entry.due_ms, entry.dead
        kept.deferred = entry.deferred
        self.entries[entry.seq] = kept

    def drop(self, queue: str, seq: int) -> None:
        del self.entries[seq]

    def read(self, queue: str, seq: int) -> Message:
        return self.entries[seq].message

    def remember(self, queue: str, key: bytes, seq: int, until_ms: int) -> None:
        self.ids[key] = (seq, until_ms)

    def forget(self, queue: str, key: bytes) -> None:
        del self.ids[key]

    def sequence(self, queue: str, last: int) -> None:
        assert last > self.last
        self.last = last


def policy(**changes: object) -> QueuePolicy:
    values: dict[str, object] = {
        "name": "q",
        "lock_ms": 1000,
        "max_delivery_count": 3,
        "default_ttl_ms": None,
        "dead_letter_on_expiration": False,
        "dedup_window_ms": 5000,
    }
    return QueuePolicy(**{**values, **changes})  # type: ignore[arg-type]


def new_queue(**changes: object) -> tuple[Queue, FakeJournal]:
    journal = FakeJournal()
    return Queue(policy(**changes), journal), journal


def raw_message(
    body: bytes = b"body", *, message_id: Value = None, ttl_ms: int | None = None, due_ms: int | None = None
) -> bytes:
    """One encoded message."""
    parts = [] if ttl_ms is None else [described_list(0x70, [None, None, UInt(ttl_ms)])]
    if due_ms is not None:
        items = encode(Symbol("x-opt-scheduled-enqueue-time")) + encode(Timestamp(due_ms))
        parts.append(section(0x72, encode_map_raw(2, items)))
    if message_id is not None:
        parts.append(described_list(0x73, [message_id]))
    return b"".join([*parts, section(0x75, encode(body))])


def message(
    body: bytes = b"body", *, message_id: Value = None, ttl_ms: int | None = None, due_ms: int | None = None
) -> Message:
    return parse_message(raw_message(body, message_id=message_id, ttl_ms=ttl_ms, due_ms=due_ms))
