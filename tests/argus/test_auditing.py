"""Rule H12: `argus audit` walks the chains in the store and names the first broken link."""

from __future__ import annotations

import json
import sqlite3
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from argus import walking
from argus.cli import main
from argus.walking import Walked
from shared.adapters.stores.anchor_file import AnchorFile
from shared.adapters.stores.sqlite import SqliteStore
from shared.model.audit import GENESIS
from shared.ports.anchor import Head
from shared.ports.store import Delete, Store, Table, Upsert
from shared.records import anchoring, incidents, journal
from shared.records.rows import pack
from tests.portal.world import HISTORY, INCIDENT, NOW, incident, keep


def _forge(store: Store, number: int) -> None:
    entry = replace(incidents.audit(store, INCIDENT)[number - 1], why="nothing happened")
    store.write(Table.INCIDENTS, INCIDENT, Upsert(incidents.audit_row(entry).key, pack(entry)))


def _cut(store: Store, number: int) -> None:
    store.write(Table.INCIDENTS, INCIDENT, Delete(f"{incidents.AUDIT}{number:08d}", None))


def _head(store: Store, number: int, chain: str = INCIDENT) -> dict[str, list[Head]]:
    return {chain: [Head(chain, number, incidents.audit(store, chain)[number - 1].hash, NOW)]}


def walk(store: Store, history: walking.History) -> list[Walked]:
    return sorted((item for item, _ in walking.walk(store, history)), key=lambda item: item.chain)


def test_h12_whole_chains(store: SqliteStore) -> None:
    keep(store, incident(), HISTORY)
    days = [NOW, NOW + timedelta(days=1), NOW + timedelta(days=4)]
    for day in (*days, *days[2:]):
        journal.system(store, "kill switch on", "a drill", "maya", "on", day)
    expected = [(INCIDENT, 7, ""), ("system-20261120", 1, ""), ("system-20261121", 1, ""), ("system-20261124", 2, "")]
    assert walk(store, _head(store, 5)) == [Walked(*item) for item in expected]


def test_h12_a_removed_day_shows_in_the_next(store: SqliteStore) -> None:
    for day in (NOW, NOW + timedelta(days=1), NOW + timedelta(days=2)):
        journal.system(store, "kill switch on", "a drill", "maya", "on", day)
    store.write(Table.INCIDENTS, "system-20261121", Delete(f"{incidents.AUDIT}00000001", None))
    assert walk(store, {})[-1].problem == "entry 1 does not continue the last entry of system-20261120"


def test_h12_a_changed_entry_and_a_cut_tail(store: SqliteStore) -> None:
    keep(store, incident(), HISTORY)
    _forge(store, 3)
    assert walk(store, {}) == [Walked(INCIDENT, 7, "entry 3 was changed after it was written")]
    _cut(store, 7)
    keep(store, incident(id="ffffffff-0000-5000-8000-000000000000"), HISTORY)
    assert [bool(item.problem) for item in walk(store, {})] == [True, False]


def test_h12_a_tail_cut_together_with_the_incident_shows_against_the_anchor(store: SqliteStore) -> None:
    keep(store, incident(), HISTORY)
    heads = _head(store, 7)
    _cut(store, 7)
    loaded = incidents.load(store, INCIDENT)
    assert loaded is not None
    shorter = replace(loaded.incident, entries=6, audit_head=incidents.audit(store, INCIDENT)[-1].hash)
    store.write(Table.INCIDENTS, INCIDENT, Upsert(incidents.INCIDENT, pack(shorter)))
    assert walk(store, {})[0].problem == ""
    assert walk(store, heads)[0].problem == ("entries 7 to 7 were anchored at 2026-11-20 02:13:05 UTC and are gone")


def test_h12_a_vanished_chain_shows_against_the_anchor(store: SqliteStore) -> None:
    assert walk(store, {"gone": [Head("gone", 3, GENESIS, NOW)]})[0].problem == "the incident of this chain is gone"


def test_rows_before_an_incident_are_no_chain(store: SqliteStore) -> None:
    store.write(Table.INCIDENTS, "young", Upsert("intent|e1", {"state": "started"}))
    assert walk(store, {}) == []


