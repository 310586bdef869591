"""Rules H11 and M5: bodies, quarantine and what the sentinel keeps go when nothing needs them any more."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from shared.config.schema import Retention
from shared.model.event import (
    Event,
    TicketUpdateRequested,
    UpdateKind,
    derive_id,
)
from shared.model.signal import Status
from shared.ports.store import Delete, Table, Upsert
from shared.records import groups, incidents, journal, letters, payloads, windows
from tests.pipeline.world import GROUP, World
from tests.records.stage import DAY, purge, rules

# Bodies


def old_event(world: World, payload: str = "") -> Event:
    return Event(
        derive_id("old", payload), "/people/x", "i", world.now, TicketUpdateRequested(UpdateKind.NOTE, f'"{payload}"')
    )


def hold(world: World, reference: str) -> None:
    event = old_event(world, reference)
    row = incidents.held_row(event, "a reason", world.now, "oncall", world.now)
    world.inner.write(Table.INCIDENTS, "i", row)


def leave_unsent(world: World, reference: str) -> None:
    world.inner.write(Table.INCIDENTS, "i", incidents.outbox_row(old_event(world, reference), world.now))


def quarantined(world: World, reference: str) -> None:
    values = {
        "at": world.now,
        "payload": reference,
        "origin": "tickets",
        "message": "m",
        "reason": "bug",
        "subject": "",
    }
    world.inner.write(Table.QUARANTINE, f"{world.now:%Y%m%d}", Upsert("q1", values))


def quarantined_inside(world: World, reference: str) -> None:
    """The quarantined event's own signals refer to the raw body they were read from."""
    inner = payloads.put(
        world.inner, "q-1", f'{{"signals": [{{"payload": "{reference}"}}]}}'.encode(), world.now, False
    )
    quarantined(world, inner)


@pytest.mark.parametrize(
    "refer", [hold, leave_unsent, quarantined, quarantined_inside], ids=["held", "unsent", "quarantined", "nested"]
)
def test_m5_a_body_stays_while_something_held_or_quarantined_refers_to_it(
    world: World, refer: Callable[[World, str], None]
) -> None:
    wanted = payloads.put(world.inner, "wanted", b"body" * 50_000, world.now)
    other = payloads.put(world.inner, "other", b"x" * 200_000, world.now)
    refer(world, wanted)
    purge(world.inner, world.now + 29 * DAY)
    assert payloads.get(world.inner, other) is not None
    tally = purge(world.inner, world.now + 40 * DAY)["kept bodies"]
    assert payloads.get(world.inner, wanted) == b"body" * 50_000
    assert payloads.get(world.inner, other) is None
    assert sum(tally.kept.values()) >= 1


def test_m5_the_body_of_a_held_event_is_there_when_it_is_released_a_month_later(world: World) -> None:
    """It is sent by reference under the day of its own time, which is long over; and may be on its way for a day."""
    world.fires()
    world.settle()
    world.configure(policy={"hold": ["ticket_updater"], "hold_s": 86_400 * 300})
    text = "a long note " * 9000
    event = world.say(TicketUpdateRequested(UpdateKind.NOTE, text), world.incident().id)
    world.settle()
    world.clock[0] += 60 * DAY
    purge(world.inner, world.now)
    [kept] = incidents.held(world.inner, world.incident().id)
    released = journal.release(world.inner, kept, "olga", world.now)
    assert released is not None
    letters.send(world.store, world.bus, released)
    for row in list(incidents.rows(world.inner, world.incident().id, incidents.OUTBOX)):
        world.inner.write(Table.INCIDENTS, world.incident().id, Delete(row.key, None))
    purge(world.inner, world.now + timedelta(hours=20))
    world.configure(policy={"hold": []})
    world.settle()
    assert event.id in [marker for marker, _ in world.desk.notes]


def settled(world: World, standing: str, at: datetime) -> None:
    values = {"at": world.now, "payload": "", "origin": "o", "reason": "r", "message": "m", "subject": ""}
    row = Upsert(f"{standing}-1", {**values, "standing": standing, "acted_at": at})
    world.inner.write(Table.QUARANTINE, f"{world.now:%Y%m%d}", row)


def test_settled_quarantine_goes_and_what_waits_for_a_person_stays(world: World) -> None:
    for standing in ("replayed", "dropped", "waiting", "replaying"):
        settled(world, standing, world.now + 5 * DAY)
    quarantined(world, "")  # of schema 1: nobody could settle it
    payloads_strike(world)
    tallies = purge(world.inner, world.now + 34 * DAY)
    assert tallies["settled quarantine rows"].rows == 0
    tallies = purge(world.inner, world.now + 36 * DAY)
    assert tallies["settled quarantine rows"].rows == 2
    assert tallies["settled quarantine rows"].kept == {"still waits for a person": 3}
    left = {row.key for row in incidents.rows(world.inner, f"{world.now:%Y%m%d}", "", Table.QUARANTINE)}
    assert left == {"waiting-1", "replaying-1", "q1"}
    assert not [name for name in world.inner.partitions(Table.QUARANTINE) if name.startswith("bugs-")]


def payloads_strike(world: World) -> None:
    world.inner.write(Table.QUARANTINE, f"bugs-{world.now:%Y%m%d}", Upsert("e1", {"times": 1, "at": world.now}))


# The sentinel's


def test_claims_stay_for_ever_and_the_next_incident_is_the_next_generation(closed: World) -> None:
    closed.clock[0] += 500 * DAY
    purge(closed.inner, closed.now, chosen=rules(closed_incidents_days=60))
    assert not groups.everything_known(closed.inner, GROUP)
    closed.deliver(closed.signal(starts_at=closed.now, at=closed.now))
    closed.settle()
    group = groups.state_of(closed.inner, GROUP)
    assert group is not None
    assert (group.generation, len(closed.ids())) == (2, 2)


def test_a_firing_member_of_a_group_that_was_closed_by_hand_stays(world: World) -> None:
    world.fires()
    world.settle()
    assert [member.status for member in groups.members(world.inner, GROUP)] == [Status.FIRING]
    held = groups.read(world.inner, GROUP)
    assert held is not None
    groups.claim(world.inner, replace(held.group, state=groups.Claim.CLOSED), held)
    purge(world.inner, world.now + 50 * DAY)
    assert groups.everything_known(world.inner, GROUP)


def test_a_series_that_fires_stays_and_one_that_is_silent_goes(world: World) -> None:
    for metric, value in (("latency_ms", 900.0), ("latency_ms", 100.0)):
        world.deliver(
            world.signal(
                metric, None, kind="sample", value=value, resource=f"node-{value:.0f}", severity=None, starts_at=None
            )
        )
    world.settle()
    firing = [w for w in windows.of_service(world.inner, world.settings, "shop") if w.standing.phase == "firing"]
    assert len(firing) == 1
    tally = purge(world.inner, world.now + 31 * DAY)["series that nobody measures any more"]
    assert (tally.rows, tally.kept) == (1, {"it fires": 1})
    assert list(windows.of_service(world.inner, world.settings, "shop")) == firing


@pytest.mark.parametrize("days", [0.5, 1, -1, 40_000])
def test_what_is_too_short_or_too_long_is_refused(days: float) -> None:
    with pytest.raises(ValueError, match=r"retention|Retention|days|equal"):
        Retention.model_validate({"payloads_days": days})
