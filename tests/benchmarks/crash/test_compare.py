"""The comparison finds what was lost and what happened twice, and lets pass what may be repeated."""

from __future__ import annotations

from collections import Counter
from copy import deepcopy

import pytest

from benchmarks.crash.compare import Verdict, _compare
from benchmarks.crash.ledger import Outcome
from benchmarks.crash.scripts import Performance, Play, Script, perform, plan
from benchmarks.crash.stage import incident_id_of

ONE = Performance(Script(0, Play.APPROVE, "alertmanager", 1, 1, 0), 3, "depot-0003")
CARD, NOTE = "Incident opened: depot-stuck", "Approved by olga"
CALM = Outcome(
    {
        "incident": True,
        "tickets": 1,
        "state": "closed",
        "executions": [1],
        "actions": [("depot_hook", "done")],
        "documents": [("review", "git")],
    },
    Counter({NOTE: 1}),
    Counter({CARD: 1}),
    Counter(),
)


def _judged(found: Outcome, hits: int = 0) -> Verdict:
    verdict = Verdict()
    _compare(ONE, found, CALM, Counter({incident_id_of(ONE): hits}), verdict)
    return verdict


def test_the_same_outcome_is_good() -> None:
    assert _judged(deepcopy(CALM)).good


@pytest.mark.parametrize(
    ("name", "value", "kind"),
    [
        ("incident", False, "lost"),
        ("state", "verifying", "lost"),
        ("tickets", 0, "lost"),
        ("tickets", 2, "doubled"),
        ("executions", [], "lost"),
        ("executions", [2], "doubled"),
        ("actions", [("depot_hook", "unclear")], "lost"),
        ("actions", [("depot_hook", "done"), ("depot_hook", "done")], "doubled"),
        ("documents", [], "lost"),
    ],
)
def test_a_fact_that_differs_is_lost_or_doubled(name: str, value: object, kind: str) -> None:
    found = deepcopy(CALM)
    found.facts[name] = value
    verdict = _judged(found)
    assert (len(verdict.lost), len(verdict.doubled)) == ((1, 0) if kind == "lost" else (0, 1))
    assert name in (verdict.lost + verdict.doubled)[0]


@pytest.mark.parametrize(("times", "kind"), [(0, "lost"), (2, "doubled")])
def test_a_note_is_there_once(times: int, kind: str) -> None:
    found = deepcopy(CALM)
    found.notes[NOTE] = times
    assert len(getattr(_judged(found), kind)) == 1


@pytest.mark.parametrize(
    ("came", "marked", "hits", "kind"),
    [
        pytest.param(0, 0, 1, "lost", id="a-card-that-never-came-is-lost"),
        pytest.param(1, 1, 1, "good", id="the-only-one-may-say-possible-repeat"),
        pytest.param(2, 1, 1, "good", id="one-repeat-for-one-kill-that-says-so"),
        pytest.param(3, 2, 2, "good", id="two-repeats-for-two-kills"),
        pytest.param(2, 0, 1, "doubled", id="a-repeat-that-does-not-say-so-is-double"),
        pytest.param(2, 1, 0, "doubled", id="a-repeat-without-a-kill-is-double"),
        pytest.param(3, 2, 1, "doubled", id="more-repeats-than-kills-are-double"),
        pytest.param(3, 1, 2, "doubled", id="every-repeat-must-say-so"),
    ],
)
def test_a_card_may_come_again_once_per_kill_that_hit_it(came: int, marked: int, hits: int, kind: str) -> None:
    found = deepcopy(CALM)
    found.cards[CARD], found.marked[CARD] = came, marked
    verdict = _judged(found, hits)
    assert (bool(verdict.lost), bool(verdict.doubled)) == (kind == "lost", kind == "doubled")
    assert verdict.repeats == (came - 1 if kind == "good" else 0)


def test_a_card_nobody_expected_is_double() -> None:
    found = deepcopy(CALM)
    found.cards["Reopened: depot-stuck"] = 1
    assert len(_judged(found).doubled) == 1


def test_the_plan_follows_from_the_seed_and_every_cycle_has_names_of_its_own() -> None:
    assert plan(4, light=False) == plan(4, light=False) != plan(5, light=False)
    scripts = plan(4, light=False)
    assert {script.play for script in scripts} == set(Play)
    played = [perform(script, cycle, len(scripts)) for cycle in range(5) for script in scripts]
    assert len({incident_id_of(one) for one in played}) == len(played)
    bodies = [alert.body(0) for one in played for alert in one.alerts if one.script.play is not Play.LOOP]
    assert len(set(bodies)) == len(bodies), "two cycles with the same webhook would be one"
