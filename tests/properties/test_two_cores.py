"""A second core on the same store and broker, as processes: it takes its share, and the outcome is that of one.

In: a stack of three apps, and one more host with the role core. Out: one incident, one ticket and one card a group.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest

from local.stack.places import ROOT, Places
from shared.adapters.stores.sqlite import SqliteStore
from shared.ports.store import Table
from shared.records import audit_chain, incidents
from tests.local.stack.driver import RunningStack, until

SERVICES, ALERTS, TIMES = 4, 3, 2
MOST = 14  # further incidents; with them there are fewer than put the storm brake on


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[RunningStack]:
    """Edge, core and exec."""
    running = RunningStack(tmp_path / "data", apps=3).start()
    yield running
    running.stop()


@pytest.fixture
def second(stack: RunningStack, tmp_path: Path) -> Iterator[Path]:
    """One more core on everything the first one has; its log."""
    places, log = Places(stack.data), tmp_path / "second.log"
    command = [sys.executable, "-m", "local.host", "--app", str(ROOT), "--port", "0"]
    command += ["--durable-db", str(places.data / "durable.db"), "--timer-db", str(places.data / "timers.db")]
    command += ["--settings", str(places.settings_file), "--parent-pid", str(os.getpid())]
    kept = {name: value for name, value in os.environ.items() if not name.startswith("ARGUS_")}
    environ = {**kept, "ARGUS_ROLES": "core", "ARGUS_HOP_LOG": str(tmp_path / "second.jsonl"), "PYTHONUNBUFFERED": "1"}
    with log.open("wb") as output:
        process = subprocess.Popen(command, cwd=ROOT, env=environ, stdout=output, stderr=subprocess.STDOUT)
    until(lambda: "host ready on" in log.read_text() or process.poll() is not None, 30, "the second core")
    assert process.poll() is None, log.read_text()[-2000:]
    yield tmp_path / "second.jsonl"
    process.terminate()
    assert process.wait(20) == 0


def body(service: int, alert: int) -> bytes:
    """What Alertmanager would post of one alert of one service."""
    labels = {"alertname": f"alert-{alert}", "service": f"svc-{service}", "severity": "critical"}
    return json.dumps({"alerts": [{"labels": labels, "startsAt": "2026-11-21T03:00:00Z", "status": "firing"}]}).encode()


def test_S3_H6_a_second_core_takes_its_share_and_changes_nothing(stack: RunningStack, second: Path) -> None:
    calls = [(s, a) for _ in range(TIMES) for a in range(ALERTS) for s in range(SERVICES)]
    with ThreadPoolExecutor(8) as senders:
        statuses = list(senders.map(lambda call: stack.post("alertmanager", body(*call))[0], calls))
    assert set(statuses) == {202}

    more = SERVICES  # until the second has its share; while it is quiet one core does much of an incident by itself
    while not second.read_text().strip() and more < SERVICES + MOST:
        for alert in range(ALERTS):
            assert stack.post("alertmanager", body(more, alert))[0] == 202
        more += 1
        with suppress(AssertionError):
            until(lambda: second.read_text().strip() != "", 2, "the second core to work something off")

    def settled() -> bool:
        found = stack.incidents()
        return len(found) >= more and all(each["ticket"] and each["alert_count"] == ALERTS for each in found)

    until(settled, 60, "every incident with its alerts and its ticket")
    found = stack.incidents()
    assert Counter(each["service"] for each in found) == {f"svc-{n}": 1 for n in range(more)}
    assert len({each["ticket"] for each in found}) == more
    until(lambda: second.read_text().strip() != "", 5, "the second core to work something off")
    store = SqliteStore(stack.data / "store.db")
    for name in store.partitions(Table.INCIDENTS):
        loaded = incidents.load(store, name)
        if loaded is not None:
            known = loaded.incident
            assert not audit_chain.verify_incident(incidents.audit(store, name), name, known.entries, known.audit_head)
    store.close()
