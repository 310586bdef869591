"""Channels, ticket system, destinations and the target are away for an hour, one at a time; the rest goes on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest

from shared.adapters.stores.sqlite import SqliteStore
from shared.dispatch import lacking
from shared.model.errors import PermanentError, Reason, TransientError
from shared.model.event import IncidentClosed, TicketRequested
from shared.model.lifecycle import State
from shared.model.missing import PartKind
from shared.model.pipeline import Queue
from tests.degradation.outage import (
    AWAY,
    Unplugged,
    assert_nothing_lost_or_doubled,
    cards,
    fact,
    out_for_an_hour,
)


def test_no_teams_for_an_hour(world: Unplugged, usual: tuple[str, ...]) -> None:
    def meanwhile() -> None:
        world.fires()
        world.until_asked()
        world.pass_time(timedelta(minutes=4))
        [said] = world.says()
        assert said.startswith(f"chat cannot be reached since {world.incident().opened_at:%d %b}")
        assert "2 cards wait" in said
        assert AWAY in said
        assert world.on_the_list() == (said,)

    out_for_an_hour(world, "chat", meanwhile)
    world.pass_time(timedelta(minutes=20))
    assert sorted(cards(world.chat)) == ["approval", "opened"]
    assert all(fact(notice, "Late") for _, notice, _ in world.chat.posts), "a card that comes late says so"
    assert world.times("chat cannot be reached") == 2, "once for each card, not for each attempt"
    world.approve()
    world.end()
    assert_nothing_lost_or_doubled(world)
    assert sorted(cards(world.chat)) == sorted(usual)


def test_no_teams_until_after_the_end(world: Unplugged, usual: tuple[str, ...]) -> None:
    """People use the portal; what a card would have asked for is done by the time the chat is back."""

    def meanwhile() -> None:
        world.fires()
        world.until_asked()
        world.approve()
        world.end_at_source()

    out_for_an_hour(world, "chat", meanwhile)
    world.pass_time(timedelta(minutes=20))
    assert_nothing_lost_or_doubled(world)
    assert sorted(cards(world.chat)) == ["closed", "published"]
    skipped = world.times("skipped argus.notification.requested.v1")
    assert skipped == len(usual) - 2, "what is out of date is not sent, and said"


def test_no_servicenow_for_an_hour(world: Unplugged) -> None:
    said: list[str] = []

    def meanwhile() -> None:
        world.fires()
        world.until_asked()
        world.pass_time(timedelta(minutes=1))
        said.extend(world.says())
        world.approve()
        world.end_at_source()

    out_for_an_hour(world, "desk", meanwhile)
    assert world.incident().state is State.CLOSED, "the ticket holds up nothing"
    assert world.incident().ticket is None
    world.pass_time(timedelta(minutes=40))
    assert_nothing_lost_or_doubled(world)
    assert len(said) == 1
    assert said[0].startswith("desk cannot be reached since")
    assert "1 ticket change waits" in said[0]
    told = [fact(notice, "Missing") for _, notice, _ in world.chat.posts if fact(notice, "Missing")]
    assert told, "cards on the channel that works say what is missing"
    assert all("desk cannot be reached" in text for text in told)


def test_no_confluence_for_an_hour(store: SqliteStore) -> None:
    world = Unplugged(store, knowledge={"publish_to": ["wiki", "git"]})
    git = world.add_destination("git")

    def meanwhile() -> None:
        world.fires()
        world.until_asked()
        world.approve()
        world.end_at_source()
        world.pass_time(timedelta(minutes=1))
        assert git.pages, "the other destination has the documents at once"
        assert [m.kind for m in world.missing()] == [PartKind.DESTINATION]
        assert world.says()[0].startswith("wiki cannot be reached since")
        assert "1 publication waits" in world.says()[0]

    out_for_an_hour(world, "wiki", meanwhile)
    world.pass_time(timedelta(minutes=20))
    assert_nothing_lost_or_doubled(world)
    assert {d.destination for d in world.incident().documents} == {"wiki", "git"}
    assert cards(world.chat).count("published") == 1
    assert sorted(world.wiki.pages) == sorted(git.pages)


def test_the_target_is_away_for_an_hour(world: Unplugged) -> None:
    def meanwhile() -> None:
        world.fires()
        world.pass_time(timedelta(minutes=5))
        assert world.incident().state is State.INVESTIGATING, "nothing is proposed blindly"
        assert world.incident().diagnosis is not None
        assert world.says()[0].startswith("shop cannot be reached since")

    out_for_an_hour(world, "workload", meanwhile)
    world.until_asked()
    world.pass_time(timedelta(minutes=1))
    assert not world.missing()
    world.approve()
    world.end()
    assert_nothing_lost_or_doubled(world)


def test_one_of_two_channels_is_away(store: SqliteStore) -> None:
    world = Unplugged(store, notify={"channels": ["chat", "pager"], "fallback_after_s": 60})

    def meanwhile() -> None:
        world.fires()
        world.until_asked()
        world.pass_time(timedelta(minutes=10))
        assert "approval" in cards(world.pager), "the other one is told at once"
        world.approve()
        world.pass_time(timedelta(minutes=1))
        assert any("chat cannot be reached" in fact(notice, "Missing") for _, notice, _ in world.pager.posts)

    out_for_an_hour(world, "chat", meanwhile)
    world.pass_time(timedelta(minutes=20))
    world.end()
    assert_nothing_lost_or_doubled(world)
    assert sorted(cards(world.chat)) == sorted(cards(world.pager))
    assert not any(fact(notice, "Instead of") for _, notice, _ in world.pager.posts)


def test_when_every_channel_of_a_card_is_away_another_one_is_told(store: SqliteStore) -> None:
    """The pager is configured, but hears of nothing as long as the chat works."""
    world = Unplugged(store, notify={"channels": ["chat"], "fallback": ["pager"], "fallback_after_s": 120})

    def meanwhile() -> None:
        world.fires()
        world.until_asked()
        world.pass_time(timedelta(seconds=90))
        assert not world.pager.posts, "not before it is sure"
        world.pass_time(timedelta(minutes=15))
        assert sorted(cards(world.pager)) == ["approval", "opened"]

    out_for_an_hour(world, "chat", meanwhile)
    world.pass_time(timedelta(minutes=20))
    assert sorted(cards(world.pager)) == ["approval", "opened"], "once, however often the chat was tried"
    assert all("chat" in fact(notice, "Instead of") for _, notice, _ in world.pager.posts)
    world.approve()
    world.end()
    assert_nothing_lost_or_doubled(world)
    assert len(world.pager.posts) == 2


def test_a_single_lost_answer_is_not_worth_a_line(world: Unplugged) -> None:
    world.chat.failures = [TransientError("busy", sent=False)]
    world.fires()
    world.until_asked()
    world.settle()
    assert not world.times("cannot be reached")
    assert not world.missing()


def test_a_far_side_that_asks_for_minutes_is_missing_at_once(world: Unplugged) -> None:
    world.chat.failures = [TransientError("slow down", Reason.RATE_LIMITED, timedelta(minutes=5), sent=False)]
    world.fires()
    world.until_asked()
    world.pass_time(timedelta(seconds=30))
    assert world.times("chat cannot be reached") == 1
    world.pass_time(timedelta(minutes=10))
    assert not world.missing()


@pytest.mark.parametrize(
    ("part", "title"),
    [
        pytest.param("desk", "Given up: the ticket in desk", id="ticket"),
        pytest.param("chat", "Given up: a card for chat", id="card"),
    ],
)
def test_what_goes_to_quarantine_calls_somebody(store: SqliteStore, part: str, title: str) -> None:
    world = Unplugged(store, channels={"chat": {}, "pager": {}})
    {"desk": world.desk, "chat": world.chat}[part].failures = [PermanentError("no longer there", Reason.NOT_FOUND)]
    world.fires()
    world.settle()
    told = world.pager if part == "chat" else world.chat
    calls = [notice for _, notice, _ in told.posts if notice.title.startswith(title)]
    assert len(calls) == 1
    assert calls[0].kind == "escalated"
    assert "not_found: no longer there" in calls[0].text
    [missing] = world.missing()
    assert missing.given_up
    assert "1 given up and in quarantine" in missing.says


def test_a_call_that_is_refused_calls_nobody(store: SqliteStore) -> None:
    world = Unplugged(store, channels={"chat": {}, "pager": {}})
    refusal: Callable[[], list[PermanentError | TransientError]] = lambda: [PermanentError("no", Reason.REFUSED)] * 30  # noqa: E731
    world.chat.failures, world.pager.failures = refusal(), refusal()
    world.fires()
    world.settle()
    assert len(world.chat.failures) + len(world.pager.failures) >= 55, "two channels that refuse do not call on"


def test_what_was_given_up_and_is_replayed_is_missing_no_longer(world: Unplugged) -> None:
    world.send_everything()
    world.desk.failures = [PermanentError("the table is locked", Reason.REFUSED)]
    world.fires()
    world.settle()
    [asked] = world.sent(TicketRequested)
    assert world.missing()
    world.say(asked.data, asked.subject, id=asked.id, attempt=asked.attempt + 1)
    world.settle()
    assert len(world.desk.tickets) == 1
    assert not world.missing()


def test_the_call_for_help_is_not_taken_for_what_the_hop_says_when_it_succeeds(store: SqliteStore) -> None:
    """Both are the first card that follows from the same event; the second must not be recognised as the first."""
    world = Unplugged(store, host={"function_timeout_s": 60, "retry_hours": 1})
    world.fires()
    world.until_asked()
    world.approve()
    world.plugs["wiki"].out = True
    world.end_at_source()
    world.pass_time(timedelta(hours=2))
    assert cards(world.chat).count("escalated") == 1
    assert "1 given up and in quarantine" in world.says()[0]
    world.plugs["wiki"].out = False
    [closed] = world.sent(IncidentClosed)[:1]
    world.say(closed.data, closed.subject, id=closed.id, attempt=99, time=world.now)
    world.pass_time(timedelta(minutes=1))
    assert cards(world.chat).count("published") == 1
    assert not world.missing()


def test_what_was_done_meanwhile_is_not_said_to_be_missing(world: Unplugged) -> None:
    """Another host has just done it, when this one comes to say that it failed."""
    world.send_everything()
    world.fires()
    world.settle()
    [asked] = world.sent(TicketRequested)
    error = TransientError("desk does not answer")
    lacking.note(world.engine, Queue.TICKETS, replace(asked, attempt=3), error, timedelta(seconds=4))
    assert not world.missing()
