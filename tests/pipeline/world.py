"""The whole product in one process: real store, real micro-agents, a bus in memory, people and a clock a test moves.

In: signals, votes, time, and points to die at. Out: what is in the store and in the outside afterwards.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any

from shared import dispatch
from shared.adapters.knowledge.library import FolderLibrary
from shared.agents import sweep
from shared.agents.sentinel.alert_router import FoldMemory
from shared.config.schema import Settings
from shared.dispatch.at_once import AtOnce
from shared.dispatch.brake_state import BrakeState
from shared.dispatch.recent import Recent
from shared.model import codec
from shared.model.approval import ApprovalRequest, Choice, Vote
from shared.model.audit import TimelineEntry
from shared.model.errors import PermanentError, TransientError
from shared.model.event import Event, Payload, SignalsReceived, VoteCast, derive_id
from shared.model.incident import Incident
from shared.model.pipeline import DESTINATION, Queue
from shared.model.runbook import Runbook
from shared.model.signal import Severity, Signal, SignalKind, Status
from shared.ports.anchor import Head
from shared.ports.bus import Message
from shared.ports.store import Store, Table
from shared.records import approvals, audit_chain, incidents
from shared.records.index import Shown
from shared.wiring import ROOT, WORKERS
from tests import fakes
from tests.agents import cases
from tests.pipeline.broker import Broker, Entry
from tests.pipeline.far_sides import Chat, Desk, Wiki, Workload
from tests.pipeline.faults import Crash, FragileStore, Points
from tests.pipeline.waits import Waits

START = cases.T0
SWEEP_EVERY = timedelta(minutes=1)
HOP_TAKES = timedelta(milliseconds=5)
GROUP = "service=shop|environment=production"


@lru_cache(maxsize=1)
def runbooks() -> tuple[Runbook, ...]:
    """The product's own runbooks, read once."""
    return FolderLibrary([ROOT / "runbooks"]).runbooks()


def settings(**sections: Any) -> Settings:
    """Settings with one channel, one ticket system, one destination and one action."""
    defaults: dict[str, Any] = {
        "channels": {"chat": {}},
        "notify": {"channels": ["chat"]},
        "ticketing": {"desk": {}},
        "destinations": {"wiki": {}},
        "knowledge": {"publish_to": ["wiki"]},
        "host": {"function_timeout_s": 60},
        "approvals": {"expires_s": 3 * 86_400, "poll_s": 60},
        "execution": {"lease_s": 130, "cooldown_s": 30},
        "closing": {"recovery_s": 60, "check_every_s": 15, "stale_s": 120},
    }
    return fakes.settings(**{**defaults, **sections})


class Unkept(AtOnce):
    """Leaves to the bus what a test wants to see there."""

    def __init__(self, bus: Broker, most: int) -> None:
        super().__init__(most)
        self._bus = bus

    def rests(self, queue: Queue, now: datetime) -> bool:
        return queue in self._bus.kept or super().rests(queue, now)


class Anchor:
    """Heads in memory."""

    def __init__(self) -> None:
        self.heads: list[Head] = []

    def add(self, heads: Any) -> None:
        self.heads += heads

    def latest(self) -> dict[str, Head]:
        return {head.chain: head for head in sorted(self.heads, key=lambda head: head.number)}


