"""Rules D1 to D3 when messages are lost and hosts die: a hub that is lost, spoilt, late, or changes hands."""

from __future__ import annotations

import sqlite3
import time
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

from shared.model.approval import Choice
from tests.local.host.process import until
from tests.local.waits.stage import Stage, staged


def test_D2_a_lost_vote_event_costs_no_more_than_the_poll(own: Stage) -> None:
    asked = own.ask()
    voted = datetime.now(UTC)
    own.vote(asked, told=0)
    own.held_to(asked, "approved", ("olga",))
    decision = own.decision(asked.id)
    assert decision is not None
    assert decision.at - voted < timedelta(seconds=3)


def test_D2_a_hub_that_was_deleted_is_made_good_from_the_store(own: Stage) -> None:
    silent, voted = own.ask(timedelta(seconds=3)), own.ask()
    own.kill()
    for file in own.state.glob("durable.db*"):
        file.unlink()
    own.vote(voted, told=0)
    own.start()
    assert own.instance(voted.id) == own.instance(silent.id) == {}
    own.sweep()
    own.held_to(voted, "approved", ("olga",))
    own.held_to(silent, "expired", ("deadline",))


def test_D2_a_wait_that_failed_is_begun_anew(own: Stage) -> None:
    asked = own.ask()
    own.kill()
    with closing(sqlite3.connect(own.hub)) as hub:
        hub.execute("UPDATE instances SET status='Failed' WHERE id=?", (asked.id,))
        hub.commit()
    own.vote(asked, choice=Choice.REJECT, told=0)
    own.start()
    assert own.instance(asked.id)["runtimeStatus"] == "Failed"
    own.sweep()
    own.held_to(asked, "rejected", ("olga",))


def test_D1_a_deadline_that_passed_while_the_host_was_down_counts_the_votes_of_before(own: Stage) -> None:
    in_time, silent, late = (own.prepare(timedelta(seconds=3)) for _ in range(3))
    for one in (in_time, silent, late):
        own.begin(one)
    own.kill()
    own.vote(in_time, at=in_time.requested_at)
    until(lambda: datetime.now(UTC) > late.deadline)
    own.vote(late)
    own.start()
    own.held_to(in_time, "approved", ("olga",))
    own.held_to(silent, "expired", ("deadline",))
    own.held_to(late, "expired", ("deadline",))


def test_D2_the_hub_of_a_host_that_was_killed_is_taken_over_and_the_waits_go_on(own: Stage) -> None:
    owner = own.hosts[0]
    heir = own.start()
    status = "/admin/host/status"
    assert (owner.http.get(status).json()["durable"], heir.http.get(status).json()["durable"]) == ("owned", "foreign")
    waiting, rejected = own.ask(), own.ask()  # whoever gets the message: the other one's client is passed on
    assert own.instance(waiting.id)["runtimeStatus"] == "Running"  # asked of the heir, answered by the owner
    own.hosts.remove(owner)
    owner.kill()
    killed = time.monotonic()
    until(lambda: heir.http.get(status).json()["durable"] == "owned", 5, "the heir to own the hub")
    assert time.monotonic() - killed < 5
    own.vote(rejected, choice=Choice.REJECT)
    own.held_to(rejected, "rejected", ("olga",))
    own.vote(waiting, told=0)
    own.held_to(waiting, "approved", ("olga",))


def test_D3_two_hundred_waits_at_once_each_end_as_their_votes_say(tmp_path: Path) -> None:
    with staged(tmp_path) as crowd:
        crowd.start()
        asked = [crowd.prepare() for _ in range(200)]
        for one in asked:
            crowd.begin(one, wait=False)
        until(lambda: crowd.running() == 200, 40, "200 waits")
        approved, rejected, silent = asked[:40], asked[40:80], asked[80:]
        for one in approved:
            crowd.vote(one)
        crowd.kill()  # in the middle of it
        for one in rejected:
            crowd.vote(one, choice=Choice.REJECT, told=0)
        crowd.start()
        crowd.set_clock(timedelta(hours=2))
        until(lambda: crowd.running() == 0, 40, "all of them to end")
        verdicts = [str(crowd.decided(one).verdict) for one in asked]
        assert verdicts == ["approved"] * 40 + ["rejected"] * 40 + ["expired"] * len(silent)
        until(lambda: crowd.actions() >= 40, 20, "40 actions")
        crowd.quiet()
        assert crowd.actions() == 40
