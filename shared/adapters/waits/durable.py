"""Durable Functions 1.7.0: the only module that knows its SDK, so that 2.x can follow.

In: approval ids, and the solicitor's steps. Out: durable instances. Source: pypi.org/project/azure-functions-durable.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Generator, Mapping
from concurrent.futures import TimeoutError as FutureTimeoutError
from datetime import datetime, timedelta
from typing import Any, TypeVar

import azure.durable_functions as df

from shared.model.errors import Reason, TransientError
from shared.ports.waits import Enact, Look, Looked, Sleep, Step

T = TypeVar("T")

ORCHESTRATOR = "approval_wait"
LOOK = "look_at_approval"
ENACT = "enact_decision"
VOTE = "vote"
DECIDED = "decided"  # in the data of a vote: nothing is left to wait for
FIRST = "first_look_s"  # in the input: how long to sleep before the first look
CALL_TIMEOUT_S = 10.0
MAX_LOOKS = 40  # the history is replayed at every step; a fresh one keeps that cheap
_OVER = ("Completed", "Failed", "Terminated", "Canceled")
_SUSPENDED = "Suspended"


class DurableWaits:
    """Waits behind a durable client that belongs to one invocation.

    Args:
        client: the client of the binding; its calls are coroutines.
        loop: the loop the client lives on; dispatch runs in a thread beside it.
    """

    def __init__(self, client: Any, loop: asyncio.AbstractEventLoop) -> None:
        self._client = client
        self._loop = loop

    def start(self, approval_id: str, after: timedelta = timedelta(0)) -> None:
        """See `shared.ports.waits`. A running instance is left alone; the SDK would replace it silently.

        One that ended, such as by an activity that failed too often, is begun anew: whoever asks for a start found no
        decision, and a wait that looks once more changes nothing.
        """
        status = self._status(approval_id)
        if status in _OVER:
            self._call(self._client.purge_instance_history(approval_id))
        elif status is not None:
            return
        given = {"approval_id": approval_id, **({FIRST: after.total_seconds()} if after else {})}
        try:
            self._call(self._client.start_new(ORCHESTRATOR, approval_id, given))
        except TransientError:
            if not self._lives(approval_id):  # somebody else was faster
                raise

    def wake(self, approval_id: str, decided: bool = False) -> None:
        """See `shared.ports.waits`. One that somebody has suspended is resumed: people have spoken, or time is up."""
        status = self._status(approval_id)
        if status is None or status in _OVER:
            return
        try:
            if status == _SUSPENDED:
                self._call(self._client.resume(approval_id, "a vote, or the end of its time"))
            self._call(self._client.raise_event(approval_id, VOTE, {DECIDED: True} if decided else {}))
        except TransientError:
            if self._lives(approval_id):  # else it has ended meanwhile, which is no error (rule D2)
                raise

    def cancel(self, approval_id: str, reason: str) -> None:
        """See `shared.ports.waits`."""
        if self._lives(approval_id):
            self._call(self._client.terminate(approval_id, reason))

    def _lives(self, approval_id: str) -> bool:
        status = self._status(approval_id)
        return status is not None and status not in _OVER

    def _status(self, approval_id: str) -> str | None:
        status = self._call(self._client.get_status(approval_id))
        runtime = getattr(status, "runtime_status", None)
        return None if runtime is None else str(getattr(runtime, "value", runtime))

    def _call(self, coroutine: Coroutine[Any, Any, T]) -> T:
        future = asyncio.run_coroutine_threadsafe(coroutine, self._loop)
        try:
            error = future.exception(CALL_TIMEOUT_S)  # the SDK raises bare Exception for every refusal
        except FutureTimeoutError:
            future.cancel()
            raise TransientError("Durable did not answer", Reason.TIMEOUT, sent=None) from None
        if error is not None:
            raise TransientError(f"Durable refused: {type(error).__name__}", Reason.UNAVAILABLE, sent=None)
        return future.result()


class NoWaits:
    """For apps that own no durable hub: the owner's sweep starts and wakes (ARCHITECTURE, section 8)."""

    def start(self, approval_id: str, after: timedelta = timedelta(0)) -> None:
        """Leaves it to the sweep."""

    def wake(self, approval_id: str, decided: bool = False) -> None:
        """Leaves it to the wait's own timer."""

    def cancel(self, approval_id: str, reason: str) -> None:
        """Leaves it to the wait itself; it reads that the incident is over."""


def orchestrate(
    context: df.DurableOrchestrationContext, flow: Callable[[datetime | None], Generator[Step, Looked | None, None]]
) -> Generator[Any, Any, str]:
    """Drive the solicitor's steps with Durable's tasks.

    Every decision is in the steps; here is only what they mean for Durable. The losing timer is cancelled, because an
    open one keeps the instance running. A sleep is measured from the orchestration's own time, which never runs
    backwards, and not against the clock of whoever looked: a clock set back by hours must not make it hours long.
    """
    given_at_start = context.get_input() or {}
    approval_id = str(given_at_start.get("approval_id", context.instance_id))
    retry = df.RetryOptions(first_retry_interval_in_milliseconds=2000, max_number_of_attempts=5)
    wait_s = given_at_start.get(FIRST)  # a history of before lengths were told has none to replay
    steps = flow(None if wait_s is None else context.current_utc_datetime + timedelta(seconds=wait_s))
    step: Step | None = next(steps)
    incident_id, looks = "", 0
    if wait_s is not None:
        context.set_custom_status({"looks": looks, "decided": False})
    while step is not None:
        answer: Looked | None = None
        match step:
            case Look():
                looks += 1
                given = {"approval_id": approval_id, "now": context.current_utc_datetime.isoformat()}
                seen = yield context.call_activity_with_retry(LOOK, retry, given)
                answer = Looked(bool(seen["decided"]), datetime.fromisoformat(seen["wake_at"]))
                wait_s, incident_id = seen.get("wait_s"), seen.get("incident_id", "")
                context.set_custom_status({"looks": looks, "decided": answer.decided})
            case Sleep(until):
                if looks >= MAX_LOOKS:
                    context.continue_as_new({"approval_id": approval_id})
                    return "continued"
                now = context.current_utc_datetime
                asleep = until - now if wait_s is None else timedelta(seconds=wait_s)
                wake_at = now + max(asleep, timedelta(seconds=1))
                timer = context.create_timer(wake_at)
                vote = context.wait_for_external_event(VOTE)
                yield context.task_any([vote, timer])
                if not timer.is_completed:
                    timer.cancel()
                said = vote.result if vote.is_completed else None
                if isinstance(said, Mapping) and said.get(DECIDED):
                    answer = Looked(True, context.current_utc_datetime)
            case Enact():
                whose = {"approval_id": approval_id, "incident_id": incident_id}
                yield context.call_activity_with_retry(ENACT, retry, whose)
        try:
            step = steps.send(answer)
        except StopIteration:
            step = None
    return "decided"
