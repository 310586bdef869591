"""What a start makes of leases that dead hosts have left, and how it knows that they are dead."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from local.stack.recovery import LifeLine, end_leases
from shared.adapters.stores.sqlite import SqliteStore
from shared.records import incidents


def _intent(store: SqliteStore, name: str, state: str, lease: timedelta) -> None:
    now = datetime.now(UTC)
    incidents.mark_pending(store, "incident-1", now)
    assert incidents.write_intent(store, "incident-1", name, f"owner of {name}", now + lease, state, None)


def test_H2_leases_of_dead_hosts_end_at_once_and_their_effects_stay_unclear(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "store.db")
    _intent(store, "in-the-middle", "started", timedelta(minutes=3))
    _intent(store, "given-back", "not_sent", timedelta(0))
    _intent(store, "long-ago", "started", timedelta(minutes=-1))
    assert end_leases(store) == 1
    ended = incidents.intent_of(store, "incident-1", "in-the-middle")
    assert ended is not None
    assert (ended.state, ended.owner) == ("unknown", "owner of in-the-middle"), "who takes it over asks the far side"
    assert ended.lease_until <= datetime.now(UTC)
    kept = incidents.intent_of(store, "incident-1", "given-back")
    assert kept is not None
    assert kept.state == "not_sent"
    assert end_leases(store) == 0
    store.close()


@pytest.mark.parametrize("how", ["kill", "terminate"])
def test_a_life_line_is_cut_when_the_process_ends_however_it_ends(tmp_path: Path, how: str) -> None:
    line = LifeLine(tmp_path / "hosts.lock")
    assert line.all_gone(0)
    with line.share() as inherited:
        process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, pass_fds=inherited)
    assert not line.all_gone(0), "this process has closed its own descriptor; the child holds the lock"
    assert not line.all_gone(0.1)
    getattr(process, how)()
    assert line.all_gone(10)
    process.communicate()
