"""`argus backup` and `argus restore`: everything of one store comes back in another, of either kind, and goes on."""

from __future__ import annotations

import gzip
import itertools
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from argus.cli import main
from argus.walking import walk
from shared.adapters.stores.anchor_file import AnchorFile
from shared.adapters.stores.sqlite import SqliteStore
from shared.model import versions
from shared.model.event import InvestigationRequested
from shared.model.lifecycle import State
from shared.ports.store import Delete, Insert, Store, Table, Upsert
from shared.records import anchoring, approvals, backup, incidents, payloads
from shared.records.versioned import Versioned
from tests.adapters.stores import places
from tests.pipeline.world import World, settings

KINDS = places.KNOWN
RULE = {"kind": "threshold", "metric": "latency_ms", "service": "shop", "above": 500}
Content = dict[tuple[str, str, str], dict[str, Any]]


@dataclass
class Shelf:
    """A store of some kind, and the command line that works on it."""

    kind: str
    folder: Path
    options: dict[str, Any]
    store: Store

    def __call__(self, *arguments: str) -> int:
        heads = str(self.folder / "heads.jsonl")
        return main([*arguments, "--config", str(self.folder / "argus.yaml")], {"ARGUS_HEADS": heads}, self.folder)


@pytest.fixture
def shelf(tmp_path: Path) -> Iterator[Callable[[str], Shelf]]:
    """A shelf of a kind, as many as are wanted."""
    number = itertools.count()
    entered: list[Any] = []

    def make(kind: str) -> Shelf:
        folder = tmp_path / f"{kind}-{next(number)}"
        folder.mkdir()
        manager = places.place(kind, folder)
        options = manager.__enter__()
        store = places.opened(kind, options)
        entered.append((manager, store))
        config = {"version": 1, "store": {"kind": kind, "settings": options}}
        (folder / "argus.yaml").write_text(yaml.safe_dump(config))
        return Shelf(kind, folder, options, store)

    yield make
    for manager, store in reversed(entered):
        places.close(store)
        manager.__exit__(None, None, None)


def content(store: Store) -> Content:
    return {
        (str(table), row.partition, row.key): dict(row.values)
        for table in Table
        for partition in store.partitions(table)
        for row in incidents.rows(store, partition, "", table)
    }


def live(store: Store) -> World:
    """One incident closed, one that waits for an approval, an event that was committed and never sent, bodies."""
    world = World(Versioned(store), settings(rules={"slow": RULE}))
    payloads.put(world.inner, "receipt", bytes(range(256)) * 700, world.now)
    world.measures("latency_ms", 120.0)
    world.fires()
    world.settle()
    world.bus.down = True
    world.say(InvestigationRequested(), world.ids()[0])
    world._work_once()
    return world


@pytest.mark.parametrize(("of", "to"), list(itertools.product(KINDS, KINDS)), ids=str)
def test_everything_comes_back_in_a_store_of_either_kind_and_goes_on(
    shelf: Callable[[str], Shelf], tmp_path: Path, capsys: pytest.CaptureFixture[str], of: str, to: str
) -> None:
    source, target = shelf(of), shelf(to)
    world = live(source.store)
    before = content(source.store)
    file = tmp_path / "argus.jsonl.gz"
    assert source("backup", str(file)) == 0
    assert f"{len(before)} rows in {file}" in capsys.readouterr().out
    assert file.stat().st_mode & 0o077 == 0, "bodies of alerts are nobody else's"
    assert [path.name for path in tmp_path.glob("argus.jsonl.gz*")] == [file.name]

    assert target("restore", str(file), "--as", "olga") == 0
    out = capsys.readouterr().out
    assert f"{len(before)} rows restored from" in out
    after = content(target.store)
    assert {key: values for key, values in after.items() if not key[1].startswith("system-")} == {
        key: after[key] if key[0] == "pending" else values for key, values in before.items()
    }
    [said] = [row for key, row in after.items() if key[1].startswith("system-")]
    assert "restored from a backup" in said["doc00"]
    assert "olga" in said["doc00"]
    assert target("audit", "verify") == 0
    assert " 0 broken" in capsys.readouterr().out

    # The wait is started again, the unsent event is sent, a person decides, and it ends.
    again = World(Versioned(target.store), settings(rules={"slow": RULE}))
    again.clock[0] = world.now + timedelta(minutes=10)
    again.desk.tickets, again.desk.state = world.desk.tickets, world.desk.state
    again.pass_time(timedelta(minutes=3))
    assert not again.rows(incidents.OUTBOX)
    assert again.waits.instances
    again.vote()
    again.run_until(lambda: bool(again.workload.runs))
    again.resolves(starts_at=world.now)
    again.run_until(lambda: again.incident().state is State.CLOSED)
    assert len(again.workload.runs) == 1
    assert not [item for item, _ in walk(again.inner, {}) if item.problem]


