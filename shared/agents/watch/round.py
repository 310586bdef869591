"""One round of the watch: look, judge, tell what is new, what lasts and what is over.

In: ports, the memory of the process, a clock. Out: signals, cards, reminders, and a report that pages show.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta

from shared.agents.watch import telling
from shared.agents.watch.judging import BUS, STORE, Problem, Seen, abandoned, problems
from shared.agents.watch.looking import expiring, look
from shared.agents.watch.pulse import Pulse
from shared.model.errors import ArgusError
from shared.model.signal import Status
from shared.ports import Ports
from shared.records import heartbeats
from shared.records.heartbeats import Raised, Report

log = logging.getLogger("argus.watch")


def run(ports: Ports, pulse: Pulse, clock: Callable[[], datetime]) -> Seen:
    """Watch once. Nothing that is broken ends the round before everything that still works was told."""
    seen, limits = look(ports, pulse, clock), ports.settings.self_monitoring
    now = clock()
    found = {problem.key: problem for problem in problems(seen, limits, now)} if limits.enabled else {}
    broken = _broken(seen)
    before = {r.key: r for r in (seen.known.raised if seen.known else ())} | pulse.unsaved
    for problem in found.values():
        told = before.get(problem.key)
        if told is None or now - told.told_at >= timedelta(seconds=limits.repeat_s):
            _keep(ports, pulse, _tell(ports, problem, told, broken, now))
    if seen.known is not None:  # without the store nobody knows what is over
        for told in before.values():
            if told.key not in found:
                _end(ports, pulse, told, broken, now)
        gone = [beat for beat in seen.known.beats if beat.failures and abandoned(beat, now)]
        _quietly(lambda: heartbeats.drop(ports.store, beats=gone))
        _remind(ports, pulse, seen, now)
        _quietly(lambda: heartbeats.put_report(ports.store, report_of(seen, now)))
    return seen


def report_of(seen: Seen, now: datetime) -> Report:
    """What pages and the command line show of a look."""
    return Report(now, seen.queues, seen.held, seen.approvals, seen.dead_letters, seen.unknown)


def _broken(seen: Seen) -> bool:
    """Whether a signal could not travel now; one failure is enough to tell people another way."""
    return any(seen.tried[part].failures for part in (STORE, BUS) if part in seen.tried)


def _tell(ports: Ports, problem: Problem, told: Raised | None, broken: bool, now: datetime) -> Raised:
    raised = telling.raised_of(problem, now)
    if told is not None:
        raised = replace(raised, since=told.since, direct=told.direct, piped=told.piped)
    log.error("ARGUS itself: %s: %s", problem.title, problem.text)
    if not (problem.direct or broken):
        try:
            telling.signal(ports, raised, Status.FIRING, now)
            return replace(raised, piped=True)
        except ArgusError as error:
            log.warning("no signal could be sent, so people are told directly: %s", error)
    telling.directly(ports, raised, False, now)
    return replace(raised, direct=True)


def _end(ports: Ports, pulse: Pulse, told: Raised, broken: bool, now: datetime) -> None:
    """Say that a problem is over where it was said that it began; what cannot be said now is said by a later round."""
    if told.piped:
        if broken:
            return
        try:
            telling.signal(ports, told, Status.RESOLVED, now)
        except ArgusError as error:
            log.warning("the end of %r is said later: %s", told.key, error)
            return
    if told.direct:
        telling.directly(ports, told, True, now)
    pulse.unsaved.pop(told.key, None)
    _quietly(lambda: heartbeats.drop(ports.store, raised=[told]))


def _keep(ports: Ports, pulse: Pulse, raised: Raised) -> None:
    pulse.unsaved[raised.key] = raised
    if _quietly(lambda: heartbeats.put_raised(ports.store, raised)):
        del pulse.unsaved[raised.key]


def _remind(ports: Ports, pulse: Pulse, seen: Seen, now: datetime) -> None:
    within = timedelta(seconds=ports.settings.self_monitoring.remind_before_s)
    for approval in expiring(seen.approvals, within, now):
        if approval.approval_id in pulse.reminded:
            continue
        if _quietly(lambda approval=approval: telling.remind(ports, approval, now)):  # type: ignore[misc]
            pulse.reminded.add(approval.approval_id)


def _quietly(work: Callable[[], None]) -> bool:
    """Do what the next round can do as well; whether it was done."""
    try:
        work()
    except ArgusError as error:
        log.warning("left to the next round of the watch: %s", error)
        return False
    return True
