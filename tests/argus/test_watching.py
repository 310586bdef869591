"""`argus status` shows heartbeats, queues and what waits, and is not content with what does not work."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from io import StringIO
from typing import Any

import pytest

from argus.tables import Paper
from argus.watching import itself
from shared.adapters.stores.sqlite import SqliteStore
from shared.model import codec
from shared.model.limits import TIMER_LATE_S
from shared.model.pipeline import Queue
from shared.model.signal import Severity
from shared.portal.status import view
from shared.ports.queue_watch import QueueState
from shared.records import heartbeats
from shared.records.heartbeats import Beat, Raised, Report, WaitingApproval, WaitingHold
from tests import fakes

NOW = datetime(2026, 11, 20, 2, 0, tzinfo=UTC)


class Answers:
    """A client of one ARGUS; it answers what the status page would show."""

    def __init__(self, store: SqliteStore) -> None:
        self._store = store

    def read(self, path: str, query: object = None) -> Any:
        """See the client."""
        assert path == "/api/status"
        return codec.to_json(view(self._store, fakes.settings(), NOW))


def shown(store: SqliteStore) -> tuple[bool, list[str]]:
    out = StringIO()
    well = itself(Answers(store), Paper(out), NOW)  # type: ignore[arg-type]
    return well, out.getvalue().splitlines()


@pytest.fixture
def beating(store: SqliteStore) -> SqliteStore:
    for name in TIMER_LATE_S:
        heartbeats.put_beat(store, Beat(f"timer {name}", ok_at=NOW))
    heartbeats.put_report(store, Report(NOW, (QueueState(Queue.SIGNALS, None),)))
    return store


def test_all_is_well(beating: SqliteStore) -> None:
    well, lines = shown(beating)
    assert well
    assert [line.split()[:3] for line in lines if line.startswith("timer sweep")] == [["timer", "sweep", "ok"]]
    assert "signals  ok     -       2 min    0" in lines
    assert "watch: ok, looked just now" in lines


def test_what_is_wrong_is_said_and_counts(beating: SqliteStore) -> None:
    heartbeats.put_beat(beating, Beat("timer sweep", failed_at=NOW, failures=3, since=NOW, why="no store"))
    heartbeats.put_raised(
        beating, Raised("timer sweep fails", "The timer sweep fails", "3 attempts failed.", Severity.SEV2, NOW, NOW)
    )
    held = (WaitingHold("7d3c2a10-x", "the kill switch is on", NOW, NOW),)
    asked = (WaitingApproval("aaaaaaaa-x", "7d3c2a10-x", "Roll back", NOW + timedelta(minutes=9)),)
    queues = (QueueState(Queue.CLOSING, NOW - timedelta(hours=2), 4, NOW),)
    heartbeats.put_report(beating, Report(NOW, queues, held, asked, 2, ("queue actions",)))
    well, lines = shown(beating)
    text = "\n".join(lines)
    assert not well
    for words in (
        "sweep", "failing", "no store", "stuck", "2 h 00 min", "dead letters: 2 in quarantine",
        "approval aaaaaaaa: Roll back; 9 min left, no vote", "held for 7d3c2a10: the kill switch is on",
        "sev2 The timer sweep fails", "not seen: queue actions",
    ):  # fmt: skip
        assert words in text, words


def test_a_watch_that_does_not_run_any_more_is_not_well(beating: SqliteStore) -> None:
    heartbeats.put_beat(beating, Beat("timer watch", ok_at=NOW - timedelta(minutes=6)))
    well, lines = shown(beating)
    assert not well
    assert "watch: stale, looked just now" in lines


def test_before_the_first_look_nothing_is_known(store: SqliteStore) -> None:
    well, lines = shown(store)
    assert well
    assert "watch: never, it looks within a minute of a start" in lines
