"""Something people should be told, before any product's card format.

In: what happened to an incident. Out: a message every channel can render.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from shared.model.signal import Severity


class NoticeKind(StrEnum):
    """Why people are told."""

    OPENED = "opened"
    APPROVAL = "approval"
    DECIDED = "decided"
    ESCALATED = "escalated"
    EXECUTED = "executed"
    CLOSED = "closed"
    REOPENED = "reopened"
    PUBLISHED = "published"
    INFO = "info"
    STORM = "storm"


@dataclass(frozen=True, slots=True)
class Fact:
    """A labelled value on a card."""

    name: str
    value: str


@dataclass(frozen=True, slots=True)
class Link:
    """A button on a card; it opens a page and decides nothing by itself."""

    label: str
    url: str


@dataclass(frozen=True, slots=True)
class Notice:
    """A message for people. All text is untrusted and escaped by the channel.

    Attributes:
        thread: the incident id; channels that can, keep one thread per incident.
        service: what the incident is about; for receivers that route.
        alerts: how many alerts the incident had when this was said.
    """

    kind: NoticeKind
    title: str
    text: str
    severity: Severity
    thread: str
    facts: tuple[Fact, ...] = ()
    links: tuple[Link, ...] = ()
    service: str = ""
    alerts: int = 0
