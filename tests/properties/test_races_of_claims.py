"""Two hosts at once on one store: claims, folds and closings, in every order that matters."""

from __future__ import annotations

from datetime import timedelta

from shared.model.event import (
    ClosingKind,
    ClosingRequested,
)
from shared.model.lifecycle import State
from shared.model.pipeline import Queue
from shared.records import groups
from tests.pipeline.world import GROUP
from tests.properties.ending import assert_one_live_incident_per_group, assert_whole, incidents_of
from tests.properties.hosts import Hosts
from tests.properties.racing import (
    A,
    B,
    delivery,
    everything_is_in_one_live_incident,
    opened,
    race,
    said,
    sweeping,
)


class TestClaims:
    def test_S3_two_alerts_open_one_group(self) -> None:
        def prepare(world: Hosts) -> None:
            world.bus.kept.add(Queue.SIGNALS)
            world.fires("HighErrorRatio")
            world.fires("Latency")

        def check(world: Hosts) -> None:
            everything_is_in_one_live_incident("HighErrorRatio", "Latency")(world)
            assert len(world.desk.tickets) == 1

        race(prepare, delivery(Queue.SIGNALS, 0, A), delivery(Queue.SIGNALS, 1, B), check)

    def test_S5_one_signal_on_two_hosts_is_one_alert(self) -> None:
        def prepare(world: Hosts) -> None:
            world.bus.kept.add(Queue.SIGNALS)
            world.fires()

        def check(world: Hosts) -> None:
            everything_is_in_one_live_incident("HighErrorRatio")(world)
            assert incidents_of(world)[0].alert_count == 1

        race(prepare, delivery(Queue.SIGNALS, 0, A), delivery(Queue.SIGNALS, 0, B), check)

    def test_S7_a_firing_and_its_resolve(self) -> None:
        def prepare(world: Hosts) -> None:
            world.fires("Latency")
            world.settle()
            world.bus.kept.add(Queue.SIGNALS)
            world.fires()
            world.resolves(at=world.now + timedelta(seconds=1))

        race(
            prepare,
            delivery(Queue.SIGNALS, 0, A),
            delivery(Queue.SIGNALS, 1, B),
            everything_is_in_one_live_incident("Latency"),
        )

    def test_S3_S4_two_deliveries_of_a_creation(self) -> None:
        def prepare(world: Hosts) -> None:
            world.bus.kept.add(Queue.INCIDENTS)
            world.fires()
            world.settle()

        race(
            prepare,
            delivery(Queue.INCIDENTS, 0, A),
            delivery(Queue.INCIDENTS, 0, B),
            everything_is_in_one_live_incident("HighErrorRatio"),
        )

    def test_S3_a_join_meets_its_creation(self) -> None:
        def prepare(world: Hosts) -> None:
            world.bus.kept.add(Queue.INCIDENTS)
            world.fires()
            world.fires("Latency")
            world.settle()

        race(
            prepare,
            delivery(Queue.INCIDENTS, 0, A),
            delivery(Queue.INCIDENTS, 1, B),
            everything_is_in_one_live_incident("HighErrorRatio", "Latency"),
        )

    def test_C2_two_alerts_open_the_next_generation(self) -> None:
        def prepare(world: Hosts) -> None:
            opened(world)
            world.resolves()
            world.settle()
            world.pass_time(timedelta(minutes=2))
            world.bus.kept.add(Queue.SIGNALS)
            world.fires(starts_at=world.now)
            world.fires("Latency", starts_at=world.now)

        def check(world: Hosts) -> None:
            everything_is_in_one_live_incident("HighErrorRatio", "Latency")(world)
            assert len(world.ids()) == 2

        race(prepare, delivery(Queue.SIGNALS, 0, A), delivery(Queue.SIGNALS, 1, B), check)


