"""What the stack knows and a lease would have to wait for: the hosts that ran before it are dead.

In: the lock that every host holds while it lives, and the store. Out: the leases of the dead, ended, so that what they
were in the middle of goes on at once. It is still taken over as rule H2 says: the far side is asked first.
"""

from __future__ import annotations

import fcntl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from shared.ports.store import Store
from shared.records import incidents
from shared.records.rows import text

POLL_S = 0.05


class LifeLine:
    """A lock that processes inherit, so that the kernel says when the last one is gone, however it ended."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def all_gone(self, within_s: float) -> bool:
        """Whether nobody holds a share any more; waits for one who is about to end."""
        deadline = time.monotonic() + within_s
        with self._path.open("a") as file:
            while True:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except OSError:
                    if time.monotonic() >= deadline:
                        return False
                    time.sleep(POLL_S)
                else:
                    return True

    @contextmanager
    def share(self) -> Iterator[tuple[int, ...]]:
        """A descriptor for a process about to be started; what inherits it holds the lock until it ends."""
        with self._path.open("a") as file:
            fcntl.flock(file, fcntl.LOCK_SH)
            yield (file.fileno(),)


def end_leases(store: Store) -> int:
    """End the leases of invocations that died with their host.

    Without this the message of such an invocation would wait for the function time-out and a minute, in the middle of
    an approved action too. Call it only when every host of this store is gone.

    Returns:
        How many there were.
    """
    ended, now = 0, datetime.now(UTC)
    for incident_id, _, _, _ in incidents.pending(store):
        for row in list(incidents.rows(store, incident_id, incidents.INTENT)):
            event_id = row.key.removeprefix(incidents.INTENT)
            intent = incidents.intent_of(store, incident_id, event_id)
            if intent is None or intent.state != "started" or intent.lease_until <= now:
                continue
            owner = text(row.values, "owner")
            incidents.write_intent(store, incident_id, event_id, owner, now, "unknown", intent.etag)
            ended += 1
    return ended
