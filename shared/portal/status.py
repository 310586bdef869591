"""How ARGUS itself is: timers, parts, queues, and what waits for people.

In: a visit. Out: the status page, and the same as JSON.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from shared.config.schema import Settings
from shared.model import codec
from shared.model.pipeline import Queue
from shared.portal.exchange import Response, json_answer
from shared.portal.site import Visit
from shared.ports.store import Store
from shared.records import heartbeats
from shared.records.heartbeats import TIMER, Beat, Known, Raised, Report, WaitingApproval, WaitingHold

OK, FAILING, LATE, NEVER = "ok", "failing", "late", "never"


@dataclass(frozen=True, slots=True)
class BeatView:
    """A timer or a part; ``state`` is ok, failing, late, or never when nobody has seen it run."""

    name: str
    state: str
    last_at: datetime | None
    ok_at: datetime | None
    failures: int
    why: str


@dataclass(frozen=True, slots=True)
class QueueView:
    """A queue; ``state`` is ok or stuck, ages are in seconds, a limit of 0 is none."""

    name: str
    state: str
    oldest_s: float
    limit_s: float
    dead: int


@dataclass(frozen=True, slots=True)
class ApprovalLine:
    """An undecided approval; ``expiring`` when its deadline is near and nobody has voted."""

    approval: WaitingApproval
    expiring: bool


@dataclass(frozen=True, slots=True)
class StatusView:
    """Everything about ARGUS itself.

    Attributes:
        watch: ``ok``, ``failing``, ``never`` before the first look, or ``stale`` when nobody has looked for too long;
            the rest is as old as ``seen_at`` then.
        unknown: what the last look could not see.
        dead_letters: how many wait in the quarantine for a person.
    """

    watch: str
    seen_at: datetime | None
    problems: tuple[Raised, ...]
    timers: tuple[BeatView, ...]
    parts: tuple[BeatView, ...]
    queues: tuple[QueueView, ...]
    held: tuple[WaitingHold, ...]
    approvals: tuple[ApprovalLine, ...]
    dead_letters: int
    unknown: tuple[str, ...]


def view(store: Store, settings: Settings, now: datetime) -> StatusView:
    """How ARGUS is, from what its watch has written."""
    known, limits = heartbeats.read(store), settings.self_monitoring
    late = limits.late_after_s()
    report = known.report
    timers = tuple(_timer(known, name, late.get(name, 0), now) for name in _timers(known, tuple(late)))
    watch = next(timer for timer in timers if timer.name == "watch")
    parts = tuple(
        BeatView(beat.name, FAILING if beat.failures else OK, beat.last_at, beat.ok_at, beat.failures, beat.why)
        for beat in known.beats
        if not beat.name.startswith(f"{TIMER} ")
    )
    near = timedelta(seconds=limits.remind_before_s)
    return StatusView(
        watch="stale" if watch.state == LATE else watch.state,
        seen_at=report.at if report else None,
        problems=tuple(sorted(known.raised, key=lambda raised: (raised.severity, raised.since))),
        timers=timers,
        parts=parts,
        queues=_queues(report, limits.oldest_s()),
        held=report.held if report else (),
        approvals=tuple(
            ApprovalLine(approval, not approval.votes and approval.deadline - now <= near)
            for approval in (report.approvals if report else ())
            if approval.deadline > now
        ),
        dead_letters=report.dead_letters if report else 0,
        unknown=report.unknown if report else (),
    )


def banner(store: Store, settings: Settings, now: datetime) -> tuple[str, ...]:
    """What stands above the list of incidents while something of ARGUS itself does not work."""
    known = heartbeats.read(store)
    said = [f"{raised.title} since {raised.since:%d %b %H:%M} UTC." for raised in known.raised]
    beat = known.beat(f"{TIMER} watch")
    limit_s = settings.self_monitoring.late_after_s()["watch"]
    if beat is not None and heartbeats.is_late(beat, limit_s, now, now):
        said.append("ARGUS does not watch itself any more; a host with the role core may be down.")
    return tuple(said)


def page(visit: Visit) -> Response:
    """The status page."""
    visit.reader()
    ports = visit.site.ports
    return visit.html("status.html", view=view(ports.store, ports.settings, visit.now))


def answer(visit: Visit) -> Response:
    """The same as JSON."""
    visit.reader()
    ports = visit.site.ports
    return json_answer(codec.to_json(view(ports.store, ports.settings, visit.now)))


def _timers(known: Known, expected: tuple[str, ...]) -> tuple[str, ...]:
    seen = (beat.name.removeprefix(f"{TIMER} ") for beat in known.beats if beat.name.startswith(f"{TIMER} "))
    return tuple(dict.fromkeys((*expected, *seen)))


def _timer(known: Known, name: str, limit_s: float, now: datetime) -> BeatView:
    beat = known.beat(f"{TIMER} {name}")
    if beat is None:
        return BeatView(name, NEVER, None, None, 0, "")
    state = FAILING if beat.failures else OK
    if limit_s and heartbeats.is_late(beat, limit_s, now, now):
        state = LATE
    return _shown(replace(beat, name=name), state)


def _shown(beat: Beat, state: str) -> BeatView:
    return BeatView(beat.name, state, beat.last_at, beat.ok_at, beat.failures, beat.why)


def _queues(report: Report | None, limits: dict[Queue, float]) -> tuple[QueueView, ...]:
    """Queues as they were at the last look; what waited then may be gone by now."""
    found = []
    for state in report.queues if report else ():
        age = max(0.0, (report.at - state.oldest_at).total_seconds()) if report and state.oldest_at else 0.0
        limit = limits.get(state.queue, 0.0)
        stuck = bool(limit) and age > limit
        found.append(QueueView(str(state.queue), "stuck" if stuck else OK, round(age, 1), limit, state.dead))
    return tuple(found)
