"""Evidence from what ARGUS measured itself: the samples its rules were evaluated on.

In: a question. Out: one metric evidence per sampled metric of the service.
"""

from __future__ import annotations

import hashlib

from shared.config.schema import Settings
from shared.model import codec
from shared.model.diagnosis import Evidence, EvidenceKind, EvidenceStatus, Point
from shared.ports.evidence import Question
from shared.ports.store import Store
from shared.records import windows

MAX_POINTS = 240


class OwnSamples:
    """Reads the windows the evaluator keeps."""

    def __init__(self, store: Store, settings: Settings) -> None:
        self._store = store
        self._settings = settings

    def gather(self, question: Question) -> tuple[Evidence, ...]:
        """See `shared.ports.evidence`."""
        series = windows.samples_of(self._store, self._settings, question.service)
        found = []
        for name in sorted(series):
            points = tuple(p for p in series[name] if question.start <= p.at <= question.end)
            found.append(_evidence(name, question, points[:: max(1, len(points) // MAX_POINTS)]))
        return tuple(found)


def _evidence(name: str, question: Question, points: tuple[Point, ...]) -> Evidence:
    query = f"samples of {name} of {question.service}, {question.start.isoformat()} to {question.end.isoformat()}"
    digest = hashlib.sha256(codec.canonical([query, [[p.at, p.value] for p in points]]).encode()).hexdigest()[:16]
    if not points:
        return Evidence(
            digest, EvidenceKind.METRIC, "own_samples", query, EvidenceStatus.NO_DATA, name, "no samples in this window"
        )
    before = [p.value for p in points if p.at < question.onset]
    after = [p.value for p in points if p.at >= question.onset]
    text = f"{name}: last {points[-1].value:g}"
    if before and after:
        text = f"{name}: {before[-1]:g} before the onset, {max(after):g} at most since, {points[-1].value:g} now"
    return Evidence(
        digest, EvidenceKind.METRIC, "own_samples", query, EvidenceStatus.OK, name, text, points[0].at, points
    )