class TestClosing:
    """An alert comes while its incident ends: it is in that incident or in the next one, never in none."""

    @staticmethod
    def resolved(world: Hosts) -> None:
        """Its one alert has resolved, and the closer is about to look."""
        opened(world)
        world.bus.kept.add(Queue.CLOSING)
        world.resolves()
        world.pass_time(timedelta(seconds=5))

    def test_C1_C2_a_first_firing_meets_the_closer(self) -> None:
        def prepare(world: Hosts) -> None:
            self.resolved(world)
            world.bus.kept.add(Queue.SIGNALS)
            world.fires("Latency", starts_at=world.now)

        race(
            prepare,
            delivery(Queue.CLOSING, 0, A),
            delivery(Queue.SIGNALS, 0, B),
            everything_is_in_one_live_incident("Latency"),
        )

    def test_C1_C2_a_join_meets_the_closer(self) -> None:
        def prepare(world: Hosts) -> None:
            self.resolved(world)
            world.bus.kept.add(Queue.INCIDENTS)
            world.fires("Latency", starts_at=world.now)
            world.pass_time(timedelta(seconds=1))

        race(
            prepare,
            delivery(Queue.CLOSING, 0, A),
            delivery(Queue.INCIDENTS, 0, B),
            everything_is_in_one_live_incident("Latency"),
        )

    def test_C1_a_person_closes_while_an_alert_joins(self) -> None:
        def prepare(world: Hosts) -> None:
            opened(world)
            world.bus.kept.add(Queue.INCIDENTS)
            world.fires("Latency", starts_at=world.now)
            world.pass_time(timedelta(seconds=1))
            said(world, ClosingRequested(ClosingKind.MANUAL, "olga", "seen"), queue=Queue.CLOSING)

        def check(world: Hosts) -> None:
            world.settle()
            world.pass_time(timedelta(minutes=3))
            assert_whole(world)
            first, *rest = incidents_of(world)
            assert first.over
            heard = {alert.name for incident in (first, *rest) for alert in incident.alerts}
            assert heard == {"HighErrorRatio", "Latency"}

        race(prepare, delivery(Queue.CLOSING, 0, A), delivery(Queue.INCIDENTS, 0, B), check)

    def test_C1_two_reasons_to_close(self) -> None:
        def prepare(world: Hosts) -> None:
            self.resolved(world)
            said(world, ClosingRequested(ClosingKind.MANUAL, "olga", "seen"), queue=Queue.CLOSING)

        def check(world: Hosts) -> None:
            world.settle()
            world.pass_time(timedelta(minutes=3))
            assert_whole(world)
            assert [incident.state for incident in incidents_of(world)] == [State.CLOSED]
            assert list(world.desk.state.values()) == ["resolved"]
            assert groups.state_of(world.inner, GROUP).state is groups.Claim.CLOSED  # type: ignore[union-attr]
            assert [str(notice.kind) for _, notice, _ in world.chat.posts].count("closed") == 1

        race(prepare, delivery(Queue.CLOSING, 0, A), delivery(Queue.CLOSING, 1, B), check)

    def test_C1_S6_a_repeat_is_counted_while_the_group_is_settled(self) -> None:
        """Folded by the memory of the other host while the claim closes; its count is written as late as it may be."""

        def prepare(world: Hosts) -> None:
            opened(world)
            world.bus.kept.add(Queue.SIGNALS)
            for _ in range(2):
                world.fires()
            (_, read), (_, folded) = world.waiting(Queue.SIGNALS)
            world.take(Queue.SIGNALS, read, B, ())
            world.bus.kept.add(Queue.CLOSING)
            world.say(ClosingRequested(ClosingKind.MANUAL, "olga", "seen"), world.ids()[0])
            world.take(Queue.CLOSING, world.waiting(Queue.CLOSING)[0][1], A, ())
            world.clock[0] += timedelta(seconds=1)
            world.take(Queue.SIGNALS, folded, B, ())
            assert world.own[B]["memory"]._unwritten
            world.clock[0] += timedelta(seconds=25)

        def writes_counts(world: Hosts) -> None:
            world.own[B]["memory"].flush(world.store, world.now, force=True)

        def check(world: Hosts) -> None:
            world.pass_time(timedelta(minutes=3))
            world.settle()
            assert_whole(world)
            assert_one_live_incident_per_group(world)
            group = groups.state_of(world.inner, GROUP)
            assert group is not None
            (incident,) = incidents_of(world)
            assert group.state is (groups.Claim.CLOSED if incident.over else groups.Claim.OPEN)

        race(prepare, delivery(Queue.CLOSING, 0, A), writes_counts, check)

    def test_C2_the_sweep_and_the_closer_settle_one_closing(self) -> None:
        def prepare(world: Hosts) -> None:
            opened(world)
            world.resolves()
            world.bus.kept.add(Queue.CLOSING)
            world.pass_time(timedelta(seconds=5))
            for _, message in world.waiting(Queue.CLOSING):
                world.take(Queue.CLOSING, message, A, ())
            world.clock[0] += timedelta(minutes=4)

        def check(world: Hosts) -> None:
            world.settle()
            world.pass_time(timedelta(minutes=5))
            assert_whole(world)
            assert groups.state_of(world.inner, GROUP).state is groups.Claim.CLOSED  # type: ignore[union-attr]

        race(prepare, delivery(Queue.CLOSING, 0, A), sweeping(B), check)

    def test_C2_a_firing_claims_the_next_generation_while_the_last_is_settled(self) -> None:
        def prepare(world: Hosts) -> None:
            opened(world)
            world.resolves()
            world.bus.kept.add(Queue.CLOSING)
            world.pass_time(timedelta(seconds=5))
            for _, message in world.waiting(Queue.CLOSING):
                world.take(Queue.CLOSING, message, A, ())
            world.clock[0] += timedelta(seconds=40)
            world.bus.kept.add(Queue.SIGNALS)
            world.fires(starts_at=world.now)

        race(
            prepare,
            delivery(Queue.CLOSING, 0, A),
            delivery(Queue.SIGNALS, 0, B),
            everything_is_in_one_live_incident("HighErrorRatio"),
        )
