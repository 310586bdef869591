"""Timers: the shared store by itself, and running hosts."""

from __future__ import annotations

import sqlite3
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

from local.host.timer_store import TimerStore
from tests.local.host.conftest import StartHost
from tests.local.host.process import HostProcess, until

NOW = datetime(2026, 11, 20, 10, tzinfo=UTC)
DUE = NOW + timedelta(seconds=5)
NEVER = "0 0 0 1 1 *"


def test_an_occurrence_goes_to_one_claimant_only(tmp_path: Path) -> None:
    stores = [TimerStore(tmp_path / "timers.db") for _ in range(4)]
    stores[0].enrol("t", "s", DUE, NOW)
    with ThreadPoolExecutor(4) as pool:
        won = list(pool.map(lambda n: stores[n].claim("t", DUE, f"host {n}", DUE, 15), range(4)))
    assert sorted(won) == [False, False, False, True]


def test_a_running_timer_is_not_claimed_until_its_lease_ends(tmp_path: Path) -> None:
    store = TimerStore(tmp_path / "timers.db")
    store.enrol("t", "s", DUE, NOW)
    assert store.claim("t", DUE, "a", DUE, 15)
    assert not store.claim_now("t", "b", DUE + timedelta(seconds=14), 15)
    store.renew("t", "a", DUE + timedelta(seconds=14), 15)
    assert not store.claim("t", DUE, "b", DUE + timedelta(seconds=20), 15)
    assert store.claim("t", DUE, "b", DUE + timedelta(seconds=30), 15)
    store.finish("t", "a", DUE, None, DUE)  # the one that lost its lease changes nothing
    assert not store.claim_now("t", "c", DUE + timedelta(seconds=31), 15)


def test_finishing_sets_last_and_next(tmp_path: Path) -> None:
    store = TimerStore(tmp_path / "timers.db")
    store.enrol("t", "s", DUE, NOW)
    store.claim("t", DUE, "a", DUE, 15)
    after = DUE + timedelta(seconds=5)
    store.finish("t", "a", DUE, after, DUE)
    found = store.enrol("t", "s", NOW, NOW)
    assert (found.last, found.next_due) == (DUE, after)
    assert not store.claim("t", DUE, "b", after, 15)
    assert store.claim("t", after, "b", after, 15)


def test_a_changed_schedule_forgets_what_was_due(tmp_path: Path) -> None:
    store = TimerStore(tmp_path / "timers.db")
    store.enrol("t", "old", DUE, NOW)
    later = NOW + timedelta(days=1)
    found = store.enrol("t", "new", later, NOW)
    assert (found.schedule, found.next_due) == ("new", later)


def test_ticks_come_once_a_second_and_know_their_due_time(start_host: StartHost) -> None:
    host = start_host("timers", TICK="* * * * * *")

    def three_in_a_row() -> list[tuple[datetime, float, bool]]:
        """Due times, lateness and what was told of it; a busy machine gets some more seconds to be in time."""
        seen = [(datetime.fromisoformat(one["due"]), one["at"], one["past_due"]) for one in host.noted()]
        ticks = [(due, at - due.timestamp(), past_due) for due, at, past_due in seen]
        assert all(late >= 0 for _, late, _ in ticks)
        runs = [ticks[start : start + 3] for start in range(len(ticks) - 2)]
        return next((run for run in runs if all(late < 0.9 for _, late, _ in run)), [])

    ticks = until(three_in_a_row)
    assert [due - ticks[0][0] for due, _, _ in ticks] == [timedelta(seconds=number) for number in range(3)]
    assert not any(past_due for _, _, past_due in ticks)


def test_two_hosts_run_each_occurrence_once(start_host: StartHost) -> None:
    hosts = [start_host("timers", TICK="* * * * * *") for _ in range(2)]
    until(lambda: len(hosts[0].noted()) >= 4)
    dues = [one["due"] for one in hosts[0].noted()]
    assert len(dues) == len(set(dues))


def _missed(path: Path, name: str, schedule: str) -> None:
    with closing(sqlite3.connect(path)) as connection:
        past = (datetime.now(UTC) - timedelta(hours=2)).isoformat()
        connection.execute("UPDATE timers SET next=?, schedule=? WHERE name=?", (past, schedule, name))
        connection.commit()


def test_a_missed_run_is_caught_up_once_as_past_due(start_host: StartHost, tmp_path: Path) -> None:
    first = start_host("timers", TICK=NEVER)
    first.kill()
    _missed(tmp_path / "timers.db", "nightly", "0 0 3 * * *")
    second = start_host("timers", TICK=NEVER)
    run = until(second.noted)
    assert [(one["name"], one["past_due"]) for one in run] == [("nightly", True)]
    time.sleep(0.8)  # nothing to wait for: a second catch-up must not come
    assert len(second.noted()) == 1


def test_a_timer_is_run_by_hand_but_never_twice_at_once(start_host: StartHost) -> None:
    hosts = [start_host("timers", TICK=NEVER) for _ in range(2)]

    def by_hand(host: HostProcess) -> int:
        return host.http.post("/admin/functions/nightly").status_code

    with ThreadPoolExecutor(2) as pool:
        assert sorted(pool.map(by_hand, hosts)) == [202, 409]
    assert by_hand(hosts[0]) == 202
    assert [one["past_due"] for one in hosts[0].noted()] == [False, False]
    assert hosts[0].http.post("/admin/functions/no_such").status_code == 404
