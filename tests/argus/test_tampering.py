"""Rule H12: whatever is done to an audit trail in the store or to its anchor, `argus audit verify` names it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

import pytest

from argus.cli import main
from shared.adapters.stores.anchor_file import AnchorFile
from shared.adapters.stores.sqlite import SqliteStore
from shared.model.audit import GENESIS, AuditEntry
from shared.ports.store import Delete, Store, Table, Upsert
from shared.records import anchoring, incidents, index, journal
from shared.records.rows import pack
from tests.portal.world import HISTORY, INCIDENT, NOW, incident, keep

DAY = "system-20261120"
NEXT_DAY = "system-20261121"
OTHER = "ffffffff-0000-5000-8000-000000000000"


@dataclass
class Trail:
    """A store with two incidents and two days of the system, all anchored and noted; and a shell."""

    folder: Path
    store: SqliteStore
    anchor: AnchorFile
    capture: pytest.CaptureFixture[str]

    def verify(self) -> tuple[int, list[str]]:
        code = main(["audit", "verify"], self.environ, self.folder)
        return code, self.capture.readouterr().out.splitlines()

    @property
    def environ(self) -> dict[str, str]:
        return {
            "ARGUS_STORE": str(self.folder / "store.db"),
            "ARGUS_HEADS": str(self.heads),
            "ARGUS_CONFIG": str(self.folder / "argus.yaml"),
        }

    @property
    def heads(self) -> Path:
        return self.folder / "heads.jsonl"

    def entries(self, chain: str) -> list[AuditEntry]:
        return list(incidents.audit(self.store, chain))

    def put(self, chain: str, number: int, entry: AuditEntry) -> None:
        self.store.write(Table.INCIDENTS, chain, Upsert(f"{incidents.AUDIT}{number:08d}", pack(entry)))

    def cut(self, chain: str, *numbers: int) -> None:
        for number in numbers:
            self.store.write(Table.INCIDENTS, chain, Delete(f"{incidents.AUDIT}{number:08d}", None))

    def remember(self, chain: str) -> None:
        """The incident row is made to fit what is left of its chain."""
        loaded = incidents.load(self.store, chain)
        assert loaded is not None
        entries = self.entries(chain)
        head = entries[-1].hash if entries else GENESIS
        row = pack(replace(loaded.incident, entries=len(entries), audit_head=head))
        self.store.write(Table.INCIDENTS, chain, Upsert(incidents.INCIDENT, row))

    def forge(self, chain: str, more: int = 0) -> None:
        """A chain that fits itself, and its incident, but is not the one that was."""
        previous = GENESIS if not chain.startswith("system-") else self.entries(chain)[0].previous
        forged = self.entries(chain)
        forged += [replace(forged[-1], number=len(forged) + i + 1) for i in range(more)]
        for number, entry in enumerate(forged, start=1):
            sealed = incidents.seal(replace(entry, why="nothing happened", previous=previous))
            self.put(chain, number, sealed)
            previous = sealed.hash
        if not chain.startswith("system-"):
            self.remember(chain)


def anchored(store: Store, anchor: AnchorFile) -> None:
    assert not anchoring.run(store, anchor, NOW + timedelta(days=1), everything=True).problems
    anchoring.note(store, anchor, NOW + timedelta(days=1))


@pytest.fixture
def trail(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Trail:
    (tmp_path / "argus.yaml").write_text("version: 1\nstore: {kind: sqlite, settings: {path: '${ARGUS_STORE}'}}\n")
    store = SqliteStore(tmp_path / "store.db")
    for one in (incident(), incident(id=OTHER)):
        keep(store, one, HISTORY)
        index.put_incident(store, one)
    for hours in (0, 1, 2, 3, 24, 25):
        journal.system(store, f"act {hours}", "a drill", "maya", str(hours), NOW + timedelta(hours=hours))
    anchor = AnchorFile(tmp_path / "heads.jsonl")
    anchored(store, anchor)
    made = Trail(tmp_path, store, anchor, capsys)
    assert made.verify() == (0, ["4 chains, 20 entries, 0 broken"])
    return made


Harm = Callable[[Trail, str], None]


def edit(trail: Trail, chain: str) -> None:
    trail.put(chain, 2, replace(trail.entries(chain)[1], person="nobody"))


def seal_again(trail: Trail, chain: str) -> None:
    trail.put(chain, 2, incidents.seal(replace(trail.entries(chain)[1], person="nobody")))


def remove(trail: Trail, chain: str) -> None:
    trail.cut(chain, 2)


def remove_first(trail: Trail, chain: str) -> None:
    trail.cut(chain, 1)


def renumber(trail: Trail, chain: str) -> None:
    """An entry is taken out and the others close the gap, sealed again one by one."""
    left = [entry for entry in trail.entries(chain) if entry.number != 2]
    trail.cut(chain, len(left) + 1)
    for number, entry in enumerate(left, start=1):
        trail.put(chain, number, incidents.seal(replace(entry, number=number)))


def reorder(trail: Trail, chain: str) -> None:
    second, third = trail.entries(chain)[1:3]
    trail.put(chain, 2, third)
    trail.put(chain, 3, second)


def swap_contents(trail: Trail, chain: str) -> None:
    second, third = trail.entries(chain)[1:3]
    trail.put(chain, 2, incidents.seal(replace(third, number=2, previous=second.previous)))
    trail.put(chain, 3, incidents.seal(replace(second, number=3, previous=second.previous)))


def truncate(trail: Trail, chain: str) -> None:
    trail.cut(chain, len(trail.entries(chain)))


def move_in(trail: Trail, chain: str) -> None:
    """An entry of another chain."""
    trail.put(chain, 2, trail.entries(OTHER)[1])


@pytest.mark.parametrize(
    ("harm", "in_incident", "in_system"),
    [
        pytest.param(edit, "entry 2 was changed after it was written", "entry 2 was changed", id="edited"),
        pytest.param(
            seal_again, "entry 3 does not continue the entry before", "entry 3 does not", id="edited-and-sealed"
        ),
        pytest.param(remove, "entry 2 is missing; entry 3 stands in its place", "entry 2 is missing", id="removed"),
        pytest.param(
            remove_first, "entry 1 is missing; entry 2 stands in its place", "entry 1 is missing", id="first-removed"
        ),
        pytest.param(renumber, "entry 2 does not continue the entry", "entry 2 does not continue", id="closed-gap"),
        pytest.param(
            reorder,
            "entry 3 stands where entry 2 belongs; their order was changed",
            "entry 3 stands where entry 2 belongs; their order was changed",
            id="reordered",
        ),
        pytest.param(swap_contents, "entry 3 does not continue", "entry 3 does not", id="reordered-and-sealed"),
        pytest.param(truncate, "entries 7 to 7 are missing at the", "entries 4 to 4 were anchored", id="truncated"),
        pytest.param(move_in, "entry 2 belongs to another chain", "entry 2 belongs to another chain", id="moved-in"),
    ],
)
def test_h12_harm_to_a_chain_is_named(trail: Trail, harm: Harm, in_incident: str, in_system: str) -> None:
    harm(trail, INCIDENT)
    code, out = trail.verify()
    assert code == 1
    assert out[0].startswith(f"BROKEN  {INCIDENT}: {in_incident}")
    left = sum(len(trail.entries(chain)) for chain in (INCIDENT, OTHER, DAY, NEXT_DAY))
    assert out[-1] == f"4 chains, {left} entries, 1 broken"
    harm(trail, DAY)
    code, out = trail.verify()
    assert code == 1
    assert [line for line in out if line.startswith(f"BROKEN  {DAY}: {in_system}")]


def test_h12_a_truncated_day_of_the_system_shows_in_the_next_without_any_anchor(trail: Trail) -> None:
    truncate(trail, DAY)
    trail.heads.unlink()
    _, out = trail.verify()
    assert f"BROKEN  {NEXT_DAY}: entry 1 does not continue the last entry of {DAY}" in out


def test_h12_a_chain_truncated_together_with_its_incident_shows_in_the_anchor(trail: Trail) -> None:
    trail.cut(INCIDENT, 5, 6, 7)
    trail.remember(INCIDENT)
    code, out = trail.verify()
    assert (code, out[0]) == (
        1,
        f"BROKEN  {INCIDENT}: entries 5 to 7 were anchored at 2026-11-21 02:13:05 UTC and are gone",
    )


def wipe(store: Store, chain: str) -> None:
    for row in list(incidents.rows(store, chain, "")):
        store.write(Table.INCIDENTS, chain, Delete(row.key, None))


@pytest.mark.parametrize("chain", [INCIDENT, DAY, NEXT_DAY])
def test_h12_a_chain_that_is_gone_as_a_whole_shows(trail: Trail, chain: str) -> None:
    wipe(trail.store, chain)
    code, out = trail.verify()
    assert code == 1
    assert [line for line in out if line.startswith(f"BROKEN  {chain}: ") and line.endswith("gone")]


def test_h12_a_chain_that_is_gone_before_it_was_anchored_shows_in_the_list(trail: Trail) -> None:
    trail.heads.unlink()
    trail.store.write(Table.INCIDENTS, anchoring.NOTES, Delete(anchoring.NOTED, None))
    wipe(trail.store, INCIDENT)
    code, out = trail.verify()
    assert (code, out[0]) == (1, f"BROKEN  {INCIDENT}: the incident of this chain is gone")


@pytest.mark.parametrize("chain", [INCIDENT, NEXT_DAY])
def test_h12_a_forgery_that_fits_itself_is_not_what_was_anchored(trail: Trail, chain: str) -> None:
    trail.forge(chain)
    code, out = trail.verify()
    assert code == 1
    assert out[0].startswith(f"BROKEN  {chain}: entry ")
    assert out[0].endswith("is not the one that was anchored at 2026-11-21 02:13:05 UTC")


def test_h12_a_longer_forgery_is_found_even_when_it_was_anchored_later(trail: Trail) -> None:
    """The sweep does not anchor it, and if somebody else did, the older head still speaks against it."""
    trail.forge(INCIDENT, more=2)
    found = anchoring.run(trail.store, trail.anchor, NOW + timedelta(days=2), everything=True)
    assert found.problems == ((INCIDENT, "entry 8 does not continue the entry before it"),)
    assert found.heads == 0
    last = trail.entries(INCIDENT)[-1]
    trail.anchor.add([anchoring.Head(INCIDENT, last.number, last.hash, NOW)])
    code, out = trail.verify()
    assert code == 1
    assert out[0].startswith(f"BROKEN  {INCIDENT}: entry 7 is not the one that was anchored")


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        pytest.param(lambda lines: lines[:-1], "it held 4 lines at 2026-11-21 02:13:05 UTC and holds 3 now", id="cut"),
        pytest.param(lambda lines: [], "it held 4 lines at 2026-11-21 02:13:05 UTC and holds 0 now", id="emptied"),
        pytest.param(lambda lines: lines[1:], "holds 3 now: it was cut", id="first-line-removed"),
        pytest.param(lambda lines: lines[::-1], "its first 4 lines are not those it held at", id="reordered"),
        pytest.param(
            lambda lines: [lines[0].replace('"number":4', '"number":3'), *lines[1:]], "are not those", id="edited"
        ),
        pytest.param(lambda lines: [*lines[1:], lines[1]], "its first 4 lines are not those", id="replaced"),
    ],
)
def test_h12_an_anchor_that_was_cut_or_changed_shows(trail: Trail, harm: Callable[..., list[str]], said: str) -> None:
    lines = trail.heads.read_text().splitlines(keepends=True)
    assert '"number":4' in lines[0]
    trail.heads.write_text("".join(harm(lines)))
    code, out = trail.verify()
    assert code == 1
    [line] = [line for line in out if line.startswith("BROKEN  the anchored heads: ")]
    assert said in line


def test_h12_an_anchor_that_is_gone_shows(trail: Trail) -> None:
    trail.heads.unlink()
    code, out = trail.verify()
    assert code == 1
    assert out[0].startswith("BROKEN  the anchored heads: it held 4 lines")


def test_h12_lines_after_the_note_are_no_harm(trail: Trail) -> None:
    journal.system(trail.store, "act", "a drill", "maya", "x", NOW + timedelta(hours=26))
    anchoring.run(trail.store, trail.anchor, NOW + timedelta(hours=26))
    assert trail.verify() == (0, ["4 chains, 21 entries, 0 broken"])


def test_h12_only_what_continues_the_anchored_head_is_anchored(trail: Trail) -> None:
    journal.system(trail.store, "act", "a drill", "maya", "x", NOW + timedelta(hours=26))
    entry = trail.entries(NEXT_DAY)[2]
    trail.put(NEXT_DAY, 3, incidents.seal(replace(entry, previous="f" * 64)))
    before = trail.heads.read_text()
    found = anchoring.run(trail.store, trail.anchor, NOW + timedelta(hours=26))
    assert found.problems == ((NEXT_DAY, "entry 3 does not continue the entry before it"),)
    assert trail.heads.read_text() == before


def test_h12_anchoring_reads_only_what_was_added_to_the_file(trail: Trail) -> None:
    """A process that keeps asking does not read the file again, unless it became another one."""
    assert set(trail.anchor.latest()) == {INCIDENT, OTHER, DAY, NEXT_DAY}
    text = trail.heads.read_text()
    poisoned = "x" * len(text)  # same length, same file: only what comes after it is read
    with trail.heads.open("r+") as file:
        file.write(poisoned)
    assert set(trail.anchor.latest()) == {INCIDENT, OTHER, DAY, NEXT_DAY}
    with trail.heads.open("a") as file:
        file.write("\n" + json.dumps({"chain": "new", "number": 1, "hash": "h", "at": NOW.isoformat()}) + "\n")
    assert "new" in trail.anchor.latest()
    trail.heads.write_text("")
    assert trail.anchor.latest() == {}
    trail.heads.unlink()
    trail.heads.write_text(text)
    assert set(trail.anchor.latest()) == {INCIDENT, OTHER, DAY, NEXT_DAY}
