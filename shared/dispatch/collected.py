"""What many incidents of one batch have to say goes to the bus together.

In: messages, one after the other. Out: one send for each queue. A send costs a round trip, whatever it carries; two
hundred incidents that begin at once would wait for as many.
"""

from __future__ import annotations

from collections.abc import Sequence

from shared.model.errors import PermanentError
from shared.model.pipeline import Queue
from shared.ports.bus import Bus, Message


class Collected:
    """A `Bus` that keeps messages until they are sent together.

    What is committed before it is sent is made good by the sweep (rule H7), so a crash in between loses nothing. But
    nothing may be completed before `send_all` has returned: a retry is in no outbox.
    """

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._kept: dict[Queue, list[Message]] = {}

    def send(self, queue: Queue, messages: Sequence[Message]) -> None:
        """Keep messages."""
        self._kept.setdefault(queue, []).extend(messages)

    def send_all(self) -> None:
        """Send what is kept.

        Raises:
            TransientError: the bus cannot be reached; what could not be sent is kept.
            PermanentError: the bus takes one of them never; all others are sent.
        """
        refused: PermanentError | None = None
        for queue in list(self._kept):
            try:
                self._bus.send(queue, self._kept[queue])
            except PermanentError:  # one of them; the others must not suffer
                for message in self._kept[queue]:
                    try:
                        self._bus.send(queue, (message,))
                    except PermanentError as error:
                        refused = error
            del self._kept[queue]
        if refused is not None:
            raise refused
