"""The router: one incident per group and generation, states by the source's time, repeats for nearly nothing."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from shared.adapters.stores.sqlite import SqliteStore
from shared.agents.sentinel import alert_router
from shared.agents.sentinel.alert_router import FoldMemory, Routed
from shared.agents.sentinel.grouping import group_key
from shared.config.schema import Routing
from shared.model import codec
from shared.model.alert import Alert
from shared.model.errors import TransientError
from shared.model.event import GroupChanged, GroupChangeKind, derive_id
from shared.model.pipeline import Queue
from shared.model.signal import Severity, Status
from shared.ports import Ports
from shared.records import counters, groups, index
from shared.records.groups import Claim
from tests import fakes

T0 = datetime(2026, 11, 21, 3, 0, tzinfo=UTC)
KEY = "service=shop|environment=production"


def at(seconds: float) -> datetime:
    return T0 + timedelta(seconds=seconds)


def firing(seconds: float = 0, name: str = "errors", began: float | None = None, **more: Any) -> Alert:
    starts_at = at(seconds if began is None else began)
    fields: dict[str, Any] = {
        "fingerprint": f"fp-{name}",
        "name": name,
        "service": "shop",
        "environment": "production",
        "severity": Severity.SEV2,
        "status": Status.FIRING,
        "at": at(seconds),
        "starts_at": starts_at,
        "source": "azure_monitor",
        "signal_id": f"signal {name} firing {seconds}",
        **more,
    }
    return Alert(**fields)


def resolved(seconds: float, name: str = "errors", began: float = 0, **more: Any) -> Alert:
    signal_id = f"signal {name} resolved {seconds}"
    return firing(seconds, name, began, **{"status": Status.RESOLVED, "signal_id": signal_id, **more})


class Desk:
    """A router with its bus and a clock that only tests move."""

    def __init__(self, store: SqliteStore, **routing: Any) -> None:
        self.bus = fakes.FakeBus()
        self.ports: Ports = fakes.ports(store, fakes.settings(routing=routing), bus=self.bus)
        self.store = store
        self.memory = FoldMemory("test")

    def route(self, alert: Alert, now: float = 0, memory: FoldMemory | None = None) -> Routed:
        return alert_router.route(alert, self.ports, at(now), memory or self.memory)

    def changes(self) -> list[GroupChanged]:
        """What the incident creator would get, in order."""
        return [e.data for e in self.bus.delivered(Queue.INCIDENTS) if isinstance(e.data, GroupChanged)]

    def kinds(self) -> list[tuple[str, str]]:
        return [(change.kind.value, f"{change.alert.name} {change.alert.status}") for change in self.changes()]

    def opened(self, alert: Alert | None = None) -> str:
        """A group with an incident."""
        routed = self.route(alert or firing())
        assert groups.turn_open(self.store, KEY, 1)
        return routed.incident_id

    def closed(self, now: float) -> None:
        assert groups.begin_closing(self.store, KEY, 1, at(now))
        assert not groups.finish_closing(self.store, KEY, 1, at(now + 20))


@pytest.fixture
def desk(store: SqliteStore) -> Desk:
    return Desk(store)


class TestOpening:
    def test_the_first_alert_opens(self, desk: Desk) -> None:
        routed = desk.route(firing())
        assert (routed.what, routed.incident_id) == ("opened", derive_id("incident", KEY, "1"))
        (event,) = desk.bus.events(Queue.INCIDENTS)
        (message,) = desk.bus.sent[Queue.INCIDENTS]
        assert event.id == derive_id("group", KEY, "1", GroupChanged.TYPE, routed.incident_id, "0")
        assert event.data == GroupChanged(GroupChangeKind.OPEN, KEY, 1, firing())
        assert (event.subject, event.source) == (routed.incident_id, "/agents/sentinel/alert_router")
        assert (message.message_id, message.subject) == (f"{event.id}.0", routed.incident_id)
        group = groups.state_of(desk.store, KEY)
        assert group is not None
        assert (group.state, group.generation, group.incident_id) == (Claim.CLAIMING, 1, routed.incident_id)
        (line,) = index.alerts(desk.store)
        assert (line.alert, line.incident_id) == (firing(), routed.incident_id)

    def test_a_second_alert_joins(self, desk: Desk) -> None:
        incident = desk.opened()
        routed = desk.route(firing(3, "latency"), 3)
        assert (routed.what, routed.incident_id) == ("joined", incident)
        assert desk.kinds() == [("open", "errors firing"), ("join", "latency firing")]
        join = desk.bus.events(Queue.INCIDENTS)[-1]
        assert join.id == derive_id("signal latency firing 3", GroupChanged.TYPE, incident, "0")
        assert [m.name for m in groups.members(desk.store, KEY)] == ["errors", "latency"]

    def test_another_group_is_another_incident(self, desk: Desk) -> None:
        first = desk.route(firing())
        second = desk.route(firing(name="other", service="billing"))
        assert first.incident_id != second.incident_id
        assert [kind for kind, _ in desk.kinds()] == ["open", "open"]

    @pytest.mark.parametrize(
        ("one", "other", "group_by", "same"),
        [
            pytest.param({}, {"name": "x", "resource": "y"}, ["service"], True, id="only-what-is-named-counts"),
            pytest.param({"labels": {"team": "a"}}, {}, ["team"], False, id="a-missing-label-is-the-empty-value"),
            pytest.param({"labels": {"team": ""}}, {}, ["team"], True, id="an-empty-label-is-a-missing-one"),
            pytest.param(
                {"service": "", "resource": "a"}, {"service": "", "resource": "b"}, ["service"], False, id="a"
            ),
            pytest.param({"service": "a|source=b"}, {"service": "a"}, ["service"], False, id="values-cannot-pretend"),
            pytest.param({}, {"service": "x"}, [], True, id="nothing-named-is-one-group"),
        ],
    )
    def test_group_key(self, one: dict[str, Any], other: dict[str, Any], group_by: list[str], same: bool) -> None:
        routing = Routing(group_by=group_by)
        first, second = (group_key(replace(firing(), **fields), routing) for fields in (one, other))
        assert (first == second) is same
        assert len(group_key(replace(firing(), service="x" * 9000), Routing())) <= 500


class TestListed:
    def test_a_sev4_is_listed_and_opens_nothing(self, desk: Desk) -> None:
        routed = desk.route(firing(severity=Severity.SEV4))
        assert (routed.what, routed.incident_id) == ("listed", "")
        assert desk.kinds() == []
        (line,) = index.alerts(desk.store)
        assert (line.incident_id, line.why) == ("", "sev4 opens no incident")

    def test_a_sev4_beside_an_open_incident_says_which(self, desk: Desk) -> None:
        incident = desk.opened()
        routed = desk.route(firing(1, "info", severity=Severity.SEV4))
        assert (routed.what, routed.incident_id) == ("listed", "")
        assert incident in routed.reason
        assert desk.kinds() == [("open", "errors firing")]

    def test_a_member_that_turns_sev4_tells_its_incident(self, desk: Desk) -> None:
        desk.opened()
        assert desk.route(firing(5, began=0, severity=Severity.SEV4), 5).what == "joined"

    @pytest.mark.parametrize(
        ("service", "now", "what"),
        [("shop", 10, "suppressed"), ("*", 10, "suppressed"), ("billing", 10, "opened"), ("shop", 3600, "opened")],
    )
    def test_maintenance(self, store: SqliteStore, service: str, now: float, what: str) -> None:
        window = {"service": service, "start": at(0).isoformat(), "end": at(3600).isoformat(), "reason": "upgrade"}
        desk = Desk(store, maintenance=[window])
        routed = desk.route(firing(now), now)
        assert routed.what == what
        assert ("upgrade" in routed.reason) is (what == "suppressed")

    def test_severities_are_configured(self, store: SqliteStore) -> None:
        desk = Desk(store, incident_severities=["sev4"])
        assert desk.route(firing(severity=Severity.SEV4)).what == "opened"
        assert desk.route(firing(name="x", severity=Severity.SEV0, service="b")).what == "listed"


class TestClosing:
    def test_C2_a_firing_that_meets_closing_comes_again(self, desk: Desk) -> None:
        desk.opened()
        assert groups.begin_closing(desk.store, KEY, 1, at(10))
        for alert in (firing(12, "latency"), firing(12), resolved(13)):
            with pytest.raises(TransientError) as caught:
                desk.route(alert, 12)
            assert (caught.value.reason, caught.value.retry_after) == ("not_yet", timedelta(seconds=5))
        assert desk.kinds() == [("open", "errors firing")]

    def test_C2_after_closed_a_firing_opens_the_next_generation(self, desk: Desk) -> None:
        first = desk.opened()
        desk.closed(10)
        routed = desk.route(firing(40), 40)
        assert (routed.what, routed.incident_id) == ("opened", derive_id("incident", KEY, "2"))
        assert routed.incident_id != first
        assert [m.generation for m in groups.members(desk.store, KEY)] == [2]

    def test_a_resolve_after_closed_is_recorded(self, desk: Desk) -> None:
        incident = desk.opened()
        desk.closed(10)
        routed = desk.route(resolved(11), 40)
        assert (routed.what, routed.incident_id) == ("recorded resolved", incident)
        assert groups.unresolved(desk.store, KEY) == ()
        assert desk.route(firing(5, began=0), 41).what == "recorded resolved"

    def test_C1_a_repeat_while_closing_opens_again(self, desk: Desk) -> None:
        desk.opened()
        desk.route(firing(1, began=0), 1)
        assert groups.begin_closing(desk.store, KEY, 1, at(5))
        assert desk.route(firing(6, began=0), 6).what == "folded"  # read as open 5 s ago
        assert desk.memory.flush(desk.store, at(7))
        assert groups.finish_closing(desk.store, KEY, 1, at(25))
        assert groups.finish_closing(desk.store, KEY, 1, at(26)), "a redelivery answers the same"
        group = groups.state_of(desk.store, KEY)
        assert group is not None
        assert group.state is Claim.OPEN

    def test_C2_what_bounced_is_heard_after_opening_again(self, desk: Desk) -> None:
        desk.opened()
        late = firing(4, "latency")
        desk.route(late, 4)  # its join finds the incident closed, and comes back as a signal
        assert groups.begin_closing(desk.store, KEY, 1, at(5))
        with pytest.raises(TransientError):
            desk.route(late, 6)
        assert groups.reopen_claim(desk.store, KEY, 1)
        desk.route(late, 30)
        ids = fakes.ids(desk.bus.delivered(Queue.INCIDENTS))
        assert len(ids) == len(set(ids)) == 3
        assert desk.kinds()[1:] == [("join", "latency firing")] * 2

    @pytest.mark.parametrize("step", ["turn_open", "begin_closing", "finish_closing", "reopen_claim"])
    def test_a_step_of_another_generation_changes_nothing(self, desk: Desk, step: str) -> None:
        desk.opened()
        before = groups.state_of(desk.store, KEY)
        also = (at(1),) if step in ("begin_closing", "finish_closing") else ()
        for key, generation in ((KEY, 2), ("service=nobody", 1)):
            assert getattr(groups, step)(desk.store, key, generation, *also) is False
        assert groups.state_of(desk.store, KEY) == before

    def test_a_claim_never_overwrites_another_one(self, desk: Desk) -> None:
        desk.opened()
        held = groups.read(desk.store, KEY)
        assert held is not None
        mine = replace(held.group, generation=2)
        assert not groups.claim(desk.store, mine, None)
        desk.closed(5)
        assert not groups.claim(desk.store, mine, held)
        assert groups.claim(desk.store, mine, groups.read(desk.store, KEY))

    def test_closing_again_keeps_the_first_moment(self, desk: Desk) -> None:
        desk.opened()
        for now in (5, 9):
            assert groups.begin_closing(desk.store, KEY, 1, at(now))
        group = groups.state_of(desk.store, KEY)
        assert group is not None
        assert group.closing_at == at(5)
        assert not groups.turn_open(desk.store, KEY, 1), "a late delivery of the creation does not open it again"


class TestStates:
    def test_S8_a_resolve_joins(self, desk: Desk) -> None:
        incident = desk.opened()
        routed = desk.route(resolved(9), 9)
        assert (routed.what, routed.incident_id) == ("resolved", incident)
        assert desk.kinds() == [("open", "errors firing"), ("join", "errors resolved")]
        assert groups.unresolved(desk.store, KEY) == ()
        (line,) = index.alerts(desk.store)
        assert (line.alert.status, line.incident_id) == (Status.RESOLVED, incident)

    def test_it_fires_again_in_the_same_incident(self, desk: Desk) -> None:
        desk.opened()
        desk.route(resolved(9), 9)
        assert desk.route(firing(20), 20).what == "joined"
        assert desk.kinds()[-1] == ("join", "errors firing")
        assert len(groups.unresolved(desk.store, KEY)) == 1

    def test_a_resolve_that_does_not_say_when_it_began_finds_its_line(self, desk: Desk) -> None:
        desk.opened()
        desk.route(resolved(9, began=9), 9)
        assert [line.alert.status for line in index.alerts(desk.store)] == [Status.RESOLVED]

    def test_a_resolve_stamped_before_its_own_firing_still_ends_it(self, desk: Desk) -> None:
        desk.opened(firing(5))
        assert desk.route(resolved(3, began=5), 9).what == "resolved"

    def test_an_older_state_is_recorded_only(self, desk: Desk) -> None:
        desk.opened(firing(20))
        assert desk.route(resolved(9), 21).what == "recorded"
        assert desk.route(firing(0), 22).what == "recorded"
        assert len(desk.changes()) == 1
        assert len(groups.unresolved(desk.store, KEY)) == 1

    def test_tombstones_go_after_a_day(self, desk: Desk) -> None:
        for number in range(200):
            desk.route(resolved(1, f"n{number}"), 1)
        assert len(groups.everything_known(desk.store, KEY)) == 200
        day = 25 * 3600
        for number in range(200, 260):
            desk.route(resolved(day, f"n{number}", began=day - 1), day)
        left = [m.name for m in groups.everything_known(desk.store, KEY)]
        assert len(left) == 60

    def test_members_of_the_current_incident_stay(self, desk: Desk) -> None:
        desk.opened()
        later = 7 * 24 * 3600
        for number in range(100):
            desk.route(firing(later, f"n{number}"), later)
        assert len(groups.members(desk.store, KEY)) == 101


class TestCounters:
    def test_sums_over_processes_and_generations(self, store: SqliteStore) -> None:
        for name, generation, count in (("a", 1, 2), ("b", 1, 3), ("b", 2, 4)):
            memory = FoldMemory(f"{name}{generation}")
            for i in range(count):
                memory.count(KEY, generation, firing(i), at(i))
            memory.count("another", 1, firing(), at(99))
            assert memory.flush(store, at(100))
        assert counters.read(store, KEY) == counters.Repeats(9, at(3), at(3))
        assert counters.read(store, KEY, 1) == counters.Repeats(5, at(2), at(2))
        assert counters.read(store, "nobody") == counters.Repeats()

    def test_a_store_that_is_down_keeps_the_counts_for_later(self, store: SqliteStore) -> None:
        class Down:
            def __init__(self, rows: SqliteStore) -> None:
                self.rows, self.up = rows, False

            def write(self, *what: Any) -> str:
                if not self.up:
                    raise TransientError("down")
                return self.rows.write(*what)

        memory, down = FoldMemory("x"), Down(store)
        memory.count(KEY, 1, firing(), at(0))
        assert not memory.flush(down, at(0))  # type: ignore[arg-type]
        down.up = True
        assert memory.flush(down, at(6))  # type: ignore[arg-type]
        assert counters.read(store, KEY).count == 1

    def test_rows_of_processes_that_are_gone_can_be_purged(self, store: SqliteStore) -> None:
        for number in range(3):
            memory = FoldMemory(f"p{number}")
            memory.count(KEY, 1, firing(), at(number))
            memory.flush(store, at(number))
        assert counters.purge(store, at(2)) == 2
        assert counters.read(store, KEY).count == 1

    def test_a_memory_full_of_groups_still_writes(self, store: SqliteStore) -> None:
        where = counters.address(KEY)
        many = {f"1|{'k' * 490}{number:04}": counters.Repeats(1, at(number), at(0)) for number in range(1000)}
        counters.write(store, "x", where, {**many, counters.entry(KEY, 1): counters.Repeats(7, at(2000))}, at(0))
        assert counters.read(store, KEY).count == 7


def test_the_creation_in_the_row_is_what_was_sent(desk: Desk) -> None:
    desk.route(firing(labels={"quote": '"', "emoji": "🔥"}, description="x\ny"))
    group = groups.state_of(desk.store, KEY)
    assert group is not None
    assert codec.decode_event(group.creation.encode()) == desk.bus.events(Queue.INCIDENTS)[0]
