"""Rules D1 and D2 when the host's wall clock is set: nothing ends before its stored time, and nothing hangs."""

from __future__ import annotations

from datetime import timedelta

from tests.local.host.process import until
from tests.local.waits.stage import Stage

HOURS = timedelta(hours=3)


def looks(stage: Stage, approval_id: str) -> int:
    """How often the wait has read the store, in this execution of it."""
    return int(stage.instance(approval_id)["customStatus"]["looks"])


def looks_again(stage: Stage, approval_id: str) -> None:
    """A whole look has happened since now."""
    seen = looks(stage, approval_id)
    until(lambda: looks(stage, approval_id) not in (seen, seen + 1), 10, "two more looks")


def test_D1_a_clock_set_forward_expires_what_its_time_is_over_for_and_nothing_else(own: Stage) -> None:
    hour, day = own.ask(timedelta(hours=1)), own.ask(timedelta(days=1))
    own.set_clock(timedelta(minutes=30))
    looks_again(own, hour.id)
    assert own.decision(hour.id) is None
    own.set_clock(HOURS)
    own.held_to(hour, "expired", ("deadline",))
    looks_again(own, day.id)
    assert own.decision(day.id) is None
    own.set_clock(timedelta())
    own.vote(hour)  # the clock is right again, and the decision stands
    own.vote(day, told=0)
    own.held_to(day, "approved", ("olga",))
    own.held_to(hour, "expired", ("deadline",))


def test_D2_a_clock_set_back_by_hours_hangs_no_wait_and_ends_none(own: Stage) -> None:
    asked, silent = own.ask(), own.ask()
    own.set_clock(-HOURS)
    looks_again(own, asked.id)
    assert own.decision(asked.id) is None
    own.vote(asked, told=0)
    own.held_to(asked, "approved", ("olga",))
    looks_again(own, silent.id)
    assert own.decision(silent.id) is None
    own.set_clock(2 * HOURS)
    own.held_to(silent, "expired", ("deadline",))


def test_D2_a_clock_set_back_while_the_host_was_down_hangs_no_wait(own: Stage) -> None:
    own.set_clock(HOURS)
    asked = own.ask(4 * HOURS)
    own.kill()
    own.set_clock(timedelta())
    own.start()
    looks_again(own, asked.id)
    own.vote(asked, told=0)
    own.held_to(asked, "approved", ("olga",))


def test_D2_a_suspended_wait_ends_when_its_time_is_over(own: Stage) -> None:
    asked = own.ask()
    assert own.command(asked.id, "/suspend?reason=test") == 202
    own.set_clock(HOURS)
    own.sweep()
    own.held_to(asked, "expired", ("deadline",))
