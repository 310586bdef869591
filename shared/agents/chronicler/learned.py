"""A runbook from an incident that ended well: what fits again, what was done, what to check.

In: the facts of a closed incident and what was learned before. Out: a runbook, or nothing when nothing was learned.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from shared.agents.chronicler.facts import Facts, evidence_cite
from shared.agents.chronicler.prose import moment, plain, quoted, slug, span
from shared.model.incident import Incident
from shared.model.pipeline import MicroAgent
from shared.model.recommendation import Plan
from shared.model.runbook import InputSource, Matches, Runbook, RunbookAction, RunbookInput
from shared.records.knowledge import Learned

MANUAL = "manual"
MIN_STEPS_CHARS = 12  # "fixed" is no step anybody could follow
MAX_ALERT_NAMES = 20
MAX_ALERT_CHARS = 200
MAX_INCIDENTS = 20
_A = MicroAgent


def learnable(facts: Facts, worked: bool) -> bool:
    """Whether there is something to write down: an action that worked, or steps a person told."""
    if facts.incident.cancelled or not facts.incident.service:
        return False
    if facts.done is not None:
        return worked and facts.request is not None
    return bool(facts.closed_by) and len(facts.incident.resolution.strip()) >= MIN_STEPS_CHARS


def id_of(facts: Facts) -> str:
    """``learned-<service>-<cause>-<action>``; the next incident alike writes the same runbook anew."""
    action = facts.done.action if facts.done else MANUAL
    return f"learned-{slug(facts.incident.service)[:40]}-{slug(_cause(facts.incident))[:40]}-{slug(action)[:30]}"


def write(facts: Facts, owner: str, before: Learned | None) -> Learned:
    """The runbook this incident teaches.

    Args:
        owner: team that owns the service.
        before: what earlier incidents alike taught under the same id; its alert names and incidents are kept.
    """
    incident = facts.incident
    plan = facts.request.plan if facts.request and facts.done else None
    inputs, action = _action(plan, incident) if plan else ((), None)
    kept = before.runbook.matches.alerts if before else ()
    names = sorted({alert.name.strip() for alert in incident.alerts if alert.name.strip()} | set(kept))
    seen = tuple(dict.fromkeys([*(before.incidents if before else ()), incident.id]))[-MAX_INCIDENTS:]
    runbook = Runbook(
        id=id_of(facts),
        title=_title(facts, plan),
        matches=Matches(
            alerts=tuple(name[:MAX_ALERT_CHARS] for name in names[:MAX_ALERT_NAMES]),
            causes=(_cause(incident),),
            words=(),
            services=(incident.service,),
        ),
        specialist="Application",
        owner=owner or "on-call",
        inputs=inputs,
        actions=(action,) if action else (),
        risk=plan.risk if plan else "The steps are one person's words after one incident; check each before doing it.",
        rollback=plan.rollback if plan else "Take back each step by hand, last one first.",
        body="\n".join(_body(facts, plan, seen)) + "\n",
    )
    return Learned(runbook, _theme(incident), seen)


def _theme(incident: Incident) -> str:
    return incident.theme.key if incident.theme else ""


def _cause(incident: Incident) -> str:
    if incident.diagnosis and incident.diagnosis.hypotheses:
        return incident.diagnosis.hypotheses[0].cause
    first = min(incident.alerts, key=lambda alert: (alert.starts_at, alert.name), default=None)
    return slug(first.name if first else incident.title)


def _title(facts: Facts, plan: Plan | None) -> str:
    service, cause = plain(facts.incident.service, 60), _cause(facts.incident).replace("_", " ")
    return f"{service}: {cause}, {plan.action.replace('_', ' ')}" if plan else f"{service}: {cause}, by hand"


def _action(plan: Plan, incident: Incident) -> tuple[tuple[RunbookInput, ...], RunbookAction]:
    """The executed action with what was particular to this incident put back as inputs."""
    hypotheses = incident.diagnosis.hypotheses if incident.diagnosis else ()
    values: dict[str, tuple[str, InputSource]] = {}
    if hypotheses:
        values["previous"] = (hypotheses[0].previous, InputSource.PREVIOUS)
        values["subject"] = (hypotheses[0].subject, InputSource.SUBJECT)
    parameters: dict[str, str] = {}
    used: dict[str, RunbookInput] = {}
    for parameter in plan.parameters:
        name = next(
            (name for name, (text, _) in values.items() if text and text == parameter.value and not parameter.trusted),
            "",
        )
        if name:
            used[name] = RunbookInput(name, values[name][1])
        parameters[parameter.name] = f"{{{name}}}" if name else _general(parameter.value, incident)
    return tuple(used[name] for name in sorted(used)), RunbookAction(
        plan.action, _general(plan.target, incident), parameters
    )


def _general(value: str, incident: Incident) -> str:
    return "{service}" if value == incident.service else value.replace("{", "(").replace("}", ")")


def _body(facts: Facts, plan: Plan | None, seen: Iterable[str]) -> Iterator[str]:
    incident = facts.incident
    yield f"Written by ARGUS from incident {incident.handle}. Correct what is wrong; keep the front matter valid."
    yield ""
    yield "## When to use"
    yield ""
    for name in sorted({alert.name for alert in incident.alerts}):
        cite = _at(facts, _A.INCIDENT_CREATOR)
        yield f"- The alert {quoted(name, 120)} fires for {quoted(incident.service, 80)}. {cite}"
    for hypothesis in (incident.diagnosis.hypotheses if incident.diagnosis else ())[:1]:
        cites = " ".join(evidence_cite(item) for item in hypothesis.evidence)
        yield f"- The diagnosis says {hypothesis.cause}; then it was: {hypothesis.statement} {cites}"
    yield ""
    yield "## Check first"
    yield ""
    yield from _checks(facts)
    yield ""
    yield "## Steps"
    yield ""
    yield from _steps(facts, plan)
    yield ""
    yield "## Verify"
    yield ""
    yield from _verify(facts)
    yield ""
    yield "## Roll back"
    yield ""
    yield plan.rollback if plan else "Take back each step by hand, last one first."
    yield ""
    yield "## Seen in incidents"
    yield ""
    yield from (f"- {item}" for item in seen)


def _checks(facts: Facts) -> Iterator[str]:
    hypotheses = facts.incident.diagnosis.hypotheses if facts.incident.diagnosis else ()
    told = hypotheses[0].evidence if hypotheses else tuple(facts.evidence)
    found = [facts.evidence[key] for key in told if key in facts.evidence]
    for item in found[:6]:
        if item.kind != "alert":
            cite = evidence_cite(item.id)
            said = quoted(item.summary, 200)
            yield f"1. {item.kind.capitalize()} {quoted(item.title, 120)}; then it was: {said} {cite}"
    live: Mapping[str, str] = facts.request.plan.preconditions if facts.request else {}
    for name in sorted(live):
        cite = _at(facts, _A.RECOMMENDER)
        yield f"1. The live {plain(name, 40)} of the target; then it was {quoted(live[name], 80)}. {cite}"
    if not live and not any(item.kind != "alert" for item in found):
        yield "1. That the alert still fires and nobody is working on it already."


def _steps(facts: Facts, plan: Plan | None) -> Iterator[str]:
    if plan is None:
        told = f"{quoted(facts.closed_by, 60)} closed it and said: {quoted(facts.incident.resolution, 600)}"
        yield f"1. {told}. {_at(facts, _A.CLOSER)}"
        return
    values = ", ".join(f"{plain(item.name, 40)} = {quoted(item.value, 80)}" for item in plan.parameters)
    given = f" with {values}" if values else ""
    yield f"1. Approve the plan that ARGUS proposes: {quoted(plan.action, 60)} on {quoted(plan.target, 80)}{given}."
    if facts.decision:
        by = ", ".join(quoted(user, 60) for user in facts.decision.by)
        yield f"1. Last time {by} said {facts.decision.verdict}. {_at(facts, _A.SOLICITOR)}"
    if facts.done:
        cite = _at(facts, _A.EXECUTOR)
        yield f"1. The executor does it once; last time it answered {quoted(facts.done.message)}. {cite}"


def _verify(facts: Facts) -> Iterator[str]:
    recovered = next((phase for phase in facts.phases if phase.name == "recover"), None)
    if recovered is not None:
        yield f"- Last time it recovered {span(recovered.length)} later. {' '.join(recovered.cites)}".rstrip()
    if facts.incident.recovery is not None:
        yield f"- The closer's last reading: {quoted(facts.incident.recovery.last_reading)}. {_at(facts, _A.CLOSER)}"
    if facts.incident.closed_at:
        yield f"- The incident was closed at {moment(facts.incident.closed_at)} UTC. {_at(facts, _A.CLOSER)}"


def _at(facts: Facts, micro_agent: MicroAgent) -> str:
    return facts.cite(micro_agent, last=micro_agent is not _A.INCIDENT_CREATOR)
