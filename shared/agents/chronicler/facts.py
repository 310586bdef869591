"""What a closed incident leaves to write from: its timeline, evidence, plan and times, each with its citation.

In: the incident and its rows. Out: one value that the documents are functions of.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from shared.model.action import ActionResult, ActionState
from shared.model.approval import ApprovalRequest, Decision
from shared.model.audit import TimelineEntry
from shared.model.diagnosis import Evidence
from shared.model.incident import Incident
from shared.model.pipeline import MicroAgent
from shared.ports.store import Store, Table
from shared.records import approvals
from shared.records import evidence as evidence_rows
from shared.records.rows import unpack

TIMELINE = "timeline|"
EVIDENCE_DIGITS = 8


@dataclass(frozen=True, slots=True)
class Phase:
    """One span of the incident's life, with the timeline numbers that bound it."""

    name: str
    length: timedelta
    cites: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Facts:
    """Everything the documents may state.

    Attributes:
        request: the plan behind the last action done, else the last one asked for; ``None`` without one.
        done: the last action that was done; ``None`` without one.
        closed_by: the person who closed by hand; empty otherwise.
    """

    incident: Incident
    timeline: tuple[TimelineEntry, ...]
    evidence: Mapping[str, Evidence]
    request: ApprovalRequest | None
    decision: Decision | None
    done: ActionResult | None
    closed_by: str

    @property
    def phases(self) -> tuple[Phase, ...]:
        """The spans that are known, in the order of the incident's life."""
        return tuple(_phases(self, self.request, self.decision))

    @property
    def onset(self) -> datetime:
        """When the trouble began: by the evidence, else by the alerts, else when the incident was opened."""
        return _onset(self.incident)

    def cite(self, *micro_agents: MicroAgent, last: bool = False) -> str:
        """``[t3]`` of the first (or last) timeline line of these micro-agents; empty when there is none.

        A line may name several, as they share an invocation.
        """
        found = [entry for entry in self.timeline if _names(entry) & set(micro_agents)]
        return f"[t{(found[-1] if last else found[0]).number}]" if found else ""


def gather(store: Store, incident: Incident, ended_at: datetime) -> Facts:
    """Read what an incident left, up to its end.

    Args:
        ended_at: when it was closed. What comes after that, such as its last notices, goes on while this is read; the
            documents would say something else at every attempt, and be published anew by each.

    Raises:
        TransientError: the store cannot be read.
    """
    said, found = _left(store, incident.id)
    timeline = tuple(entry for entry in said if entry.at <= ended_at)
    wanted = incident.diagnosis.evidence if incident.diagnosis else ()
    evidence = {name: found[name] for name in wanted if name in found}
    done = max(
        (item for item in incident.actions if item.state is ActionState.DONE), key=lambda item: item.at, default=None
    )
    approval = done.approval_id if done else incident.approval.id if incident.approval else ""
    asked = approvals.read(store, approval) if approval else None
    request, decision = (asked.request, asked.decision) if asked else (None, None)
    by_hand = [entry for entry in timeline if MicroAgent.CLOSER in _names(entry) and entry.person]
    return Facts(incident, timeline, evidence, request, decision, done, by_hand[-1].person if by_hand else "")


def evidence_cite(evidence_id: str) -> str:
    """``[e:0123abcd]``."""
    return f"[e:{evidence_id[:EVIDENCE_DIGITS]}]"


def _names(entry: TimelineEntry) -> set[str]:
    return set(re.split(r"[^a-z_]+", entry.micro_agent))


def _left(store: Store, incident_id: str) -> tuple[list[TimelineEntry], dict[str, Evidence]]:
    """Timeline and evidence by one query, from the one prefix to the other; what lies between is small, and left."""
    timeline: list[TimelineEntry] = []
    evidence: dict[str, Evidence] = {}
    start: str | None = evidence_rows.PREFIX
    while start is not None:
        page = store.query(Table.INCIDENTS, incident_id, start, TIMELINE[:-1] + "}")
        timeline += (unpack(TimelineEntry, row.values) for row in page.rows if row.key.startswith(TIMELINE))
        evidence |= {item.id: item for row in page.rows if (item := evidence_rows.of_row(row)) is not None}
        start = page.next_key
    return timeline, evidence


def _onset(incident: Incident) -> datetime:
    if incident.diagnosis and incident.diagnosis.onset:
        return incident.diagnosis.onset
    return min((alert.starts_at for alert in incident.alerts), default=incident.opened_at)


def _phases(facts: Facts, request: ApprovalRequest | None, decision: Decision | None) -> Iterator[Phase]:
    incident = facts.incident
    creator = facts.cite(MicroAgent.INCIDENT_CREATOR)
    ends: list[tuple[str, datetime | None, datetime | None, tuple[str, ...]]] = [
        ("detect", facts.onset, incident.opened_at, (creator,)),
        ("acknowledge", incident.opened_at, incident.acknowledged_at, (creator,)),
        (
            "diagnose",
            incident.opened_at,
            incident.diagnosis.made_at if incident.diagnosis else None,
            (creator, facts.cite(MicroAgent.RCA, last=True)),
        ),
        (
            "decide",
            request.requested_at if request else None,
            decision.at if decision else None,
            (facts.cite(MicroAgent.SOLICITOR), facts.cite(MicroAgent.SOLICITOR, last=True)),
        ),
        (
            "act",
            decision.at if decision else None,
            facts.done.at if facts.done else None,
            (facts.cite(MicroAgent.EXECUTOR, last=True),),
        ),
        (
            "recover",
            facts.done.at if facts.done else incident.opened_at,
            incident.resolved_at,
            (facts.cite(MicroAgent.CLOSER, last=True),),
        ),
    ]
    for name, start, end, cites in ends:
        if start is not None and end is not None:
            known = tuple(dict.fromkeys(cite for cite in cites if cite))
            yield Phase(name, max(end - start, timedelta()), known)
