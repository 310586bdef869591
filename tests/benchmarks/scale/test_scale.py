"""The simulation obeys its limits, and the document shows what the command prints."""

from __future__ import annotations

from dataclasses import replace

import pytest

from benchmarks import scale
from benchmarks.cost import prices
from benchmarks.scale_model import STORM_S, Outcome, Setup, simulate
from benchmarks.scale_storm import Ratios

RATIOS = Ratios(1300, 1, 1, 2, 3, 0.3, 3, 7, 6, 14, 2, 7)
AMPLE = Setup(1, 1000.0, 1000, 1e9, 10)


def storm(alerts: float = 1000, setup: Setup = AMPLE, rows: float = 1e9, services: float = 20) -> Outcome:
    return simulate(alerts, services, setup, RATIOS, prices.read(), rows, rows)


def test_the_document_shows_what_the_command_prints() -> None:
    _, text = scale.tables()
    page = scale.PAGE.read_text(encoding="utf-8")
    shown = page[page.index(scale.BEGIN) + len(scale.BEGIN) : page.index(scale.END)]
    assert shown == text, "`python -m benchmarks scale --update` writes it"


def test_without_limits_nothing_holds_anybody_up() -> None:
    outcome = storm()
    assert outcome.first == ("nothing", 0.0)
    assert outcome.told_within_s < 3
    assert STORM_S <= outcome.done_s < STORM_S + 5


@pytest.mark.parametrize(
    ("setup", "rows", "limit"),
    [
        pytest.param(replace(AMPLE, credits=10.0), 1e9, "Service Bus credits", id="credits"),
        pytest.param(replace(AMPLE, rps=1.0, instances=2), 1e9, "instances of the edge", id="edge"),
        pytest.param(AMPLE, 3.0, "partitions of payloads", id="partitions"),
    ],
)
def test_what_is_scarce_gives_first(setup: Setup, rows: float, limit: str) -> None:
    outcome = simulate(3000, 20, setup, RATIOS, prices.read(), rows, 1e9)
    assert outcome.held_s.most_common(1)[0][0] == limit
    assert outcome.waiting > 0


def test_the_account_holds_up_what_its_rows_cannot_keep() -> None:
    outcome = simulate(
        12_000, 20, AMPLE, RATIOS, prices.read(), 1e9, 100.0
    )  # 200 alerts a second, 2 rows each at least
    assert outcome.held_s["rows of the account"] > STORM_S
    assert outcome.done_s > 12_000 * 2 / 100.0


def test_a_namespace_never_carries_more_than_its_credits() -> None:
    outcome = storm(30_000, replace(AMPLE, credits=100.0, rps=1.0))
    assert outcome.done_s > 30_000 * 2 / 100.0 / 10  # at most ten alerts travel in a message at this pace
    assert outcome.told_within_s > storm(30_000, AMPLE).told_within_s


def test_deployments_share_a_storm() -> None:
    whole, half = storm(20_000), storm(40_000, replace(AMPLE, deployments=2), services=40)
    assert half.done_s == whole.done_s
    assert half.told_within_s == whole.told_within_s
