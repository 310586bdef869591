"""Links without a wire: credit arithmetic and what a link remembers."""

from typing import Any

import pytest

from local.servicebus.links import QueueLink
from local.servicebus.performatives import Attach, Flow, Transfer
from local.servicebus.queue import Queue
from tests.local.servicebus.fakes import message, new_queue


class FakeBroker:
    """Takes consumers and touches without a loop."""

    def add_consumer(self, queue: Queue, consumer: object) -> None: ...

    def touch(self, queue: Queue) -> None: ...


class FakeWindow:
    """A session that is always open; keeps what links send."""

    def __init__(self) -> None:
        self.broker: Any = FakeBroker()
        self.sent: list[Transfer] = []
        self.flows: list[tuple[int, int, bool]] = []

    def send_flow(self, link: Any, *, drain: bool = False) -> None:
        self.flows.append((link.delivery_count, link.credit, drain))

    def send_disposition(self, disposition: object) -> None: ...

    def send_transfer(self, transfer: Transfer, payload: bytes) -> None:
        self.sent.append(transfer)

    def next_delivery_id(self) -> int:
        return len(self.sent) + 1

    def can_send(self) -> bool:
        return True


def queue_link(**changes: Any) -> tuple[QueueLink, Queue, FakeWindow]:
    queue, _ = new_queue(**changes)
    window = FakeWindow()
    return QueueLink(window, Attach("l", 1, True), queue), queue, window


def test_locks_that_expired_are_forgotten_by_the_link() -> None:
    link, queue, _ = queue_link(lock_ms=10, max_delivery_count=10**6)
    queue.send([message()], 0)
    for step in range(3000):
        queue.advance(step * 10)
        assert link.deliver_from(queue, step * 10)
    assert len(link.unsettled) < 1100


@pytest.mark.parametrize(
    ("sent", "told_count", "told_credit", "credit"),
    [
        pytest.param(0, 0, 5, 5, id="first-credit"),
        pytest.param(3, 1, 5, 3, id="two-are-on-their-way"),
        pytest.param(3, 0, 2, 0, id="taken-back-below-what-is-used"),
        pytest.param(3, None, 4, 4, id="count-unknown-to-the-peer"),
        pytest.param(0xFFFFFFFF, 0xFFFFFFFE, 3, 2, id="counts-wrap"),
    ],
)
def test_credit_counts_what_is_on_its_way(sent: int, told_count: int | None, told_credit: int, credit: int) -> None:
    link, _, _ = queue_link()
    link.delivery_count = sent
    link.on_flow(Flow(None, 1, 0, 1, 1, told_count, told_credit))
    assert link.credit == credit
    assert link.wants() is (credit > 0)


def test_a_drain_is_answered_once() -> None:
    link, _, window = queue_link()
    link.on_flow(Flow(None, 1, 0, 1, 1, 0, 5, drain=True))
    link.finish_turn()
    link.finish_turn()
    assert window.flows == [(5, 0, True)]