class World:
    """Everything at once.

    Args:
        store: a real one, empty.
        points: where the processes die.
        seed: reorders and doubles deliveries; ``None`` delivers in order, once.
        at_once: as of `AtOnce`; with 0 every event goes through its queue.
    """

    def __init__(
        self, store: Store, chosen: Settings | None = None, points: Points | None = None, seed: int | None = None,
        at_once: int = 4,
    ) -> None:  # fmt: skip
        self.points = points or Points()
        self.clock = [START]
        self.inner = store
        self.store = FragileStore(store, self.points)
        shuffle = None if seed is None else random.Random(seed)
        self.bus = Broker(self.points, self.clock, shuffle, doubled=0.15)
        self.waits, self.anchor = Waits(self), Anchor()
        self.chat, self.desk = Chat(self.points), Desk(self.points)
        self.wiki, self.workload = Wiki(self.points), Workload(self.points)
        self.investigator = fakes.FakeInvestigator(evidence=cases.bad_release())
        self.settings = chosen or settings()
        self.at_once = at_once
        self.crashes: list[str] = []
        self.swept = sweep.Swept()
        self._swept_at = START
        self._first = ""
        self._numbers = itertools.count(1)
        invocations = itertools.count(1)
        ports = fakes.ports(
            self.store,
            self.settings,
            bus=self.bus,
            waits=self.waits,
            investigator=self.investigator,
            library=fakes.FakeLibrary(held=runbooks()),
            channels={"chat": self.chat},
            ticketing={"desk": self.desk},
            destinations={"wiki": self.wiki},
            actions={"deploy_hook": self.workload},
        )
        jitter = random.Random(seed or 0).random
        once = Unkept(self.bus, at_once)
        self.engine = dispatch.Engine(
            ports, WORKERS, self._tick, jitter, lambda: f"invocation-{next(invocations)}", at_once=once
        )

    @property
    def now(self) -> datetime:
        return self.clock[0]

    def _tick(self) -> datetime:
        self.clock[0] += timedelta(milliseconds=1)
        return self.clock[0]

    def configure(self, **sections: Any) -> None:
        """A deployment with other settings; everything else stays."""
        self.settings = self.settings.model_copy(
            update={name: getattr(fakes.settings(**{name: value}), name) for name, value in sections.items()}
        )
        self.engine = replace(self.engine, ports=replace(self.engine.ports, settings=self.settings))

    def send_everything(self) -> None:
        """Every event goes through its queue from here on, as it does in a storm."""
        self.engine = replace(self.engine, at_once=AtOnce(0))

    # What comes from outside

    def signal(self, name: str = "HighErrorRatio", status: Status | None = Status.FIRING, **changes: Any) -> Signal:
        """A signal of a source that has judged; later ones of a name are repeats or resolves of one firing."""
        values: dict[str, Any] = {
            "id": derive_id("test", name, str(next(self._numbers))),
            "source": "azure_monitor",
            "kind": SignalKind.ALERT,
            "name": name,
            "at": self.now,
            "service": "shop",
            "environment": "production",
            "fingerprint": f"fp-{name}",
            "severity": Severity.SEV2,
            "status": status,
            "starts_at": START,
            "summary": f"{name} of the shop",
            **changes,
        }
        return Signal(**values)

    def deliver(self, *signals: Signal) -> None:
        """What the collector puts on the bus; every signal is accepted from here on."""
        cause = derive_id("receipt", *(signal.id for signal in signals))
        self.say(SignalsReceived(signals), "", id=cause)

    def fires(self, name: str = "HighErrorRatio", **changes: Any) -> None:
        self.deliver(self.signal(name, **changes))

    def resolves(self, name: str = "HighErrorRatio", **changes: Any) -> None:
        self.deliver(self.signal(name, Status.RESOLVED, **changes))

    def measures(self, metric: str, value: float, service: str = "shop") -> None:
        """A sample of a poller."""
        sample = {"kind": SignalKind.SAMPLE, "value": value, "service": service, "severity": None, "starts_at": None}
        self.deliver(self.signal(metric, None, **sample))

    def say(self, data: Payload, subject: str, **changes: Any) -> Event:
        """Put an event on its queue from outside, past every point to die at."""
        identity = derive_id("said", str(next(self._numbers)))
        event = replace(Event(identity, "/people/test", subject, self.now, data), **changes)
        message = Message(event.message_id, codec.encode_event(event), subject, not_before=event.not_before)
        self.bus.put(DESTINATION[type(data)], message)
        return event

    def vote(self, user: str = "olga", choice: Choice = Choice.APPROVE, told: bool = True, **changes: Any) -> None:
        """What the approval page does: keep the vote, then send the event."""
        request = self.request()
        ballot = replace(Vote(user, choice, self.now, request.plan_hash), **changes)
        approvals.vote(self.inner, request.id, ballot)
        if told:
            self.say(VoteCast(request.id, ballot), request.incident_id)

    # How time passes

    def settle(self, most: int = 3000) -> None:
        """Deliver and let time pass until nothing is on its way: no message, no outbox row, no wait that was woken."""
        for _ in range(most):
            if self._work_once():
                continue
            known = [at for at in (self.bus.next_at(), self.waits.next_at(awake=True)) if at is not None]
            if not known and not self._outbox_left():
                return
            self._advance(min(known, default=self.now + SWEEP_EVERY))
        raise AssertionError(f"no end after {most} steps; left: {self.bus.entries[:5]}")

    def run_until(self, true: Callable[[], bool], within: timedelta = timedelta(hours=2)) -> None:
        """Let time pass until something is so."""
        end = self.now + within
        while not true():
            assert self.now <= end, f"not within {within}"
            if not self._work_once():
                self._advance(self._next(self.now + SWEEP_EVERY))

    def pass_time(self, length: timedelta) -> None:
        """Let exactly that much time pass, with everything that falls due in it."""
        end = self.now + length
        while True:
            if self._work_once():
                continue
            if self.now >= end:
                return
            self._advance(min(end, self._next(end)))

    def _next(self, at_most: datetime) -> datetime:
        known = (self.bus.next_at(), self.waits.next_at(), self._swept_at + SWEEP_EVERY)
        return min([at_most, *(at for at in known if at is not None and at > self.now)])

    def _advance(self, to: datetime) -> None:
        self.clock[0] = max(self.now, to)
        if self.now - self._swept_at >= SWEEP_EVERY:
            self._swept_at = self.now
            self._alive(lambda: self.sweep())

    def sweep(self) -> sweep.Swept:
        """The timer's own run."""
        self.swept = sweep.run(self.engine.ports, self.anchor, self.now)
        return self.swept

    def _work_once(self) -> bool:
        entry = self.bus.take()
        if entry is not None:
            self.clock[0] += HOP_TAKES
            self._alive(lambda: self.invoke(entry))
            return True
        for name, instance in self.waits.due():
            instance.due = self.now + timedelta(seconds=2)  # an activity that dies is repeated
            self._alive(lambda name=name, instance=instance: self.waits.drive(name, instance))  # type: ignore[misc]
            return True
        return False

    def invoke(self, entry: Entry) -> None:
        """One invocation of a trigger; the message is completed when it returns."""
        try:
            if entry.queue is Queue.SIGNALS:
                dispatch.signals(self.engine, [entry.message.body])
            elif entry.queue is Queue.INCIDENTS:
                dispatch.hop_many(self.engine, entry.queue, [entry.message.body])
            else:
                dispatch.hop(self.engine, entry.queue, entry.message.body)
        except TransientError:
            self.bus.abandon(entry)
            return
        self.bus.complete(entry)

    def _alive(self, work: Callable[[], Any]) -> None:
        """Run in the process of the moment; when it dies, a new one begins that remembers nothing."""
        try:
            work()
        except Crash as crash:
            self.crashes.append(str(crash))
            self.engine = replace(self.engine, memory=FoldMemory(), recent=Recent(), shown=Shown(), brake=BrakeState())
        except (TransientError, PermanentError):
            pass  # a timer or an activity that failed; it comes again

    def _outbox_left(self) -> bool:
        return any(incidents.outbox(self.inner, name) for name, *_ in incidents.pending(self.inner))

    # What there is afterwards

    def ids(self) -> list[str]:
        """Incidents, oldest first."""
        parts = self.inner.partitions(Table.INCIDENTS)
        found = [loaded.incident for part in parts if (loaded := incidents.load(self.inner, part))]
        return [incident.id for incident in sorted(found, key=lambda incident: incident.opened_at)]

    def incident(self, number: int = 0) -> Incident:
        if number == 0 and not self._first:
            self._first = self.ids()[0]
        loaded = incidents.load(self.inner, self._first if number == 0 else self.ids()[number])
        assert loaded is not None
        return loaded.incident

    def request(self) -> ApprovalRequest:
        """What the incident waits for."""
        waiting = self.incident(-1).approval
        request = approvals.request_of(self.inner, waiting.id) if waiting else None
        assert request is not None
        return request

    def timeline(self, number: int = 0) -> list[TimelineEntry]:
        return list(incidents.timeline(self.inner, self.ids()[number]))

    def story(self, number: int = 0) -> list[str]:
        """What the timeline says happened."""
        return [entry.what for entry in self.timeline(number)]

    def rows(self, prefix: str, number: int = 0) -> list[str]:
        return [row.key for row in incidents.rows(self.inner, self.ids()[number], prefix)]

    def sent(self, kind: type[Payload]) -> list[Event]:
        """Events of a type that the bus accepted, in order."""
        return [codec.decode_event(m.body) for q, m in self.bus.sent if q is DESTINATION[kind]
                and codec.decode_event(m.body).type == kind.TYPE]  # fmt: skip

    def audit_problem(self, number: int = 0) -> str:
        incident = self.incident(number)
        entries = incidents.audit(self.inner, incident.id)
        return audit_chain.verify_incident(entries, incident.id, incident.entries, incident.audit_head)
