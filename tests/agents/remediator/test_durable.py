"""Rule D2 with Durable's own words: what exists is left alone, what ended is begun anew, a lost answer is transient."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from shared.adapters.waits import durable
from shared.adapters.waits.durable import DurableWaits, NoWaits
from shared.agents.remediator import solicitor
from shared.model.errors import TransientError

T0 = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)


@dataclass
class Client:
    """The calls of a durable client, and the instances behind them."""

    instances: dict[str, str] = field(default_factory=dict)
    raised: list[str] = field(default_factory=list)
    said: list[object] = field(default_factory=list)
    inputs: list[object] = field(default_factory=list)
    purged: list[str] = field(default_factory=list)
    broken: bool = False

    async def get_status(self, instance_id: str) -> Any:
        if self.broken:
            raise Exception("The operation failed with an unexpected status code: 500")
        status = self.instances.get(instance_id)
        return SimpleNamespace(runtime_status=None if status is None else SimpleNamespace(value=status))

    async def start_new(self, name: str, instance_id: str, given: object) -> str:
        if instance_id in self.instances:
            raise Exception("already exists")
        self.instances[instance_id] = "Running"
        self.inputs.append(given)
        return instance_id

    async def purge_instance_history(self, instance_id: str) -> None:
        self.purged.append(instance_id)
        del self.instances[instance_id]

    async def raise_event(self, instance_id: str, name: str, data: object) -> None:
        self.raised.append(instance_id)
        self.said.append(data)

    async def terminate(self, instance_id: str, reason: str) -> None:
        self.instances[instance_id] = "Terminated"


async def end_all() -> None:
    """Let every task that was cancelled end."""
    others = asyncio.all_tasks() - {asyncio.current_task()}
    await asyncio.gather(*others, return_exceptions=True)


@pytest.fixture
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    """A loop in a thread of its own, as the worker has it."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    yield loop
    asyncio.run_coroutine_threadsafe(end_all(), loop).result()
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


def test_D2_a_start_of_what_runs_is_no_error_and_changes_nothing(loop: asyncio.AbstractEventLoop) -> None:
    client = Client({"a1": "Running", "a2": "Pending"})
    for name in ("a1", "a2"):
        DurableWaits(client, loop).start(name)
    assert client.instances == {"a1": "Running", "a2": "Pending"}
    assert not client.purged


def test_D2_a_start_of_what_does_not_exist_starts_it(loop: asyncio.AbstractEventLoop) -> None:
    client = Client()
    DurableWaits(client, loop).start("a1")
    assert client.instances == {"a1": "Running"}


@pytest.mark.parametrize("status", ["Failed", "Terminated", "Canceled", "Completed"])
def test_D2_a_wait_that_ended_without_a_decision_begins_anew(loop: asyncio.AbstractEventLoop, status: str) -> None:
    client = Client({"a1": status})
    DurableWaits(client, loop).start("a1")
    assert (client.purged, client.instances) == (["a1"], {"a1": "Running"})


@pytest.mark.parametrize(("status", "raised"), [("Running", ["a1"]), ("Completed", []), ("Failed", []), (None, [])])
def test_D2_waking_a_missing_or_finished_wait_is_no_error(
    loop: asyncio.AbstractEventLoop, status: str | None, raised: list[str]
) -> None:
    client = Client({"a1": status} if status else {})
    DurableWaits(client, loop).wake("a1")
    assert client.raised == raised


@pytest.mark.parametrize(("status", "after"), [("Running", "Terminated"), ("Completed", "Completed")])
def test_cancel_ends_what_runs(loop: asyncio.AbstractEventLoop, status: str, after: str) -> None:
    client = Client({"a1": status})
    DurableWaits(client, loop).cancel("a1", "over")
    assert client.instances["a1"] == after


def test_cancel_of_what_does_not_exist_is_no_error(loop: asyncio.AbstractEventLoop) -> None:
    DurableWaits(Client(), loop).cancel("a1", "over")


@pytest.mark.parametrize("call", [lambda w: w.start("a"), lambda w: w.wake("a"), lambda w: w.cancel("a", "x")])
def test_a_refusal_of_durable_is_transient(
    loop: asyncio.AbstractEventLoop, call: Callable[[DurableWaits], None]
) -> None:
    with pytest.raises(TransientError, match="Durable refused"):
        call(DurableWaits(Client(broken=True), loop))


