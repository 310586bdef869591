"""The world of `tests/pipeline`, with every execution of a function written down.

In: webhook calls, visits of the approval page, time. Out: entries of a ledger.

The world is used as it is: the product's own micro-agents, dispatch and SQLite store, a bus in memory, Durable's steps
and a virtual clock. So the counts are those of the code, and the same on every machine.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import orjson

from benchmarks.cost.ledger import DURABLE, HTTP, TIMER, BilledStore, Ledger
from benchmarks.load.identities import Identity, azure
from shared import dispatch
from shared.adapters.registry import Surroundings
from shared.adapters.sources import azure_monitor
from shared.adapters.stores.sqlite import SqliteStore
from shared.dispatch import intake
from shared.model import codec
from shared.model.action import ActionRequest
from shared.model.event import Event
from shared.model.pipeline import Queue
from shared.portal import Portal, Request
from shared.portal.access import CSRF_FIELD, Access
from shared.ports.identity import Person
from shared.ports.waits import Enact, Look
from shared.records import approvals
from shared.wiring import ROOT
from tests.pipeline.broker import Entry
from tests.pipeline.far_sides import Workload
from tests.pipeline.faults import Points
from tests.pipeline.waits import Instance, Waits
from tests.pipeline.world import World, settings

SOURCE = "azure_monitor"
BATCHED = (Queue.SIGNALS, Queue.INCIDENTS)  # their triggers take many messages at once
# As config/prod.example.yaml has them.
PRODUCTION: Mapping[str, Any] = {
    "approvals": {"expires_s": 1800, "poll_s": 60},
    "execution": {"cooldown_s": 600},
    "closing": {"recovery_s": 900, "check_every_s": 60, "stale_s": 300, "settle_s": 60},
    "host": {"function_timeout_s": 120},
}


class Olga:
    """Somebody who is signed in and may approve."""

    person = Person("olga", "Olga", frozenset({"oncall"}), "session-1")

    def who(self, headers: Mapping[str, str], cookies: Mapping[str, str]) -> Person | None:
        """See the port."""
        return self.person


class Fleet(Workload):
    """Workloads, each with a version of its own."""

    def __init__(self, points: Points) -> None:
        super().__init__(points)
        self.versions: dict[str, str] = {}

    def facts(self, target: str) -> Mapping[str, str]:
        """See the port."""
        return {"version": self.versions.get(target, self.version)}

    def run(self, request: ActionRequest) -> str:
        """See the port."""
        with self.points.step("run action"):
            self.runs.append(request.key)
            self.versions[request.target] = request.parameters["to"]
        return "done"


class CountedWaits(Waits):
    """The wait, with each of Durable's executions written down: an episode of the orchestrator, or an activity."""

    def __init__(self, world: CountedWorld) -> None:
        super().__init__(world)
        self._counted = world
        self._cause: int | None = None
        self._begins = False

    def start(self, approval_id: str, after: timedelta = timedelta(0)) -> None:
        """The first episode begins as soon as the hop that asked for it has ended."""
        new = approval_id not in self.instances
        super().start(approval_id, after)
        self._cause = self._counted.ledger.position
        self._begins = self._begins or new

    def wake(self, approval_id: str, decided: bool = False) -> None:
        """The next episode is for a vote."""
        super().wake(approval_id, decided)
        self._cause = self._counted.ledger.position

    def drive(self, name: str, instance: Instance) -> None:
        """One step: what it does is an activity; what follows from it, or a wake-up, is an episode."""
        match instance.step:
            case Look() | Enact() as step:
                what = "look_at_approval" if isinstance(step, Look) else "enact_decision"
                with self._counted.ledger.execution(DURABLE, what, self._counted.now, self._cause):
                    super().drive(name, instance)
                self._cause = self._counted.ledger.position - 1
                self._episode("after the activity")
            case _:
                if not instance.woken:
                    self._cause = None
                super().drive(name, instance)
                self._episode("wakes up")

    def begin(self) -> None:
        """The hop that started a wait has ended: its first episode."""
        if self._begins:
            self._begins = False
            self._episode("begins")

    def _episode(self, what: str) -> None:
        ledger = self._counted.ledger
        with ledger.execution(DURABLE, f"approval_wait: {what}", self._counted.now, self._cause):
            pass
        self._cause = ledger.position - 1


