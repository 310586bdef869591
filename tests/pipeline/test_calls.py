"""What one incident costs: calls of the store and messages, from its alert to its end; counts, not time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest

from benchmarks.load.counting import CountingStore
from shared.adapters.stores.sqlite import SqliteStore
from shared.agents import sweep
from shared.model.action import ActionRequest
from shared.model.approval import Choice
from shared.model.event import ClosingRequested, IncidentAcknowledged, NotificationRequested
from shared.model.lifecycle import State
from shared.model.notice import Fact, Notice, NoticeKind
from shared.model.pipeline import Queue
from shared.records import incidents
from tests.pipeline.world import World

MOST_CALLS = 69  # of one incident, one alert, one approval, closed by its resolve; a call more is a decision
MOST_CALLS_OVER_MINUTES = 71  # the same with people who take their time: markers go stale
MOST_MESSAGES = 13
# Where everything goes through its queue, as in a storm: four intents, a reading by the closer and one of the evidence.
MORE_CALLS_THROUGH_QUEUES = 6
MOST_MESSAGES_THROUGH_QUEUES = 20


def counted(store: SqliteStore) -> tuple[World, CountingStore]:
    """A world whose product calls are counted; the sweep, which costs the same with any number of hops, is not."""
    world = World(store)
    counting = CountingStore(world.inner, keep_keys=True)
    world.store.inner = counting
    run = world.sweep

    def uncounted() -> sweep.Swept:
        with pause(counting):
            return run()

    world.sweep = uncounted  # type: ignore[method-assign]
    return world, counting


@contextmanager
def pause(counting: CountingStore) -> Iterator[None]:
    counting.on = False
    yield
    counting.on = True


def loop(world: World, thinking: timedelta = timedelta(0), mending: timedelta = timedelta(0)) -> None:
    """One alert, one approval, and the resolve."""
    world.fires()
    world.run_until(lambda: bool(world.ids()) and world.incident().state is State.AWAITING_APPROVAL)
    world.settle()
    world.pass_time(thinking)
    world.vote()
    world.settle()
    world.pass_time(mending)
    world.resolves()
    world.settle()
    assert world.incident().state is State.CLOSED
    assert [result.state for result in world.incident().actions] == ["done"]
    assert {document.id.partition("-")[0] for document in world.incident().documents} == {"review", "learned"}


@pytest.mark.parametrize("through_queues", [False, True], ids=["quiet", "through-queues"])
def test_the_whole_loop_stays_within_its_calls_and_messages(store: SqliteStore, through_queues: bool) -> None:
    world, counting = counted(store)
    if through_queues:
        world.send_everything()
    loop(world)
    assert counting.total <= MOST_CALLS + through_queues * MORE_CALLS_THROUGH_QUEUES, counting.calls
    assert len(world.bus.sent) <= (MOST_MESSAGES_THROUGH_QUEUES if through_queues else MOST_MESSAGES)


@pytest.mark.parametrize("through_queues", [False, True], ids=["quiet", "through-queues"])
def test_the_loop_of_people_who_take_minutes_costs_little_more(store: SqliteStore, through_queues: bool) -> None:
    world, counting = counted(store)
    if through_queues:
        world.send_everything()
    loop(world, timedelta(seconds=40), timedelta(minutes=5))
    assert counting.total <= MOST_CALLS_OVER_MINUTES + through_queues * MORE_CALLS_THROUGH_QUEUES, counting.calls
    assert len(world.bus.sent) <= (MOST_MESSAGES_THROUGH_QUEUES if through_queues else MOST_MESSAGES)


def test_a_card_costs_an_intent_and_a_transaction(store: SqliteStore) -> None:
    """The incident is not read again for what its own commit asked for a moment ago (rule H1)."""
    world, counting = counted(store)
    world.bus.kept = {Queue.NOTIFICATIONS}
    world.fires()
    world.run_until(lambda: bool(world.sent(NotificationRequested)))
    [card] = [entry for entry in world.bus.entries if entry.queue is Queue.NOTIFICATIONS]
    before = len(counting.keys)
    world.invoke(card)
    calls = [(kind, key.partition("|")[0]) for kind, _, key in counting.keys[before:]]
    assert calls == [("write", "intent"), ("transact", "*")]


def test_what_a_person_says_costs_a_read_and_a_transaction(store: SqliteStore) -> None:
    """Its line in the list is written only when something of it changed (rule P1)."""
    world, counting = counted(store)
    world.fires()
    world.settle()
    world.say(IncidentAcknowledged("olga"), world.ids()[0])
    world.settle()
    world.say(IncidentAcknowledged("sam"), world.ids()[0])
    entry = world.bus.take()
    assert entry is not None
    before = len(counting.keys)
    world.invoke(entry)
    assert world.story()[-1] == "acknowledged again by sam"
    assert [(kind, key) for kind, _, key in counting.keys[before:]] == [("get", incidents.INCIDENT), ("transact", "*")]


# What people are told, in fewer messages


def notices(world: World, kind: NoticeKind) -> list[Notice]:
    return [notice for _, notice, _ in world.chat.posts if notice.kind is kind]


def test_an_approval_is_told_with_what_came_of_it(opened: World) -> None:
    opened.vote(comment="the release is the cause")
    opened.settle()
    assert not notices(opened, NoticeKind.DECIDED)
    [card] = notices(opened, NoticeKind.EXECUTED)
    assert Fact("Decision", "Approved by olga: the release is the cause") in card.facts
    note = opened.desk.notes[-1][1]
    assert note.startswith("Executed: Roll back a bad release")
    assert "Approved by olga: the release is the cause" in note
    assert len([text for _, text in opened.desk.notes if "pproved by olga" in text]) == 1


@pytest.mark.parametrize(
    "held",
    [{"execution": {"kill_switch": True}}, {"policy": {"hold": ["executor"]}}],
    ids=["kill-switch", "executor-on-hold"],
)
def test_an_approval_whose_action_is_held_back_is_told_at_once(opened: World, held: dict[str, Any]) -> None:
    opened.configure(**held)
    opened.vote()
    opened.settle()
    assert not opened.workload.runs
    [card] = notices(opened, NoticeKind.DECIDED)
    assert card.title.startswith("Approved: ")
    assert "Approved by olga" in opened.desk.notes[-1][1]


@pytest.mark.parametrize("expired", [False, True], ids=["rejected", "expired"])
def test_a_decision_nothing_follows_from_is_told_by_itself(opened: World, expired: bool) -> None:
    if expired:
        opened.pass_time(timedelta(days=3, minutes=2))
    else:
        opened.vote(choice=Choice.REJECT)
    opened.settle()
    [card] = notices(opened, NoticeKind.DECIDED)
    assert card.title.startswith("Expired: " if expired else "Rejected: ")


def test_C3_where_nothing_measures_nobody_looks_and_the_ticket_says_so(opened: World) -> None:
    opened.vote()
    opened.settle()
    assert not opened.sent(ClosingRequested)
    until = "Nothing here measures shop: the incident closes when its alerts resolve at their source, or by hand"
    assert until in opened.desk.notes[-1][1]
    opened.resolves()
    opened.settle()
    assert opened.incident().over


def test_C3_an_alert_that_resolves_while_the_action_runs_closes_the_incident(opened: World) -> None:
    """Nobody looks after the action by itself here; the resolve's own look waits for the result and comes again."""
    run = opened.workload.run

    def resolving(request: ActionRequest) -> str:
        opened.resolves()
        while (entry := opened.bus.take()) is not None:
            opened.invoke(entry)
        return run(request)

    opened.workload.run = resolving  # type: ignore[method-assign]
    opened.vote()
    opened.settle()
    assert opened.incident().state is State.CLOSED
    assert [result.state for result in opened.incident().actions] == ["done"]
