"""One incident may not cost more than promised, nor more than the baseline that is committed."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.cost import measure, report
from benchmarks.cost.command import BASELINE, main
from benchmarks.cost.ledger import DURABLE, HTTP
from benchmarks.cost.report import Costs

EFFECTS = 12


@pytest.fixture(scope="module")
def costs() -> Costs:
    return measure.costs()


def test_no_count_is_above_the_baseline(costs: Costs) -> None:
    above = report.above(costs.counts(), json.loads(BASELINE.read_text(encoding="utf-8")))
    assert not above, "`python -m benchmarks cost --update` writes it, if it has to be: " + "; ".join(above)


def test_every_promise_holds(costs: Costs, capsys: pytest.CaptureFixture[str]) -> None:
    """Calls, messages, and dollars when it is quiet and when it is busy; what is promised does not move."""
    promised = {gate.name: (gate.most, gate.held) for gate in costs.gates()}
    assert promised == {
        "store calls": (80, True),
        "messages": (20, True),
        "$ per 1,000 incidents, sparse": (0.35, True),
        "$ per 1,000 incidents, busy": (0.10, True),
    }
    assert main(["--gate"]) == 0
    assert "MISSED" not in capsys.readouterr().out


def test_the_whole_loop_is_in_it(costs: Costs) -> None:
    labels = {report.name_of(one) for one in costs.loop}
    assert {
        "receive_signals: fired",
        "receive_signals: resolved",
        "portal: approval GET",
        "portal: approval POST",
    } <= labels
    assert {"approval_wait: begins", "approval_wait: wakes up"} <= labels
    assert {"decisions: vote.cast", "actions: action.approved", "knowledge: incident.closed"} <= labels
    assert {one.label for one in costs.polls} >= {"look_at_approval"}
    # What one incident does outside, wherever it is worked off: five cards, a ticket with two notes and its end, an
    # action, two documents. It must not get smaller to get cheaper.
    assert sum(one.effects for one in costs.loop) == EFFECTS
    assert sum(one.effects for one in costs.crowd) == EFFECTS * costs.crowd_of
    queues = {str(queue) for one in costs.loop for queue, _ in one.sent}
    assert queues == {one.scaling for one in costs.loop} - {HTTP, DURABLE}
    assert len(costs.crowd) > 5 * len(costs.loop)


def test_every_message_that_is_sent_is_worked_on_once(costs: Costs) -> None:
    worked = [one for one in costs.loop if one.scaling not in (HTTP, DURABLE)]
    assert len(worked) == costs.messages
    assert all(one.cause is not None for one in worked)


def test_one_more_call_is_seen(costs: Costs, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fewer = costs.counts()
    fewer["calls"] -= 1
    assert report.above(costs.counts(), fewer) == [f"calls: {costs.calls}, the baseline has {costs.calls - 1}"]
    kept = tmp_path / "baseline.json"
    kept.write_text(json.dumps(fewer), encoding="utf-8")
    assert main(["--gate", "--baseline", str(kept), "--json", str(tmp_path / "figures.json")]) == 1
    assert "More than the baseline:\n  calls: " in capsys.readouterr().out
    figures = json.loads((tmp_path / "figures.json").read_text(encoding="utf-8"))
    assert figures["counts"] == costs.counts()  # a second play counts the same
    assert figures["usd_per_1000"]["sparse"]["total"] == pytest.approx(costs.sparse.total)


def test_a_gate_is_missed_when_an_incident_makes_too_many_calls(costs: Costs) -> None:
    busier = replace(costs, loop=[*costs.loop, *costs.loop])
    assert [gate.name for gate in busier.gates() if not gate.held][:2] == ["store calls", "messages"]


def test_a_baseline_that_is_not_there_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str], costs: Costs) -> None:
    assert report.below(costs.counts(), {**costs.counts(), "gone": 2}) == ["gone: 0, the baseline has 2"]
    assert main(["--baseline", str(tmp_path / "none.json")]) == 2
    assert "none.json is not there; --update writes it" in capsys.readouterr().err
