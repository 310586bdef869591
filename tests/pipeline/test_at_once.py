"""Rule H7 while it is quiet: what an invocation asks for within its agent, it does itself, and nothing gets lost by it.

In: one incident, and what keeps an invocation from going on. Out: the same effects, by fewer messages or by all.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from shared import dispatch
from shared.adapters.stores.sqlite import SqliteStore
from shared.dispatch.at_once import BUDGET, REST, SLOW, AtOnce
from shared.model import codec
from shared.model.errors import Reason, TransientError
from shared.model.event import (
    ClosingKind,
    ClosingRequested,
    Event,
    GroupChanged,
    NotificationRequested,
    TicketRequested,
    TicketUpdateRequested,
)
from shared.model.lifecycle import State
from shared.model.notice import NoticeKind
from shared.model.pipeline import DESTINATION, OWNER, PIPELINE, Queue
from shared.model.signal import Status
from shared.ports.store import Replace, Table
from shared.records import incidents, intents
from tests.pipeline.world import World


def told(world: World) -> list[NoticeKind]:
    return [notice.kind for _, notice, _ in world.chat.posts]


def fire(world: World) -> None:
    """The one invocation that takes the alert in."""
    world.fires()
    fire_next(world)


def fire_next(world: World) -> None:
    entry = next(entry for entry in world.bus.entries if entry.queue is Queue.SIGNALS)
    world.invoke(entry)


def queues(world: World) -> list[Queue]:
    """Where messages went, without the alerts themselves."""
    return [queue for queue, _ in world.bus.sent if queue is not Queue.SIGNALS]


def test_H7_an_alert_is_told_and_has_its_ticket_in_the_invocation_that_took_it_in(world: World) -> None:
    fire(world)
    assert told(world) == [NoticeKind.OPENED]
    assert len(world.desk.tickets) == 1
    assert queues(world) == [Queue.INVESTIGATIONS], "another agent is asked by a message"
    assert [row.partition("|")[0] for row in world.rows(incidents.OUTBOX)] == ["outbox"], "only that one is on its way"
    assert not world.audit_problem()


def test_H7_the_story_is_the_same_as_through_the_queues(store: SqliteStore, tmp_path: Any) -> None:
    def story(world: World) -> list[str]:
        fire(world)
        world.settle()
        world.vote()
        world.settle()
        world.resolves()
        world.settle()
        assert world.incident().state is State.CLOSED
        return sorted(world.story())

    other = SqliteStore(tmp_path / "other.db")
    assert story(World(store)) == story(World(other, at_once=0))
    other.close()


def test_S8_a_resolve_reaches_the_incident_as_a_join_and_asks_for_closing(opened: World) -> None:
    opened.send_everything()
    opened.fires("Latency")
    opened.settle()
    opened.resolves()
    opened.settle()
    assert [(a.name, a.status) for a in opened.incident().firing] == [("Latency", Status.FIRING)]
    assert [e.data.kind for e in opened.sent(ClosingRequested) if isinstance(e.data, ClosingRequested)] == [
        ClosingKind.RESOLVED_AT_SOURCE
    ]
    assert opened.timeline()[-2].why == "1 more still firing"
    assert not opened.incident().over


def test_S8_H7_a_resolve_closes_its_incident_in_the_invocation_that_took_it_in(opened: World) -> None:
    sent = len(queues(opened))
    opened.resolves()
    entry = opened.bus.take()
    assert entry is not None
    opened.invoke(entry)
    assert opened.incident().over
    assert list(opened.desk.state.values()) == ["resolved"]
    assert set(queues(opened)[sent:]) == {Queue.NOTIFICATIONS, Queue.KNOWLEDGE, Queue.CLOSING}


def test_an_agent_lends_nobody_its_identity() -> None:
    """What follows at once touches the outside only as the agent that asked for it, and never acts on a workload."""
    for stage in PIPELINE:
        for asked_by in stage.at_once_after:
            assert not stage.effects or {OWNER[name] for name in stage.chain} == {OWNER[asked_by]}, stage.queue
    assert not [stage for stage in PIPELINE if stage.at_once_after and stage.queue in (Queue.ACTIONS, Queue.APPROVALS)]


# Who meets whom


def test_H2_whoever_gets_the_event_too_finds_the_intent_of_the_one_that_does_it(world: World) -> None:
    """The sweep sends it as well, while the invocation is still at work."""
    met: list[str] = []
    post = world.chat.send

    def twice(notice: Any, key: str, repeat: bool = False) -> str:
        if not met:
            row = incidents.outbox(world.inner, world.ids()[0])
            [event] = [event for event, *_ in row if isinstance(event.data, NotificationRequested)]
            met.append(event.id)
            dispatch.hop(replace(world.engine, at_once=AtOnce(0)), Queue.NOTIFICATIONS, codec.encode_event(event))
        return post(notice, key, repeat)

    world.chat.send = twice  # type: ignore[method-assign]
    fire(world)
    [again] = [e for e in world.bus.entries if e.queue is Queue.NOTIFICATIONS]
    assert again.visible_at >= world.now + timedelta(seconds=60), "it comes back at the end of the intent"
    world.settle()
    assert told(world).count(NoticeKind.OPENED) == 1
    assert not world.chat.twice()


def test_H6_H7_a_commit_whose_answer_was_lost_asks_no_patience_of_what_follows(world: World) -> None:
    """It was done, and its message comes again: whoever takes what it asked for need not wait for an intent to end."""
    transact, lost = world.store.transact, [True]

    def losing(table: Table, partition: str, operations: Any) -> Any:
        etags = transact(table, partition, operations)
        if table is Table.INCIDENTS and lost.pop() if lost else False:
            raise TransientError("the answer was lost", Reason.TIMEOUT)
        return etags

    world.store.transact = losing  # type: ignore[method-assign]
    began = world.now
    world.fires()
    world.run_until(lambda: told(world) == [NoticeKind.OPENED] and bool(world.desk.tickets))
    assert not lost
    assert world.now - began < timedelta(seconds=20)
    assert not [repeat for *_, repeat in world.chat.posts if repeat], "and nothing is called a possible repeat"


@pytest.mark.parametrize("named", ["before post", "before open"])
def test_H7_a_process_that_dies_before_what_follows_leaves_it_to_the_sweep(world: World, named: str) -> None:
    world.points.named = named
    world.fires()
    world.settle()
    assert world.crashes
    assert told(world).count(NoticeKind.OPENED) == 1
    assert len(world.desk.tickets) == 1
    assert not world.chat.twice()


def test_H10_what_follows_and_fails_comes_again_by_its_queue(world: World) -> None:
    world.chat.failures = [TransientError("busy", Reason.UNAVAILABLE, sent=False)]
    fire(world)
    assert not told(world)
    assert len(world.desk.tickets) == 1, "it stands in nobody's way"
    [again] = world.sent(NotificationRequested)
    assert again.attempt == 1
    world.settle()
    assert told(world).count(NoticeKind.OPENED) == 1


def test_H7_a_bus_that_fails_meanwhile_undoes_nothing(world: World) -> None:
    """The failing card cannot be scheduled again; its outbox row is left, and the sweep sends it."""
    world.chat.failures = [TransientError("busy", Reason.UNAVAILABLE, sent=False)]
    send, down = world.bus.send, [True]

    def failing(queue: Queue, messages: Any) -> None:
        if queue is Queue.NOTIFICATIONS and down:
            raise TransientError("the bus is down")
        send(queue, messages)

    world.bus.send = failing  # type: ignore[method-assign]
    fire(world)
    assert not world.bus.quarantined
    down.clear()
    world.settle()
    assert told(world).count(NoticeKind.OPENED) == 1
    assert not world.chat.twice()


# When everything goes through its queue


def busy(world: World) -> None:
    for _ in range(4):
        assert world.engine.at_once.take()


def stormy(world: World) -> None:
    for number in range(5):
        world.engine.brake.rate.opened(f"incident-{number}", world.now, 20)


@pytest.mark.parametrize(
    "prepare",
    [busy, stormy, lambda world: world.configure(policy={"hold": ["notifier", "ticket_writer"]})],
    ids=["so-many-are-at-it", "the-beginning-of-a-storm", "they-are-on-hold"],
)
def test_H7_what_cannot_follow_at_once_goes_through_its_queue(world: World, prepare: Callable[[World], None]) -> None:
    prepare(world)
    world.fires()
    world.run_until(lambda: bool(world.ids()))
    assert not told(world)
    assert not world.desk.tickets
    assert len(world.sent(TicketRequested)) == 1
    assert len(world.sent(NotificationRequested)) == 1


def test_H7_places_are_given_back(world: World) -> None:
    for name in ("A", "B", "C", "D", "E", "F"):
        world.fires(name, service=name, fingerprint=name)
        world.settle()
        world.pass_time(timedelta(minutes=1))
    assert not world.sent(TicketRequested)
    assert [world.engine.at_once.take() for _ in range(5)] == [True, True, True, True, False]


def test_H7_a_far_side_that_was_slow_holds_up_nobody_for_a_minute(world: World) -> None:
    post = world.chat.send

    def slowly(notice: Any, key: str, repeat: bool = False) -> str:
        world.clock[0] += SLOW
        return post(notice, key, repeat)

    world.chat.send = slowly  # type: ignore[method-assign]
    fire(world)
    assert told(world) == [NoticeKind.OPENED]
    for through_queue, service in enumerate(("billing", "search"), 1):
        world.fires(service=service, fingerprint=service)
        fire_next(world)
        assert len([event for event in world.sent(NotificationRequested) if opens(event)]) == through_queue
    assert not world.sent(TicketRequested), "the desk was quick"
    world.settle()
    world.pass_time(REST)
    world.chat.send = post  # type: ignore[method-assign]
    cards = len([e for e in world.sent(NotificationRequested) if opens(e)])
    world.fires(service="cart", fingerprint="cart")
    world.settle()
    assert len([e for e in world.sent(NotificationRequested) if opens(e)]) == cards


def opens(event: Event) -> bool:
    return isinstance(event.data, NotificationRequested) and event.data.notice.kind is NoticeKind.OPENED


def test_H7_an_invocation_that_took_long_sends_the_rest(world: World) -> None:
    post = world.chat.send

    def slowly(notice: Any, key: str, repeat: bool = False) -> str:
        world.clock[0] += BUDGET + timedelta(seconds=1)
        return post(notice, key, repeat)

    world.chat.send = slowly  # type: ignore[method-assign]
    fire(world)
    [asked] = world.sent(TicketRequested)
    intent = incidents.intent_of(world.inner, asked.subject, asked.id)
    assert intent is not None
    assert intent.state == "not_sent", "whoever takes the message need not wait"
    world.chat.send = post  # type: ignore[method-assign]
    world.settle()
    assert len(world.desk.tickets) == 1
    assert not world.desk.twice()


def test_H7_several_incidents_in_one_batch_go_through_their_queues(world: World) -> None:
    world.deliver(*(world.signal(name, service=name, fingerprint=name) for name in ("a", "b", "c")))
    world.settle()
    assert len(world.sent(GroupChanged)) == 3


def test_H7_where_the_configuration_says_so_everything_is_sent(store: SqliteStore) -> None:
    world = World(store, at_once=0)
    fire(world)
    assert queues(world) == [Queue.INCIDENTS]
    world.settle()
    assert {DESTINATION[TicketRequested], DESTINATION[NotificationRequested], Queue.ENRICHMENT} <= set(queues(world))


# The incident that what follows is given


def test_H1_what_follows_at_once_is_not_given_what_is_older_than_two_seconds(world: World) -> None:
    """A slow card; meanwhile somebody else changed the incident, and the ticket must show it."""
    post, drafts = world.chat.send, world.desk.open

    def slowly(notice: Any, key: str, repeat: bool = False) -> str:
        loaded = incidents.load(world.inner, world.ids()[0])
        assert loaded is not None
        worse = replace(loaded.incident, version=loaded.incident.version + 1, title="Worse")
        row = Replace(incidents.INCIDENT, incidents.values_of(worse, loaded.marked_at), loaded.etag)
        world.inner.transact(Table.INCIDENTS, worse.id, [row])
        world.clock[0] += timedelta(seconds=2)
        return post(notice, key, repeat)

    titles: list[str] = []

    def noting(draft: Any) -> Any:
        titles.append(draft.title)
        return drafts(draft)

    world.chat.send, world.desk.open = slowly, noting  # type: ignore[method-assign]
    fire(world)
    assert titles == ["Worse"]


def test_H2_an_intent_written_with_its_commit_is_alive_as_long_as_any(world: World) -> None:
    seen: list[incidents.Intent] = []
    post = world.chat.send

    def looking(notice: Any, key: str, repeat: bool = False) -> str:
        intent = incidents.intent_of(world.inner, world.ids()[0], key)
        assert intent is not None
        seen.append(intent)
        return post(notice, key, repeat)

    world.chat.send = looking  # type: ignore[method-assign]
    fire(world)
    [intent] = seen
    timeout = timedelta(seconds=world.settings.host.function_timeout_s)
    assert (intent.state, intent.owner) == ("started", "invocation-1")
    assert intent.lease_until - world.now > timeout + intents.MARGIN - timedelta(seconds=1)


def test_H7_a_note_of_the_closer_follows_at_once_and_one_of_the_executor_does_not(opened: World) -> None:
    opened.vote()
    opened.settle()
    notes = len(opened.sent(TicketUpdateRequested))
    assert notes == 1
    opened.resolves()
    opened.settle()
    assert opened.incident().over
    assert len(opened.sent(TicketUpdateRequested)) == notes
