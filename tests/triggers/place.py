"""An edge with the router's work between its calls.

In: a store, a bus. Out: answers, and what was sent and counted.
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from typing import Any, cast

import pytest

from functions import edge
from shared import dispatch
from shared.adapters.stores.sqlite import SqliteStore
from shared.dispatch.coalescing import Together
from shared.model.pipeline import Queue
from shared.ports.store import Store
from shared.records import counters, groups
from tests import fakes
from tests.triggers.app import KEYS, Answer, Desk, ask, load

KEY = {"x-functions-key": KEYS["default"]}
BEGAN = "2026-11-20T02:00:00Z"


def body(*names: str, began: str = BEGAN, status: str = "firing", severity: str = "critical", pad: int = 0) -> bytes:
    notes = {"description": "x" * pad}
    alerts = [
        {
            "labels": {"alertname": name, "service": "till", "severity": severity},
            "annotations": notes,
            "startsAt": began,
            "endsAt": "2026-11-20T02:30:00Z" if status == "resolved" else "0001-01-01T00:00:00Z",
            "status": status,
        }
        for name in names
    ]
    return json.dumps({"version": "4", "status": status, "alerts": alerts}).encode()


@dataclass
class Counted:
    """A store that counts its calls."""

    inner: Store
    calls: int = 0

    def __getattr__(self, name: str) -> Any:
        self.calls += 1
        return getattr(self.inner, name)


class Place:
    """An edge, and the router's work between the calls."""

    def __init__(self, store: SqliteStore, monkeypatch: pytest.MonkeyPatch, bus: fakes.FakeBus | None = None) -> None:
        self.counted_store = Counted(store)
        self.store = cast(Store, self.counted_store)
        self.desk = Desk(self.store, bus or fakes.FakeBus())
        self.engine = self.desk.app.engine
        self.bus = self.desk.bus
        self.edges = load(monkeypatch, self.desk.app, "edge")
        monkeypatch.setattr(edge, "TOGETHER", Together(edge.INTAKE))
        self.routed = 0

    def post(self, *bodies: bytes, source: str = "alertmanager") -> list[Answer]:
        """All at once."""

        async def all_of_them() -> list[Answer]:
            calls = (ask(self.edges["receive_signals"], body=each, headers=KEY, source=source) for each in bodies)
            return await asyncio.gather(*calls)

        return asyncio.run(all_of_them())

    @property
    def sent(self) -> list[Any]:
        """Messages for the router so far."""
        return self.bus.sent[Queue.SIGNALS]

    def work(self) -> None:
        """Route what has been sent, and open the claims."""
        new, self.routed = self.sent[self.routed :], len(self.sent)
        dispatch.signals(self.engine, [message.body for message in new])
        for key in {group for message in new for group in self.groups()}:
            state = groups.state_of(self.store, key)
            if state is not None:
                groups.turn_open(self.store, key, state.generation)

    def groups(self) -> list[str]:
        """Group keys of the alerts that these tests send."""
        return ["service=till|environment="]

    def open(self, *names: str) -> None:
        """Their incident is open, and everybody knows them."""
        self.post(body(*names))
        self.work()

    def counted(self) -> int:
        """Repeats in the store."""
        self.engine.memory.flush(self.store, self.desk.clock(), force=True)
        return sum(counters.read(self.store, key).count for key in self.groups())
