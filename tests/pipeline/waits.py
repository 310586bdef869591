"""Durable waits with the virtual clock of a world.

In: starts and wake-ups, time. Out: the solicitor's steps, driven one at a time.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from shared import dispatch
from shared.agents.remediator import solicitor
from shared.model import codec
from shared.model.errors import TransientError
from shared.model.pipeline import Queue
from shared.ports.waits import Enact, Look, Looked, Sleep, Step

if TYPE_CHECKING:
    from tests.pipeline.world import World


@dataclass(eq=False)
class Instance:
    """One durable wait; it outlives every process."""

    steps: Generator[Step, Looked | None, None]
    step: Step | None
    due: datetime
    woken: bool = False
    told: bool = False
    looks: int = 0
    incident_id: str = ""


class Waits:
    """Durable waits with a virtual clock.

    Attributes:
        lossy: wake-ups are lost on their way.
    """

    def __init__(self, world: World) -> None:
        self._world = world
        self.instances: dict[str, Instance] = {}
        self.lossy = False
        self.down = False

    def start(self, approval_id: str, after: timedelta = timedelta(0)) -> None:
        if self.down:
            raise TransientError("durable is down")
        with self._world.points.step("start wait"):
            known = self.instances.get(approval_id)
            if known is None or known.step is None:
                now = self._world.now
                steps = solicitor.wait(now + after if after else None)
                self.instances[approval_id] = Instance(steps, next(steps), now + after)

    def wake(self, approval_id: str, decided: bool = False) -> None:
        with self._world.points.step("wake wait"):
            instance = self.instances.get(approval_id)
            if instance is not None and instance.step is not None and not self.lossy:
                instance.woken, instance.told = True, instance.told or decided

    def cancel(self, approval_id: str, reason: str) -> None:
        self.instances.pop(approval_id, None)

    def due(self) -> Iterator[tuple[str, Instance]]:
        """Instances that have something to do now."""
        for name, instance in list(self.instances.items()):
            if instance.step is not None and (instance.woken or instance.due <= self._world.now):
                yield name, instance

    def drive(self, name: str, instance: Instance) -> None:
        """Do one step of an instance; a crash in an activity repeats that activity."""
        world, answer = self._world, None
        match instance.step:
            case Look():
                poll = timedelta(seconds=world.settings.approvals.poll_s)
                answer = solicitor.look(world.store, name, poll, world.now)
                instance.looks += 1
                instance.incident_id = answer.incident_id
            case Enact():
                event = solicitor.decided_event(name, instance.incident_id, world.now)
                dispatch.hop(world.engine, Queue.DECISIONS, codec.encode_event(event))
            case Sleep():
                instance.woken = False
                answer = Looked(True, world.now) if instance.told else None
        try:
            instance.step = instance.steps.send(answer)
        except StopIteration:
            instance.step = None
            return
        instance.due = max(instance.step.until, world.now) if isinstance(instance.step, Sleep) else world.now

    def next_at(self, awake: bool = False) -> datetime | None:
        """When the next instance has something to do; ``awake`` leaves out those that sleep."""
        steps = [i for i in self.instances.values() if i.step is not None]
        return min((i.due for i in steps if not (awake and isinstance(i.step, Sleep))), default=None)
