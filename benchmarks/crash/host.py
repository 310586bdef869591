"""The host with points everywhere: ``python -m benchmarks.crash.host`` takes what the host takes.

In: the host's own arguments; the unchanged function_app.py. Out: the host, which can be killed around every write,
send, effect, settling of a message and step of a wait, and which notes what it took and settled.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from functools import wraps
from pathlib import Path
from typing import Any, TypeVar

from pydantic import SecretStr

from benchmarks.crash import watched
from benchmarks.crash.points import AFTER, BEFORE, Points, of_this_process
from local.host import __main__ as host
from local.host.durable.storage import HubStore
from local.host.messages import Received
from local.host.servicebus_source import ServiceBusSource
from shared import dispatch, wiring
from shared.adapters.bus.servicebus import ServiceBusBus
from shared.model.pipeline import Queue

T = TypeVar("T")
TOOK, SETTLED = "took", "settled"
_HUB_WRITES = ("create", "post", "commit")


def watch(points: Points) -> None:
    """Put points around everything the function app will use; called before it is imported."""
    _watch_ports(points)
    _watch_dispatch()
    _watch_settling(points)
    for name in _HUB_WRITES:
        setattr(HubStore, name, _around(points, getattr(HubStore, name), name))


def _watch_ports(points: Points) -> None:
    original = wiring.check

    def check(config: Path, environ: Mapping[str, str]) -> wiring.Checked:
        checked = original(config, environ)
        store, adapters = watched.WatchedStore(checked.store, points), watched.adapters(checked.adapters, points)
        return replace(checked, store=store, adapters=adapters)

    def bus(connection: SecretStr) -> watched.WatchedBus:
        return watched.WatchedBus(ServiceBusBus(connection), points)

    vars(wiring).update(check=check, ServiceBusBus=bus)


def _watch_dispatch() -> None:
    """Triggers call `dispatch.hop` and its like by these names; from here on each says what its thread works on."""
    hop, signals = dispatch.hop, dispatch.signals

    def watched_hop(engine: dispatch.Engine, queue: Queue, body: bytes) -> None:
        with watched.doing(str(queue)):
            hop(engine, queue, body)

    def watched_signals(engine: dispatch.Engine, bodies: Sequence[bytes]) -> None:
        with watched.doing(str(Queue.SIGNALS)):
            signals(engine, bodies)

    vars(dispatch).update(hop=watched_hop, signals=watched_signals)
    for name, what in (("receive", "webhook"), ("poll", "poll"), ("tidy", "sweep")):
        vars(dispatch)[name] = _named(vars(dispatch)[name], what)


def _named(call: Callable[..., T], what: str) -> Callable[..., T]:
    @wraps(call)
    def named(*given: Any, **more: Any) -> T:
        with watched.doing(what):
            return call(*given, **more)

    return named


def _around(points: Points, call: Callable[..., T], name: str) -> Callable[..., T]:
    @wraps(call)
    def around(*given: Any, **more: Any) -> T:
        with points.around("wait", name):
            return call(*given, **more)

    return around


def _watch_settling(points: Points) -> None:
    receive = ServiceBusSource.receive

    async def watched_receive(self: ServiceBusSource, limit: int) -> list[Received]:
        messages = await receive(self, limit)
        for message in messages:
            points.note(TOOK, **_told(self, message))
        return messages

    def settling(settle: Callable[[ServiceBusSource, Received], Awaitable[None]], verb: str) -> Any:
        async def settled(self: ServiceBusSource, message: Received) -> None:
            told = _told(self, message)
            name = f"{verb}.{told['queue']}"
            points.passed("settle", BEFORE, name, told["message"])
            try:
                await settle(self, message)
            finally:
                points.note(SETTLED, **told)  # or lost with its connection: it is not in our hands either way
            points.passed("settle", AFTER, name, told["message"])

        return settled

    replaced = {
        "receive": watched_receive,
        "complete": settling(ServiceBusSource.complete, "complete"),
        "abandon": settling(ServiceBusSource.abandon, "abandon"),
    }
    for name, method in replaced.items():
        setattr(ServiceBusSource, name, method)


def _told(source: ServiceBusSource, message: Received) -> dict[str, str]:
    """What the log says of a message: its id, its incident, its queue."""
    properties = message.properties
    subject, queue = str(properties.get("Subject") or ""), str(source._receiver.entity_path)
    return {"message": str(properties.get("MessageId") or ""), "incident": subject, "queue": queue}


def main() -> int:
    """Run the host."""
    roles = os.environ.get("ARGUS_ROLES", "")
    watch(of_this_process(roles if roles in ("edge", "core", "exec") else "host"))
    return host.main()


if __name__ == "__main__":
    sys.exit(main())
