"""The exported audit trail, and its verifier, which needs nothing but Python."""

from __future__ import annotations

import ast
import csv
import hashlib
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from argus import verify_export
from argus.exporting import csv_writer, escaped, json_writer
from shared.adapters.stores.anchor_file import AnchorFile
from shared.ports.anchor import Head
from shared.ports.store import Delete, Table, Upsert
from shared.records import incidents
from tests.argus.trail import HOSTILE, OTHER, Place, lived_in, place
from tests.portal.world import INCIDENT, NOW

Records = list[dict[str, Any]]
FORMATS = ("jsonl", "csv")
DAY, NEXT_DAY, LAST_DAY = "system-20261120", "system-20261121", "system-20261123"


@pytest.fixture(scope="module")
def lived(tmp_path_factory: pytest.TempPathFactory) -> Place:
    return lived_in(tmp_path_factory.mktemp("trail"))


def export(lived: Place, to: Path, *arguments: str) -> Path:
    assert lived("audit", "export", "--out", str(to), *arguments) == 0
    return to


@pytest.fixture(scope="module")
def exports(lived: Place, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("export")
    return {name: export(lived, folder / f"trail.{name}", "--format", name) for name in FORMATS}


def read(file: Path) -> Records:
    with file.open(encoding="utf-8", newline="") as lines:
        return list(verify_export.records(lines))


def write(records: Records, to: Path, name: str) -> Path:
    """The records in a file again, as somebody would who knows the format."""
    with to.open("w", encoding="utf-8", newline="") as file:
        put = (csv_writer if name == "csv" else json_writer)(file)
        for record in records:
            put(record)
    return to


def verdict(file: Path, capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, list[str]]:
    code = verify_export.main([str(file), *arguments])
    return code, [line for line in capsys.readouterr().out.splitlines() if not line.startswith("note: without")]


def entries(records: Records, chain: str = "") -> Records:
    return [r for r in records if r["record"] == "entry" and chain in ("", r["chain"])]


# What is written


def test_both_formats_hold_the_same_records_and_every_word_comes_back(lived: Place, exports: dict[str, Path]) -> None:
    lines, table = read(exports["jsonl"]), read(exports["csv"])
    assert lines[0].pop("at")
    assert table[0].pop("at")
    assert lines[:-1] == table[:-1]  # the last one is over the time of the first
    assert [entry["what"] for entry in entries(lines, INCIDENT)] == list(HOSTILE)
    assert len(entries(lines)) == len(HOSTILE) + 5 + 6
    held = incidents.audit(lived.store, INCIDENT)
    assert [(e["hash"], e["at"], e["previous"]) for e in entries(table, INCIDENT)] == [
        (e.hash, e.at.isoformat(), e.previous) for e in held
    ]


def test_no_cell_of_the_table_is_a_formula(exports: dict[str, Path]) -> None:
    with exports["csv"].open(encoding="utf-8", newline="") as file:
        cells = [cell for row in csv.reader(file) for cell in row]
    assert sum(cell.startswith("'") for cell in cells) > 20
    assert not [cell for cell in cells if cell.startswith(("=", "+", "-", "@", "\t", "\r", "\n", "＝"))]
    assert not [cell for cell in cells if "\0" in cell]


@pytest.mark.parametrize("text", HOSTILE)
def test_what_is_made_safe_for_spreadsheets_is_undone(text: str) -> None:
    assert verify_export.unescaped(escaped(text)) == text


@pytest.mark.parametrize("name", FORMATS)
def test_the_verifier_alone_finds_it_whole(lived: Place, exports: dict[str, Path], tmp_path: Path, name: str) -> None:
    """Copied out of the project, in a folder of its own, with an interpreter that sees no site-packages."""
    alone = shutil.copy(verify_export.__file__, tmp_path / "verify_export.py")
    command = [sys.executable, "-I", "-S", str(alone), str(exports[name]), "--heads", str(lived.folder / "heads.jsonl")]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout == "6 chains, 29 entries: whole\n"


def test_the_verifier_is_one_file_of_the_standard_library_for_python_3_9() -> None:
    source = Path(verify_export.__file__).read_text("utf-8")
    tree = ast.parse(source, feature_version=(3, 9))
    imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    imported |= {str(node.module) for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert {name.split(".")[0] for name in imported} <= set(sys.stdlib_module_names)
    assert "from __future__ import annotations" in source  # `X | None` in annotations is not for 3.9 otherwise
    assert not [node for node in ast.walk(tree) if isinstance(node, ast.Match)]


def test_standard_output_and_counts(lived: Place, capsys: pytest.CaptureFixture[str]) -> None:
    assert lived("audit", "export") == 0
    captured = capsys.readouterr()
    assert captured.err == "6 chains, 29 entries written\n"
    assert json.loads(captured.out.splitlines()[0])["record"] == "export"


@pytest.mark.parametrize("name", FORMATS)
def test_one_incident_and_a_time(lived: Place, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str) -> None:
    heads = ("--heads", str(lived.folder / "heads.jsonl"))
    one = export(lived, tmp_path / "one", "--incident", INCIDENT[:6], "--format", name)
    assert {record["chain"] for record in entries(read(one))} == {INCIDENT}
    code, out = verdict(one, capsys, *heads)
    assert (code, out[-1]) == (0, f"1 chains, {len(HOSTILE)} entries: whole")
    assert "is a part of the trail (chain 7d3c2a)" in out[0]
    window = ("--since", "2026-11-20T05:00", "--until", "2026-11-20T09:00:00+00:00")
    part = export(lived, tmp_path / "part", "--format", name, *window)
    assert [entry["number"] for entry in entries(read(part), INCIDENT)] == [3, 4, 5, 6]
    code, out = verdict(part, capsys, *heads)
    assert (code, out[-1]) == (0, "2 chains, 7 entries: whole")
    changed = read(part)
    entries(changed, INCIDENT)[2]["why"] = "nothing"
    code, out = verdict(write(changed, tmp_path / "changed", name), capsys)
    assert (code, out[0]) == (1, f"BROKEN  {INCIDENT}: entry 5 was changed after it was written")


# What is done to it


def edit(records: Records) -> None:
    entries(records, INCIDENT)[1]["why"] = "nothing happened"


def remove(records: Records) -> None:
    records.remove(entries(records, INCIDENT)[1])


def reorder(records: Records, chain: str = INCIDENT, at: int = 1) -> None:
    first, second = entries(records, chain)[at : at + 2]
    i, j = records.index(first), records.index(second)
    records[i], records[j] = second, first


def truncate_chain(records: Records) -> None:
    records.remove(entries(records, INCIDENT)[-1])


def truncate_file(records: Records) -> None:
    del records[-4:]


def drop_footer(records: Records) -> None:
    records.remove(next(r for r in records if r["record"] == "chain" and r["chain"] == INCIDENT))


def system_edit(records: Records) -> None:
    entries(records, DAY)[1]["person"] = "nobody"


def system_remove(records: Records) -> None:
    records.remove(entries(records, DAY)[0])


def system_reorder(records: Records) -> None:
    reorder(records, DAY, 0)


def system_day_gone(records: Records) -> None:
    for record in [r for r in records if r.get("chain") == NEXT_DAY]:
        records.remove(record)


def add(records: Records) -> None:
    last = entries(records, INCIDENT)[-1]
    more = {**last, "number": last["number"] + 1, "previous": last["hash"]}
    more["hash"] = verify_export.hash_of(more)
    records.insert(records.index(last) + 1, more)


def forget(records: Records) -> None:
    """What an incident remembers is taken out, so that cutting its chain would not show."""
    next(r for r in records if r["record"] == "chain" and r["chain"] == INCIDENT).pop("remembered")


def append(records: Records) -> None:
    records.append({"record": "chain", "chain": "x", "first": 1, "last": 0, "before": verify_export.GENESIS})


HARM: list[Any] = [
    pytest.param(edit, f"{INCIDENT}: entry 2 was changed after it was written", id="edited"),
    pytest.param(remove, f"{INCIDENT}: entry 2 is missing; entry 3 stands in its place", id="removed"),
    pytest.param(reorder, f"{INCIDENT}: entry 3 stands where entry 2 belongs; their order was changed", id="reordered"),
    pytest.param(truncate_chain, f"{INCIDENT}: entries 18 to 18 are missing at the end", id="truncated-chain"),
    pytest.param(truncate_file, "the file: it was cut: its end is missing", id="truncated-file"),
    pytest.param(drop_footer, f"{INCIDENT}: its end is missing", id="end-of-a-chain-removed"),
    pytest.param(system_edit, f"{DAY}: entry 2 was changed after it was written", id="system-edited"),
    pytest.param(system_remove, f"{DAY}: entry 1 is missing; entry 2 stands in its place", id="system-removed"),
    pytest.param(system_reorder, f"{DAY}: entry 2 stands where entry 1 belongs", id="system-reordered"),
    pytest.param(system_day_gone, f"{LAST_DAY}: entry 1 does not continue the last entry of", id="system-day-gone"),
    pytest.param(add, f"{INCIDENT}: entries 19 to 19 were added after the export", id="added"),
    pytest.param(forget, "the file: it is not as it was written: a record was changed", id="memory-removed"),
    pytest.param(append, "the file: something was added after its end", id="appended"),
]  # fmt: skip


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize(("harm", "said"), HARM)
def test_h12_harm_to_an_export_is_named(
    exports: dict[str, Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    harm: Callable[[Records], None],
    said: str,
    name: str,
) -> None:
    records = read(exports[name])
    harm(records)
    code, out = verdict(write(records, tmp_path / "harmed", name), capsys)
    assert code == 1
    assert [line for line in out if line.startswith(f"BROKEN  {said}")], out


@pytest.mark.parametrize("name", FORMATS)
def test_h12_cutting_bytes_off_is_named(
    exports: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    whole = exports[name].read_bytes()
    for size in (0, 1, 40, len(whole) // 3, len(whole) // 2, len(whole) - 60, len(whole) - 3):
        cut = tmp_path / "cut"
        cut.write_bytes(whole[:size])
        code, out = verdict(cut, capsys)
        assert code == 1, size
        assert any(line.startswith("BROKEN") for line in out)


def forged(records: Records, chain: str, cut: int = 0, gone: bool = False) -> Records:
    """The records as somebody leaves them who can compute every hash."""
    kept = [r for r in records if r.get("chain") != chain or not gone]
    mine = entries(kept, chain)
    for record in mine[len(mine) - cut :] if cut else []:
        kept.remove(record)
    previous = verify_export.GENESIS
    for record in entries(kept, chain):
        record |= {"previous": previous} | ({} if cut else {"why": "nothing happened"})
        record["hash"] = previous = verify_export.hash_of(record)
    for record in kept:
        if record["record"] == "chain" and record["chain"] == chain:
            record["last"] = len(entries(kept, chain))
            record["remembered"] = {"last": record["last"], "hash": previous}
    digest = hashlib.sha256(b"".join(verify_export.canonical(record) for record in kept[:-1]))
    chains = sum(record["record"] == "chain" for record in kept)
    kept[-1] |= {"digest": digest.hexdigest(), "entries": len(entries(kept)), "chains": chains}
    return kept


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize(
    ("changes", "said"),
    [
        pytest.param({}, "entry 18 is not the one that was anchored at 2026-11-20T02:13:05+00:00", id="rewritten"),
        pytest.param({"cut": 3}, "entries 16 to 18 were anchored at 2026-11-20T02:13:05+00:00 and are gone", id="cut"),
        pytest.param({"gone": True}, "it was anchored with 18 entries and is not in the file", id="gone"),
    ],
)
def test_h12_a_forgery_that_fits_itself_shows_against_the_heads(
    lived: Place,
    exports: dict[str, Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    changes: dict[str, Any],
    said: str,
    name: str,
) -> None:
    file = write(forged(read(exports[name]), INCIDENT, **changes), tmp_path / "forged", name)
    code, _ = verdict(file, capsys)
    assert code == 0  # without the heads nobody can know
    code, out = verdict(file, capsys, "--heads", str(lived.folder / "heads.jsonl"))
    assert (code, out[0]) == (1, f"BROKEN  {INCIDENT}: {said}")


def test_heads_that_are_newer_than_the_export_are_no_harm(
    lived: Place, exports: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    heads = tmp_path / "heads.jsonl"
    shutil.copy(lived.folder / "heads.jsonl", heads)
    AnchorFile(heads).add([Head(INCIDENT, 99, "f" * 64, NOW.replace(year=2200))])
    code, out = verdict(exports["jsonl"], capsys, "--heads", str(heads))
    assert (code, out) == (0, ["note: 1 anchored heads are newer than this export", "6 chains, 29 entries: whole"])


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff\xfe\x00",
        b"{}\n",
        b'{"record": 7}\n',
        b"[]\n",
        b"a,b\n1,2\n",
        b"\x00" * 50,
        b"{" * 5000,
        b'"open quote',
    ],
)
def test_what_is_no_export_is_said_and_breaks_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: bytes
) -> None:
    file = tmp_path / "other"
    file.write_bytes(content)
    code, out = verdict(file, capsys)
    assert code == 1
    assert out[0].startswith("BROKEN  the file: ")
    assert verify_export.main([str(tmp_path / "nowhere")]) == 2


# A trail that is broken in the store


def test_a_broken_trail_is_exported_as_it_is_and_the_verifier_says_the_same(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lived = lived_in(tmp_path / "place")
    lived.store.write(Table.INCIDENTS, OTHER, Delete(f"{incidents.AUDIT}00000005", None))
    lived.store.write(Table.INCIDENTS, INCIDENT, Delete(f"{incidents.AUDIT}00000002", None))
    lived.store.write(Table.INCIDENTS, DAY, Delete(f"{incidents.AUDIT}00000003", None))
    assert lived("audit", "verify") == 1
    told = [line for line in capsys.readouterr().out.splitlines() if line.startswith("BROKEN")]
    file = export(lived, tmp_path / "trail.csv", "--format", "csv")
    capsys.readouterr()
    code, out = verdict(file, capsys)
    assert code == 1
    found = sorted(line for line in out if line.startswith("BROKEN"))
    assert found == sorted(line for line in told if "anchored at" not in line)
    assert len(found) == 3


def test_a_chain_that_cannot_be_read_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lived = lived_in(tmp_path / "place")
    lived.store.write(Table.INCIDENTS, OTHER, Upsert(f"{incidents.AUDIT}00000002", {"doc00": "{"}))
    assert lived("audit", "export", "--out", str(tmp_path / "out")) == 1
    assert "1 chains cannot be read" in capsys.readouterr().err
    code, out = verdict(tmp_path / "out", capsys)
    assert (code, out[0]) == (1, f"BROKEN  {OTHER}: a row of it cannot be read")


def test_a_wrong_time_a_strange_incident_and_a_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    empty = place(tmp_path / "place")
    empty.store.partitions(Table.INCIDENTS)
    assert empty("audit", "export", "--since", "yesterday") == 1
    assert "'yesterday' is no time" in capsys.readouterr().err
    assert empty("audit", "export", "--incident", "zzz") == 1
    assert "no chain begins with zzz" in capsys.readouterr().err
    assert empty("audit", "export", "--out", str(tmp_path / "no" / "where")) == 1
    assert "cannot be written" in capsys.readouterr().err
    assert not list(tmp_path.glob("*.partial"))
    assert empty("audit", "export", "--out", str(tmp_path / "empty")) == 0
    assert verdict(tmp_path / "empty", capsys) == (0, ["0 chains, 0 entries: whole"])
