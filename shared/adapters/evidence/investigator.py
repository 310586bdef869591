"""All evidence sources behind one bounded pool of threads.

In: a question. Out: what every source said, and an ``error`` evidence for each that failed or was late.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Collection, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import wait as wait_for

from shared.adapters.evidence import content
from shared.model.diagnosis import Evidence, EvidenceKind, EvidenceStatus
from shared.model.errors import ArgusError
from shared.ports.evidence import EvidenceSource, Question

_log = logging.getLogger(__name__)


class PooledInvestigator:
    """Asks every source of a service at once."""

    def __init__(
        self, sources: Mapping[str, tuple[EvidenceSource, Collection[str] | None]], timeout_s: float, parallel: int
    ) -> None:
        """Keep the sources; threads start with the first question.

        Args:
            sources: by name, each with the services it is asked for; ``None`` for every service.
            timeout_s: a source that is later than this is left out.
            parallel: sources asked at once, over all questions together.
        """
        self._sources = dict(sources)
        self._timeout_s = timeout_s
        self._pool = ThreadPoolExecutor(max_workers=parallel, thread_name_prefix="evidence")

    def gather(self, question: Question) -> tuple[Evidence, ...]:
        """What the sources said, in the order of their configuration; see the port `shared.ports.evidence`."""
        until = time.monotonic() + self._timeout_s
        asked: dict[str, Future[tuple[Evidence, ...]]] = {
            name: self._pool.submit(source.gather, question)
            for name, (source, services) in self._sources.items()
            if services is None or question.service in services
        }
        wait_for(asked.values(), timeout=max(0.0, until - time.monotonic()))
        found: list[Evidence] = []
        for name, answer in asked.items():
            found += self._answer(name, answer)
        return tuple(found)

    def close(self) -> None:
        """Take no more questions; threads end with what they are reading."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _answer(self, name: str, answer: Future[tuple[Evidence, ...]]) -> tuple[Evidence, ...]:
        if not answer.done():
            answer.cancel()
            return (self._failed(name, f"{name} did not answer within {self._timeout_s:g} s"),)
        failure = answer.exception()
        if failure is None:
            return answer.result()[: content.MAX_ITEMS]
        if not isinstance(failure, Exception):
            raise failure
        if isinstance(failure, ArgusError):
            return (self._failed(name, str(failure)),)
        _log.error("evidence source %s is broken", name, exc_info=failure)
        return (self._failed(name, f"{name} failed inside ARGUS ({type(failure).__name__}); see the log"),)

    def _failed(self, name: str, summary: str) -> Evidence:
        source, _ = self._sources[name]
        kind = getattr(source, "kind", EvidenceKind.LOG)
        return content.empty(kind, name, "", f"{name} gave no answer", summary, EvidenceStatus.ERROR)
