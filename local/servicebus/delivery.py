"""A queue's message as a receiver gets it.

In: an entry of a queue, and its lock when it has one. Out: the encoded message with the broker's annotations.
"""

from local.servicebus.entry import Entry, Lock
from local.servicebus.queue import Queue
from local.servicebus.types import Int, Timestamp, Value


def delivered(queue: Queue, entry: Entry, lock: Lock | None = None) -> bytes:
    """Encode one message for a receiver; without a lock it tells nothing about one, as a peek does not."""
    annotations: dict[str, Value] = {
        "x-opt-sequence-number": entry.seq,
        "x-opt-enqueued-time": Timestamp(entry.enqueued_ms),
        "x-opt-enqueue-sequence-number": entry.first_seq,
        "x-opt-message-state": Int(entry.state),
    }
    if lock is not None:
        annotations["x-opt-locked-until"] = Timestamp(lock.until_ms)
    if queue.is_dead_letter:
        annotations["x-opt-deadletter-source"] = queue.policy.name
    return entry.message.deliver(entry.delivery_count, annotations, None if lock is None else lock.token, entry.ttl_ms)
