"""Findings as sentences for people; text from outside is only ever quoted.

In: suspects, signs, shifts. Out: one sentence each.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from shared.agents.triage.rca.changes import Suspect
from shared.agents.triage.rca.onset import Shift
from shared.agents.triage.rca.signatures import Sign

MAX_QUOTE_CHARS = 160
_FIELDS = re.compile(r"( [A-Za-z_][\w.]*=\S+)+\s*$")


def quote(text: str, limit: int = MAX_QUOTE_CHARS) -> str:
    """Untrusted text as one short line of code."""
    line = " ".join(text.replace("`", "'").split())
    return f"`{line if len(line) <= limit else line[: limit - 1] + '…'}`"


def clock(at: datetime) -> str:
    """A moment in UTC, to the second."""
    return at.astimezone(UTC).strftime("%H:%M:%S UTC")


def said(line: str) -> str:
    """A log line without the ``name=value`` fields behind its message; they stay in the evidence."""
    return _FIELDS.sub("", line) or line


def span(length: timedelta) -> str:
    """A length of time as people say it."""
    seconds = round(max(length.total_seconds(), 0))
    if seconds < 120:
        return f"{seconds} s"
    return f"{round(seconds / 60)} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def of_change(suspect: Suspect, service: str, onset: datetime) -> str:
    """Why a change is suspected."""
    what = f"Release {quote(suspect.evidence.version, 60)}" if suspect.evidence.version else "The change"
    when = f"{what} of {quote(service, 60)} came {span(suspect.lead)} before the trouble began at {clock(onset)}"
    if suspect.constant:
        return f"{when} and set {quote(suspect.line)}; since then the log says {quote(said(suspect.message))}."
    if suspect.line:
        return f"{when} and changed {quote(suspect.line)}, which shares words with what is seen: {_words(suspect)}."
    if suspect.shared:
        return f"{when}, and its description shares words with what is seen: {_words(suspect)}."
    if not suspect.evidence.lines:
        return f"{when}; what it changed is not recorded, so only its time speaks against it."
    return f"{when}, but nothing in it speaks of what is seen; only its time speaks against it."


def of_sign(sign: Sign) -> str:
    """Why a class of cause is suspected."""
    return f"The evidence says that {sign.says}: {quote(said(sign.quote))}."


def of_no_change(changes: int, early: int) -> str:
    """Why no change is blamed."""
    if changes == 0:
        return "No change was recorded in the window, so none explains it."
    if early == 0:
        return f"Each of the {changes} recorded change(s) came after the trouble began, so none explains it."
    return f"Of {changes} recorded change(s) none speaks of what is seen, so a cause outside our changes is likely."


def of_shift(shift: Shift) -> str:
    """How a metric moved."""
    unit = f" {shift.unit}" if shift.unit else ""
    way = "rose" if shift.rose else "fell"
    return f"{quote(shift.title, 80)} {way} from {shift.usual:.4g} to {shift.now:.4g}{unit} at {clock(shift.at)}"


def _words(suspect: Suspect) -> str:
    return ", ".join(quote(word, 40) for word in suspect.shared[:4])
