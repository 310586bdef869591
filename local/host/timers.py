"""Timer triggers: waits for each occurrence, runs it on one host only, catches up once after a pause.

In: functions with NCrontab schedules, a `TimerStore`. Out: invocations with the library's `TimerRequest`.
"""

from __future__ import annotations

import asyncio
import json
import logging
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from azure.functions.meta import Datum

from local.host.clock import Clock
from local.host.converters import converter
from local.host.invoke import InvocationError, Invoker
from local.host.loader import FunctionSpec
from local.host.ncrontab import Schedule, ScheduleError, parse
from local.host.settings import SettingsError, resolve
from local.host.timer_store import TimerStatus, TimerStore

log = logging.getLogger("local.host.timers")
LEASE_S = 15.0
LONGEST_SLEEP_S = 1.0  # clocks get set and laptops sleep: look at the wall clock at least this often
SET_BACK = timedelta(seconds=10)  # a clock this far behind what was written down was set back
GRACE_S = 1.0  # a run begun later than this after its time counts as past due


@dataclass(frozen=True, slots=True)
class Timer:
    """A timer function with its parsed schedule."""

    spec: FunctionSpec
    schedule: Schedule
    run_on_startup: bool
    use_monitor: bool


def timers_of(specs: Iterable[FunctionSpec], environment: Mapping[str, str]) -> list[Timer]:
    """Parses the schedules of timer functions.

    Raises:
        SettingsError: a setting is missing or an expression is malformed.
    """
    timers: list[Timer] = []
    for spec in specs:
        text = resolve(spec.text("schedule"), environment, where=f"function {spec.name}, schedule")
        try:
            schedule = parse(text)
        except ScheduleError as exc:
            raise SettingsError(f"function {spec.name}: {exc}") from exc
        monitor = spec.binding.get("useMonitor")
        timers.append(Timer(spec, schedule, bool(spec.binding.get("runOnStartup")), monitor is not False))
    return timers


def timer_json(status: TimerStatus, *, past_due: bool) -> str:
    """What the host sends the worker: `ScheduleStatus.Next` is the occurrence being run."""
    never = "0001-01-01T00:00:00+00:00"
    return json.dumps(
        {
            "IsPastDue": past_due,
            "Schedule": {"AdjustForDST": True},
            "ScheduleStatus": {
                "Last": never if status.last is None else status.last.isoformat(),
                "Next": status.next_due.isoformat(),
                "LastUpdated": status.updated.isoformat(),
            },
        }
    )


class TimerRunner:
    """Runs all timers of an app.

    Args:
        timers: see `timers_of`.
        store: shared with other hosts that run the same app.
        invoker: runs the functions.
        clock: whose wall clock the schedules mean.
    """

    def __init__(
        self,
        timers: Iterable[Timer],
        store: TimerStore,
        invoker: Invoker,
        clock: Clock | None = None,
    ) -> None:
        self._timers = {timer.spec.name: timer for timer in timers}
        self._store = store
        self._invoker = invoker
        self._now = (clock or Clock()).now
        self._owner = str(uuid.uuid4())
        self._stopping = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Begins waiting; needs a running loop."""
        self._tasks = [
            asyncio.create_task(self._keep(timer), name=f"timer {name}") for name, timer in self._timers.items()
        ]

    async def stop(self) -> None:
        """Starts no more runs; those that run go on."""
        self._stopping.set()

    async def finish(self) -> None:
        """Ends the loops for good, whatever still runs."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def run_once(self, name: str) -> bool:
        """Runs a timer out of turn; False while it runs already, here or on another host.

        Raises:
            KeyError: no such timer.
        """
        timer = self._timers[name]
        now = self._now()
        status = await asyncio.to_thread(self._enrol, timer, now)
        if not await asyncio.to_thread(self._store.claim_now, name, self._owner, now, LEASE_S):
            return False
        await self._run(timer, status, past_due=False, reschedule=False)
        return True

    def _enrol(self, timer: Timer, now: datetime) -> TimerStatus:
        first = timer.schedule.next_after(now)
        return self._store.enrol(timer.spec.name, timer.schedule.text, first, now)

    async def _keep(self, timer: Timer) -> None:
        fresh = True
        while not self._stopping.is_set():
            try:
                await self._next(timer, fresh=fresh)
                fresh = False
            except Exception:
                log.exception("timer %s: store failed, trying again", timer.spec.name)
                await self._pause(LONGEST_SLEEP_S)

    async def _next(self, timer: Timer, *, fresh: bool) -> None:
        name = timer.spec.name
        now = self._now()
        status = await asyncio.to_thread(self._enrol, timer, now)
        if fresh and timer.run_on_startup and status.next_due > now:
            await self.run_once(name)
            return
        if fresh and not timer.use_monitor and status.next_due <= now:
            if await asyncio.to_thread(self._store.claim, name, status.next_due, self._owner, now, LEASE_S):
                due = timer.schedule.next_after(now)
                await asyncio.to_thread(self._store.finish, name, self._owner, status.last or now, due, now)
            return
        if not await self._wait_until(timer, status):
            return
        now = self._now()
        if not await asyncio.to_thread(self._store.claim, name, status.next_due, self._owner, now, LEASE_S):
            await self._pause(0.5)  # another host has it: see what it makes of the schedule
            return
        late = now - status.next_due
        await self._run(timer, status, past_due=late > timedelta(seconds=GRACE_S), reschedule=True)

    async def _run(self, timer: Timer, status: TimerStatus, *, past_due: bool, reschedule: bool) -> None:
        name = timer.spec.name
        started = self._now()
        keeper = asyncio.create_task(self._keep_lease(name))
        try:
            datum = Datum(timer_json(status, past_due=past_due), "json")
            data = converter("timerTrigger").decode(datum, trigger_metadata=None)
            await self._invoker.invoke(timer.spec, data)
        except InvocationError:
            pass  # logged there; the next occurrence is the retry
        finally:
            keeper.cancel()
            now = self._now()
            due = timer.schedule.next_after(now) if reschedule else None
            await asyncio.to_thread(self._store.finish, name, self._owner, started, due, now)

    async def _keep_lease(self, name: str) -> None:
        while True:
            await asyncio.sleep(LEASE_S / 3)
            await asyncio.to_thread(self._store.renew, name, self._owner, self._now(), LEASE_S)

    async def _wait_until(self, timer: Timer, status: TimerStatus) -> bool:
        """Waits for the occurrence; false when the schedule must be read again first."""
        while not self._stopping.is_set():
            now = self._now()
            left = (status.next_due - now).total_seconds()
            if left <= 0:
                return True
            if status.updated - now > SET_BACK:
                # What comes next by the clock as it is now; else nothing would run until it has caught up.
                sooner = timer.schedule.next_after(now)
                await asyncio.to_thread(self._store.set_back, timer.spec.name, status.next_due, sooner, now)
                log.warning("timer %s: the clock was set back, next run at %s", timer.spec.name, sooner.isoformat())
                return False
            await self._pause(min(left, LONGEST_SLEEP_S))
        return False

    async def _pause(self, seconds: float) -> None:
        try:
            await asyncio.wait_for(self._stopping.wait(), seconds)
        except TimeoutError:
            return
