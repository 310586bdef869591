"""What the tests of the sentinel's rules share: alerts, an incident's view of them, and a process that dies.

In: a short story of alerts. Out: what groups know and incidents heard afterwards.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from shared.adapters.stores.sqlite import SqliteStore
from shared.agents.sentinel import alert_router
from shared.agents.sentinel.alert_router import FoldMemory, Routed
from shared.model.alert import Alert
from shared.model.event import GroupChanged, GroupChangeKind
from shared.model.pipeline import Queue
from shared.model.signal import Severity, Status
from shared.ports import Ports
from shared.ports.bus import Message
from shared.records import groups
from tests import fakes

T0 = datetime(2026, 11, 21, 3, 0, tzinfo=UTC)
KEY = "service=shop|environment=production"


def at(seconds: float) -> datetime:
    return T0 + timedelta(seconds=seconds)


def alert(
    name: str, seconds: float, began: float, status: Status = Status.FIRING, severity: Severity = Severity.SEV2
) -> Alert:
    return Alert(
        fingerprint=f"fp-{name}",
        name=name,
        service="shop",
        environment="production",
        severity=severity,
        status=status,
        at=at(seconds),
        starts_at=at(began),
        source="azure_monitor",
        signal_id=f"{name} {status} {seconds}",
    )


def fires(name: str, seconds: float, began: float | None = None, severity: Severity = Severity.SEV2) -> Alert:
    return alert(name, seconds, seconds if began is None else began, severity=severity)


def resolves(name: str, seconds: float, began: float) -> Alert:
    return alert(name, seconds, began, Status.RESOLVED)


def changes(bus: fakes.FakeBus) -> list[GroupChanged]:
    return [event.data for event in bus.delivered(Queue.INCIDENTS) if isinstance(event.data, GroupChanged)]


def openings(bus: fakes.FakeBus) -> dict[int, set[str]]:
    """Ids of creation events, by generation."""
    found: dict[int, set[str]] = {}
    for event in bus.events(Queue.INCIDENTS):
        if isinstance(event.data, GroupChanged) and event.data.kind is GroupChangeKind.OPEN:
            found.setdefault(event.data.generation, set()).add(event.id)
    return found


def states(store: SqliteStore) -> dict[str, tuple[str, datetime, str]]:
    """What is known of each alert; the moment of a firing is its beginning, whichever of its repeats came first."""
    return {
        m.name: (m.status.value, m.at if m.status is Status.RESOLVED else m.starts_at, m.severity.value)
        for m in groups.everything_known(store, KEY)
    }


def assert_incidents_heard_the_truth(store: SqliteStore, bus: fakes.FakeBus) -> None:
    """The newest state each incident was sent is the state the group knows, so nobody waits for a lost resolve."""
    heard: dict[tuple[int, str], Alert] = {}
    for change in changes(bus):
        place = change.generation, change.alert.fingerprint
        if place not in heard or groups.rank(heard[place]) <= groups.rank(change.alert):
            heard[place] = change.alert
    known = {m.fingerprint: m for m in groups.everything_known(store, KEY)}
    group = groups.state_of(store, KEY)
    for (generation, fingerprint), newest in heard.items():
        if group is not None and generation == group.generation:
            assert known[fingerprint].generation == generation
            assert known[fingerprint].status is newest.status
    for member in known.values():
        assert member.generation == 0 or (member.generation, member.fingerprint) in heard


class Killed(BaseException):
    """The process dies here; nothing catches it."""


class Mortal:
    """Store and bus of a process that dies at one of its outside calls, before or after it took effect."""

    def __init__(self, rows: SqliteStore, bus: fakes.FakeBus, dies_at: int, after: bool) -> None:
        self.rows, self.bus, self.dies_at, self.after = rows, bus, dies_at, after
        self.calls = 0

    def _do(self, call: Callable[[], Any]) -> Any:
        self.calls += 1
        dies = self.calls == self.dies_at
        if dies and not self.after:
            raise Killed
        answer = call()
        if dies:
            raise Killed
        return answer

    def get(self, *what: Any) -> Any:
        return self._do(lambda: self.rows.get(*what))

    def write(self, *what: Any) -> Any:
        return self._do(lambda: self.rows.write(*what))

    def query(self, *what: Any, **more: Any) -> Any:
        return self._do(lambda: self.rows.query(*what, **more))

    def send(self, queue: Queue, messages: Sequence[Message]) -> None:
        self._do(lambda: self.bus.send(queue, messages))


def deliver(alerts: Sequence[Alert], ports: Ports, memory: FoldMemory | None = None) -> list[Routed]:
    memory = memory or FoldMemory("test")
    return [alert_router.route(one, ports, at(100 + number), memory) for number, one in enumerate(alerts)]
