"""What must be the same in the end, and what must not be there.

In: a world in which nothing is on its way any more. Out: a comparable picture of state and effects.
"""

from __future__ import annotations

from typing import Any

from shared.model.alert import Alert
from shared.model.incident import Incident
from shared.ports.store import Table
from shared.records import audit_chain, groups, incidents, index, knowledge
from tests.pipeline.world import GROUP, World


def end_of(world: World, *, but: tuple[str, ...] = ()) -> dict[str, Any]:
    """State and effects by key; times of our own, texts that name the first to come and generation numbers left out.

    Args:
        but: parts that a story cannot hold constant, each for a reason that the test gives.
    """
    group = groups.state_of(world.inner, GROUP)
    picture = {
        "incidents": sorted((_incident(incident, world) for incident in incidents_of(world)), key=repr),
        "claim": group and str(group.state),
        "members": sorted(
            (m.fingerprint, str(m.status), m.starts_at, str(m.severity))
            for m in groups.everything_known(world.inner, GROUP)
        ),
        "alerts": sorted((a.fingerprint, a.starts_at, str(a.status)) for a in listed(world)),
        "cards": sorted(kind for _, kind in {(key, str(notice.kind)) for key, notice, _ in world.chat.posts}),
        "tickets": sorted((key, world.desk.state[ticket.key]) for key, ticket in world.desk.tickets.items()),
        "notes": len({marker for marker, _ in world.desk.notes}),
        "pages": sorted((page.id, str(page.kind)) for page in world.wiki.pages.values()),
        "runs": len(world.workload.runs),
        "version": world.workload.version,
        "learned": sorted(
            (learned.runbook.id, frozenset(learned.incidents)) for learned in knowledge.runbooks(world.inner, "shop")
        ),
        "cases": sorted((case.incident_id, case.action, case.result) for case in knowledge.cases(world.inner, "shop")),
        "quarantined": len(world.bus.quarantined),
    }
    return {name: part for name, part in picture.items() if name not in but}


def incidents_of(world: World) -> list[Incident]:
    """Every incident as it is."""
    found = (incidents.load(world.inner, name) for name in world.ids())
    return [loaded.incident for loaded in found if loaded is not None]


def _incident(incident: Incident, world: World) -> dict[str, Any]:
    opened = world.desk.tickets.get(incident.id)
    return {
        "state": str(incident.state),
        "severity": str(incident.severity),
        "alerts": sorted((a.fingerprint, str(a.status), a.starts_at, str(a.severity)) for a in incident.alerts),
        "alert_count": incident.alert_count,
        "acknowledged_by": incident.acknowledged_by,
        "assignee": incident.assignee,
        # Which number it got depends on who came first at the desk; that it is this incident's own does not.
        "ticket": "its own" if opened and opened == incident.ticket else incident.ticket,
        "causes": [h.cause for h in incident.diagnosis.hypotheses] if incident.diagnosis else [],
        # Those behind the best are ranked by the title too, and that is the first alert's.
        "offered": [offer.runbook for offer in incident.recommendation.options[:1]] if incident.recommendation else [],
        "approval": (
            (incident.approval.action, incident.approval.target, str(incident.approval.verdict),
             incident.approval.decided_by) if incident.approval else None
        ),
        "actions": [(result.action, result.target, str(result.state)) for result in incident.actions],
        "documents": sorted((document.id, document.destination) for document in incident.documents),
        "cancelled": incident.cancelled,
    }  # fmt: skip


def listed(world: World) -> list[Alert]:
    """The alert list."""
    return [line.alert for line in index.alerts(world.inner)]


def assert_whole(world: World) -> None:
    """Nothing twice that does not say so, nothing left over, every chain whole, every list up to date."""
    assert not world.chat.twice()
    assert not world.desk.twice()
    assert len(set(world.workload.runs)) == len(world.workload.runs)
    assert not world.bus.entries
    assert not world.bus.quarantined
    shown = {line.id: line for line in index.incidents(world.inner)}
    for name in world.ids():
        loaded = incidents.load(world.inner, name)
        assert loaded is not None
        incident = loaded.incident
        entries = incidents.audit(world.inner, name)
        assert audit_chain.verify_incident(entries, name, incident.entries, incident.audit_head) == ""
        assert index.seen(shown[name]) == index.seen(index.line_of(incident))
        assert shown[name].version <= incident.version
        assert not list(incidents.rows(world.inner, name, incidents.OUTBOX))
        assert not list(incidents.rows(world.inner, name, incidents.HELD))
        inbox = [row.key for row in incidents.rows(world.inner, name, incidents.INBOX)]
        told = {entry.event_id for entry in incidents.timeline(world.inner, name)}
        assert {key.removeprefix(incidents.INBOX) for key in inbox} == told
    assert_one_live_incident_per_group(world)


def assert_one_live_incident_per_group(world: World) -> None:
    """However many generations there were, at most one incident of a group is not over."""
    live = [
        loaded.incident.group_key
        for name in world.inner.partitions(Table.INCIDENTS)
        if (loaded := incidents.load(world.inner, name)) and not loaded.incident.over
    ]
    assert len(live) == len(set(live)), live
