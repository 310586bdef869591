"""What is wrong with ARGUS itself: three failures in a row, a queue too old, a timer that does not run."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from shared.agents.watch.judging import BUS, STORE, Problem, Seen, Tried, problems
from shared.agents.watch.pulse import Pulse
from shared.config.schema import SelfMonitoring
from shared.model.limits import QUEUE_AGE_S, TIMER_LATE_S
from shared.model.pipeline import Queue
from shared.model.signal import Severity
from shared.ports.queue_watch import QueueState
from shared.records.heartbeats import Beat, Known, WaitingHold

NOW = datetime(2026, 11, 20, 3, 0, tzinfo=UTC)
LIMITS = SelfMonitoring()
FRESH = tuple(Beat(f"timer {name}", ok_at=NOW) for name in TIMER_LATE_S)
WELL = Seen(Known(FRESH), {}, NOW - timedelta(days=1))


def keys(seen: Seen, limits: SelfMonitoring = LIMITS) -> list[str]:
    return [problem.key for problem in problems(seen, limits, NOW)]


def only(seen: Seen) -> Problem:
    [problem] = problems(seen, LIMITS, NOW)
    return problem


def streak(outcomes: str, name: str = "timer sweep") -> Beat:
    """The beat after a row of runs; ``x`` is a failure, ``.`` a success."""
    pulse, beat = Pulse(), Beat(name)
    for i, outcome in enumerate(outcomes):
        at = NOW - timedelta(seconds=len(outcomes) - i)
        after = pulse.failed(name, "it broke", at) if outcome == "x" else pulse.worked(name, at)
        beat = after or beat
    return beat


@pytest.mark.parametrize(
    ("outcomes", "raised"),
    [
        pytest.param("", False, id="nothing-yet"),
        pytest.param("x", False, id="one-failure-is-luck"),
        pytest.param("xx", False, id="two-may-be"),
        pytest.param("xxx", True, id="three-in-a-row-are-a-signal"),
        pytest.param("xxxx", True, id="and-it-stays-one"),
        pytest.param("xx.xx", False, id="a-success-begins-anew"),
        pytest.param("xx.xxx", True, id="three-after-a-success"),
        pytest.param("xxx.", False, id="a-success-ends-it"),
    ],
)
@pytest.mark.parametrize("name", ["timer sweep", "timer poll", "channel ops-teams", "destination confluence"])
def test_three_failures_in_a_row_and_no_fewer(name: str, outcomes: str, raised: bool) -> None:
    beats = tuple(beat for beat in FRESH if beat.name != name)
    seen = replace(WELL, known=Known((*beats, replace(streak(outcomes, name), ok_at=NOW))))
    assert keys(seen) == ([f"{name} fails"] if raised else [])


@pytest.mark.parametrize(("failures", "raised"), [(0, False), (1, False), (2, False), (3, True), (9, True)])
@pytest.mark.parametrize("part", [STORE, BUS])
def test_store_and_bus_are_told_directly(part: str, failures: int, raised: bool) -> None:
    seen = replace(WELL, tried={part: Tried(failures, NOW, "refused")})
    assert keys(seen) == ([f"{part} fails"] if raised else [])
    if raised:
        assert only(seen).direct
        assert only(seen).severity is Severity.SEV1


def test_how_many_failures_is_a_setting() -> None:
    seen = replace(WELL, tried={BUS: Tried(2, NOW, "refused")})
    assert keys(seen, SelfMonitoring(failures=2)) == ["bus fails"]
    assert keys(seen, SelfMonitoring(failures=4)) == []


@pytest.mark.parametrize("queue", QUEUE_AGE_S)
def test_every_queue_has_a_limit_of_its_own(queue: Queue) -> None:
    limit = timedelta(seconds=QUEUE_AGE_S[queue])
    assert keys(replace(WELL, queues=(QueueState(queue, NOW - limit),))) == []
    found = replace(WELL, queues=(QueueState(queue, NOW - limit - timedelta(seconds=1)),))
    assert keys(found) == [f"queue {queue} is stuck"]
    assert only(found).direct is (queue in ("signals", "incidents", "notifications")), "they are on the signal's way"


def test_the_limit_of_one_queue_can_be_set_and_the_others_keep_theirs() -> None:
    limits = SelfMonitoring(queue_age_s={Queue.KNOWLEDGE: 10})
    old = NOW - timedelta(seconds=130)
    seen = replace(WELL, queues=(QueueState(Queue.KNOWLEDGE, old), QueueState(Queue.SIGNALS, old)))
    assert keys(seen, limits) == ["queue knowledge is stuck", "queue signals is stuck"]


def test_the_quarantine_waits_for_people_and_an_empty_queue_for_nothing() -> None:
    queues = (QueueState(Queue.QUARANTINE, NOW - timedelta(days=9)), QueueState(Queue.SIGNALS, None))
    assert keys(replace(WELL, queues=queues)) == []


@pytest.mark.parametrize("name", [name for name in TIMER_LATE_S if name != "watch"])
def test_a_timer_that_does_not_run_is_late(name: str) -> None:
    limit = timedelta(seconds=TIMER_LATE_S[name])
    others = tuple(beat for beat in FRESH if beat.name != f"timer {name}")

    def last(at: datetime) -> Seen:
        return replace(WELL, known=Known((*others, Beat(f"timer {name}", ok_at=at))))

    assert keys(last(NOW - limit)) == []
    assert keys(last(NOW - limit - timedelta(seconds=1))) == [f"timer {name} is late"]


def test_a_timer_that_fails_runs_all_the_same() -> None:
    beats = (*FRESH[1:], Beat(FRESH[0].name, ok_at=NOW - timedelta(days=1), failed_at=NOW, failures=1, since=NOW))
    assert keys(replace(WELL, known=Known(beats))) == []


def test_a_timer_nobody_has_ever_seen_is_late_from_when_the_watch_began() -> None:
    young = replace(WELL, known=Known(FRESH[1:]), started_at=NOW - timedelta(seconds=100))
    assert keys(young) == []
    assert keys(replace(young, started_at=NOW - timedelta(seconds=400))) == [f"{FRESH[0].name} is late"]


def test_dead_letters_that_nobody_collects_and_those_that_wait_for_people() -> None:
    old, new = NOW - timedelta(minutes=6), NOW - timedelta(minutes=1)
    assert keys(replace(WELL, queues=(QueueState(Queue.CLOSING, None, 2, new),))) == []
    assert keys(replace(WELL, queues=(QueueState(Queue.CLOSING, None, 2, old),))) == ["queue closing has dead letters"]
    assert keys(replace(WELL, dead_letters=1)) == ["dead letters wait"]


def test_an_event_that_is_held_for_a_day() -> None:
    held = WaitingHold("i", "the kill switch is on", NOW, NOW - timedelta(hours=25))
    assert keys(replace(WELL, held=(replace(held, since=NOW),))) == []
    assert keys(replace(WELL, held=(held,))) == ["held for long"]


def test_a_part_nobody_tries_any_more_says_nothing() -> None:
    beat = Beat("channel gone", failed_at=NOW - timedelta(minutes=41), failures=9, since=NOW, why="it was taken out")
    assert keys(replace(WELL, known=Known((*FRESH, beat)))) == []


def test_a_count_goes_on_where_an_earlier_process_stopped() -> None:
    pulse = Pulse()
    pulse.remember(Beat("timer sweep", failures=2, since=NOW - timedelta(minutes=5)))
    beat = pulse.failed("timer sweep", "again", NOW)
    assert (beat.failures, beat.since) == (3, NOW - timedelta(minutes=5))


def test_a_timer_that_runs_every_second_writes_every_ten() -> None:
    pulse, written = Pulse(), 0
    for second in range(60):
        now = NOW + timedelta(seconds=second)
        beat = pulse.worked("timer poll", now)
        if beat is not None:
            pulse.written(beat, now)
            written += 1
    assert written == 6
