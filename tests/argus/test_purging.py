"""`argus purge`, `argus doctor` and `argus index` on a store, and the timers that do the same."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from shared.model.event import Event, TicketUpdateRequested, UpdateKind
from shared.model.lifecycle import State
from shared.ports.store import Delete, Table, Upsert
from shared.records import incidents, index, journal, payloads
from shared.records.rows import pack
from tests.argus.trail import OTHER, Place, place
from tests.portal.world import HISTORY, INCIDENT, incident, keep

NOW = datetime.now(UTC)


@pytest.fixture
def here(tmp_path: Path) -> Place:
    """An incident that closed ten days ago, an open one, and a body of forty days ago."""
    made = place(tmp_path)
    over = NOW - timedelta(days=10)
    keep(made.store, incident(state=State.CLOSED, closed_at=over, updated_at=over), HISTORY)
    keep(made.store, incident(id=OTHER), HISTORY)
    for chain in (INCIDENT, OTHER):
        made.store.write(Table.INCIDENTS, chain, Upsert("inbox|e1", {"at": over, "type": "t"}))
    payloads.put(made.store, "r1", b"body", NOW - timedelta(days=40))
    return made


def keys(here: Place, chain: str) -> set[str]:
    return {row.key.partition("|")[0] for row in incidents.rows(here.store, chain, "")}


def test_h11_a_dry_run_is_a_table_by_rule_and_a_run_does_it(here: Place, capsys: pytest.CaptureFixture[str]) -> None:
    assert here("purge", "--dry-run") == 0
    out = capsys.readouterr().out.splitlines()
    assert out[0].split() == ["TABLE", "RULE", "ROWS", "THINGS", "STAY"]
    assert [line.split() for line in out if line.startswith("incidents")] == [
        ["incidents", "working", "rows", "of", "closed", "incidents", "1", "1", "-"]
    ]
    assert [line.split()[-3:] for line in out if line.startswith("payloads")] == [["1", "1", "-"]]
    assert "2 rows would go" in out
    assert "inbox" in keys(here, INCIDENT)
    assert here("purge", "--as", "olga") == 0
    assert "2 rows are gone" in capsys.readouterr().out
    assert "inbox" not in keys(here, INCIDENT)
    assert "inbox" in keys(here, OTHER), "it is open"
    told = incidents.audit(here.store, journal.system_chain(datetime.now(UTC)))
    assert [(entry.what, entry.person) for entry in told] == [("purge begun", "olga"), ("purge done", "olga")]
    assert here("audit", "verify") == 0
    assert here("purge") == 0
    assert "0 rows are gone" in capsys.readouterr().out


def test_as_of_another_time(here: Place, capsys: pytest.CaptureFixture[str]) -> None:
    early = f"{NOW - timedelta(days=5):%Y-%m-%dT%H:%M}"
    late = f"{NOW + timedelta(days=500):%Y-%m-%d}"
    assert here("purge", "--now", early) == 0
    assert "inbox" in keys(here, INCIDENT)
    assert here("purge", "--now", late) == 1
    assert "is in the future" in capsys.readouterr().err
    assert here("purge", "--now", late, "--dry-run") == 0
    assert "inbox" in keys(here, INCIDENT)
    assert here("purge", "--now", late, "--yes") == 0
    assert "inbox" not in keys(here, INCIDENT)
    assert here("purge", "--now", "soon") == 1
    assert "'soon' is no time" in capsys.readouterr().err
    told = incidents.audit(here.store, journal.system_chain(datetime.now(UTC)))
    assert told[-1].what == "purge done", "the trail is written at the time of the clock"


def test_the_configuration_decides_and_says_what_is_wrong_with_it(
    here: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    config = here.folder / "argus.yaml"
    plain = config.read_text()
    config.write_text(plain + "retention: {working_rows_days: 12, payloads_days: 0}\n")
    assert here("purge") == 0
    assert "0 rows are gone" in capsys.readouterr().out
    config.write_text(plain + "retention: {working_rows_days: 1}\n")
    assert here("purge") == 1
    assert "retention.working_rows_days: 0 (for ever) or at least 2 days" in capsys.readouterr().err
    config.write_text(plain + "retention: {payload_days: 3}\n")
    assert here("purge") == 1
    assert 'did you mean "payloads_days"?' in capsys.readouterr().err


def test_h8_the_doctor_finds_what_no_sweep_would(here: Place, capsys: pytest.CaptureFixture[str]) -> None:
    assert here("doctor", "--outbox") == 0
    assert "has its marker" in capsys.readouterr().out
    event = Event("e9", "/people/x", OTHER, NOW, TicketUpdateRequested(UpdateKind.NOTE, "n"))
    here.store.write(Table.INCIDENTS, OTHER, incidents.outbox_row(event, NOW))
    here.store.write(Table.INCIDENTS, OTHER, incidents.held_row(replace(event, id="e8"), "why", NOW, "oncall", NOW))
    assert here("doctor", "--outbox") == 1
    assert f"FORGOTTEN  {OTHER}: 1 to send, 1 held" in capsys.readouterr().out
    assert not list(incidents.pending(here.store))
    assert here("doctor", "--outbox", "--repair") == 0
    assert [marker[0] for marker in incidents.pending(here.store)] == [OTHER]
    assert here("doctor") == 0


def test_p1_the_list_is_made_anew_from_the_incidents(here: Place, capsys: pytest.CaptureFixture[str]) -> None:
    one = incident(id=OTHER)
    for chain in (INCIDENT, OTHER):
        index.remove_incident(here.store, incident(id=chain))
    index.put_incident(here.store, replace(one, title="an older title", version=one.version - 1))
    stranger = replace(one, id="00000000-0000-5000-8000-000000000000")
    index.put_incident(here.store, stranger)
    assert here("index", "rebuild") == 0
    assert "2 incidents: 2 lines written, 1 removed" in capsys.readouterr().out
    shown = {(line.id, line.title) for line in index.incidents(here.store)}
    assert shown == {(INCIDENT, one.title), (OTHER, one.title)}
    assert here("index", "rebuild") == 0
    assert "2 incidents: 0 lines written, 0 removed" in capsys.readouterr().out
    loaded = incidents.load(here.store, OTHER)
    assert loaded is not None
    newer = replace(loaded.incident, version=99, title="newer")
    index.put_incident(here.store, newer)
    here("index", "rebuild")
    assert "newer" in {line.title for line in index.incidents(here.store)}, "a host committed since"


def test_p1_the_stub_of_an_incident_that_retention_took_out_is_on_no_list(here: Place) -> None:
    stub = incident(purged_before=NOW)
    for row in list(incidents.rows(here.store, INCIDENT, "")):
        here.store.write(Table.INCIDENTS, INCIDENT, Delete(row.key, None))
    here.store.write(Table.INCIDENTS, INCIDENT, Upsert(incidents.INCIDENT, pack(stub)))
    assert here("index", "rebuild") == 0
    assert {line.id for line in index.incidents(here.store)} == {OTHER}
