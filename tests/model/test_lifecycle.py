"""The life of an incident: what can follow what, and that there is always a way to the end."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.model.lifecycle import TRANSITIONS, Moment, State, diagram, follow
from shared.model.outcome import Happened
from shared.records.journal import apply
from tests.agents.cases import incident

S, M = State, Moment


def test_every_state_has_its_row() -> None:
    assert set(TRANSITIONS) == set(State)


@pytest.mark.parametrize(
    ("state", "moment", "after"),
    [
        pytest.param(S.OPEN, M.INVESTIGATION_STARTED, S.INVESTIGATING, id="looked-at"),
        pytest.param(S.INVESTIGATING, M.APPROVAL_REQUESTED, S.AWAITING_APPROVAL, id="asked"),
        pytest.param(S.AWAITING_APPROVAL, M.APPROVED, S.EXECUTING, id="approved"),
        pytest.param(S.AWAITING_APPROVAL, M.NOT_APPROVED, S.INVESTIGATING, id="silence-goes-back-to-people"),
        pytest.param(S.EXECUTING, M.EXECUTED, S.VERIFYING, id="done-is-not-recovered"),
        pytest.param(S.EXECUTING, M.NOT_EXECUTED, S.INVESTIGATING, id="refused-goes-back-to-people"),
        pytest.param(S.VERIFYING, M.RECOVERED, S.RESOLVED, id="measured-good"),
        pytest.param(S.RESOLVED, M.CLOSED, S.CLOSED, id="closed"),
        pytest.param(S.CLOSED, M.REOPENED, S.INVESTIGATING, id="reopened"),
        pytest.param(S.OPEN, M.EXECUTED, None, id="nothing-is-executed-unasked"),
        pytest.param(S.INVESTIGATING, M.EXECUTED, None, id="nothing-is-executed-unapproved"),
        pytest.param(S.AWAITING_APPROVAL, M.INVESTIGATION_STARTED, None, id="looking-again-takes-no-question-back"),
        pytest.param(S.CLOSED, M.APPROVED, None, id="the-end-is-the-end"),
    ],
)
def test_H5_what_follows_what(state: State, moment: Moment, after: State | None) -> None:
    assert follow(state, moment) is after


@pytest.mark.parametrize("state", [state for state in State if state is not S.CLOSED])
@pytest.mark.parametrize("moment", [M.CLOSED, M.CANCELLED])
def test_every_state_can_end(state: State, moment: Moment) -> None:
    assert follow(state, moment) is S.CLOSED


@given(moments=st.lists(st.sampled_from(Moment), max_size=12))
def test_H5_a_moment_that_does_not_apply_changes_nothing(moments: list[Moment]) -> None:
    now = incident()
    for moment in moments:
        after = apply(now, (Happened(moment),))
        assert after.state is (follow(now.state, moment) or now.state)
        assert after.cancelled is (now.cancelled or (moment is M.CANCELLED and follow(now.state, moment) is not None))
        now = after


@given(moments=st.lists(st.sampled_from(Moment), max_size=20))
def test_D4_executing_is_only_reached_through_an_approval(moments: list[Moment]) -> None:
    state = S.OPEN
    for moment in moments:
        after = follow(state, moment) or state
        assert after is not S.EXECUTING or state is S.EXECUTING or moment is M.APPROVED
        assert after is not S.VERIFYING or state is S.VERIFYING or (state, moment) == (S.EXECUTING, M.EXECUTED)
        state = after


def test_the_diagram_shows_every_transition() -> None:
    lines = diagram().splitlines()
    arrows = sum(len(moments) for moments in TRANSITIONS.values())
    assert lines[0] == "stateDiagram-v2"
    assert len(lines) == arrows + 3
