"""Waiting for a moment while somebody sets the clock: timers of orchestrations, timer triggers and their leases."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from local.host.clock import Alarm, Clock
from local.host.durable.episode import apply, current_time, receive
from local.host.durable.history import Kind, event, iso, moment_of
from local.host.durable.instance import Instance
from local.host.durable.storage import Delivery
from local.host.invoke import Invoker
from local.host.loader import FunctionSpec, Trigger
from local.host.ncrontab import parse
from local.host.timer_store import TimerStore
from local.host.timers import Timer, TimerRunner
from tests.local.host.test_episode import reply

NOW = datetime(2026, 11, 20, 10, tzinfo=UTC)
HOURS = timedelta(hours=3)


class TwoClocks(Clock):
    """Both clocks, moved by hand; setting the wall clock leaves the other one alone."""

    def __init__(self) -> None:
        self.wall, self.ticks = NOW, 0.0

    def now(self) -> datetime:
        return self.wall

    def monotonic(self) -> float:
        return self.ticks

    def passes(self, seconds: float) -> None:
        self.wall += timedelta(seconds=seconds)
        self.ticks += seconds


def test_an_alarm_is_over_when_its_time_has_passed() -> None:
    clock = TwoClocks()
    alarm = Alarm(clock, NOW + timedelta(seconds=60), 60)
    clock.passes(59)
    assert alarm.left_s() == 1
    clock.passes(1)
    assert alarm.left_s() == 0


def test_an_alarm_is_over_at_once_when_the_clock_is_set_past_it() -> None:
    clock = TwoClocks()
    alarm = Alarm(clock, NOW + timedelta(seconds=60), 60)
    clock.wall += HOURS
    assert alarm.left_s() == 0


def test_an_alarm_takes_no_longer_than_planned_when_the_clock_is_set_back() -> None:
    clock = TwoClocks()
    alarm = Alarm(clock, NOW + timedelta(seconds=60), 60)
    clock.wall -= HOURS
    clock.passes(59)
    assert alarm.left_s() == 1
    clock.passes(1)
    assert alarm.left_s() == 0


def test_an_alarm_never_comes_early_for_a_clock_that_only_drifts() -> None:
    clock = TwoClocks()
    alarm = Alarm(clock, NOW + timedelta(seconds=60), 60)
    clock.passes(60)
    clock.wall -= timedelta(seconds=0.5)
    assert alarm.left_s() == 0.5


def test_an_alarm_of_unknown_length_goes_by_the_wall_clock() -> None:
    clock = TwoClocks()
    alarm = Alarm(clock, NOW + timedelta(seconds=60), None)
    clock.ticks += 3600
    assert alarm.left_s() == 60


def timer(at: datetime) -> dict[str, object]:
    return {"actionType": 5, "fireAt": iso(at), "isCanceled": False}


def test_an_orchestration_never_sees_its_time_run_backwards() -> None:
    made = Instance("i", "o", None, "t", "t")
    receive(made, [], NOW)
    apply(made, reply(timer(NOW + timedelta(seconds=60))), NOW)
    assert made.open[0].after_s == 60
    fired = event(Kind.TIMER_FIRED, NOW - HOURS, TimerId=0, FireAt=made.open[0].fire_at)
    back = NOW - HOURS + timedelta(seconds=60)
    receive(made, [Delivery("i", 0, fired)], back)
    assert current_time(made, back) == NOW + timedelta(seconds=60)
    later = timer(NOW + timedelta(seconds=65))
    apply(made, reply(timer(NOW + timedelta(seconds=60)), later), back)
    assert made.open[1].after_s == 5, "not three hours and five seconds"


def test_a_retry_waits_its_interval_whatever_the_clock_says() -> None:
    made = Instance("i", "o", None, "t", "t")
    receive(made, [], NOW)
    retry = {"firstRetryIntervalInMilliseconds": 2000, "maxNumberOfAttempts": 2}
    apply(made, reply({"actionType": 1, "functionName": "a", "retryOptions": retry}), NOW)
    failed = event(Kind.TASK_FAILED, NOW - HOURS, TaskScheduledId=0, Reason="r", Details="d")
    receive(made, [Delivery("i", 0, failed)], NOW - HOURS)
    assert (made.open[1].after_s, moment_of(made.open[1].fire_at)) == (2, NOW + timedelta(seconds=2))


def runner(path: Path, clock: Clock, run: Callable[[object], Awaitable[None]]) -> TimerRunner:
    spec = FunctionSpec("t", run, Trigger.TIMER, "timer", {}, (), False, True, path)
    timers = [Timer(spec, parse("0 */5 * * * *"), run_on_startup=False, use_monitor=True)]
    return TimerRunner(timers, TimerStore(path / "timers.db"), Invoker(1, 5, "{}"), clock)


@pytest.mark.parametrize("ahead", [-HOURS, HOURS], ids=["set-back", "set-forward"])
def test_a_timer_trigger_goes_by_the_clock_as_it_is_now(tmp_path: Path, ahead: timedelta) -> None:
    clock, runs = TwoClocks(), []

    async def run(timer: object) -> None:
        runs.append(clock.now())

    async def play() -> None:
        timers = runner(tmp_path, clock, run)
        timers.start()
        await reached(lambda: TimerStore(tmp_path / "timers.db").status("t") is not None)
        clock.wall += ahead
        if ahead < timedelta():
            due = NOW + ahead + timedelta(minutes=5)
            await reached(
                lambda: (s := TimerStore(tmp_path / "timers.db").status("t")) is not None and s.next_due == due
            )
            clock.passes(300)
        await reached(lambda: bool(runs))
        await timers.stop()
        await timers.finish()

    asyncio.run(play())
    assert len(runs) == 1


async def reached(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not true():
            await asyncio.sleep(0.01)


def test_a_lease_from_before_the_clock_was_set_back_is_over(tmp_path: Path) -> None:
    store = TimerStore(tmp_path / "timers.db")
    store.enrol("t", "s", NOW, NOW)
    assert store.claim_now("t", "dead", NOW, 15)
    assert not store.claim_now("t", "b", NOW + timedelta(seconds=14), 15)
    assert not store.claim_now("t", "b", NOW - timedelta(seconds=10), 15), "drift is no step"
    assert store.claim_now("t", "b", NOW - HOURS, 15)


def test_setting_back_is_done_once_by_whoever_comes_first(tmp_path: Path) -> None:
    store = TimerStore(tmp_path / "timers.db")
    due, back = NOW + timedelta(minutes=5), NOW - HOURS
    store.enrol("t", "s", due, NOW)
    store.set_back("t", due, back + timedelta(minutes=5), back)
    store.set_back("t", due, NOW, NOW)
    found = store.status("t")
    assert found is not None
    assert (found.next_due, found.updated) == (back + timedelta(minutes=5), back)
