"""Rule D2 where Durable changes its mind between two calls, and where clocks disagree about how long a sleep is."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from shared.adapters.waits.durable import DurableWaits
from shared.model.errors import TransientError
from tests.agents.remediator.test_durable import T0, Client, Context, flow, looked, loop

__all__ = ["loop"]


class Changing(Client):
    """Refuses one call because the instance has become something else meanwhile."""

    becomes: str | None = None

    def _change(self, instance_id: str) -> None:
        self.instances.pop(instance_id, None)
        if self.becomes is not None:
            self.instances[instance_id] = self.becomes
        raise Exception("refused")

    async def start_new(self, name: str, instance_id: str, given: object) -> str:
        self._change(instance_id)
        return instance_id

    async def raise_event(self, instance_id: str, name: str, data: object) -> None:
        self._change(instance_id)


class Resuming(Client):
    """Knows suspended instances."""

    async def resume(self, instance_id: str, reason: str) -> None:
        self.instances[instance_id] = "Running"


@pytest.mark.parametrize("becomes", ["Running", "Pending", "Suspended"])
def test_D2_a_start_that_somebody_else_was_faster_with_is_no_error(
    loop: asyncio.AbstractEventLoop, becomes: str
) -> None:
    client = Changing()
    client.becomes = becomes
    DurableWaits(client, loop).start("a1")
    assert client.instances == {"a1": becomes}


def test_D2_a_start_that_was_refused_and_left_nothing_is_tried_again(loop: asyncio.AbstractEventLoop) -> None:
    with pytest.raises(TransientError):
        DurableWaits(Changing(), loop).start("a1")


@pytest.mark.parametrize("becomes", ["Completed", "Failed", None])
def test_D2_a_wait_that_ends_while_it_is_woken_is_no_error(
    loop: asyncio.AbstractEventLoop, becomes: str | None
) -> None:
    client = Changing({"a1": "Running"})
    client.becomes = becomes
    DurableWaits(client, loop).wake("a1")


def test_D2_a_wait_that_lives_and_was_not_woken_is_tried_again(loop: asyncio.AbstractEventLoop) -> None:
    client = Changing({"a1": "Running"})
    client.becomes = "Running"
    with pytest.raises(TransientError):
        DurableWaits(client, loop).wake("a1")


def test_D2_a_suspended_wait_is_resumed_when_it_is_woken_and_left_alone_when_started(
    loop: asyncio.AbstractEventLoop,
) -> None:
    client = Resuming({"a1": "Suspended"})
    DurableWaits(client, loop).start("a1")
    assert client.instances == {"a1": "Suspended"}
    DurableWaits(client, loop).wake("a1")
    assert (client.instances, client.raised) == ({"a1": "Running"}, ["a1"])


@pytest.mark.parametrize("hours", [-3, 3], ids=["looks-by-a-clock-behind", "looks-by-a-clock-ahead"])
def test_D2_a_sleep_is_as_long_as_was_said_whatever_the_clocks_say(hours: int) -> None:
    steps = flow(Context())
    next(steps)
    seen: dict[str, Any] = {**looked(False, T0 + timedelta(hours=hours, seconds=60)), "wait_s": 60.0}
    waiting = steps.send(seen)
    assert waiting[1].name == "timer 12:01:00"
