"""Dollars follow from counts by rules that can be checked by hand."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest

from benchmarks.cost import background, bill, prices
from benchmarks.cost.ledger import DURABLE, HTTP, Execution
from shared.model.pipeline import Queue

T0 = datetime(2026, 11, 20, tzinfo=UTC)
PRICES = prices.read()


def execution(scaling: str, after_s: float = 0.0, cause: int | None = None, **more: int) -> Execution:
    calls = Counter({"get incidents": more.pop("calls", 0)})
    made = Execution(scaling, scaling, T0 + timedelta(seconds=after_s), cause, calls)
    for name, value in more.items():
        setattr(made, name, value)
    return made


def test_every_price_has_a_source_and_a_date() -> None:
    assert set(PRICES.usd) == set(PRICES.sources)
    assert all("(read 20" in source for source in PRICES.sources.values())


def test_an_execution_alone_is_billed_for_a_second() -> None:
    (one,) = bill.activations([execution("tickets")], PRICES)
    assert one.seconds == 1.0


def test_a_long_one_is_billed_in_steps_of_a_tenth() -> None:
    (one,) = bill.activations([execution("tickets", effects=4)], PRICES)
    assert one.seconds == pytest.approx(1.7)  # 4 x 0.4 s and 0.05 s of handling


def test_pages_share_an_instance_and_queues_do_not() -> None:
    assert len(bill.activations([execution(HTTP), execution(HTTP, 0.5)], PRICES)) == 1
    assert len(bill.activations([execution(DURABLE), execution(DURABLE, 0.5)], PRICES)) == 1
    assert len(bill.activations([execution("tickets"), execution("notifications")], PRICES)) == 2


def test_what_comes_after_the_second_wakes_an_instance_again() -> None:
    assert len(bill.activations([execution(HTTP), execution(HTTP, 1.5)], PRICES)) == 2


def test_an_execution_begins_after_the_one_that_sent_its_message() -> None:
    (_, first), (begins, _) = bill.spans([execution("incidents", calls=10), execution("tickets", 0.001, 0)], PRICES)
    assert first == pytest.approx(0.15)
    assert begins == pytest.approx(first + PRICES.assumed["delivery_s"])


def test_dollars_of_one_execution() -> None:
    one = execution("tickets", rows=10, log_bytes=1000)
    one.sent = [(Queue.TICKETS, 100), (Queue.TICKETS, 70_000)]
    compute, executions, bus, tables, durable, logs = bill.sparse([one], PRICES).usd
    assert compute == pytest.approx(1000 * 0.5 * 0.000026)
    assert executions == pytest.approx(0.0004)
    assert bus == pytest.approx(1000 * 9 * 0.8e-6)  # the larger one counts twice; three operations each
    assert tables == pytest.approx(1000 * 10 * 3.6e-8)
    assert durable == 0
    assert logs == pytest.approx(0.0023)


def test_busy_executions_share_their_seconds() -> None:
    crowd = [execution("tickets") for _ in range(32)]
    assert bill.busy(crowd, PRICES, incidents=4).seconds == 0.5
    assert bill.busy(crowd, PRICES, incidents=4).total < bill.sparse([execution("tickets")] * 8, PRICES).total


@pytest.mark.parametrize(
    ("schedule", "times"),
    [
        ("0 * * * * *", 1440),
        ("*/5 * * * * *", 17_280),
        ("0 */5 * * * *", 288),
        ("0 15 3 * * *", 1),
        ("0,30 * * * * *", 2880),
    ],
)
def test_runs_a_day(schedule: str, times: int) -> None:
    assert background.times_a_day(schedule) == times


def test_a_schedule_of_some_days_is_refused() -> None:
    with pytest.raises(ValueError, match="not the same every day"):
        background.times_a_day("0 0 0 * * MON")


def test_every_timer_has_a_schedule() -> None:
    assert all(background.times_a_day(background.schedule(name)) for name in background.SETTING)
