"""Intake: repeats are counted at the edge."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest

from shared.adapters.stores.sqlite import SqliteStore
from shared.model import codec
from shared.model.errors import Reason, TransientError
from shared.model.event import SignalsReceived
from shared.records import groups
from tests.triggers.place import BEGAN, Place, body


@pytest.fixture
def place(store: SqliteStore, monkeypatch: pytest.MonkeyPatch) -> Place:
    return Place(store, monkeypatch)


class TestRepeats:
    def test_S6_a_repeat_of_an_open_alert_costs_no_message_and_no_row(self, place: Place) -> None:
        place.open("A", "B")
        sent = len(place.sent)
        assert [answer.status for answer in place.post(body("A", "B"))] == [202]  # reads the group
        before = place.counted_store.calls
        for number in range(50):
            (answer,) = place.post(body("A", "B", pad=number % 5))
            assert (answer.status, answer.json["signals"], answer.json["recognised"]) == (202, 2, True)
        assert place.counted_store.calls == before
        assert len(place.sent) == sent
        assert place.counted() == 102

    def test_S6_a_repeat_is_answered_as_the_first_delivery_was(self, place: Place) -> None:
        (first,) = place.post(body("A"))
        place.work()
        answers = [place.post(body("A"))[0] for _ in range(3)]
        assert [(answer.status, answer.json) for answer in answers] == [(202, first.json)] * 3

    @pytest.mark.parametrize(
        "changed",
        [
            pytest.param({"severity": "warning"}, id="another-severity"),
            pytest.param({"began": "2026-11-20T02:10:00Z"}, id="a-new-firing"),
            pytest.param({"status": "resolved"}, id="a-resolve"),
        ],
    )
    def test_S6_what_is_no_repeat_is_routed(self, place: Place, changed: dict[str, str]) -> None:
        place.open("A")
        place.post(body("A"), body("A"))
        before, sent = place.counted(), len(place.sent)
        assert place.post(body("A", **changed))[0].status == 202
        assert len(place.sent) == sent + 1
        assert place.counted() == before

    def test_S6_of_a_mixed_call_only_the_news_is_sent(self, place: Place) -> None:
        place.open("A", "B")
        (answer,) = place.post(body("A", "C", "B"))
        assert answer.json["signals"] == 3
        last = codec.decode_event(place.sent[-1].body)
        assert isinstance(last.data, SignalsReceived)
        assert [signal.name for signal in last.data.signals] == ["C"]
        assert place.counted() == 2

    @pytest.mark.parametrize(("seconds", "reads"), [(10.0, 0), (10.001, 1)])
    def test_S6_what_was_read_is_good_for_10_s(self, place: Place, seconds: float, reads: int) -> None:
        place.open("A")
        place.post(body("A"))
        place.post(body("A"))  # known by heart now
        before, sent = place.counted_store.calls, len(place.sent)
        place.desk.clock.now += timedelta(seconds=seconds)
        place.post(body("A"))
        assert place.counted_store.calls - before == reads
        assert (len(place.sent), place.counted()) == (sent, 3)

    def test_S6_a_group_that_closes_takes_no_repeats_once_it_is_read(self, place: Place) -> None:
        place.open("A")
        place.post(body("A"))
        sent = len(place.sent)
        (key,) = place.groups()
        assert groups.begin_closing(place.store, key, 1, place.desk.clock())
        place.desk.clock.now += timedelta(seconds=10.5)
        place.post(body("A"))
        assert len(place.sent) == sent + 1

    def test_S6_C1_a_repeat_while_it_closes_is_counted_in_time_to_open_it_again(self, place: Place) -> None:
        place.open("A")
        place.post(body("A"))
        (key,) = place.groups()
        assert groups.begin_closing(place.store, key, 1, place.desk.clock())
        place.desk.clock.now += timedelta(seconds=9)
        place.post(body("A"))  # what this process read is 9 s old
        assert place.counted() == 2
        place.desk.clock.now += timedelta(seconds=11)
        assert groups.finish_closing(place.store, key, 1, place.desk.clock())

    def test_S6_after_a_resolve_in_between_the_same_bytes_are_looked_at_again(self, place: Place) -> None:
        place.open("A")
        place.post(body("A"), body("A"))
        place.post(body("A", status="resolved"))
        place.work()
        before, sent = place.counted(), len(place.sent)
        place.post(body("A"))
        assert (len(place.sent), place.counted()) == (sent + 1, before)

    def test_S6_an_end_that_was_announced_is_seen_when_it_passes(self, place: Place) -> None:
        ends = place.desk.clock.now + timedelta(seconds=4)
        alert = {"labels": {"alertname": "A", "service": "till"}, "startsAt": BEGAN, "endsAt": ends.isoformat()}
        raw = json.dumps([alert]).encode()
        place.post(raw)
        place.work()
        place.post(raw, raw, raw)
        sent = len(place.sent)
        place.desk.clock.now += timedelta(seconds=5)
        place.post(raw)
        last = codec.decode_event(place.sent[-1].body)
        assert len(place.sent) == sent + 1
        assert isinstance(last.data, SignalsReceived)
        assert last.data.signals[0].status == "resolved"

    def test_S6_another_process_reads_before_it_counts_and_what_it_counts_is_added(
        self, place: Place, store: SqliteStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        place.open("A")
        place.post(body("A"))
        other = Place(store, monkeypatch)
        other.post(body("A"))  # it never heard of A, so this goes to the router, who knows
        assert len(other.sent) == 1
        other.post(body("A", pad=1))
        assert len(other.sent) == 1
        assert other.counted() == 1
        assert place.counted() == 2

    def test_a_repeat_without_a_time_of_its_own_is_another_firing_each_time(self, place: Place) -> None:
        raw = json.dumps([{"labels": {"alertname": "A", "service": "till"}, "status": "firing"}]).encode()
        place.post(raw)
        place.work()
        place.desk.clock.now += timedelta(seconds=1)
        place.post(raw)
        assert len(place.sent) == 2

    def test_the_counts_of_a_call_that_is_refused_are_not_kept(
        self, store: SqliteStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        place = Place(store, monkeypatch)
        place.open("A", "B")
        place.bus.failures.append(TransientError("away", Reason.UNAVAILABLE, sent=None))
        assert place.post(body("A", "C", "B"))[0].status == 503
        assert place.counted() == 0
        assert place.post(body("A", "C", "B"))[0].status == 202
        assert place.counted() == 2