def test_h8_after_a_restore_every_open_incident_is_looked_at(shelf: Callable[[str], Shelf], tmp_path: Path) -> None:
    """Markers may be older than what they mark: they were read at another moment."""
    source, target = shelf("sqlite"), shelf("sqlite")
    world = live(source.store)
    for _, _, partition, etag in list(incidents.pending(source.store)):
        source.store.write(Table.PENDING, partition, Delete(world.incident().id, etag))
    assert source("backup", str(tmp_path / "b")) == 0
    assert target("restore", str(tmp_path / "b")) == 0
    assert [marker[0] for marker in incidents.pending(target.store)] == [world.incident().id]


@pytest.mark.parametrize(("kept", "count"), [((), 1), (("--queues-kept",), 0)], ids=["queues-lost", "queues-kept"])
def test_an_incident_whose_next_message_was_lost_looks_again(
    shelf: Callable[[str], Shelf], tmp_path: Path, kept: tuple[str, ...], count: int
) -> None:
    source, target = shelf("sqlite"), shelf("sqlite")
    world = World(Versioned(source.store), settings(rules={"slow": RULE}))
    world.fires()
    world.run_until(lambda: bool(world.ids()) and world.incident().state is State.INVESTIGATING)
    for event, _, etag in incidents.outbox(source.store, world.incident().id):  # they were sent, and waited long
        source.store.write(Table.INCIDENTS, world.incident().id, Delete(incidents.OUTBOX + event.id, etag))
    assert source("backup", str(tmp_path / "b")) == 0
    assert target("restore", str(tmp_path / "b"), *kept) == 0
    again = World(Versioned(target.store), settings(rules={"slow": RULE}))
    again.investigator = world.investigator
    outbox = incidents.outbox(target.store, world.incident().id)
    assert [event.type for event, _, _ in outbox] == [InvestigationRequested.TYPE] * count
    if count:
        again.clock[0] = outbox[0][1] + timedelta(minutes=2)
        again.settle()
        assert again.story()[-1] != world.story()[-1]


# What a restore refuses


@pytest.fixture
def kept(shelf: Callable[[str], Shelf], tmp_path: Path) -> tuple[Shelf, Path]:
    """A store and its backup."""
    source = shelf("sqlite")
    live(source.store)
    assert source("backup", str(tmp_path / "backup")) == 0
    return source, tmp_path / "backup"


SCHEMA = f'"schema": {versions.CURRENT}'.encode()


def zipped(lines: list[bytes]) -> bytes:
    return gzip.compress(b"".join(lines))


def unpacked(file: Path) -> list[bytes]:
    return gzip.decompress(file.read_bytes()).splitlines(keepends=True)


def test_a_store_that_is_not_empty_is_refused(
    kept: tuple[Shelf, Path], shelf: Callable[[str], Shelf], capsys: pytest.CaptureFixture[str]
) -> None:
    target = shelf("sqlite")
    target.store.write(Table.LEASES, "p", Insert("lease", {"holder": ""}))
    assert target("restore", str(kept[1])) == 1
    assert "the store is not empty: it has leases" in capsys.readouterr().err
    assert len(content(target.store)) == 1


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        pytest.param(lambda raw, lines: raw[: len(raw) // 2], "is no backup, or was cut", id="cut"),
        pytest.param(lambda raw, lines: raw[:-1], "is no backup, or was cut", id="one-byte-cut"),
        pytest.param(lambda raw, lines: zipped(lines[:-1]), "the backup was cut", id="a-row-less"),
        pytest.param(
            lambda raw, lines: zipped([*lines[:-1], lines[-2]]), "was cut|was changed", id="a-row-twice"
        ),
        pytest.param(
            lambda raw, lines: gzip.compress(b"".join(lines).replace(b"HighErrorRatio", b"LowErrorRatio.")),
            "the backup was changed after it was written",
            id="a-word-changed",
        ),
        pytest.param(
            lambda raw, lines: zipped([lines[0], *lines[:0:-1]]), "was changed", id="reordered"
        ),
        pytest.param(lambda raw, lines: b"", "is no backup", id="empty"),
        pytest.param(lambda raw, lines: b"hello", "is no backup", id="no-gzip"),
        pytest.param(lambda raw, lines: gzip.compress(b'{"format": "other"}\n'), "this is no backup", id="other"),
        pytest.param(lambda raw, lines: zipped([lines[0], b"{}\n"]), "line 2 of the backup is no row", id="no-row"),
        pytest.param(
            lambda raw, lines: gzip.compress(lines[0].replace(b'"version": 1', b'"version": 2')),
            "a backup of format 2; this code reads 1",
            id="newer-format",
        ),
        pytest.param(
            lambda raw, lines: zipped([lines[0].replace(SCHEMA, b'"schema": 99')]),
            "the backup was written by a newer ARGUS",
            id="newer-schema",
        ),
    ],
)  # fmt: skip
def test_a_file_that_was_cut_or_changed_is_refused_before_anything_is_written(
    kept: tuple[Shelf, Path],
    shelf: Callable[[str], Shelf],
    capsys: pytest.CaptureFixture[str],
    harm: Callable[[bytes, list[bytes]], bytes],
    said: str,
) -> None:
    _, file = kept
    file.write_bytes(harm(file.read_bytes(), unpacked(file)))
    target = shelf("sqlite")
    assert target("restore", str(file)) == 1
    err = capsys.readouterr().err
    assert any(word in err for word in said.split("|")), err
    assert content(target.store) == {}


