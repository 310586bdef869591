"""A broker, a store and hosts that run the product's core; what people do, and what came of it.

In: approvals to ask for, votes, kills, clocks. Out: decisions, and the `actions` events that reached the bus.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import secrets
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from azure.servicebus import ServiceBusClient, ServiceBusMessage, ServiceBusSender

from local.servicebus.server import RunningBroker, broker_thread
from local.servicebus.settings import QueueSettings
from shared.adapters.stores.sqlite import SqliteStore
from shared.model import codec
from shared.model.approval import ApprovalRequest, Choice, Decision, Vote
from shared.model.event import ApprovalRequested, Event, Payload, VoteCast, derive_id
from shared.model.lifecycle import State
from shared.model.pipeline import DESTINATION, Queue
from shared.ports.store import Insert, Table
from shared.records import approvals, incidents
from shared.records.rows import pack
from tests.agents import cases
from tests.agents.remediator.test_solicitor import plan, request
from tests.local.host.process import ROOT, HostProcess, until

RPC = "/runtime/webhooks/durabletask/instances"
NEVER = "0 0 0 1 1 *"
CONFIG = """
version: 1
portal: {{base_url: "http://127.0.0.1:7071", session_secret: "{secret}"}}
people: {{olga: {{name: Olga, groups: [oncall]}}, sam: {{name: Sam, groups: [oncall]}}}}
approvals: {{poll_s: {poll_s}}}
policy: {{brake: {{enabled: false, open_approvals: 500}}}}
store: {{kind: sqlite, settings: {{path: "{store}"}}}}
"""

TIMERS = ("POLL", "SWEEP", "DEAD_LETTER", "BRAKE", "WATCH", "ANCHOR", "PURGE")  # a test sweeps when it wants to


class Stage:
    """Everything of one test; see the module.

    Args:
        state: folder for everything.
        broker: runs in this process, and outlives the hosts.
        poll_s: how often a wait reads the store by itself.
    """

    def __init__(self, state: Path, broker: RunningBroker, poll_s: float = 600) -> None:
        self.state, self.broker = state, broker
        self.hub = state / "durable.db"
        self.store = SqliteStore(state / "store.db")
        self._senders: dict[str, ServiceBusSender] = {}
        self._bus = ServiceBusClient.from_connection_string(broker.connection_string)
        self.hosts: list[HostProcess] = []
        self.acted_on = 0
        self._numbers = itertools.count(1)
        self._clock = state / "clock"
        self.set_clock(timedelta())
        config = state / "argus.yaml"
        config.write_text(CONFIG.format(secret=secrets.token_urlsafe(32), poll_s=poll_s, store=state / "store.db"))
        self._environment = {
            "ARGUS_ROLES": "core",  # the executor's queue stays full, to be counted
            "ARGUS_CONFIG": str(config),
            "ARGUS_HEADS": str(state / "heads.jsonl"),
            "ARGUS_TASK_HUB": "argus",
            **{f"ARGUS_{timer}_SCHEDULE": NEVER for timer in TIMERS},
            "ServiceBusConnection": broker.connection_string,
        }

    # Machines

    def start(self, **environment: str) -> HostProcess:
        """A host; a second one shares everything with the first."""
        module = ("tests.local.waits.set_clock_host", str(self._clock))
        host = HostProcess(str(ROOT), self.state, module=module, **{**self._environment, **environment})
        self.hosts.append(host)
        return host

    def kill(self) -> None:
        """kill -9 of the newest host."""
        self.hosts.pop().kill()

    def set_clock(self, ahead: timedelta) -> None:
        """Sets the wall clock of every host, from now on."""
        partial = self._clock.with_suffix(".partial")
        partial.write_text(str(ahead.total_seconds()))
        partial.replace(self._clock)

    def sweep(self) -> None:
        """The conductor's timer, now."""
        answer = self.hosts[-1].http.post("/admin/functions/sweep_pending")
        assert answer.status_code == 202, answer.text

    def close(self) -> None:
        for host in self.hosts:
            host.kill()  # it may; and it takes no two seconds
        for sender in self._senders.values():
            sender.close()
        self._bus.close()
        self.store.close()

    # People

    def ask(self, within: timedelta = timedelta(hours=1), wait: bool = True) -> ApprovalRequest:
        """Ask people about a plan for an incident of its own."""
        asked = self.prepare(within)
        self.begin(asked, wait)
        return asked

    def prepare(self, within: timedelta = timedelta(hours=1)) -> ApprovalRequest:
        """An incident, and what its people will be asked."""
        now, number = datetime.now(UTC), next(self._numbers)
        of = cases.incident(number, state=State.INVESTIGATING, ticket=None, group_key="")
        incidents.mark_pending(self.store, of.id, now)
        self.store.write(Table.INCIDENTS, of.id, Insert(incidents.INCIDENT, pack(of)))
        chosen = plan(incident_id=of.id, proposed_at=now, expires_at=now + timedelta(days=1))
        return request(of=chosen, requested_at=now, deadline=now + within)

    def begin(self, asked: ApprovalRequest, wait: bool = True) -> None:
        """Let the hop come that asks; it starts the wait."""
        self.say(ApprovalRequested(asked), asked.incident_id)
        if wait:
            until(lambda: self.looked(asked.id), 15, "the wait to begin")

    def say(self, data: Payload, incident_id: str, times: int = 1) -> None:
        """Put an event on its queue."""
        now, name = datetime.now(UTC), str(DESTINATION[type(data)])
        events = [
            Event(derive_id("said", os.urandom(8).hex()), "/people/test", incident_id, now, data) for _ in range(times)
        ]
        messages = [ServiceBusMessage(codec.encode_event(one), message_id=one.message_id) for one in events]
        if messages:
            if name not in self._senders:
                self._senders[name] = self._bus.get_queue_sender(name)
            self._senders[name].send_messages(messages)

    def vote(
        self,
        asked: ApprovalRequest,
        user: str = "olga",
        choice: Choice = Choice.APPROVE,
        at: datetime | None = None,
        told: int = 1,
    ) -> None:
        """What the page does: keep the vote, then say so, as often as the bus pleases."""
        ballot = Vote(user, choice, at or datetime.now(UTC), asked.plan_hash)
        approvals.vote(self.store, asked.id, ballot)
        self.say(VoteCast(asked.id, ballot), asked.incident_id, told)

    # What is there

    def instance(self, approval_id: str) -> dict[str, Any]:
        """The durable instance as its host tells it; empty when there is none."""
        answer = self.hosts[-1].http.get(f"{RPC}/{approval_id}?showHistory=true")
        found: dict[str, Any] = {} if answer.status_code == 404 else answer.json()
        return found

    def command(self, approval_id: str, verb: str, method: str = "POST") -> int:
        """What an operator can do to an instance; the status of the answer."""
        body: dict[str, object] | None = {} if verb.startswith("/raiseEvent") else None
        return self.hosts[-1].http.request(method, f"{RPC}/{approval_id}{verb}", json=body).status_code

    def running(self) -> int:
        """Waits that have begun to wait."""
        path = f"{RPC}/?runtimeStatus=Running&showInput=false&top=1000"
        return len([one for one in self.hosts[-1].http.get(path).json() if one["customStatus"]])

    def looked(self, approval_id: str) -> bool:
        """Whether the wait has begun: it has read the store, or its hop has just written what it would read."""
        found = self.instance(approval_id)
        return bool(found and found["customStatus"])

    def decision(self, approval_id: str) -> Decision | None:
        return approvals.decision_of(self.store, approval_id)

    def decided(self, asked: ApprovalRequest, within_s: float = 30.0) -> Decision:
        """The decision, once it has been carried into the incident."""

        def look() -> Decision | None:
            loaded = incidents.load(self.store, asked.incident_id)
            waiting = loaded.incident.approval if loaded else None
            return self.decision(asked.id) if waiting is not None and waiting.verdict is not None else None

        return until(look, within_s, f"a decision on {asked.id}; its wait: {self.instance(asked.id)}")

    def actions(self) -> int:
        """Events on the queue of the executor, which does not run here."""
        found = {str(row["name"]): row for row in self.broker.stats()}[str(Queue.ACTIONS)]
        return int(str(found["active"])) + int(str(found["locked"])) + int(str(found["scheduled"]))

    def quiet(self) -> None:
        """Wait until nothing is on its way any more."""

        def still() -> bool:
            rows = [row for row in self.broker.stats() if row["name"] not in (str(Queue.ACTIONS), str(Queue.CLOSING))]
            return not any(row[kind] for row in rows for kind in ("active", "locked", "scheduled"))

        until(still, 10, f"quiet queues, which are {self.broker.stats()}")

    def held_to(self, asked: ApprovalRequest, verdict: str, by: tuple[str, ...]) -> None:
        """However the way was: one decision, the one that the votes give, carried on once, acted on at most once."""
        expected = self.acted_on + (verdict == "approved")
        decision = self.decided(asked)
        assert (str(decision.verdict), decision.by) == (verdict, by)
        until(lambda: self.actions() >= expected, 10, f"{expected} actions")
        self.quiet()
        self.sweep()
        self.quiet()
        rows = list(incidents.rows(self.store, asked.id, "decision", Table.APPROVALS))
        assert len(rows) == 1
        story = [entry.what for entry in incidents.timeline(self.store, asked.incident_id)]
        assert len([what for what in story if what.startswith(f"{verdict}: ")]) == 1, story
        assert self.actions() == expected
        self.acted_on = expected


@contextlib.contextmanager
def staged(state: Path, poll_s: float = 600) -> Iterator[Stage]:
    """A stage without hosts; everything ends with it."""
    queues = [QueueSettings(str(queue), lock_duration_s=5) for queue in Queue]
    with broker_thread(state / "broker.db", queues, secrets.token_urlsafe(24)) as broker:
        stage = Stage(state, broker, poll_s)
        try:
            yield stage
        finally:
            stage.close()
