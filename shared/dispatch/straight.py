"""The signals queue as its trigger hands it over: what one message opens is opened at once while it is quiet.

In: message bodies. Out: what `batch.signals` does, without a message for the one incident it speaks of (rule H7).
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace

from shared.dispatch import batch
from shared.dispatch.engine import Engine
from shared.dispatch.hop import alone
from shared.dispatch.merged import hop_many
from shared.model.errors import ArgusError
from shared.model.pipeline import Queue
from shared.ports.bus import Message

log = logging.getLogger("argus.dispatch")


def signals(engine: Engine, bodies: Sequence[bytes]) -> None:
    """Work off a batch of the signals queue; see `batch.signals`."""
    if len(bodies) == 1:
        alone(engine, lambda own: batch.signals(_with(own, Straight(own)), bodies))
    else:
        batch.signals(engine, bodies)


def _with(engine: Engine, bus: Straight) -> Engine:
    return replace(engine, ports=replace(engine.ports, bus=bus))


class Straight:
    """A bus that works off the one message for the incident creator where it would be sent, and carries all others.

    The router goes on when a message is accepted (rule S5); one that is worked off is more than accepted. Where that
    fails it is sent, and recognised by its id if some of it was done.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def send(self, queue: Queue, messages: Sequence[Message]) -> None:
        """See the port."""
        following = self._engine.following
        alone_and_due = len(messages) == 1 and messages[0].not_before is None
        if queue is Queue.INCIDENTS and alone_and_due and following and following.begins(queue, self._engine.clock()):
            try:
                hop_many(self._engine, queue, [messages[0].body])
            except ArgusError as error:
                log.warning("sent instead of worked off at once: %s", error)
            else:
                return
        self._engine.ports.bus.send(queue, messages)
