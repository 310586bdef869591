"""Which change explains what is seen, judged by what it changed rather than by being the last one.

In: change evidence, telling log templates, alert words, the onset. Out: scored changes with the reasons for the score.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from shared.agents.triage.rca.logs import Template
from shared.agents.triage.words import numbers, plain_terms
from shared.model.diagnosis import Evidence, EvidenceKind, EvidenceStatus

BASE = 0.12  # it happened shortly before the onset: weak by itself
NEARNESS = 0.12
LAST = 0.05  # "blame the last deploy" was wrong in 22 of 24 recorded incidents
OVERLAP = 0.32
CONSTANT = 0.33
UNKNOWN_DIFF = 0.12  # nobody can say what it changed, which neither clears nor blames it
SIDE_WEIGHT = 0.1  # documentation and tests do not run
ADDED_WEIGHT = 0.5  # what is only added is called by nobody yet, more often than not
MESSAGE_WEIGHT = 0.5
MAX_DIFF_LINES = 400
_GENERIC = plain_terms(
    [
        "error fail failure failed fatal warn warning info debug exception high low too many much rate ratio",
        "alert incident service request requests response http https get post put delete status code server",
        "count total client user",
        "production environment now new old fix change changed release version update add remove more less than",
    ]
)  # words that every incident and every change may hold
_SIDE = re.compile(
    r"(^|/)(docs?|tests?|spec|examples?)/|\.(md|rst|txt|adoc)\b|(^|/)(test_|readme|changelog)", re.IGNORECASE
)
_FILE = re.compile(r"^(?:\+\+\+|---|diff --git|Index:)\s+(?:[ab]/)?(\S+)")
_ARROW = re.compile(r"^(?P<name>.*?)[:=]?\s*(?P<old>\S+)\s*(?:->|→|=>)\s*(?P<new>\S+)\s*$")


@dataclass(frozen=True, slots=True)
class DiffLine:
    """A changed line with its weight; ``value`` is what it sets now."""

    text: str
    weight: float
    value: str


@dataclass(frozen=True, slots=True)
class Suspect:
    """A change with how well it explains the trouble.

    Attributes:
        score: 0 to 1; also the confidence of its hypothesis.
        shared: words it has in common with what is seen, rarest first.
        line: the changed line that explains most; empty when none does.
        constant: a number it sets and the logs speak of.
        log: evidence id of the log that speaks of it.
        message: the log message that does.
    """

    evidence: Evidence
    score: float
    lead: timedelta
    shared: tuple[str, ...]
    line: str = ""
    constant: str = ""
    log: str = ""
    message: str = ""

    @property
    def explains(self) -> bool:
        """Its content, not only its time, fits what is seen."""
        return bool(self.shared or self.constant)


def suspects(
    evidence: Sequence[Evidence],
    told: Sequence[Template],
    alert_words: Sequence[str],
    service: str,
    onset: datetime,
    slack: timedelta,
    allowed: timedelta,
) -> tuple[Suspect, ...]:
    """Changes that happened before the onset, the best explanation first.

    Args:
        told: telling log templates.
        alert_words: names and summaries of the alerts.
        service: its own name is in everything and tells nothing.
        onset: beginning of the trouble, aware.
        slack: how far after the onset a change may be recorded and still be its cause (clocks and sampling differ).
        allowed: the longest delay between a change and its effect.
    """
    changes = [
        item
        for item in evidence
        if item.kind is EvidenceKind.CHANGE and item.status is EvidenceStatus.OK and item.at is not None
    ]
    early = [item for item in changes if item.at is not None and onset - allowed <= item.at <= onset + slack]
    if not early:
        return ()
    words = {item.id: _change_words(item) for item in changes}
    spread = Counter(term for terms in words.values() for term in terms)
    seen = plain_terms([*alert_words, *(t.text for t in told)]) - _GENERIC - plain_terms([service])
    last = max(item.at for item in early if item.at is not None)
    found = [_judge(item, words[item.id], spread, len(changes), seen, told, onset, allowed, last) for item in early]
    return tuple(sorted(found, key=lambda s: (-s.score, s.lead, s.evidence.version, s.evidence.id)))


def _judge(
    item: Evidence,
    words: dict[str, float],
    spread: Counter[str],
    changes: int,
    seen: frozenset[str],
    told: Sequence[Template],
    onset: datetime,
    allowed: timedelta,
    last: datetime,
) -> Suspect:
    at = item.at or onset
    lead = max(onset - at, timedelta())
    rarity = {term: math.log(1 + changes / spread[term]) * words[term] for term in words if term in seen}
    shared = tuple(sorted(rarity, key=lambda term: (-rarity[term], term))[:6])
    lines = changed_lines(item)
    line, constant, template = _constant(lines, told)
    share = 1 - math.exp(-sum(rarity.values()) / 1.5)
    nearness = math.exp(-lead.total_seconds() / max(allowed.total_seconds() / 4, 1.0))
    score = BASE + NEARNESS * nearness + (LAST if at == last else 0.0) + OVERLAP * share
    if not item.lines:
        score += UNKNOWN_DIFF * nearness
    if constant:
        score += CONSTANT
    if not line and shared:
        line = (
            max(
                lines,
                key=lambda changed: (len(plain_terms([changed.text]) & set(shared)) * changed.weight, changed.text),
            ).text
            if lines
            else ""
        )
    return Suspect(
        evidence=item,
        score=round(min(score, 0.97), 3),
        lead=lead,
        shared=shared,
        line=line,
        constant=constant,
        log=template.evidence if template else "",
        message=template.sample if template else "",
    )


def _constant(lines: Sequence[DiffLine], told: Sequence[Template]) -> tuple[str, str, Template | None]:
    """A changed line that sets a number a telling message speaks of; name and message must share a word as well."""
    best: tuple[int, str, str, Template] | None = None
    for changed in lines:
        if changed.weight < ADDED_WEIGHT:
            continue
        for number in sorted(numbers(changed.value)):
            for template in told:
                if number not in numbers(template.sample):
                    continue
                common = len(plain_terms([changed.text]) & plain_terms([template.sample]))
                if common and (best is None or common > best[0]):
                    best = (common, changed.text, number, template)
    return (best[1], best[2], best[3]) if best else ("", "", None)


def changed_lines(item: Evidence) -> tuple[DiffLine, ...]:
    """The lines a change touched: unified diff, or ``name: old -> new``.

    Returns:
        Removed lines carry no value; lines of context are left out when the diff marks changed ones.
    """
    raw = [line.rstrip() for line in item.lines[:MAX_DIFF_LINES] if line.strip()]
    marked = any(line.startswith(("+", "-")) for line in raw)
    removed = any(line.startswith("-") and not _FILE.match(line) for line in raw)
    weight = 1.0
    found: list[DiffLine] = []
    for line in raw:
        header = _FILE.match(line)
        if header:
            weight = SIDE_WEIGHT if _SIDE.search(header.group(1)) else 1.0
        elif line.startswith("+"):
            found.append(DiffLine(line[1:].strip(), weight * (1.0 if removed else ADDED_WEIGHT), line[1:]))
        elif line.startswith("-"):
            found.append(DiffLine(line[1:].strip(), weight, ""))
        elif not marked:
            arrow = _ARROW.match(line)
            found.append(DiffLine(line.strip(), weight, arrow.group("new") if arrow else line))
    return tuple(found)


def _change_words(item: Evidence) -> dict[str, float]:
    weights = dict.fromkeys(plain_terms([item.title, item.summary]), MESSAGE_WEIGHT)
    for changed in changed_lines(item):
        for term in plain_terms([changed.text]):
            weights[term] = max(weights.get(term, 0.0), changed.weight)
    return weights
