"""Which runbooks fit an incident: an exact alert name first, then words, each weighed by where it stands.

In: an incident, runbooks, learned ones, closed cases of the service. Out: ranked fits with the reasons.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from shared.agents.triage.words import terms
from shared.model.incident import Incident
from shared.model.runbook import Runbook
from shared.records.knowledge import Case, Learned, tally, theme_of

K1 = 1.2
SATURATION = 12.0  # BM25 at which the words alone count half
FIELD_WEIGHTS: Mapping[str, float] = {"title": 3.0, "matches": 2.5, "body": 1.0}
FIELD_LENGTH: Mapping[str, float] = {"title": 0.3, "matches": 0.3, "body": 0.75}  # how much length is held against it
QUERY_WEIGHTS = (("name", 2.0), ("cause", 1.5), ("summary", 1.0), ("labels", 0.5))
CAUSE_BONUS = 0.3
WORDS_TO = 0.6  # words alone never score above this; an exact alert name or a solid cause never below
LIFTED_SPAN = 0.12
SOLID = 0.5  # a cause as sure as this counts more than any name
SOLID_BONUS = 0.12
THEME_BONUS = 0.1
EFFECT_SPAN = 0.06


@dataclass(frozen=True, slots=True)
class Fit:
    """A runbook that fits.

    Attributes:
        score: 0 to 1, comparable within one ranking.
        why: what fits, for people.
    """

    runbook: Runbook
    score: float
    why: str


def candidates(library: Sequence[Runbook], learned: Sequence[Learned]) -> tuple[Runbook, ...]:
    """Every runbook once; a learned one that the library has too is taken from there, as people may have edited it."""
    found = {item.runbook.id: item.runbook for item in learned}
    found.update({runbook.id: runbook for runbook in library})
    return tuple(found[key] for key in sorted(found))


def rank(
    incident: Incident,
    runbooks: Sequence[Runbook],
    learned: Sequence[Learned],
    cases: Sequence[Case],
    min_score: float,
) -> tuple[Fit, ...]:
    """Runbooks that may be offered for an incident, best first, ties by id.

    Args:
        runbooks: all of them, each id once.
        learned: index rows of the service's learned runbooks.
        cases: closed incidents of the service; this incident itself does not count.
        min_score: what matches less is left out.
    """
    open_to = [runbook for runbook in runbooks if _may(runbook, incident)]
    relevance = Relevance(open_to).scores(_query(incident))
    theme = theme_of(incident)
    themes = {item.runbook.id: item.theme for item in learned}
    others = [case for case in cases if case.incident_id != incident.id]
    fits = [
        _fit(
            runbook,
            incident,
            relevance[runbook.id],
            themes.get(runbook.id) == theme,
            [case for case in others if case.runbook == runbook.id],
        )
        for runbook in open_to
    ]
    fits = [fit for fit in fits if fit.score >= min_score]
    return tuple(sorted(fits, key=lambda fit: (-fit.score, fit.runbook.id)))


def _may(runbook: Runbook, incident: Incident) -> bool:
    services = {name.lower() for name in runbook.matches.services}
    if services and incident.service.lower() not in services:
        return False
    return not runbook.needs_cause or _confidence(runbook, incident) > 0


def _confidence(runbook: Runbook, incident: Incident) -> float:
    hypotheses = incident.diagnosis.hypotheses if incident.diagnosis else ()
    return max((h.confidence for h in hypotheses if h.cause in runbook.matches.causes), default=0.0)


def _solid(runbook: Runbook, incident: Incident) -> bool:
    best = incident.diagnosis.hypotheses[:1] if incident.diagnosis else ()
    return any(h.cause in runbook.matches.causes and h.confidence >= SOLID for h in best)


def _fit(runbook: Runbook, incident: Incident, relevance: float, same_theme: bool, cases: Sequence[Case]) -> Fit:
    why: list[str] = []
    words = relevance / (relevance + SATURATION)
    confidence = _confidence(runbook, incident)
    score = WORDS_TO * min(1.0, words + CAUSE_BONUS * confidence)
    names = {alert.name.lower() for alert in incident.alerts} | {incident.title.lower()}
    exact = sorted(name for name in runbook.matches.alerts if name.lower() in names)
    solid = _solid(runbook, incident)
    if exact or solid:
        score = WORDS_TO + LIFTED_SPAN * score / WORDS_TO + (SOLID_BONUS if solid else 0.0)
    if exact:
        why.append(f"it names the alert {exact[0]!r}")
    if confidence > 0:
        why.append(f"it is for the cause found ({confidence:.0%} sure)")
    count = tally(cases)
    if same_theme and count.failures <= count.successes:
        score += THEME_BONUS
        why.append("it was learned from an incident like this one")
    if cases:
        worked = (count.successes + 1) / (count.successes + count.failures + 2)
        score += EFFECT_SPAN * (2 * worked - 1)
        why.append(f"it worked {count.successes} of {count.successes + count.failures} times here")
    if not why:
        why.append("its words fit the alert")
    return Fit(runbook, round(max(0.0, min(1.0, score)), 4), ", ".join(why))


def _query(incident: Incident) -> Mapping[str, float]:
    texts = {
        "name": " ".join([incident.title, *(alert.name for alert in incident.alerts)]),
        "cause": " ".join(
            f"{h.cause} {h.statement}" for h in (incident.diagnosis.hypotheses if incident.diagnosis else ())[:1]
        ),
        "summary": " ".join(
            [incident.summary, *(f"{alert.summary} {alert.description}" for alert in incident.alerts[-10:])]
        ),
        "labels": " ".join(
            f"{alert.source} {' '.join(alert.labels.values())} {alert.resource}" for alert in incident.alerts[-10:]
        ),
    }
    query: dict[str, float] = {}
    for name, weight in QUERY_WEIGHTS:
        for term in set(terms(texts[name])):
            query[term] = max(query.get(term, 0.0), weight * (0.5 if term.isdigit() else 1.0))
    return query


class Relevance:
    """BM25 over title, matches and body together (BM25F), built once for a set of runbooks."""

    def __init__(self, runbooks: Sequence[Runbook]) -> None:
        """Count the terms.

        Args:
            runbooks: each id once.

        Source: Robertson and Zaragoza, "The Probabilistic Relevance Framework: BM25 and Beyond", 2009, section 3.6.
        """
        texts = {runbook.id: _fields(runbook) for runbook in runbooks}
        counts = {key: {name: Counter(terms(text)) for name, text in parts.items()} for key, parts in texts.items()}
        lengths = {key: {name: counter.total() for name, counter in parts.items()} for key, parts in counts.items()}
        mean = {
            name: max(1.0, sum(parts[name] for parts in lengths.values()) / max(len(lengths), 1))
            for name in FIELD_WEIGHTS
        }
        self._weights: dict[str, dict[str, float]] = {}
        for key, parts in counts.items():
            mixed: dict[str, float] = {}
            for name, counter in parts.items():
                drag = 1 - FIELD_LENGTH[name] + FIELD_LENGTH[name] * lengths[key][name] / mean[name]
                for term, count in counter.items():
                    mixed[term] = mixed.get(term, 0.0) + FIELD_WEIGHTS[name] * count / drag
            self._weights[key] = mixed
        self._spread = Counter(term for mixed in self._weights.values() for term in mixed)

    def scores(self, query: Mapping[str, float]) -> dict[str, float]:
        """Relevance of each runbook, >= 0, no unit.

        Args:
            query: weight of each term asked for.
        """
        total = len(self._weights)
        idf = {
            term: math.log(1 + (total - self._spread[term] + 0.5) / (self._spread[term] + 0.5))
            for term in sorted(query)
            if term in self._spread
        }
        return {
            key: sum(
                query[term] * rarity * mixed[term] / (K1 + mixed[term]) for term, rarity in idf.items() if term in mixed
            )
            for key, mixed in self._weights.items()
        }


def _fields(runbook: Runbook) -> Mapping[str, str]:
    matches = runbook.matches
    return {
        "title": f"{runbook.id.replace('-', ' ')} {runbook.title}",
        "matches": "\n".join([*matches.alerts, *matches.causes, *matches.words]),
        "body": runbook.body,
    }
