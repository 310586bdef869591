"""A world in which many services fail at once: the brake's timer runs, and every service has a workload of its own.

In: how many services fail. Out: who was told what, and how many approvals were open at most.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from shared import dispatch
from shared.config.schema import Settings
from shared.model.action import ActionRequest
from shared.model.approval import Choice, Vote
from shared.model.audit import AuditEntry
from shared.model.event import VoteCast
from shared.model.incident import Incident
from shared.model.notice import NoticeKind
from shared.model.pipeline import Queue
from shared.model.signal import Severity, Status
from shared.ports.store import Store, Table
from shared.records import approvals, brake, incidents, journal
from tests.pipeline.broker import Entry
from tests.pipeline.far_sides import Workload
from tests.pipeline.faults import Points
from tests.pipeline.world import World, settings

BRAKE_EVERY = timedelta(seconds=5)


@dataclass
class Fleet(Workload):
    """A workload for each service."""

    versions: dict[str, str] = field(default_factory=dict)

    def facts(self, target: str) -> Mapping[str, str]:
        return {"version": self.versions.get(target, "2.4.1")}

    def run(self, request: ActionRequest) -> str:
        said = super().run(request)
        self.versions[request.target] = request.parameters.get("to", "")
        return said


def braked(**limits: Any) -> Settings:
    """Settings with limits of the brake."""
    return settings(policy={"brake": limits})


def _alerts(n: int) -> list[dict[str, Any]]:
    severity = (Severity.SEV3, Severity.SEV1, Severity.SEV2)[n % 3]
    return [
        {"name": f"Errors{k}", "service": f"svc{n:03d}", "fingerprint": f"fp-{n}-{k}", "severity": severity}
        for k in range(3 if n % 7 == 0 else 1)
    ]


class StormWorld(World):
    """A world whose brake works; see the module."""

    def __init__(
        self, store: Store, chosen: Settings | None = None, points: Points | None = None, seed: int | None = None
    ) -> None:
        super().__init__(store, chosen, points, seed)
        self._worked_at = self.now
        self.most_open = 0
        self.fleet = Fleet(self.points)
        self.engine = replace(self.engine, ports=replace(self.engine.ports, actions={"deploy_hook": self.fleet}))

    def _next(self, at_most: datetime) -> datetime:
        return min(super()._next(at_most), max(self._worked_at + BRAKE_EVERY, self.now + timedelta(milliseconds=1)))

    def _advance(self, to: datetime) -> None:
        super()._advance(to)
        if self.now - self._worked_at >= BRAKE_EVERY:
            self.round()

    def round(self) -> None:
        """One run of the brake's timer."""
        self._worked_at = self.now
        self._alive(lambda: dispatch.work_off(self.engine))

    def invoke(self, entry: Entry) -> None:
        super().invoke(entry)
        if entry.queue in (Queue.APPROVALS, Queue.DECISIONS):
            self.most_open = max(self.most_open, len(self.open_approvals()))

    # What happens

    def breaks(self, services: int, first: int = 0) -> None:
        """An alert of each service; some are worse than others, and some have three alerts."""
        for n in range(first, first + services):
            self.deliver(*(self.signal(**alert) for alert in _alerts(n)))

    def mends(self, services: int) -> None:
        """Every alert of each service resolves at its source."""
        for n in range(services):
            self.deliver(*(self.signal(status=Status.RESOLVED, **alert) for alert in _alerts(n)))

    def decide(self, choice: Choice = Choice.APPROVE) -> int:
        """A person answers everything that is open; how many that were."""
        asked = self.open_approvals()
        for name in asked:
            request = approvals.request_of(self.inner, name)
            assert request is not None
            ballot = Vote("olga", choice, self.now, request.plan_hash)
            approvals.vote(self.inner, name, ballot)
            self.say(VoteCast(name, ballot), request.incident_id)
        return len(asked)

    def calm(self) -> bool:
        """The brake is off, nobody waits, nothing is on its way."""
        seen = brake.seen(self.inner)
        return not (seen.brake.on or seen.brake.owed or seen.waiting or self.bus.entries)

    # What there is

    def open_approvals(self) -> list[str]:
        """Approvals that people can decide now."""
        found = []
        for name in self.inner.partitions(Table.APPROVALS):
            request = approvals.request_of(self.inner, name)
            if request is not None and request.deadline > self.now and not approvals.decision_of(self.inner, name):
                found.append(name)
        return found

    def cards(self, kind: NoticeKind) -> list[str]:
        """Titles of the cards of a kind."""
        return [notice.title for _, notice, _ in self.chat.posts if notice.kind is kind]

    def switched(self) -> list[AuditEntry]:
        """What the system chain says of the brake."""
        days = {journal.system_chain(self.now - timedelta(days=back)) for back in range(3)}
        entries = [entry for day in sorted(days) for entry in incidents.audit(self.inner, day)]
        return [entry for entry in entries if entry.what in (brake.ON, brake.OFF)]

    def everything(self) -> list[Incident]:
        """All incidents, oldest first."""
        loaded = [incidents.load(self.inner, name) for name in self.ids()]
        return [one.incident for one in loaded if one is not None]

    def held(self) -> int:
        """How many events are held."""
        return sum(len(incidents.held(self.inner, name)) for name in self.ids())
