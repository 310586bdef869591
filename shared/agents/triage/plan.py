"""From a runbook's action to the exact plan people approve, or the reason why there is none.

In: a runbook, an incident, what is configured. Out: a filled request, or what is missing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from shared.model.diagnosis import Hypothesis
from shared.model.incident import Incident
from shared.model.recommendation import Parameter
from shared.model.runbook import InputSource, Runbook, RunbookAction
from shared.records.runbook import fill, placeholders

MIN_CONFIDENCE = 0.5  # a cause less sure than this is shown, and nothing is proposed from it
_VERSION, _GOAL = "version", "to"


@dataclass(frozen=True, slots=True)
class Value:
    """A value for an input and where it came from."""

    text: str
    provenance: str
    trusted: bool


@dataclass(frozen=True, slots=True)
class Filled:
    """An action with nothing left open."""

    action: str
    target: str
    parameters: tuple[Parameter, ...]

    @property
    def values(self) -> Mapping[str, str]:
        """Parameters by name."""
        return {parameter.name: parameter.value for parameter in self.parameters}


@dataclass(frozen=True, slots=True)
class Missing:
    """Why there is no plan, as half a sentence."""

    reason: str


def hypothesis_for(runbook: Runbook, incident: Incident) -> Hypothesis | None:
    """The best hypothesis, if the runbook is for its cause; a less likely one is nothing to act upon."""
    hypotheses = incident.diagnosis.hypotheses if incident.diagnosis else ()
    return hypotheses[0] if hypotheses and hypotheses[0].cause in runbook.matches.causes else None


def filled(runbook: Runbook, action: RunbookAction, incident: Incident, known_service: bool) -> Filled | Missing:
    """Fill target and parameters of an action.

    Args:
        known_service: the configuration names the incident's service, so its name can be trusted.
    """
    if not incident.service:
        return Missing("the incident names no service to act on")
    cause = hypothesis_for(runbook, incident)
    if runbook.needs_cause and cause is None:
        return Missing("the most likely cause is not one this runbook is for")
    if runbook.needs_cause and cause is not None and cause.confidence < MIN_CONFIDENCE:
        return Missing(f"the cause is only {cause.confidence:.0%} sure, and acting on it takes {MIN_CONFIDENCE:.0%}")
    service = Value(incident.service, "config" if known_service else _alert_provenance(incident), known_service)
    values = {"service": service}
    for item in runbook.inputs:
        value = _value(item.source, cause, service)
        if not value.text:
            return Missing(f"the input {item.name!r} ({item.source}) is missing")
        values[item.name] = value
    texts = {name: value.text for name, value in values.items()}
    parameters = tuple(
        _parameter(name, template, texts, values) for name, template in sorted(action.parameters.items())
    )
    return Filled(action.action, fill(action.target, texts), parameters)


def moot(done: Filled, facts: Mapping[str, str], cause: Hypothesis | None) -> str:
    """Why the live state makes the action pointless; empty when it does not.

    Args:
        facts: read from the target just now.
        cause: what the plan rests on.
    """
    values = done.values
    goal = {(_VERSION if name == _GOAL else name): value for name, value in values.items()}
    reached = {name: value for name, value in goal.items() if name in facts}
    if reached and all(facts[name] == value for name, value in reached.items()):
        state = ", ".join(f"{name} {value}" for name, value in sorted(reached.items()))
        return f"{done.target} is at {state} already"
    live = facts.get(_VERSION, "")
    if cause is not None and cause.subject and live and _GOAL in values and live != cause.subject:
        return f"{done.target} runs {live} now, not the blamed {cause.subject}"
    return ""


def _value(source: InputSource, cause: Hypothesis | None, service: Value) -> Value:
    if source is InputSource.SERVICE:
        return service
    if cause is None:
        return Value("", "", False)
    text = cause.previous if source is InputSource.PREVIOUS else cause.subject
    return Value(text, f"evidence:{cause.evidence[0]}", False)


def _parameter(name: str, template: str, texts: Mapping[str, str], values: Mapping[str, Value]) -> Parameter:
    used = [values[place] for place in placeholders(template)]
    doubtful = [value for value in used if not value.trusted]
    provenance = (doubtful or used)[0].provenance if used else "runbook"
    return Parameter(name, fill(template, texts), provenance, trusted=not doubtful)


def _alert_provenance(incident: Incident) -> str:
    return f"evidence:{incident.alerts[0].fingerprint}" if incident.alerts else "evidence:incident"
