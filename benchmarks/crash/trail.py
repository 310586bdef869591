"""What the hosts took, settled and ran, read from the lines they note while they live.

In: log files that grow. Out: messages in flight at a death, and whether they have been worked off since.
"""

from __future__ import annotations

import json
import threading
from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from benchmarks.crash.host import SETTLED, TOOK
from benchmarks.crash.points import log_file
from benchmarks.crash.queues import Queues
from benchmarks.crash.watched import RAN
from shared.model.errors import TransientError
from shared.model.pipeline import Queue
from shared.ports.store import Store, Table
from shared.records import incidents

REMEMBERED = 1000
AROUND_S = 0.1  # clocks are the same, but a line is written a moment after what it tells


@dataclass(frozen=True, slots=True)
class Message:
    """A message that a host took.

    Attributes:
        id: of its event; ``message_id`` has the attempt as well.
    """

    id: str
    message_id: str
    incident: str
    queue: str


class Trail:
    """Reads the logs of all hosts; may be used by several threads.

    Args:
        folder: where the hosts note.
    """

    def __init__(self, folder: Path, hosts: tuple[str, ...], queues: Queues) -> None:
        self._queues = queues
        self._files = {log_file(folder, name): 0 for name in hosts}
        self._open: dict[int, dict[str, tuple[Message, float]]] = {}
        self._past: deque[tuple[int, Message, float, float]] = deque(maxlen=REMEMBERED)
        self._lock = threading.Lock()
        self._ran: Counter[str] = Counter()

    def in_flight(self, at: float, living: set[int]) -> tuple[Message, ...]:
        """Messages that a process had taken and not settled at a moment.

        Args:
            at: seconds of the epoch.
            living: processes that count; what an earlier life took has come back since, or will.
        """
        with self._lock:
            self._read()
            held = [(message, taken) for pid in living for message, taken in self._open.get(pid, {}).values()]
            ended = (entry for entry in self._past if entry[0] in living and entry[3] >= at - AROUND_S)
            held += [(message, taken) for _, message, taken, _ in ended]
        return tuple(dict.fromkeys(message for message, taken in held if taken <= at + AROUND_S))

    def executed(self) -> Counter[str]:
        """How often each action was carried out, by its key."""
        with self._lock:
            self._read()
            return Counter(self._ran)

    def worked_off(self, message: Message, store: Store) -> bool:
        """Whether a message is off its queue and, where it is about an incident, its hop has committed."""
        if self._queues.hold(message.queue, message.message_id):
            return False
        if message.queue == Queue.SIGNALS or not message.incident:
            return True
        try:
            return store.get(Table.INCIDENTS, message.incident, incidents.INBOX + message.id) is not None
        except TransientError:
            return False  # busy; it is asked again

    def _read(self) -> None:
        for file, read in self._files.items():
            if not file.exists():
                continue
            with file.open("rb") as log:
                log.seek(read)
                for line in log:
                    if not line.endswith(b"\n"):
                        break
                    read += len(line)
                    self._take(json.loads(line))
            self._files[file] = read

    def _take(self, line: Mapping[str, object]) -> None:
        what, pid, at = line["what"], int(str(line["pid"])), float(str(line["at"]))
        if what == RAN:
            self._ran[str(line["key"])] += 1
            return
        identity = str(line["message"])
        held = self._open.setdefault(pid, {})
        if what == TOOK:
            event = identity.rpartition(".")[0]
            held[identity] = Message(event, identity, str(line["incident"]), str(line["queue"])), at
        elif what == SETTLED and identity in held:
            self._past.append((pid, *held.pop(identity), at))