class CountedWorld(World):
    """The world, with each invocation written down."""

    def __init__(self, folder: Path, services: Sequence[str]) -> None:
        self.billed = BilledStore(SqliteStore(folder / "store.db"))
        owners = {name: {"environment": "production", "assignment_group": "shop-team"} for name in services}
        super().__init__(self.billed, settings(**PRODUCTION, services=owners))
        self.ledger = Ledger(self.billed, self.bus.sent)
        self.background = Ledger(self.billed, self.bus.sent)
        self.wait_for_people = CountedWaits(self)
        self.waits, self.fleet = self.wait_for_people, Fleet(self.points)
        near = Surroundings(ROOT, services=self.settings.services)
        source = azure_monitor.ADAPTER.build(SOURCE, azure_monitor.Config(), near)
        ports = replace(
            self.engine.ports, waits=self.waits, sources={SOURCE: source}, actions={"deploy_hook": self.fleet}
        )
        self.engine = replace(self.engine, ports=ports)
        self.portal = Portal(ports, Olga(), None, self._tick)
        self._outside = self.points.step
        self.points.step = self._count_effect  # type: ignore[method-assign]  # the far sides share it, and nobody dies

    @contextmanager
    def _count_effect(self, name: str) -> Iterator[None]:
        inside = ("write", "transact", "send ", "start wait", "wake wait")
        self.ledger.effects += not name.startswith(inside)
        with self._outside(name):
            yield

    def invoke(self, entry: Entry) -> None:
        """One execution of a queue's function, with every message that is there for one that takes many."""
        batch = [entry]
        if entry.queue in BATCHED:
            now = self.now
            batch += [
                one for one in self.bus.entries
                if one.queue is entry.queue and one is not entry and one.visible_at <= now
            ]  # fmt: skip
        event = codec.decode_event(entry.message.body)
        cause = self.ledger.sender(entry.queue, entry.message.message_id)
        with self.ledger.execution(str(entry.queue), _label(event), self.now, cause):
            if len(batch) == 1:
                super().invoke(entry)
            else:
                bodies = [one.message.body for one in batch]
                if entry.queue is Queue.SIGNALS:
                    dispatch.signals(self.engine, bodies)
                else:
                    dispatch.hop_many(self.engine, entry.queue, bodies)
                for one in batch:
                    self.bus.complete(one)
        self.wait_for_people.begin()

    def sweep(self) -> Any:
        """The timer that sweeps; background."""
        with self.background.execution(TIMER, "sweep_pending", self.now, None):
            return super().sweep()

    # What comes in by HTTP

    def webhooks(self, condition: str, alerts: Sequence[Identity]) -> None:
        """Azure Monitor calls, once for each alert at the same moment; the edge keeps them together."""
        calls = []
        for alert in alerts:
            body = azure([alert], self.now)
            body["data"]["essentials"]["monitorCondition"] = condition
            if condition == "Resolved":
                body["data"]["essentials"]["resolvedDateTime"] = self.now.isoformat()
            calls.append(intake.understand(self.engine, SOURCE, orjson.dumps(body), {}, 1))
        label = f"receive_signals: {condition.lower()}"
        with self.ledger.execution(HTTP, label, self.now, None):
            answers = intake.keep(self.engine, calls)
            for answer in answers:
                if answer.received is None or not answer.received.recognised:
                    raise RuntimeError(f"the webhook was not taken in: {answer.error}")
                intake.count(self.engine, answer.repeats)
        for _ in answers[1:]:
            with self.ledger.execution(HTTP, label, self.now, None):
                pass

    def approve(self, approval_id: str) -> None:
        """Somebody opens the approval page, reads, and sends its form."""
        request = approvals.request_of(self.inner, approval_id)
        if request is None:
            raise RuntimeError(f"there is no approval {approval_id}")
        self._page("GET", approval_id, {})
        csrf = Access(self.settings, Olga()).csrf(Olga.person)
        self._page("POST", approval_id, {"choice": "approve", "plan_hash": request.plan_hash, CSRF_FIELD: csrf})

    def _page(self, method: str, approval_id: str, form: Mapping[str, str]) -> None:
        with self.ledger.execution(HTTP, f"portal: approval {method}", self.now, None):
            answer = self.portal.respond(Request(method, f"/approvals/{approval_id}", form=form))
        if answer.status != (200 if method == "GET" else 303):
            raise RuntimeError(f"the approval page answered {answer.status}")


def _label(event: Event) -> str:
    given = json.loads(codec.encode_event(event)).get("data", {})
    detail = getattr(getattr(event.data, "notice", None), "kind", "") or getattr(event.data, "kind", "")
    reason = given.get("reason", "") if not detail and isinstance(given, dict) else ""
    name = event.type.removeprefix("argus.").removesuffix(".v1")
    return f"{name} {detail or reason}".strip()
