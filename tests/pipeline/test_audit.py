"""Rule H12: every hop leaves a link, any changed or missing link shows, and an anchored head shows a cut tail."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from shared.adapters.stores.anchor_file import AnchorFile
from shared.adapters.stores.sqlite import SqliteStore
from shared.model.audit import GENESIS, AuditEntry
from shared.model.errors import TransientError
from shared.ports.anchor import Head
from shared.ports.store import Delete, Replace, Table
from shared.records import audit_chain, incidents, journal
from shared.records.rows import pack
from tests.pipeline.world import START, World


@pytest.fixture
def closed(opened: World) -> World:
    """The whole life of an incident."""
    opened.vote()
    opened.settle()
    opened.resolves()
    opened.settle()
    return opened


def entries(world: World) -> list[AuditEntry]:
    return list(incidents.audit(world.inner, world.ids()[0]))


def test_H12_every_timeline_line_has_its_audit_entry(closed: World) -> None:
    chain, timeline = entries(closed), closed.timeline()
    assert [e.number for e in chain] == list(range(1, len(chain) + 1))
    assert [(e.number, e.micro_agent, e.what, e.why, e.person) for e in chain] == [
        (t.number, t.micro_agent, t.what, t.why, t.person) for t in timeline
    ]
    assert chain[0].previous == GENESIS
    assert not closed.audit_problem()


def test_H12_who_is_agent_micro_agent_and_person(closed: World) -> None:
    who = {(entry.agent, entry.micro_agent, entry.person) for entry in entries(closed)}
    assert ("remediator", "solicitor", "olga") in who
    assert ("executor", "executor", "") in who


@pytest.mark.parametrize("number", range(1, 6))
@pytest.mark.parametrize("field", [f.name for f in dataclasses.fields(AuditEntry) if f.name not in ("hash",)])
def test_H12_a_tampered_row_is_named(closed: World, number: int, field: str) -> None:
    chain = entries(closed)
    entry = chain[number - 1]
    value = getattr(entry, field)
    other = value + 1 if field == "number" else value + timedelta(seconds=1) if field == "at" else "tampered"
    row = Replace(f"{incidents.AUDIT}{number:08d}", pack(replace(entry, **{field: other})), None)
    closed.inner.write(Table.INCIDENTS, closed.ids()[0], row)
    assert f"entry {number}" in closed.audit_problem()


def test_H12_a_row_sealed_again_breaks_the_next_link(closed: World) -> None:
    entry = entries(closed)[2]
    forged = incidents.seal(replace(entry, what="nothing happened"))
    closed.inner.write(Table.INCIDENTS, closed.ids()[0], Replace(f"{incidents.AUDIT}00000003", pack(forged), None))
    assert closed.audit_problem() == "entry 4 does not continue the entry before it"


def test_H12_a_deleted_row_is_named(closed: World) -> None:
    closed.inner.write(Table.INCIDENTS, closed.ids()[0], Delete(f"{incidents.AUDIT}00000002", None))
    assert closed.audit_problem() == "entry 2 is missing; entry 3 stands in its place"


def test_H12_a_cut_tail_shows_in_the_incident_and_a_cut_incident_in_the_anchored_head(closed: World) -> None:
    closed.sweep()
    head = closed.anchor.latest()[closed.ids()[0]]
    chain = entries(closed)
    assert audit_chain.cut(chain, head) == ""
    last = chain[-1]
    closed.inner.write(Table.INCIDENTS, last.chain, Delete(f"{incidents.AUDIT}{last.number:08d}", None))
    assert closed.audit_problem() == f"entries {last.number} to {last.number} are missing at the end"
    loaded = incidents.load(closed.inner, last.chain)
    assert loaded is not None
    forged = replace(loaded.incident, entries=last.number - 1, audit_head=chain[-2].hash)
    closed.inner.write(Table.INCIDENTS, last.chain, Replace(incidents.INCIDENT, pack(forged), None))
    assert closed.audit_problem() == ""
    assert audit_chain.cut(entries(closed), head).startswith(f"entries {last.number} to {last.number} were anchored at")


def test_H12_a_whole_chain_written_anew_is_not_the_anchored_one(closed: World) -> None:
    closed.sweep()
    head = closed.anchor.latest()[closed.ids()[0]]
    forged: list[AuditEntry] = []
    for entry in entries(closed):
        previous = forged[-1].hash if forged else GENESIS
        forged.append(incidents.seal(replace(entry, why="rewritten", previous=previous)))
    assert audit_chain.verify(forged) == ""
    assert audit_chain.cut(forged, head).startswith(f"entry {head.number} is not the one that was anchored")


def test_H12_the_system_chain_goes_on_over_days_even_over_silent_ones(store: SqliteStore) -> None:
    days = [START, START, START + timedelta(days=1), START + timedelta(days=9)]
    written = [journal.system(store, f"act {i}", "why", "olga", str(i), day) for i, day in enumerate(days)]
    assert [entry.number for entry in written] == [1, 2, 1, 1]
    assert [entry.previous for entry in written] == [GENESIS, *(entry.hash for entry in written[:-1])]
    for day, before in ((START, GENESIS), (START + timedelta(days=1), written[1].hash)):
        chain = incidents.audit(store, journal.system_chain(day))
        assert audit_chain.verify(chain, before) == ""
    assert audit_chain.verify(incidents.audit(store, journal.system_chain(days[3])), GENESIS) != ""


def test_H12_two_hosts_write_the_system_chain_at_once(store: SqliteStore) -> None:
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda i: journal.system(store, f"act {i}", "why", "", "", START), range(24)))
    chain = incidents.audit(store, journal.system_chain(START))
    assert len(chain) == 24
    assert audit_chain.verify(chain) == ""


# The anchor file


def head(number: int, chain: str = "c") -> Head:
    return Head(chain, number, f"hash-{number}", START)


def test_anchor_keeps_the_furthest_head_of_every_chain(tmp_path: Path) -> None:
    anchor = AnchorFile(tmp_path / "deep" / "heads.jsonl")
    assert anchor.latest() == {}
    anchor.add([])
    anchor.add([head(1), head(1, "d")])
    anchor.add([head(3), head(2)])
    assert AnchorFile(tmp_path / "deep" / "heads.jsonl").latest() == {"c": head(3), "d": head(1, "d")}


def test_anchor_survives_a_line_that_was_cut_short(tmp_path: Path) -> None:
    path = tmp_path / "heads.jsonl"
    anchor = AnchorFile(path)
    anchor.add([head(1), head(2)])
    path.write_bytes(path.read_bytes()[:-20])
    assert anchor.latest() == {"c": head(1)}
    anchor.add([head(3)])
    assert anchor.latest() == {"c": head(3)}
    assert len(path.read_text().splitlines()) == 3


@pytest.mark.parametrize("line", ["[]", "{}", "null", '{"chain": 1, "number": "x", "hash": 2, "at": 3}', "\x00"])
def test_anchor_passes_over_what_is_no_head(tmp_path: Path, line: str) -> None:
    path = tmp_path / "heads.jsonl"
    path.write_text(line + "\n")
    anchor = AnchorFile(path)
    anchor.add([head(1)])
    assert anchor.latest() == {"c": head(1)}


@pytest.mark.parametrize("use", [lambda a: a.latest(), lambda a: a.add([head(1)])])
def test_anchor_that_cannot_be_reached_is_transient(tmp_path: Path, use: Callable[[AnchorFile], object]) -> None:
    (tmp_path / "heads.jsonl").mkdir()
    with pytest.raises(TransientError):
        use(AnchorFile(tmp_path / "heads.jsonl"))