CONFIG = """
version: 1
portal:
  base_url: http://127.0.0.1:7071
  session_secret: ${ARGUS_SESSION_SECRET}
store:
  kind: sqlite
  settings:
    path: ${ARGUS_STORE}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of a local stack whose store, secrets and heads are under `.argus/`."""
    data = tmp_path / ".argus"
    data.mkdir()
    (tmp_path / "argus.yaml").write_text(CONFIG)
    (data / "up.json").write_text(json.dumps({"http": "http://127.0.0.1:9"}))
    values = {
        "ARGUS_STORE": str(data / "store.db"),
        "ARGUS_SESSION_SECRET": "only-for-tests-0123456789abcdef0123",
        "ARGUS_CONFIG": str(tmp_path / "argus.yaml"),
    }
    (data / "settings.json").write_text(json.dumps({"Values": values}))
    kept = SqliteStore(data / "store.db")
    keep(kept, incident(), HISTORY)
    AnchorFile(data / "heads.jsonl").add(_head(kept, 7)[INCIDENT])
    anchoring.note(kept, AnchorFile(data / "heads.jsonl"), NOW)
    kept.close()
    return tmp_path


def test_verify_says_so_and_ends_well(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["audit", "verify"], {}, folder) == 0
    assert capsys.readouterr().out == "1 chains, 7 entries, 0 broken\n"
    assert main(["audit", "show", INCIDENT[:6]], {}, folder) == 0
    out = capsys.readouterr().out
    assert "maya sentinel/incident_creator" in out
    assert out.endswith("whole\n")


def test_verify_names_the_broken_link_and_ends_badly(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    kept = SqliteStore(folder / ".argus" / "store.db")
    _forge(kept, 2)
    kept.close()
    for command in (["audit", "verify"], ["audit", "verify", INCIDENT], ["audit", "show", INCIDENT]):
        assert main(command, {}, folder) == 1
        assert "entry 2 was changed after it was written" in capsys.readouterr().out


def test_a_chain_nobody_knows(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["audit", "verify", "zzz"], {}, folder) == 1
    assert main(["audit", "show", "zzz"], {}, folder) == 1
    assert "no chain begins with zzz" in capsys.readouterr().err


def test_a_configuration_that_cannot_be_used(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "argus.yaml").write_text(CONFIG.replace("kind: sqlite", "kind: stone"))
    assert main(["audit", "verify"], {}, folder) == 1
    assert "store.kind: no such store" in capsys.readouterr().err
    (folder / ".argus" / "settings.json").write_text("[]")
    assert main(["audit", "verify"], {}, folder) == 1
    assert "make up" in capsys.readouterr().err


def test_h12_a_row_that_cannot_be_read_breaks_its_chain_and_no_other(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = folder / ".argus" / "store.db"
    kept = SqliteStore(file)
    keep(kept, incident(id="ffffffff-0000-5000-8000-000000000000"), HISTORY)
    kept.close()
    with sqlite3.connect(file) as rows:
        key = f"{incidents.AUDIT}00000003".encode("utf-16-be")
        part = INCIDENT.encode("utf-16-be")
        assert rows.execute("UPDATE rows SET doc = x'00' WHERE part = ? AND key = ?", (part, key)).rowcount == 1
    assert main(["audit", "verify"], {}, folder) == 1
    out = capsys.readouterr().out.splitlines()
    assert out[0] == f"BROKEN  {INCIDENT}: a row of it cannot be read"
    assert out[1].startswith("1 chain ends with entries that no anchored head vouches for, the oldest of 2026-11-20")
    assert out[2] == "2 chains, 7 entries, 1 broken"
    assert main(["audit", "show", INCIDENT], {}, folder) == 1
    assert capsys.readouterr().out == "BROKEN: a row of it cannot be read\n"


def test_without_anchored_heads_it_says_what_it_cannot_see(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / ".argus" / "heads.jsonl").unlink()
    kept = SqliteStore(folder / ".argus" / "store.db")
    kept.write(Table.INCIDENTS, anchoring.NOTES, Delete(anchoring.NOTED, None))  # no anchor timer has run yet
    kept.close()
    assert main(["audit", "verify"], {}, folder) == 0
    assert "a chain cut at its end would not show" in capsys.readouterr().out


def test_a_store_that_is_gone_is_no_whole_store(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = folder / ".argus" / "store.db"
    file.unlink()
    assert main(["audit", "verify"], {}, folder) == 1
    assert f"there is no store at {file}" in capsys.readouterr().err
    assert not file.exists()
