"""THE MAP: which queue is consumed by which micro-agents, and where each event goes.

In: nothing. Out: the pipeline table of ARCHITECTURE, section 1, in code; nothing else says who consumes what.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from shared.model import event as ev


class Queue(StrEnum):
    """Service Bus queues."""

    SIGNALS = "signals"
    INCIDENTS = "incidents"
    NOTIFICATIONS = "notifications"
    TICKETS = "tickets"
    INVESTIGATIONS = "investigations"
    ENRICHMENT = "enrichment"
    APPROVALS = "approvals"
    DECISIONS = "decisions"
    ACTIONS = "actions"
    TICKET_UPDATES = "ticket_updates"
    CLOSING = "closing"
    KNOWLEDGE = "knowledge"
    QUARANTINE = "quarantine"


class Agent(StrEnum):
    """Groups of micro-agents; each has an identity of its own."""

    SENTINEL = "sentinel"
    TRIAGE = "triage"
    REMEDIATOR = "remediator"
    CHRONICLER = "chronicler"
    CONDUCTOR = "conductor"
    EXECUTOR = "executor"
    PORTAL = "portal"


class MicroAgent(StrEnum):
    """The 16 workers and the conductor."""

    COLLECTOR = "collector"
    EVALUATOR = "evaluator"
    ALERT_ROUTER = "alert_router"
    INCIDENT_CREATOR = "incident_creator"
    NOTIFIER = "notifier"
    TICKET_WRITER = "ticket_writer"
    RCA = "rca"
    ENRICHER = "enricher"
    RECOMMENDER = "recommender"
    SOLICITOR = "solicitor"
    EXECUTOR = "executor"
    TICKET_UPDATER = "ticket_updater"
    CLOSER = "closer"
    AGGREGATOR = "aggregator"
    DOC_WRITER = "doc_writer"
    PUBLISHER = "publisher"
    CONDUCTOR = "conductor"


class Role(StrEnum):
    """Deployments: which blueprints an app registers (``ARGUS_ROLES``)."""

    EDGE = "edge"
    CORE = "core"
    EXEC = "exec"


@dataclass(frozen=True, slots=True)
class Stage:
    """One queue, and who works on its messages inside one invocation, in order.

    Attributes:
        effects: the hop touches the outside, so an intent is written first (rule H2).
        at_once_after: micro-agents whose invocation may work this off itself while it is quiet, rather than send it
            (rule H7). An agent lends nobody its identity: where the outside is touched, they are of the same agent.
    """

    queue: Queue
    chain: tuple[MicroAgent, ...]
    role: Role
    effects: bool = False
    at_once_after: tuple[MicroAgent, ...] = ()


_Q, _M, _R = Queue, MicroAgent, Role

PIPELINE: tuple[Stage, ...] = (
    Stage(_Q.SIGNALS, (_M.EVALUATOR, _M.ALERT_ROUTER), _R.CORE),
    Stage(_Q.INCIDENTS, (_M.INCIDENT_CREATOR,), _R.CORE, at_once_after=(_M.ALERT_ROUTER,)),
    Stage(_Q.NOTIFICATIONS, (_M.NOTIFIER,), _R.CORE, effects=True, at_once_after=(_M.INCIDENT_CREATOR,)),
    Stage(_Q.TICKETS, (_M.TICKET_WRITER,), _R.CORE, effects=True, at_once_after=(_M.INCIDENT_CREATOR,)),
    Stage(_Q.INVESTIGATIONS, (_M.RCA,), _R.CORE),
    Stage(_Q.ENRICHMENT, (_M.ENRICHER, _M.RECOMMENDER), _R.CORE, effects=True, at_once_after=(_M.RCA,)),
    Stage(_Q.APPROVALS, (_M.SOLICITOR,), _R.CORE),
    Stage(_Q.DECISIONS, (_M.SOLICITOR,), _R.CORE),
    Stage(_Q.ACTIONS, (_M.EXECUTOR,), _R.EXEC, effects=True),
    Stage(_Q.TICKET_UPDATES, (_M.TICKET_UPDATER,), _R.CORE, effects=True, at_once_after=(_M.CLOSER,)),
    Stage(_Q.CLOSING, (_M.CLOSER,), _R.CORE, at_once_after=(_M.INCIDENT_CREATOR,)),
    Stage(_Q.KNOWLEDGE, (_M.AGGREGATOR, _M.DOC_WRITER, _M.PUBLISHER), _R.CORE, effects=True),
)

STAGES: Mapping[Queue, Stage] = {stage.queue: stage for stage in PIPELINE}

OWNER: Mapping[MicroAgent, Agent] = {
    _M.COLLECTOR: Agent.SENTINEL,
    _M.EVALUATOR: Agent.SENTINEL,
    _M.ALERT_ROUTER: Agent.SENTINEL,
    _M.INCIDENT_CREATOR: Agent.SENTINEL,
    _M.NOTIFIER: Agent.SENTINEL,
    _M.TICKET_WRITER: Agent.SENTINEL,
    _M.RCA: Agent.TRIAGE,
    _M.ENRICHER: Agent.TRIAGE,
    _M.RECOMMENDER: Agent.TRIAGE,
    _M.SOLICITOR: Agent.REMEDIATOR,
    _M.EXECUTOR: Agent.EXECUTOR,
    _M.TICKET_UPDATER: Agent.REMEDIATOR,
    _M.CLOSER: Agent.REMEDIATOR,
    _M.AGGREGATOR: Agent.CHRONICLER,
    _M.DOC_WRITER: Agent.CHRONICLER,
    _M.PUBLISHER: Agent.CHRONICLER,
    _M.CONDUCTOR: Agent.CONDUCTOR,
}

DESTINATION: Mapping[type[ev.Payload], Queue] = {
    ev.SignalsReceived: _Q.SIGNALS,
    ev.GroupChanged: _Q.INCIDENTS,
    ev.GroupsOpened: _Q.INCIDENTS,
    ev.IncidentRequested: _Q.INCIDENTS,
    ev.IncidentAcknowledged: _Q.INCIDENTS,
    ev.IncidentAssigned: _Q.INCIDENTS,
    ev.NotificationRequested: _Q.NOTIFICATIONS,
    ev.TicketRequested: _Q.TICKETS,
    ev.TicketUpdateRequested: _Q.TICKET_UPDATES,
    ev.InvestigationRequested: _Q.INVESTIGATIONS,
    ev.DiagnosisMade: _Q.ENRICHMENT,
    ev.ApprovalRequested: _Q.APPROVALS,
    ev.VoteCast: _Q.DECISIONS,
    ev.ApprovalDecided: _Q.DECISIONS,
    ev.ActionApproved: _Q.ACTIONS,
    ev.ClosingRequested: _Q.CLOSING,
    ev.IncidentClosed: _Q.KNOWLEDGE,
}


def source_of(micro_agent: MicroAgent) -> str:
    """CloudEvents source of what a micro-agent emits, such as ``/agents/triage/rca``."""
    return f"/agents/{OWNER[micro_agent]}/{micro_agent}"
