"""Messages of many incidents are sent together, and none is completed that the bus did not take."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from shared.dispatch.collected import Collected
from shared.model.errors import PermanentError, Reason
from shared.model.pipeline import Queue
from shared.ports.bus import Message


class Picky:
    """Takes nothing that holds a certain body."""

    def __init__(self) -> None:
        self.sends: list[tuple[Queue, list[str]]] = []

    def send(self, queue: Queue, messages: Sequence[Message]) -> None:
        """See the port."""
        if any(message.body == b"too large" for message in messages):
            raise PermanentError("the message is larger than the bus takes", Reason.TOO_LARGE)
        self.sends.append((queue, [message.message_id for message in messages]))


def test_each_queue_is_one_send_in_order() -> None:
    bus = Picky()
    collected = Collected(bus)
    for name, queue in (("a", Queue.TICKETS), ("b", Queue.NOTIFICATIONS), ("c", Queue.TICKETS)):
        collected.send(queue, (Message(name, b""),))
    assert not bus.sends
    collected.send_all()
    assert bus.sends == [(Queue.TICKETS, ["a", "c"]), (Queue.NOTIFICATIONS, ["b"])]
    collected.send_all()
    assert len(bus.sends) == 2


def test_what_the_bus_never_takes_is_said_after_all_others_are_sent() -> None:
    bus = Picky()
    collected = Collected(bus)
    collected.send(Queue.TICKETS, (Message("a", b""), Message("b", b"too large"), Message("c", b"")))
    collected.send(Queue.NOTIFICATIONS, (Message("d", b""),))
    with pytest.raises(PermanentError, match="larger"):
        collected.send_all()
    assert [name for _, names in bus.sends for name in names] == ["a", "c", "d"]