def test_an_answer_that_does_not_come_is_transient(
    loop: asyncio.AbstractEventLoop, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Silent(Client):
        async def get_status(self, instance_id: str) -> Any:
            await asyncio.Event().wait()

    monkeypatch.setattr(durable, "CALL_TIMEOUT_S", 0.02)
    with pytest.raises(TransientError, match="did not answer"):
        DurableWaits(Silent(), loop).start("a1")


def test_an_app_without_a_hub_leaves_everything_to_its_owner() -> None:
    waits = NoWaits()
    waits.start("a1")
    waits.wake("a1")
    waits.cancel("a1", "over")


# The orchestration, step by step


class Task:
    """A durable task."""

    def __init__(self, name: str) -> None:
        self.name, self.is_completed, self.cancelled = name, False, False
        self.result: object = None

    def cancel(self) -> None:
        self.cancelled = True


class Context:
    """A replay-free orchestration context."""

    instance_id = "a1"

    def __init__(self, first: float | None = None) -> None:
        self.first = first
        self.current_utc_datetime = T0
        self.timers: list[Task] = []
        self.anew = 0

    def get_input(self) -> dict[str, object]:
        return {"approval_id": "a1", **({durable.FIRST: self.first} if self.first is not None else {})}

    def call_activity_with_retry(self, name: str, retry: object, given: dict[str, str]) -> Task:
        return Task(name)

    def create_timer(self, at: datetime) -> Task:
        assert at > self.current_utc_datetime
        self.timers.append(Task(f"timer {at:%H:%M:%S}"))
        return self.timers[-1]

    def wait_for_external_event(self, name: str) -> Task:
        return Task(name)

    def task_any(self, tasks: list[Task]) -> list[Task]:
        return tasks

    def set_custom_status(self, status: object) -> None: ...

    def continue_as_new(self, given: object) -> None:
        self.anew += 1


def flow(context: Context) -> Generator[Any, Any, str]:
    return durable.orchestrate(context, solicitor.wait)  # type: ignore[arg-type]


def looked(decided: bool, wake_at: datetime = T0 + timedelta(seconds=60)) -> dict[str, object]:
    return {"decided": decided, "wake_at": wake_at.isoformat()}


def test_D2_the_orchestration_reads_the_store_before_it_waits_and_after_every_wake_up() -> None:
    context = Context()
    steps = flow(context)
    assert next(steps).name == durable.LOOK
    waiting = steps.send(looked(False))
    assert [task.name for task in waiting] == [durable.VOTE, "timer 12:01:00"]
    assert steps.send(waiting[0]).name == durable.LOOK
    assert context.timers[0].cancelled  # an open timer would keep the instance running
    waiting = steps.send(looked(False))
    waiting[1].is_completed = True
    assert steps.send(waiting[1]).name == durable.LOOK
    assert not context.timers[1].cancelled
    assert steps.send(looked(True)).name == durable.ENACT
    with pytest.raises(StopIteration) as ended:
        steps.send("a1")
    assert ended.value.value == "decided"


def test_D2_a_wake_up_in_the_past_waits_a_second() -> None:
    steps = flow(Context())
    next(steps)
    waiting = steps.send(looked(False, T0 - timedelta(hours=1)))
    assert waiting[1].name == "timer 12:00:01"


def test_D2_a_long_wait_begins_its_history_anew() -> None:
    context = Context()
    steps = flow(context)
    next(steps)
    for _ in range(durable.MAX_LOOKS - 1):
        waiting = steps.send(looked(False))
        steps.send(waiting[0])
    with pytest.raises(StopIteration) as ended:
        steps.send(looked(False))
    assert ended.value.value == "continued"
    assert context.anew == 1


def test_D2_a_wait_is_told_how_long_it_may_sleep_first(loop: asyncio.AbstractEventLoop) -> None:
    client = Client()
    DurableWaits(client, loop).start("a1", timedelta(seconds=60))
    DurableWaits(client, loop).start("a2")
    assert client.inputs == [{"approval_id": "a1", durable.FIRST: 60.0}, {"approval_id": "a2"}]


def test_D3_a_wait_is_told_that_the_hop_of_the_vote_carries_the_decision_on(loop: asyncio.AbstractEventLoop) -> None:
    client = Client({"a1": "Running", "a2": "Running"})
    DurableWaits(client, loop).wake("a1", decided=True)
    DurableWaits(client, loop).wake("a2")
    assert client.said == [{durable.DECIDED: True}, {}]


def test_D2_an_orchestration_that_was_told_so_sleeps_before_it_reads_the_store() -> None:
    context = Context(first=60.0)
    steps = flow(context)
    waiting = next(steps)
    assert [task.name for task in waiting] == [durable.VOTE, "timer 12:01:00"]
    waiting[1].is_completed = True
    assert steps.send(waiting[1]).name == durable.LOOK


@pytest.mark.parametrize("said", [{}, None, "decided", {durable.DECIDED: False}])
def test_D2_a_vote_that_does_not_say_decided_has_the_store_read(said: object) -> None:
    steps = flow(Context(first=60.0))
    vote = next(steps)[0]
    vote.is_completed, vote.result = True, said
    assert steps.send(vote).name == durable.LOOK


def test_D3_a_vote_that_says_decided_ends_the_orchestration() -> None:
    context = Context(first=60.0)
    steps = flow(context)
    vote = next(steps)[0]
    vote.is_completed, vote.result = True, {durable.DECIDED: True}
    with pytest.raises(StopIteration) as ended:
        steps.send(vote)
    assert ended.value.value == "decided"
    assert context.timers[0].cancelled
