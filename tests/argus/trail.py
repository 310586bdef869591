"""An audit trail with everything that is hard to write down, and people's ways to export it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

from argus.cli import main
from shared.adapters.stores.anchor_file import AnchorFile
from shared.adapters.stores.sqlite import SqliteStore
from shared.model.audit import GENESIS, AuditEntry
from shared.ports.store import Table, Upsert
from shared.records import anchoring, incidents, index, journal
from shared.records.rows import pack
from tests.portal.world import INCIDENT, NOW, incident

OTHER = "ffffffff-0000-5000-8000-000000000000"
HOSTILE = (
    "=cmd|' /C calc'!A0",
    "+1+1",
    "-2",
    "@SUM(A1)",
    "\tleading tab",
    "\rleading return",
    "'quoted",
    "'json:not json",
    'she said "no", then\nleft; \r\n"quoted line"',
    "nul \0 inside",
    "line\u2028separator\x85next\x0bpage\x0c",
    "＝full width",
    "naïve ☃ 𝄞 \ufeff",
    "",
    " ",
    "1e5",
    "a,b;c\td",
    "\\n \\u0000 \\",
)


@dataclass
class Place:
    """A folder with a store, its anchor and a configuration."""

    folder: Path
    store: SqliteStore
    anchor: AnchorFile

    @property
    def environ(self) -> dict[str, str]:
        return {
            "ARGUS_STORE": str(self.folder / "store.db"),
            "ARGUS_HEADS": str(self.folder / "heads.jsonl"),
            "ARGUS_CONFIG": str(self.folder / "argus.yaml"),
        }

    def __call__(self, *arguments: str) -> int:
        return main(arguments, self.environ, self.folder)


def place(folder: Path) -> Place:
    """An empty one."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "argus.yaml").write_text("version: 1\nstore: {kind: sqlite, settings: {path: '${ARGUS_STORE}'}}\n")
    return Place(folder, SqliteStore(folder / "store.db"), AnchorFile(folder / "heads.jsonl"))


def lived_in(folder: Path) -> Place:
    """Two incidents with hostile words, one without entries yet, and three days of the system; all anchored."""
    made = place(folder)
    for chain, words in ((INCIDENT, HOSTILE), (OTHER, HOSTILE[:5]), ("00000000-0000-5000-8000-000000000000", ())):
        head = GENESIS
        for number, text in enumerate(words, start=1):
            at = NOW + timedelta(hours=number)
            entry = incidents.seal(
                AuditEntry(chain, number, at, "triage", "rca", text[:9], text, text * 2, "c" * 64, head)
            )
            made.store.write(Table.INCIDENTS, chain, Upsert(f"{incidents.AUDIT}{number:08d}", pack(entry)))
            head = entry.hash
        one = replace(incident(id=chain), entries=len(words), audit_head=head)
        made.store.write(Table.INCIDENTS, chain, Upsert(incidents.INCIDENT, pack(one)))
        index.put_incident(made.store, one)
    for hours in (0, 1, 2, 24, 25, 70):
        journal.system(made.store, f"act {hours}", HOSTILE[8], "maya", str(hours), NOW + timedelta(hours=hours))
    assert not anchoring.run(made.store, made.anchor, NOW, everything=True).problems
    anchoring.note(made.store, made.anchor, NOW)
    return made
