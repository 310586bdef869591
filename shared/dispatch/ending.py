"""The end of a wait in the commit of the vote that decides it (PROTOCOL, rules D1 and D3).

In: what the hop of a vote answers. Out: the same, and the decision as an event of its own beside it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from shared.agents import conductor
from shared.agents.remediator import solicitor
from shared.dispatch.commit import Done
from shared.dispatch.engine import Engine
from shared.model.event import ApprovalDecided, VoteCast
from shared.model.incident import Incident
from shared.model.outcome import Go
from shared.model.pipeline import MicroAgent
from shared.ports.store import Store

NAME = MicroAgent.SOLICITOR


def with_decision(engine: Engine, done: Done, view: Incident, now: datetime, store: Store) -> Sequence[Done]:
    """The vote, and the decision that it asks for, where the policy lets that through as well.

    The decision is the event that the wait itself would send: the same id, inbox row and consequences (rule M2). So
    whichever of the two comes second finds it done.

    Args:
        view: the incident in view of the vote.
        store: with what the vote's hop has read of the approval.
    """
    asked = [emit.data for _, outcome in done.answers for emit in outcome.events]
    ends = [data for data in asked if isinstance(data, ApprovalDecided)]
    if not isinstance(done.event.data, VoteCast) or len(ends) != 1:
        return (done,)
    [data] = ends
    ruling = conductor.rule(data, (NAME,), view, engine.ports.settings, now)
    if ruling.go is not Go.GO:
        return (done,)
    made = solicitor.decided_event(data.approval_id, view.id, now)
    event = replace(made, traceparent=done.event.traceparent)
    with engine.telemetry.work(NAME, view.id):
        outcome = engine.workers[NAME].handle(event, view, now, replace(engine.ports, store=store))
    before = [
        (name, replace(told, events=tuple(emit for emit in told.events if emit.data is not data)))
        for name, told in done.answers
    ]
    return Done(done.event, before), Done(event, [(NAME, outcome)])
