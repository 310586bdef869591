"""A round of the watch: who is told, how often, through what, and that it is over."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import pytest

from shared import dispatch
from shared.adapters.stores.sqlite import SqliteStore
from shared.dispatch import Engine
from shared.dispatch.beating import beating, undone
from shared.model.approval import Choice
from shared.model.errors import Reason, TransientError
from shared.model.event import NotificationRequested, SignalsReceived
from shared.model.pipeline import Queue
from shared.model.signal import Signal, Status
from shared.ports.queue_watch import QueueState
from shared.records import heartbeats
from tests import fakes
from tests.pipeline.faults import FragileStore, Points
from tests.pipeline.world import World

START = datetime.fromisoformat("2026-11-20T02:00:00+00:00")


@dataclass
class FakeQueueWatch:
    """Queues as a test wants them."""

    down: bool = False
    ages: dict[Queue, datetime] = field(default_factory=dict)

    def reach(self) -> None:
        """See the port."""
        if self.down:
            raise TransientError("Service Bus: connection refused", Reason.UNAVAILABLE)

    def look(self, queue: Queue) -> QueueState:
        """See the port."""
        return QueueState(queue, self.ages.get(queue))


class Watched:
    """An ARGUS whose watch runs every 20 s of its own time."""

    def __init__(self, store: SqliteStore, **sections: object) -> None:
        self.now = START
        self.store = FragileStore(store, Points())
        self.queues, self.bus = FakeQueueWatch(), fakes.FakeBus()
        self.broken: set[str] = set()
        self.silent: set[str] = set()
        self.chat, self.pager = fakes.FakeChannel(), fakes.FakeChannel()
        settings = fakes.settings(notify={"channels": ["chat"]}, channels={"chat": {}, "pager": {}}, **sections)
        ports = fakes.ports(
            self.store, settings, bus=self.bus, queue_watch=self.queues,
            channels={"chat": self.chat, "pager": self.pager},
        )  # fmt: skip
        self.engine = Engine(ports, {}, lambda: self.now, lambda: 0.5, lambda: "invocation")

    def rounds(self, count: int) -> None:
        """Let the watch run, and the other timers with it; broken ones fail, silent ones do not run."""
        for _ in range(count):
            self.now += timedelta(seconds=20)
            for name in self.engine.ports.settings.self_monitoring.late_after_s():
                if name in self.broken:
                    self.fail(name, 1)
                elif name not in (*self.silent, "watch"):
                    with beating(self.engine, name):
                        pass
            dispatch.watch(self.engine)

    def fail(self, timer: str, times: int = 3) -> None:
        """A timer fails, and goes on failing."""
        self.broken.add(timer)
        for _ in range(times):
            with pytest.raises(TransientError), beating(self.engine, timer):
                raise TransientError("the far side is away")

    def signals(self) -> list[Signal]:
        """What was said into the pipeline."""
        events = self.bus.events(Queue.SIGNALS)
        return [signal for event in events if isinstance(event.data, SignalsReceived) for signal in event.data.signals]

    def raised(self) -> list[str]:
        return [raised.key for raised in heartbeats.read(self.store.inner).raised]


@pytest.fixture
def watched(store: SqliteStore) -> Watched:
    return Watched(store)


def titles(channel: fakes.FakeChannel) -> list[str]:
    return [notice.title for notice in channel.notices]


def test_all_is_well_and_nobody_hears_of_it(watched: Watched) -> None:
    watched.rounds(30)
    assert not watched.signals()
    assert not watched.chat.sent + watched.pager.sent
    report = heartbeats.read(watched.store.inner).report
    assert report is not None
    assert report.at == watched.now
    assert len(report.queues) == len(Queue)


def test_a_timer_that_fails_three_times_becomes_an_alert_of_the_service_argus_once(watched: Watched) -> None:
    watched.fail("sweep", 1)
    watched.rounds(1)
    assert not watched.signals()
    watched.rounds(20)
    [signal] = watched.signals()
    assert (signal.source, signal.service, signal.status) == ("argus", "argus", Status.FIRING)
    assert signal.name == "The timer sweep fails"
    assert "the far side is away" in signal.summary
    assert not watched.chat.sent, "an incident like any other tells people"


def test_it_is_resolved_when_the_timer_works_again_and_a_new_failure_is_the_same_alert(watched: Watched) -> None:
    watched.fail("sweep")
    watched.rounds(2)
    watched.broken.clear()
    watched.rounds(2)
    firing, resolved = watched.signals()
    assert resolved.status is Status.RESOLVED
    assert resolved.fingerprint == firing.fingerprint
    assert resolved.starts_at == firing.starts_at
    assert not watched.raised()
    watched.fail("sweep")
    watched.rounds(1)
    assert [s.fingerprint for s in watched.signals()] == [firing.fingerprint] * 3


def test_a_problem_that_lasts_is_said_again_every_hour(watched: Watched) -> None:
    watched.fail("sweep")
    watched.rounds(3 * 60 * 3)  # three hours
    assert len(watched.signals()) in (3, 4)
    assert len({signal.id for signal in watched.signals()}) == len(watched.signals())


def test_another_process_goes_on_with_what_this_one_told(watched: Watched) -> None:
    watched.fail("sweep")
    watched.rounds(1)
    watched.engine = Engine(watched.engine.ports, {}, lambda: watched.now, lambda: 0.5, lambda: "another")
    watched.rounds(5)
    assert len(watched.signals()) == 1
    watched.broken.clear()
    watched.rounds(2)
    assert [signal.status for signal in watched.signals()] == [Status.FIRING, Status.RESOLVED]


def test_a_run_that_left_something_undone_counts_as_a_failure(watched: Watched) -> None:
    watched.silent = {"sweep"}
    for _ in range(3):
        with beating(watched.engine, "sweep"):
            undone(watched.engine, "sweep", "2 incident(s) could not be cared for")
    watched.rounds(1)
    [signal] = watched.signals()
    assert "2 incident(s)" in signal.summary


def test_a_stranger_s_exception_leaves_its_words_in_the_log(watched: Watched) -> None:
    watched.silent = {"sweep"}
    for _ in range(3):
        with pytest.raises(ValueError, match="hunter2"), beating(watched.engine, "sweep"):
            raise ValueError("password=hunter2")
    watched.rounds(1)
    [signal] = watched.signals()
    assert "hunter2" not in signal.summary
    assert "ValueError" in signal.summary


def test_a_stuck_queue_is_a_signal_unless_the_signal_would_get_stuck_in_it(watched: Watched) -> None:
    watched.queues.ages[Queue.KNOWLEDGE] = START - timedelta(hours=1)
    watched.rounds(2)
    assert [signal.name for signal in watched.signals()] == ["The queue knowledge is stuck"]
    assert not watched.chat.sent
    watched.queues.ages[Queue.NOTIFICATIONS] = START - timedelta(hours=1)
    watched.rounds(2)
    assert titles(watched.chat) == ["ARGUS itself: The queue notifications is stuck"]
    assert len(watched.signals()) == 1
    watched.queues.ages.clear()
    watched.rounds(1)
    assert titles(watched.chat)[1:] == ["Recovered: The queue notifications is stuck"]
    assert watched.signals()[-1].status is Status.RESOLVED


def test_the_bus_is_down_people_are_told_directly_once_an_hour_and_when_it_is_over(watched: Watched) -> None:
    watched.rounds(1)
    watched.queues.down = True
    watched.rounds(2)
    assert not watched.chat.sent
    watched.rounds(1)
    assert titles(watched.chat) == titles(watched.pager) == ["ARGUS itself: The bus cannot be used"]
    watched.rounds(170)
    assert len(watched.chat.sent) == 1
    watched.rounds(20)
    assert len(watched.chat.sent) == 2
    assert len({key for _, key, _ in watched.chat.sent}) == 2
    watched.queues.down = False
    watched.rounds(2)
    assert titles(watched.chat)[2:] == ["Recovered: The bus cannot be used"]
    assert not watched.signals(), "nothing of it went over the bus"


def test_the_store_is_down_people_are_told_directly_and_nothing_is_lost_by_it(watched: Watched) -> None:
    watched.rounds(1)
    watched.store.down = True
    watched.rounds(30)
    assert titles(watched.chat) == ["ARGUS itself: The store cannot be used"]
    watched.store.down = False
    watched.rounds(1)
    assert titles(watched.chat) == ["ARGUS itself: The store cannot be used", "Recovered: The store cannot be used"]
    watched.rounds(3)
    assert len(watched.chat.sent) == 2


def test_a_store_that_is_slow_counts_as_failing(store: SqliteStore) -> None:
    watched = Watched(store)

    def slow(table: object, key: str) -> None:
        watched.now += timedelta(seconds=3)

    inner = watched.store.query

    def query(*given: object, **more: object) -> object:
        slow(given[0], "")
        return inner(*given, **more)  # type: ignore[arg-type]

    watched.store.query = query  # type: ignore[method-assign, assignment]
    watched.rounds(3)
    assert titles(watched.chat) == ["ARGUS itself: The store cannot be used"]
    assert "to answer one question" in watched.chat.notices[0].text


def test_a_channel_that_fails_does_not_keep_the_others_from_hearing(watched: Watched) -> None:
    watched.chat.failures = [TransientError("chat is down")] * 10
    watched.queues.down = True
    watched.rounds(3)
    assert titles(watched.pager) == ["ARGUS itself: The bus cannot be used"]


def test_when_nobody_can_be_told_the_log_has_it(watched: Watched, caplog: pytest.LogCaptureFixture) -> None:
    watched.chat.failures = [TransientError("down")] * 99
    watched.pager.failures = [TransientError("down")] * 99
    watched.queues.down = True
    with caplog.at_level(logging.ERROR, "argus.watch"):
        watched.rounds(3)
    assert any("no channel could be told" in record.getMessage() for record in caplog.records)


def test_a_timer_that_does_not_run_at_all_is_told(watched: Watched) -> None:
    watched.rounds(2)
    watched.silent = {"poll"}
    watched.rounds(14)
    assert not watched.signals()
    watched.rounds(3)
    [signal] = watched.signals()
    assert signal.name == "The timer poll does not run"


def test_it_can_be_switched_off(store: SqliteStore) -> None:
    watched = Watched(store, self_monitoring={"enabled": False})
    watched.queues.down = True
    watched.rounds(5)
    assert not watched.chat.sent
    assert heartbeats.read(watched.store.inner).report is not None, "the status page shows it all the same"


# In the whole product


def test_an_incident_of_the_service_argus_opens_and_closes_by_itself(world: World) -> None:
    for _ in range(3):
        with pytest.raises(TransientError), beating(world.engine, "sweep"):
            raise TransientError("the store stumbles")
    dispatch.watch(world.engine)
    world.settle()
    dispatch.watch(world.engine)
    world.settle()
    assert world.incident().service == "argus"
    assert [alert.name for alert in world.incident().alerts] == ["The timer sweep fails"]
    assert len(world.ids()) == 1
    assert len(world.desk.tickets) == 1
    with beating(world.engine, "sweep"):
        pass
    dispatch.watch(world.engine)
    world.settle()
    assert world.incident().over


def test_a_channel_that_is_away_becomes_an_incident_and_the_ticket_says_so(world: World) -> None:
    world.chat.failures = [TransientError("chat is away", sent=False)] * 6
    world.fires()
    world.run_until(lambda: len(world.chat.failures) <= 2)
    dispatch.watch(world.engine)
    world.settle()
    services = sorted(world.incident(i).service for i in range(len(world.ids())))
    assert services == ["argus", "shop"]
    dispatch.watch(world.engine)
    world.settle()
    own = next(world.incident(i) for i in range(len(world.ids())) if world.incident(i).service == "argus")
    assert own.over, "the cards went through in the end, and so it is over"


def reminders(world: World) -> int:
    return sum("Still waiting" in notice.title for _, notice, _ in world.chat.posts)


def asked(world: World, needed: int = 1) -> World:
    """A world that has asked people, with an hour to answer."""
    world.configure(approvals={"needed": needed, "expires_s": 3600, "poll_s": 60})
    world.fires()
    world.settle()
    return world


def watch_until(world: World, before: timedelta) -> None:
    """Let time pass until shortly before the deadline, and watch three times."""
    world.pass_time(world.request().deadline - world.now - before)
    for _ in range(3):
        dispatch.watch(world.engine)
        world.settle()


def test_approvers_are_reminded_once_before_the_deadline(world: World) -> None:
    asked(world)
    watch_until(world, timedelta(minutes=11))
    assert reminders(world) == 0
    watch_until(world, timedelta(minutes=9))
    assert reminders(world) == 1
    world.engine.pulse.reminded.clear()  # another process
    dispatch.watch(world.engine)
    world.settle()
    assert reminders(world) == 1
    assert world.sent(NotificationRequested)[-1].subject == world.ids()[0]


def test_nobody_is_reminded_once_somebody_has_voted(world: World) -> None:
    asked(world, needed=2)
    world.vote(choice=Choice.APPROVE)
    watch_until(world, timedelta(minutes=5))
    assert world.incident().approval is not None
    assert reminders(world) == 0
