"""What is wrong with ARGUS itself, from what was seen; values in, values out.

In: beats, ages, counts, limits, and the time. Out: problems, each under a key that lasts as long as it does.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from shared.config.schema import SelfMonitoring
from shared.model.pipeline import Queue
from shared.model.signal import Severity
from shared.ports.queue_watch import QueueState
from shared.records.heartbeats import TIMER, Beat, Known, WaitingApproval, WaitingHold, is_late

# What a signal about ARGUS travels through on its way to people.
ON_THE_WAY = (Queue.SIGNALS, Queue.INCIDENTS, Queue.NOTIFICATIONS)
DEAD_LETTER_REST = timedelta(minutes=5)  # a timer brings them to the quarantine; what is older it could not bring
STORE, BUS = "store", "bus"


@dataclass(frozen=True, slots=True)
class Tried:
    """How often in a row the watch failed with something it needs itself.

    Attributes:
        why: of the last failure.
    """

    failures: int
    since: datetime
    why: str


@dataclass(frozen=True, slots=True)
class Seen:
    """Everything one look found.

    Attributes:
        known: ``None`` when the store did not answer.
        tried: store and bus, by name.
        started_at: since when this process has been looking.
        dead_letters: how many wait in the quarantine for a person.
    """

    known: Known | None
    tried: Mapping[str, Tried]
    started_at: datetime
    queues: tuple[QueueState, ...] = ()
    held: tuple[WaitingHold, ...] = ()
    approvals: tuple[WaitingApproval, ...] = ()
    dead_letters: int = 0
    unknown: tuple[str, ...] = field(default=())


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that is wrong.

    Attributes:
        key: what is broken and how.
        direct: the pipeline itself needs what is broken.
    """

    key: str
    title: str
    text: str
    severity: Severity
    since: datetime
    direct: bool = False


def problems(seen: Seen, limits: SelfMonitoring, now: datetime) -> tuple[Problem, ...]:
    """Every problem, the gravest part first."""
    found = list(_needed(seen, limits))
    if seen.known is not None:
        found += _failing(seen.known.beats, limits, now)
        found += _late(seen, limits, now)
    found += _stuck(seen.queues, limits, now)
    found += _waiting(seen, limits, now)
    return tuple(found)


def _needed(seen: Seen, limits: SelfMonitoring) -> Iterator[Problem]:
    for part, tried in seen.tried.items():
        if tried.failures >= limits.failures:
            text = f"{tried.failures} attempts in a row failed: {tried.why}."
            yield Problem(f"{part} fails", f"The {part} cannot be used", text, Severity.SEV1, tried.since, direct=True)


def _failing(beats: tuple[Beat, ...], limits: SelfMonitoring, now: datetime) -> Iterator[Problem]:
    for beat in beats:
        if beat.failures < limits.failures or abandoned(beat, now):
            continue
        timer = beat.name.startswith(f"{TIMER} ")
        title = f"The {beat.name} fails" if timer else f"The {beat.name} cannot be used"
        text = f"{beat.failures} attempts in a row failed, the last one because: {beat.why}."
        severity = Severity.SEV2 if timer else Severity.SEV3
        yield Problem(f"{beat.name} fails", title, text, severity, beat.since or now)


def abandoned(beat: Beat, now: datetime) -> bool:
    """Whether a part is no longer tried at all, so that nothing can be said about it; timers are late instead."""
    last = beat.last_at
    return not beat.name.startswith(f"{TIMER} ") and last is not None and now - last > timedelta(minutes=40)


def _late(seen: Seen, limits: SelfMonitoring, now: datetime) -> Iterator[Problem]:
    for name, limit_s in limits.late_after_s().items():
        beat = seen.known.beat(f"{TIMER} {name}") if seen.known else None
        if name != "watch" and is_late(beat, limit_s, seen.started_at, now):
            last = f"since {beat.last_at:%d %b %H:%M} UTC" if beat and beat.last_at else "as far as anybody knows"
            text = f"It has not run {last}; {limit_s:.0f} s are allowed. Is a host with the role core running?"
            since = beat.last_at if beat and beat.last_at else seen.started_at
            yield Problem(f"timer {name} is late", f"The timer {name} does not run", text, Severity.SEV2, since)


def _stuck(queues: tuple[QueueState, ...], limits: SelfMonitoring, now: datetime) -> Iterator[Problem]:
    allowed = limits.oldest_s()
    for state in queues:
        limit_s, queue = allowed.get(state.queue), state.queue
        if limit_s is not None and state.oldest_at and now - state.oldest_at > timedelta(seconds=limit_s):
            age = (now - state.oldest_at).total_seconds()
            text = f"Its oldest message has waited for {age:.0f} s; {limit_s:.0f} s are allowed."
            direct = queue in ON_THE_WAY
            yield Problem(
                f"queue {queue} is stuck", f"The queue {queue} is stuck", text, Severity.SEV2, state.oldest_at, direct
            )
        if state.dead and state.dead_at and now - state.dead_at > DEAD_LETTER_REST:
            text = f"{state.dead} or more dead letters lie there, and nobody brings them to the quarantine."
            yield Problem(
                f"queue {queue} has dead letters", f"Dead letters of {queue} are not collected", text, Severity.SEV3,
                state.dead_at,
            )  # fmt: skip


def _waiting(seen: Seen, limits: SelfMonitoring, now: datetime) -> Iterator[Problem]:
    if seen.dead_letters:
        text = f"{seen.dead_letters} message(s) that the bus gave up wait in the quarantine for a person."
        yield Problem("dead letters wait", "Messages could not be worked off", text, Severity.SEV3, now)
    old = [held for held in seen.held if now - held.since > timedelta(seconds=limits.held_age_s)]
    if old:
        first = min(old, key=lambda held: held.since)
        text = f"{len(old)} event(s) have been held for long, the first because {first.reason}."
        yield Problem("held for long", "Held events wait for a release", text, Severity.SEV3, first.since)
