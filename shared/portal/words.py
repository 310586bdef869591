"""Model values in words a person reads at 3 a.m.

In: states, times, numbers. Out: short English text; escaping is the templates' business.
"""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Mapping
from datetime import datetime, timedelta
from urllib.parse import urlsplit

from shared.model.approval import Verdict
from shared.model.lifecycle import State
from shared.model.signal import Severity

STATES: Mapping[State, str] = {
    State.OPEN: "Open",
    State.INVESTIGATING: "Investigating",
    State.AWAITING_APPROVAL: "Awaiting approval",
    State.EXECUTING: "Executing",
    State.VERIFYING: "Verifying",
    State.RESOLVED: "Resolved",
    State.CLOSED: "Closed",
}

SEVERITIES: Mapping[Severity, str] = {
    Severity.SEV0: "critical",
    Severity.SEV1: "error",
    Severity.SEV2: "warning",
    Severity.SEV3: "minor",
    Severity.SEV4: "informational",
}

VERDICTS: Mapping[Verdict, str] = {
    Verdict.APPROVED: "Approved",
    Verdict.REJECTED: "Rejected",
    Verdict.EXPIRED: "Expired without a decision",
    Verdict.CANCELLED: "Cancelled",
}

NOTES: Mapping[str, str] = {
    "acknowledged": "Accepted. The acknowledgement shows here in a moment.",
    "assigned": "Accepted. The new assignee shows here in a moment.",
    "closing": "Accepted. The incident closes in a moment, and its ticket with it.",
    "investigating": "Accepted. The investigation starts in a moment.",
    "opened": "Accepted. The incident is being created.",
    "voted": "Your vote is in. The outcome follows in a moment.",
    "kept": "Your vote is kept. The queue cannot be reached right now; the vote will be counted within a minute.",
    "replay": "Accepted. What comes of it shows in a moment: here if it fails again, else on its incident.",
    "drop": "Dropped. It can still be read under the state `dropped`.",
    "released": "Released. It goes on in a moment.",
    "brake_on": "The storm brake is on.",
    "brake_off": "The storm brake is off. What is held is worked on by severity.",
    "signed_out": "You are signed out.",
}


def span(length: timedelta) -> str:
    """A length of time, rounded to what matters: ``45 s``, ``12 min``, ``3 h 05 min``, ``2 d 4 h``."""
    seconds = max(0, int(length.total_seconds()))
    if seconds < 60:
        return f"{seconds} s"
    minutes = seconds // 60
    if minutes < 60:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 24:
        return f"{hours} h {minutes:02d} min"
    days, hours = divmod(hours, 24)
    return f"{days} d {hours} h" if days < 14 else f"{days} d"


def ago(at: datetime, now: datetime) -> str:
    """How long ago something was."""
    return "just now" if now - at < timedelta(seconds=5) else f"{span(now - at)} ago"


def left(until: datetime, now: datetime) -> str:
    """How much time is left until a deadline."""
    return f"{span(until - now)} left" if until > now else "time is up"


def utc(at: datetime) -> str:
    """A moment in UTC to the second."""
    return at.strftime("%Y-%m-%d %H:%M:%S UTC")


def number(value: float) -> str:
    """A measurement with three significant digits, without an exponent for everyday sizes."""
    if not math.isfinite(value):
        return str(value)
    if value == int(value) and abs(value) < 1e6:
        return str(int(value))
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def percent(value: float) -> str:
    """A ratio as a percentage."""
    return f"{round(value * 100)} %" if math.isfinite(value) else "?"


def web_link(url: str) -> str:
    """The address when it is a web address, empty otherwise: ``javascript:`` and the like are never linked."""
    try:
        parts = urlsplit(url.strip())
    except ValueError:
        return ""
    return url.strip() if parts.scheme.lower() in ("http", "https") and parts.netloc else ""


def visible(text: str) -> str:
    """Text in which nothing hides: control, direction and zero-width characters are spelled out.

    A person must see exactly what would be done, and such characters can make a value look like another one.
    """
    return "".join(c if c in "\n\t" or unicodedata.category(c)[0] != "C" else f"⟨U+{ord(c):04X}⟩" for c in text)


def diff_side(line: str) -> str:
    """Which side of a unified diff a line is on: ``plus``, ``minus`` or ``plain``; file names are on neither."""
    if line.startswith(("+++ ", "--- ")):
        return "plain"
    return {"+": "plus", "-": "minus"}.get(line[:1], "plain")


def who(person: str) -> str:
    """A proposer or decider without its prefix, such as ``/agents/triage/recommender``."""
    return person.rsplit("/", 1)[-1] if person.startswith("/") else person.removeprefix("person:")
