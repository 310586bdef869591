"""Rules D1 and D2 on the real host: however the events of a vote come, or do not come, the stored votes decide once."""

from __future__ import annotations

from datetime import timedelta

import pytest

from shared.model.approval import Choice
from shared.records import approvals
from tests.local.host.process import until
from tests.local.waits.stage import Stage

SOON = timedelta(seconds=1)


def test_D2_a_vote_that_is_told_ends_the_wait_at_once(stage: Stage) -> None:
    asked = stage.ask()
    stage.vote(asked)
    stage.held_to(asked, "approved", ("olga",))


def test_D1_a_vote_that_is_told_three_times_counts_once(stage: Stage) -> None:
    asked = stage.ask()
    stage.vote(asked, told=3)
    stage.held_to(asked, "approved", ("olga",))


def test_D1_a_vote_before_the_wait_begins_counts(stage: Stage) -> None:
    asked = stage.prepare()
    approvals.create(stage.store, asked)  # by an attempt of its hop that died right after
    stage.vote(asked, choice=Choice.REJECT)  # its event finds no instance, which is no error
    stage.quiet()
    assert stage.instance(asked.id) == {}
    stage.begin(asked, wait=False)
    stage.held_to(asked, "rejected", ("olga",))


def test_D1_silence_expires_and_later_votes_change_nothing(stage: Stage) -> None:
    asked = stage.ask(SOON)
    assert stage.decided(asked).by == ("deadline",)
    stage.vote(asked)
    stage.vote(asked, "sam", at=asked.deadline - timedelta(milliseconds=1))  # stored too late: there is a decision
    stage.quiet()
    stage.held_to(asked, "expired", ("deadline",))


def test_D1_the_first_decision_stands_against_other_votes(stage: Stage) -> None:
    asked = stage.ask()
    stage.vote(asked)
    stage.decided(asked)
    stage.vote(asked, "sam", Choice.REJECT)
    stage.held_to(asked, "approved", ("olga",))


@pytest.mark.parametrize("again", ["true", "false"], ids=["beside-itself", "in-its-own-place"])
def test_D3_a_wait_that_is_started_once_more_carries_nothing_on_twice(stage: Stage, again: str) -> None:
    asked = stage.ask()
    beside = f"/restart?restartWithNewInstanceId={again}"
    assert stage.command(asked.id, beside) == (202 if again == "true" else 409)  # what runs is not replaced
    stage.vote(asked)
    stage.decided(asked)
    until(lambda: stage.instance(asked.id)["runtimeStatus"] == "Completed")
    assert stage.command(asked.id, beside) == 202
    if again == "false":  # it sleeps first, as it did, and reads the store when it is woken
        until(lambda: stage.instance(asked.id)["runtimeStatus"] == "Running")
        assert stage.command(asked.id, "/raiseEvent/vote") == 202
    until(lambda: stage.instance(asked.id)["runtimeStatus"] == "Completed")
    stage.held_to(asked, "approved", ("olga",))


@pytest.mark.parametrize("how", ["terminate", "purge"])
def test_D2_a_wait_that_is_gone_is_begun_anew_and_finds_the_votes(stage: Stage, how: str) -> None:
    asked = stage.ask()
    assert stage.command(asked.id, "/terminate?reason=test") == 202
    if how == "purge":
        assert stage.command(asked.id, "", "DELETE") == 200
    stage.vote(asked, told=0)
    stage.quiet()
    assert stage.decision(asked.id) is None
    stage.sweep()
    stage.held_to(asked, "approved", ("olga",))


@pytest.mark.parametrize("how", ["terminate", "purge"])
def test_D3_a_vote_that_is_told_needs_no_wait(stage: Stage, how: str) -> None:
    asked = stage.ask()
    assert stage.command(asked.id, "/terminate?reason=test") == 202
    if how == "purge":
        assert stage.command(asked.id, "", "DELETE") == 200
    stage.vote(asked)
    stage.held_to(asked, "approved", ("olga",))


def test_D3_the_wait_ends_with_the_vote_that_decides_and_has_read_nothing(stage: Stage) -> None:
    asked = stage.ask()
    stage.vote(asked)
    stage.held_to(asked, "approved", ("olga",))
    until(lambda: stage.instance(asked.id)["runtimeStatus"] == "Completed")
    assert stage.instance(asked.id)["customStatus"] == {"looks": 0, "decided": False}


def test_D2_a_suspended_wait_goes_on_when_somebody_votes(stage: Stage) -> None:
    asked = stage.ask()
    assert stage.command(asked.id, "/suspend?reason=test") == 202
    stage.vote(asked)
    stage.held_to(asked, "approved", ("olga",))