def test_a_file_that_is_not_there_and_a_place_that_takes_none(
    kept: tuple[Shelf, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, _ = kept
    assert source("restore", str(tmp_path / "nowhere")) == 1
    assert "cannot be read: No such file" in capsys.readouterr().err
    assert source("backup", str(tmp_path)) == 1
    assert "is a folder" in capsys.readouterr().err
    assert source("backup", str(tmp_path / "no" / "such" / "folder")) == 1
    assert "cannot be written" in capsys.readouterr().err


# Completing a store


def test_an_interrupted_restore_is_completed(
    kept: tuple[Shelf, Path], shelf: Callable[[str], Shelf], capsys: pytest.CaptureFixture[str]
) -> None:
    source, file = kept
    target = shelf("sqlite")
    lines = iter(unpacked(file)[1:])
    for _ in backup.restore(target.store, itertools.islice(lines, 25), existing=False):
        pass  # and then the power failed
    assert target("restore", str(file)) == 1
    assert "--into-existing" in capsys.readouterr().err
    assert target("restore", str(file), "--into-existing") == 0
    there = content(target.store)
    for key, values in content(source.store).items():
        assert key[0] == "pending" or there[key] == values
    assert target("audit", "verify") == 0


def test_two_states_of_one_incident_are_never_mixed(
    kept: tuple[Shelf, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    """The store went on after its backup; what is newer stays, and is named."""
    source, file = kept
    incident_id = next(name for name in source.store.partitions(Table.INCIDENTS) if "system" not in name)
    loaded = incidents.load(source.store, incident_id)
    assert loaded is not None
    assert loaded.incident.approval is not None
    source.store.write(Table.INCIDENTS, incident_id, Upsert("evidence|x", {"kind": "text"}))
    gone = f"{incidents.TIMELINE}00000001"
    source.store.write(Table.INCIDENTS, incident_id, Delete(gone, None))
    source.store.write(Table.APPROVALS, loaded.incident.approval.id, Delete(approvals.REQUEST, None))
    assert source("restore", str(file), "--into-existing") == 1
    out = capsys.readouterr().out
    assert f"incidents/{incident_id} holds something else and was left alone" in out
    assert source.store.get(Table.INCIDENTS, incident_id, gone) is None
    assert approvals.request_of(source.store, loaded.incident.approval.id) is not None


# What is in it


def test_the_first_line_says_what_the_others_are(kept: tuple[Shelf, Path]) -> None:
    source, file = kept
    head, *rows = unpacked(file)
    header = json.loads(head)
    assert (header["format"], header["version"], header["schema"]) == ("argus-backup", 1, versions.CURRENT)
    assert sum(header["tables"].values()) == len(rows) == len(content(source.store))
    assert set(header["tables"]) == {str(table) for table in set(Table) - backup.LEFT_OUT}


def test_every_table_is_in_a_backup_or_left_out_on_purpose() -> None:
    assert sorted([*backup.ORDER, *backup.LEFT_OUT]) == sorted(Table)


def test_a_note_about_an_anchor_that_is_not_in_the_backup_is_left_out(
    kept: tuple[Shelf, Path], shelf: Callable[[str], Shelf], tmp_path: Path
) -> None:
    source, target = kept[0], shelf("sqlite")
    anchor = AnchorFile(source.folder / "heads.jsonl")
    anchoring.run(source.store, anchor, World(source.store).now, everything=True)
    anchoring.note(source.store, anchor, World(source.store).now)
    assert source("backup", str(tmp_path / "again")) == 0
    assert target("restore", str(tmp_path / "again")) == 0
    assert target("audit", "verify") == 0


def test_an_incident_that_changes_while_it_is_read_is_read_again(store: SqliteStore) -> None:
    world = live(store)
    incident_id = world.incident().id

    reads = itertools.count()

    def commit() -> None:
        if next(reads) == 0:
            loaded = incidents.load(store, incident_id)
            assert loaded is not None
            row = store.get(Table.INCIDENTS, incident_id, incidents.INCIDENT)
            assert row is not None
            store.write(Table.INCIDENTS, incident_id, Upsert(incidents.INCIDENT, {**row.values, "seen": 1}))

    class Between:
        def __getattr__(self, name: str) -> Any:
            return getattr(store, name)

        def query(self, table: Table, partition: str, *rest: Any, **more: Any) -> Any:
            page = store.query(table, partition, *rest, **more)
            if partition == incident_id:
                commit()
            return page

    lines = list(backup.lines(Between(), backup.Seal()))  # type: ignore[arg-type]
    [line] = [json.loads(line) for line in lines if b'"k":"incident"' in line]
    assert line["v"]["seen"] == 1
    assert next(reads) == 2, "twice: the first time somebody wrote to it"
