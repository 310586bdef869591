"""The conductor's slow timers: heads are anchored, what is old goes, and Durable forgets what ended."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import azure.durable_functions as df
import azure.functions as func
import pytest

from functions.conductor import schedule
from shared.adapters.stores.anchor_file import AnchorFile
from shared.adapters.stores.sqlite import SqliteStore
from shared.model.lifecycle import State
from shared.ports.store import Table, Upsert
from shared.records import anchoring, incidents, journal
from shared.records.rows import pack
from tests.portal.world import HISTORY, INCIDENT, incident, keep
from tests.triggers.app import Desk, load
from tests.triggers.test_queues_and_timers import CLIENT


@pytest.fixture
def desk(store: SqliteStore, tmp_path: Path) -> Desk:
    desk = Desk(store)
    desk.app = replace(desk.app, anchor=AnchorFile(tmp_path / "heads.jsonl"))
    return desk


class Tick(func.TimerRequest):
    """A timer that is in time."""

    @property
    def past_due(self) -> bool:
        return False


def run(spec: Any, **more: Any) -> None:
    """As the host does it."""
    asyncio.run(spec.call(timer=Tick(), **more))


def test_h12_the_anchor_timer_hands_new_heads_to_the_anchor_and_notes_how_many(
    desk: Desk, store: SqliteStore, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    functions = load(monkeypatch, desk.app)
    keep(store, incident(), HISTORY)
    incidents.mark_pending(store, INCIDENT, desk.clock())
    run(functions["anchor_heads"])
    head = desk.app.anchor.latest()[INCIDENT]
    assert (head.number, head.hash) == (7, incidents.audit(store, INCIDENT)[6].hash)
    extent = desk.app.anchor.extent()
    assert anchoring.noted(store)[0] == extent
    run(functions["anchor_heads"])
    assert desk.app.anchor.extent() == extent, "nothing new, nothing written"
    journal.system(store, "act", "a drill", "maya", "x", desk.clock())
    entry = incidents.audit(store, journal.system_chain(desk.clock()))[0]
    forged = pack(replace(entry, why="nothing"))
    store.write(Table.INCIDENTS, entry.chain, Upsert(f"{incidents.AUDIT}00000001", forged))
    with caplog.at_level(logging.ERROR):
        run(functions["anchor_heads"])
    assert f"the audit chain {entry.chain} is broken: entry 1 was changed after it was written" in caplog.text
    assert entry.chain not in desk.app.anchor.latest()


def test_h11_the_purge_timer_anchors_everything_first_and_then_lets_go(
    desk: Desk, store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    functions = load(monkeypatch, desk.app)
    over = desk.clock() - timedelta(days=10)
    keep(store, incident(state=State.CLOSED, closed_at=over, updated_at=over), HISTORY)
    store.write(Table.INCIDENTS, INCIDENT, Upsert("inbox|e1", {"at": over, "type": "t"}))
    asked: list[tuple[datetime, datetime, list[str]]] = []

    async def forget(self: Any, begin: datetime, end: datetime, statuses: list[Any]) -> Any:
        asked.append((begin, end, [status.name for status in statuses]))
        return type("Result", (), {"instances_deleted": 3})()

    # The binding makes the client itself; tests/local/host drives the real one over HTTP.
    monkeypatch.setattr(df.DurableOrchestrationClient, "purge_instance_history_by", forget)
    run(functions["purge_old"], client=CLIENT)
    assert INCIDENT in desk.app.anchor.latest(), "no marker, and anchored all the same"
    assert not list(incidents.rows(store, INCIDENT, "inbox|"))
    [(begin, end, statuses)] = asked
    assert begin < end == desk.clock() - timedelta(days=30)
    assert set(statuses) == {"Completed", "Failed", "Terminated", "Canceled"}


@pytest.mark.parametrize(("value", "expected"), [("", "0 15 3 * * *"), ("0 0 5 * * *", "%ARGUS_PURGE_SCHEDULE%")])
def test_a_schedule_need_not_be_set(monkeypatch: pytest.MonkeyPatch, value: str, expected: str) -> None:
    monkeypatch.setenv("ARGUS_PURGE_SCHEDULE", value)
    assert schedule("ARGUS_PURGE_SCHEDULE", "0 15 3 * * *") == expected
