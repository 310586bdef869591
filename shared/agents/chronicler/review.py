"""The post-incident review: what happened, why, what was done, and what would help next time.

In: the facts of a closed incident. Out: Markdown, the same for the same facts, each statement with its citation.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

from shared.agents.chronicler.facts import Facts, Phase, evidence_cite
from shared.agents.chronicler.prose import cell, moment, plain, quoted, span
from shared.model.action import ActionState
from shared.model.diagnosis import EvidenceStatus
from shared.model.pipeline import MicroAgent

_A = MicroAgent
QUICK: dict[str, timedelta] = {  # what an on-call person calls quick; used only to sort praise from concern
    "detect": timedelta(minutes=5),
    "acknowledge": timedelta(minutes=5),
    "diagnose": timedelta(minutes=5),
    "decide": timedelta(minutes=10),
    "act": timedelta(minutes=2),
    "recover": timedelta(minutes=20),
}
_LABELS = {
    "detect": "Time to detect (trouble began → incident opened)",
    "acknowledge": "Time to acknowledge (opened → a person has seen it)",
    "diagnose": "Time to diagnose (opened → diagnosis)",
    "decide": "Time to decide (plan proposed → decision)",
    "act": "Time to act (decision → action done)",
    "recover": "Time to recover (action, or opening without one → recovered)",
}


def title_of(facts: Facts) -> str:
    """Title of the review."""
    return f"Post-incident review: {plain(facts.incident.title, 120)} ({facts.incident.handle})"


def write(facts: Facts) -> str:
    """The whole review in Markdown."""
    sections = [
        (f"# {title_of(facts)}", ()),
        ("## Summary", tuple(_summary(facts))),
        ("## Impact", tuple(_impact(facts))),
        ("## Timeline (UTC)", tuple(_timeline(facts))),
        ("## Root cause", tuple(_cause(facts))),
        ("## Actions", tuple(_actions(facts))),
        ("## How long it took", tuple(_times(facts))),
        ("## What went well", tuple(_well(facts)) or ("- Nothing stands out in the recorded times.",)),
        ("## What was slow or went wrong", tuple(_slow(facts)) or ("- Nothing stands out in the recorded times.",)),
        ("## Follow-ups", tuple(_follow_ups(facts))),
        ("## Sources", tuple(_sources(facts))),
    ]
    return "\n\n".join("\n".join([head, "", *lines] if lines else [head]) for head, lines in sections) + "\n"


def _summary(facts: Facts) -> Iterator[str]:
    incident = facts.incident
    opened, closed = facts.cite(_A.INCIDENT_CREATOR), facts.cite(_A.CLOSER, last=True)
    yield (
        f"{quoted(incident.title)} on {quoted(incident.service or 'unknown', 80)} was opened at "
        f"{moment(incident.opened_at)} with severity {incident.severity}. {opened}".rstrip()
    )
    if incident.closed_at:
        how = "cancelled" if incident.cancelled else "closed"
        said = f": {quoted(incident.resolution)}" if incident.resolution else ""
        yield f"It was {how} at {moment(incident.closed_at)}{said}. {closed}".rstrip()
    if incident.diagnosis and incident.diagnosis.hypotheses:
        best = incident.diagnosis.hypotheses[0]
        cites = " ".join(evidence_cite(item) for item in best.evidence)
        found = facts.cite(_A.RCA, last=True)
        yield f"Most likely cause: {best.cause} ({best.confidence:.0%}). {found} {cites}".rstrip()
    if incident.theme and incident.theme.occurrences > 1:
        yield (
            f"It is number {incident.theme.occurrences} of its kind ({quoted(incident.theme.key, 120)}); before it: "
            + ", ".join(item[:8] for item in incident.theme.similar)
            + "."
        )


def _impact(facts: Facts) -> Iterator[str]:
    incident = facts.incident
    end = incident.resolved_at or incident.closed_at
    lasted = f", {span(end - facts.onset)} in all" if end else ""
    until = f" to {moment(end)}" if end else ""
    yield f"- Trouble from {moment(facts.onset)}{until}{lasted}. {facts.cite(_A.RCA, last=True)}".rstrip()
    names = sorted({alert.name for alert in incident.alerts})
    if names:
        listed = ", ".join(quoted(name, 100) for name in names[:10])
        yield f"- {incident.alert_count or len(incident.alerts)} alert(s): {listed}. {facts.cite(_A.INCIDENT_CREATOR)}"
    for item in facts.evidence.values():
        if item.kind == "metric" and item.status is EvidenceStatus.OK:
            yield f"- {quoted(item.title, 100)}: {quoted(item.summary)} {evidence_cite(item.id)}"


def _timeline(facts: Facts) -> Iterator[str]:
    yield "| # | Time | Who | What | Why |"
    yield "|---|---|---|---|---|"
    for entry in facts.timeline:
        who = f"{entry.micro_agent}{f' for {entry.person}' if entry.person else ''}"
        yield f"| t{entry.number} | {moment(entry.at)} | {cell(who)} | {cell(entry.what)} | {cell(entry.why)} |"


def _cause(facts: Facts) -> Iterator[str]:
    diagnosis = facts.incident.diagnosis
    if diagnosis is None or not diagnosis.hypotheses:
        why = f" {facts.cite(_A.RCA, last=True)}" if diagnosis else ""
        yield f"No evidence of a cause was found; what a person knows belongs here.{why}"
        return
    for number, hypothesis in enumerate(diagnosis.hypotheses, 1):
        cites = " ".join(evidence_cite(item) for item in hypothesis.evidence)
        yield f"{number}. {hypothesis.statement} Confidence {hypothesis.confidence:.0%}. {cites}"


def _actions(facts: Facts) -> Iterator[str]:
    if facts.request:
        plan = facts.request.plan
        yield (
            f"- Proposed: {quoted(plan.title)} from the runbook {quoted(plan.runbook, 120)}. "
            f"{facts.cite(_A.RECOMMENDER, last=True)}".rstrip()
        )
    if facts.decision:
        by = ", ".join(quoted(user, 60) for user in facts.decision.by)
        yield f"- {facts.decision.verdict.capitalize()} by {by}. {facts.cite(_A.SOLICITOR, last=True)}".rstrip()
    for done in facts.incident.actions:
        yield (
            f"- {quoted(done.action, 60)} on {quoted(done.target, 80)}: {done.state} at {moment(done.at)}, "
            f"{quoted(done.message)}. {facts.cite(_A.EXECUTOR, last=True)}".rstrip()
        )
    if facts.closed_by:
        yield f"- Closed by hand by {quoted(facts.closed_by, 60)}. {facts.cite(_A.CLOSER, last=True)}".rstrip()
    if not (facts.request or facts.incident.actions or facts.closed_by):
        yield "- ARGUS did nothing to the service; the alerts resolved by themselves or somebody helped elsewhere."


def _times(facts: Facts) -> Iterator[str]:
    yield "| Phase | Took | From |"
    yield "|---|---|---|"
    for phase in facts.phases:
        yield f"| {_LABELS[phase.name]} | {span(phase.length)} | {' '.join(phase.cites)} |"
    if facts.incident.acknowledged_at is None:
        yield f"| {_LABELS['acknowledge']} | nobody acknowledged it | |"


def _well(facts: Facts) -> Iterator[str]:
    for phase in facts.phases:
        if phase.length <= QUICK[phase.name]:
            yield f"- To {phase.name} took {span(phase.length)}. {' '.join(phase.cites)}".rstrip()


def _slow(facts: Facts) -> Iterator[str]:
    for phase in facts.phases:
        if phase.length > QUICK[phase.name]:
            wanted = span(QUICK[phase.name])
            yield f"- To {phase.name} took {span(phase.length)}; {wanted} is quick. {' '.join(phase.cites)}".rstrip()
    slowest = _slowest(facts.phases)
    if slowest is not None:
        cites = " ".join(slowest.cites)
        yield f"- Most of the time went into one phase: {slowest.name}, {span(slowest.length)}. {cites}".rstrip()
    for done in facts.incident.actions:
        if done.state is not ActionState.DONE:
            cite = facts.cite(_A.EXECUTOR, last=True)
            yield f"- {quoted(done.action, 60)} ended {done.state}: {quoted(done.message)}. {cite}".rstrip()


def _slowest(phases: tuple[Phase, ...]) -> Phase | None:
    """The phase that took more than half of everything, if there is one."""
    total = sum((phase.length for phase in phases), timedelta())
    longest = max(phases, key=lambda phase: phase.length, default=None)
    return longest if longest is not None and len(phases) > 1 and longest.length * 2 > total else None


def _follow_ups(facts: Facts) -> Iterator[str]:
    incident = facts.incident
    hypotheses = incident.diagnosis.hypotheses if incident.diagnosis else ()
    if hypotheses and hypotheses[0].cause == "release":
        version = quoted(hypotheses[0].subject or "the release", 60)
        cite = evidence_cite(hypotheses[0].evidence[0])
        yield f"- [ ] Mend what {version} changed before it goes out again, with a test that would have failed. {cite}"
        yield f"- [ ] Find out why nothing stopped {version} before it reached everybody. {cite}"
    elif not hypotheses:
        yield "- [ ] Write the cause into this review, and add the evidence source that would have shown it."
    else:
        yield f"- [ ] Confirm the cause ({hypotheses[0].cause}) and decide how it is kept from coming back."
    failed = sorted({item.source for item in facts.evidence.values() if item.status is EvidenceStatus.ERROR})
    for source in failed:
        yield f"- [ ] Repair the evidence source {quoted(source, 60)}: it could not be asked."
    if incident.theme and incident.theme.occurrences > 2:
        yield f"- [ ] It came back {incident.theme.occurrences - 1} times: a fix that lasts is due."
    if incident.acknowledged_at is None:
        yield "- [ ] Nobody acknowledged it: look at who is told, and how."


def _sources(facts: Facts) -> Iterator[str]:
    for item in facts.evidence.values():
        when = f", {moment(item.at)}" if item.at else ""
        yield f"- {evidence_cite(item.id)} {item.kind} from {quoted(item.source, 60)}{when}: {quoted(item.title, 120)}"
    yield (
        f"- [t1] to [t{len(facts.timeline)}] are the lines of the timeline above; the audit trail keeps an entry for "
        "each, chained by hashes."
        if facts.timeline
        else "- No timeline was recorded."
    )
