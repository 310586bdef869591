"""Whether this instance can do its work: store, bus and configuration, and whether anybody watches.

In: a request. Out: 200 or 503 within 3 s, however store and bus hang; words only, to those who may read also why.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from datetime import datetime, timedelta

from shared.model.errors import ArgusError
from shared.portal.exchange import PROBLEM, Response, json_answer
from shared.ports import Ports
from shared.records import heartbeats
from shared.records.heartbeats import TIMER, Known

LIMIT_S = 2.5  # the edge gives up after 3 s (ARCHITECTURE, section 7)
KEPT_FOR = timedelta(seconds=2)  # so that nobody can wear out the store by asking
OK, FAILED, STALE, STARTING = "ok", "failed", "stale", "starting"


@dataclass(frozen=True, slots=True)
class Part:
    """One part; ``why`` is for those who may read."""

    state: str
    why: str = ""


@dataclass(frozen=True, slots=True)
class Ready:
    """How everything stood ``at`` a moment."""

    at: datetime
    parts: Mapping[str, Part]

    @property
    def ready(self) -> bool:
        """Whether work can be taken: a watch that is away stops none."""
        return all(part.state != FAILED for part in self.parts.values())

    @property
    def status(self) -> str:
        """``ok``, ``degraded`` when nobody watches, or ``failed``."""
        if not self.ready:
            return FAILED
        return "degraded" if any(part.state == STALE for part in self.parts.values()) else OK


class Readiness:
    """Asks each part in a thread of its own, one question at a time; an answer is kept for two seconds."""

    def __init__(self, ports: Ports, clock: Callable[[], datetime]) -> None:
        self._ports, self._clock = ports, clock
        self._started_at = clock()
        self._pool = ThreadPoolExecutor(2, "ready")
        self._asked: dict[str, Future[Known | None]] = {}
        self._last: Ready | None = None
        self._one_at_a_time = threading.Lock()

    def look(self) -> Ready:
        """How everything stands."""
        with self._one_at_a_time:
            now = self._clock()
            if self._last is None or not timedelta(0) <= now - self._last.at < KEPT_FOR:
                self._last = self._ask()
            return self._last

    def _ask(self) -> Ready:
        questions: dict[str, Callable[[], Known | None]] = {
            "store": lambda: heartbeats.read(self._ports.store),
            "bus": self._ports.queue_watch.reach,
        }
        for name, question in questions.items():
            asked = self._asked.get(name)
            if asked is None or asked.done():  # one that hangs is not asked twice
                self._asked[name] = self._pool.submit(question)
        wait(self._asked.values(), LIMIT_S)
        parts: dict[str, Part] = {}
        known: Known | None = None
        for name, asked in self._asked.items():
            part, answer = _answered(asked)
            parts[name] = part
            known = answer or known
        parts["config"] = Part(OK, "loaded when this instance started; a wrong one stops the start")
        now = self._clock()
        parts["watch"] = self._watch(known, now)
        return Ready(now, parts)

    def _watch(self, known: Known | None, now: datetime) -> Part:
        """How long ago ARGUS looked at itself; what has never run is late from when this instance started."""
        if known is None:
            return Part(STALE, "the store does not tell")
        limit = timedelta(seconds=self._ports.settings.self_monitoring.late_after_s()["watch"])
        beat = known.beat(f"{TIMER} watch")
        last = beat.last_at if beat else None
        if last is None:
            young = now - self._started_at <= limit
            return Part(STARTING if young else STALE, "it has never run")
        ago = f"it ran {max(0, int((now - last).total_seconds()))} s ago"
        return Part(OK if now - last <= limit else STALE, ago)


def _answered(asked: Future[Known | None]) -> tuple[Part, Known | None]:
    if not asked.done():
        return Part(FAILED, f"no answer within {LIMIT_S:g} s"), None
    failure = asked.exception()
    if failure is None:
        return Part(OK), asked.result()
    return Part(FAILED, str(failure) if isinstance(failure, ArgusError) else type(failure).__name__), None


def respond(found: Ready, details: bool, strict: bool) -> Response:
    """The answer to whoever asks.

    Args:
        details: say why, too.
        strict: also a watch that is away is a 503, for monitors that look at the status only.
    """
    parts: dict[str, object] = {
        name: {"state": part.state, "why": part.why} if details else part.state for name, part in found.parts.items()
    }
    if found.ready and not (strict and found.status != OK):
        return json_answer({"status": found.status, "at": found.at.isoformat(), "parts": parts})
    bad = ", ".join(f"{name} {part.state}" for name, part in found.parts.items() if part.state in (FAILED, STALE))
    body = {"type": "about:blank", "title": "not ready", "status": 503, "detail": bad, "parts": parts}
    answer = json_answer(body, 503, {"Retry-After": "5"})
    return Response(503, answer.body, PROBLEM, answer.headers)
