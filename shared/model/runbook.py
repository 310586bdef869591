"""A runbook: when it fits, what it does, and how to take it back.

In: front matter of a Markdown file, read by `records.runbook`. Out: what the recommender matches and plans from.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class InputSource(StrEnum):
    """Where the value of an input comes from."""

    PREVIOUS = "hypothesis.previous"
    SUBJECT = "hypothesis.subject"
    SERVICE = "incident.service"

    @property
    def needs_hypothesis(self) -> bool:
        """Whether the value exists only when a cause was found."""
        return self is not InputSource.SERVICE


@dataclass(frozen=True, slots=True)
class Matches:
    """When a runbook fits.

    Attributes:
        alerts: exact alert names, compared without case.
        causes: classes of cause, as in `Hypothesis.cause`.
        words: words that speak for it.
        services: services it is for; empty for all.
    """

    alerts: tuple[str, ...] = ()
    causes: tuple[str, ...] = ()
    words: tuple[str, ...] = ()
    services: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class RunbookInput:
    """A named value the actions need."""

    name: str
    source: InputSource


@dataclass(frozen=True, slots=True)
class RunbookAction:
    """An action to propose; ``{name}`` in target and parameters stands for an input, ``{service}`` for the service."""

    action: str
    target: str
    parameters: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Runbook:
    """One runbook.

    Attributes:
        id: stable slug; learned ones begin with ``learned-``.
        specialist: kind of engineer it is written for.
        owner: team that keeps it true.
        risk: what can go wrong when it is followed, one sentence.
        rollback: how to take its effect back, one sentence.
        body: Markdown after the front matter.
        path: where it was read, for people; empty when it came from the store.
    """

    id: str
    title: str
    matches: Matches
    specialist: str
    owner: str
    inputs: tuple[RunbookInput, ...]
    actions: tuple[RunbookAction, ...]
    risk: str
    rollback: str
    body: str
    path: str = ""

    @property
    def learned(self) -> bool:
        """Whether the chronicler wrote it from an incident."""
        return self.id.startswith("learned-")

    @property
    def needs_cause(self) -> bool:
        """Whether it may only be offered when one of its causes was found."""
        return "release" in self.matches.causes or any(item.source.needs_hypothesis for item in self.inputs)
