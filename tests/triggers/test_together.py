"""Calls that come together are kept by one send, and each is answered after it."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from functions import edge
from shared.adapters.stores.sqlite import SqliteStore
from shared.dispatch.coalescing import Lane, Together
from shared.model.errors import PermanentError, Reason, TransientError
from shared.model.pipeline import Queue
from shared.records import payloads
from tests import fakes
from tests.triggers.app import Answer, ask
from tests.triggers.place import KEY, Place, body


class GatedBus(fakes.FakeBus):
    """The first send waits for the gate; how many messages each call had is kept."""

    def __init__(self, gate: threading.Event, failures: list[Exception] | None = None) -> None:
        super().__init__(failures or [])
        self.gate = gate
        self.entered = threading.Event()
        self.turns: list[int] = []

    def send(self, queue: Queue, messages: Sequence[Any]) -> None:
        """See the port."""
        if not self.entered.is_set():
            self.entered.set()
            assert self.gate.wait(30)
        super().send(queue, messages)
        self.turns.append(len(messages))


class TestTogether:
    @pytest.fixture
    def gate(self) -> Iterator[threading.Event]:
        gate = threading.Event()
        yield gate
        gate.set()

    def during(self, place: Place, bus: GatedBus, bodies: Sequence[bytes]) -> tuple[Answer, list[Answer], int]:
        """A first call that hangs, others meanwhile, then the gate opens; how many had an answer before that."""

        async def play() -> tuple[Answer, list[Answer], int]:
            def asks(raw: bytes) -> asyncio.Task[Answer]:
                call = ask(place.edges["receive_signals"], body=raw, headers=KEY, source="alertmanager")
                return asyncio.ensure_future(call)

            first = asks(body("first"))
            await asyncio.to_thread(bus.entered.wait, 10)
            others = [asks(raw) for raw in bodies]
            await asyncio.sleep(0.05)
            early = sum(task.done() for task in (first, *others))
            bus.gate.set()
            return await first, list(await asyncio.gather(*others)), early

        return asyncio.run(play())

    def test_calls_that_come_during_a_send_are_one_send(
        self, store: SqliteStore, monkeypatch: pytest.MonkeyPatch, gate: threading.Event
    ) -> None:
        bus = GatedBus(gate)
        place = Place(store, monkeypatch, bus)
        first, others, early = self.during(place, bus, [body(f"A{n}", f"B{n}") for n in range(20)])
        assert early == 0  # nobody is told before it is durable
        assert {answer.status for answer in (first, *others)} == {202}
        assert bus.turns == [1, 1]
        signals = [s for event in bus.events(Queue.SIGNALS) for s in event.data.signals]  # type: ignore[union-attr]
        assert len({signal.id for signal in signals}) == 41
        for signal in signals:
            assert json.loads(payloads.get(store, signal.payload) or b"")["version"] == "4"

    def test_a_send_that_fails_fails_all_of_its_calls_and_the_next_go_on(
        self, store: SqliteStore, monkeypatch: pytest.MonkeyPatch, gate: threading.Event
    ) -> None:
        bus = GatedBus(gate)
        place = Place(store, monkeypatch, bus)
        bodies = [body(f"A{n}") for n in range(10)]
        bus.failures = [TransientError("away", Reason.UNAVAILABLE, sent=None)]
        first, others, _ = self.during(place, bus, bodies)
        assert (first.status, {answer.status for answer in others}) == (503, {202})
        bus.failures = [TransientError("away", Reason.UNAVAILABLE, sent=None)]
        again = [body(f"C{n}") for n in range(10)]
        assert {answer.status for answer in place.post(*again)} == {503}
        assert {answer.status for answer in place.post(*again)} == {202}  # the senders come again, and nothing is lost
        found = [s.id for event in bus.events(Queue.SIGNALS) for s in event.data.signals]  # type: ignore[union-attr]
        assert len(found) == len(set(found)) == 20

    def test_M2_the_same_signals_have_the_same_ids_whoever_they_travel_with(
        self, store: SqliteStore, monkeypatch: pytest.MonkeyPatch, gate: threading.Event
    ) -> None:
        bus = GatedBus(gate)
        place = Place(store, monkeypatch, bus)
        self.during(place, bus, [body("A"), body("B")])
        bus.sent.clear()
        place.bus.failures = []
        gate.set()
        alone = collector_ids(place, "A")
        together = {s.name: s.id for event in bus.events(Queue.SIGNALS) for s in event.data.signals}  # type: ignore[union-attr]
        assert alone["A"] == together["A"]

    def test_one_that_cannot_be_kept_fails_alone(
        self, store: SqliteStore, monkeypatch: pytest.MonkeyPatch, gate: threading.Event
    ) -> None:
        class Picky(GatedBus):
            def send(self, queue: Queue, messages: Sequence[Any]) -> None:
                if any(b"poison" in message.body for message in messages):
                    raise PermanentError("no", Reason.TOO_LARGE)
                super().send(queue, messages)

        bus = Picky(gate)
        place = Place(store, monkeypatch, bus)
        names = ["A", "poison", "B"]
        _, others, _ = self.during(place, bus, [body(name) for name in names])
        assert [answer.status for answer in others] == [202, 413, 202]

    def test_what_is_no_json_or_too_large_holds_up_nobody(
        self, store: SqliteStore, monkeypatch: pytest.MonkeyPatch, gate: threading.Event
    ) -> None:
        bus = GatedBus(gate)
        place = Place(store, monkeypatch, bus)
        big = body("C", pad=200_000)  # understood by a thread
        bodies = [body("A"), b"{", b'"' + b"x" * (1024 * 1024) + b'"', big]
        _, others, early = self.during(place, bus, bodies)
        assert [answer.status for answer in others] == [202, 400, 413, 202]
        assert early >= 1

    def test_M5_many_calls_travel_in_messages_that_fit(
        self, store: SqliteStore, monkeypatch: pytest.MonkeyPatch, gate: threading.Event
    ) -> None:
        bus = GatedBus(gate)
        place = Place(store, monkeypatch, bus)
        _, others, _ = self.during(place, bus, [body(f"A{n}", pad=3900) for n in range(100)])
        assert {answer.status for answer in others} == {202}
        assert max(len(message.body) for message in bus.sent[Queue.SIGNALS]) <= 192 * 1024
        assert bus.turns[0] == 1
        assert sum(bus.turns) < 8

    def test_a_send_that_hangs_is_left_behind(
        self, store: SqliteStore, monkeypatch: pytest.MonkeyPatch, gate: threading.Event
    ) -> None:
        bus = GatedBus(gate)
        place = Place(store, monkeypatch, bus)
        monkeypatch.setattr(edge, "TOGETHER", Together(Lane("intake", waiting=0), give_up_s=0.2))

        async def play() -> list[int]:
            async def asks(name: str) -> int:
                call = ask(place.edges["receive_signals"], body=body(name), headers=KEY, source="alertmanager")
                return (await call).status

            hanging = await asks("first")
            monkeypatch.setattr(edge.TOGETHER, "_give_up_s", 5.0)
            return [hanging, await asks("later")]

        assert asyncio.run(play()) == [503, 202]

    def test_S6_what_is_kept_after_its_sender_was_told_to_come_again_is_counted_once(
        self, store: SqliteStore, monkeypatch: pytest.MonkeyPatch, gate: threading.Event
    ) -> None:
        bus = GatedBus(gate)
        bus.entered.set()
        place = Place(store, monkeypatch, bus)
        place.open("A")
        monkeypatch.setattr(edge, "TOGETHER", Together(edge.INTAKE, give_up_s=0.05))
        bus.entered.clear()

        async def play() -> list[int]:
            async def asks() -> int:
                call = ask(place.edges["receive_signals"], body=body("A", "B"), headers=KEY, source="alertmanager")
                return (await call).status

            late = await asks()
            gate.set()
            while len(bus.turns) < 2:
                await asyncio.sleep(0.005)
            monkeypatch.setattr(edge.TOGETHER, "_give_up_s", 5.0)
            again = await asks()
            while edge.TOGETHER.held:
                await asyncio.sleep(0.005)
            return [late, again]

        assert asyncio.run(play()) == [503, 202]
        assert place.counted() == 1


def collector_ids(place: Place, name: str) -> dict[str, str]:
    """Ids of the signals of a call that comes alone, by name."""
    place.bus.sent.clear()
    place.post(body(name))
    return {
        signal.name: signal.id
        for event in place.bus.events(Queue.SIGNALS)
        for signal in event.data.signals  # type: ignore[union-attr]
    }
