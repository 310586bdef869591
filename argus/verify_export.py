"""Verifies an exported audit trail with nothing but Python: `python verify_export.py FILE [--heads heads.jsonl]`.

In: what ``python -m argus audit export`` wrote, as JSON Lines or CSV, and if wanted the anchored heads. Out: the first
broken link of every chain in words; exit code 0 when all is whole, 1 when not, 2 when the file cannot be read.

This file needs no other file of the project and runs on Python 3.9 or later. How to check by hand what it checks:

* An entry's ``hash`` is SHA-256 over the JSON array, without spaces and with characters as they are (UTF-8), of chain,
  number, at, agent, micro_agent, person, what, why, content_hash, previous.
* An entry's ``previous`` is the hash of the entry before it in its chain; 64 zeros for the first one. The first entry
  of a ``system-YYYYMMDD`` chain continues the last entry of the system chain before it.
* After the entries of a chain comes a ``chain`` record: which entries it has, and which one its incident remembers.
* The last record, ``end``, counts chains and entries, and holds SHA-256 over all records before it, each as JSON with
  sorted keys, without spaces, in ASCII, with a line feed.
* In CSV a record that is no entry holds its JSON in the column ``why``. A cell that a spreadsheet could take for a
  formula, and one that begins with an apostrophe, has one more apostrophe in front; ``'json:`` stands before a text
  that CSV cannot hold as it is, written as JSON.

Somebody who can compute all of this can forge a file that fits itself. The anchored heads cannot be computed: with
``--heads`` such a forgery shows, as does a chain that was taken out as a whole.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import io
import json
import re
import sys
from collections.abc import Iterable, Iterator
from typing import Any, TextIO

GENESIS = "0" * 64
SYSTEM = "system-"
FORMAT = 1
HASHED = (
    "chain", "number", "at", "agent", "micro_agent", "person", "what", "why", "content_hash", "previous",
)  # fmt: skip
COLUMNS = ("record", *HASHED, "hash")
REMOVED = "audit chain removed by retention"
_REMOVAL = re.compile(r"(\S+): entries 1 to (\d+), the last one ([0-9a-f]{64})")

Record = dict[str, Any]
Heads = dict[str, list[Record]]


class Unreadable(Exception):
    """The file is no export."""


def canonical(record: Record) -> bytes:
    """The bytes of a record that the digest at the end is over."""
    return (json.dumps(record, sort_keys=True, separators=(",", ":")) + "\n").encode()


def hash_of(entry: Record) -> str:
    """The hash an entry must carry."""
    text = json.dumps([entry[name] for name in HASHED], ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def unescaped(cell: str) -> str:
    """A cell of the CSV as it was before it was made safe for spreadsheets."""
    if cell.startswith("'json:"):
        return str(json.loads(cell[6:]))
    return cell[1:] if cell.startswith("'") else cell


def records(file: TextIO) -> Iterator[Record]:
    """The records of an export in either format.

    Args:
        file: opened with ``newline=""``.

    Raises:
        Unreadable: it is neither, or a line cannot be read.
    """
    first = file.read(1)
    if first == "\ufeff":  # a program put a byte order mark there
        first = file.read(1)
    if first == "{":
        yield from _json_records(first, file)
    elif first:
        yield from _csv_records(first, file)
    else:
        raise Unreadable("the file is empty")


def _json_records(first: str, file: TextIO) -> Iterator[Record]:
    for number, line in enumerate(file, start=1):
        yield _json_record(first + line if number == 1 else line, number)


def _json_record(line: str, number: int) -> Record:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        raise Unreadable(f"line {number} is no JSON: it was cut or changed") from None
    if not isinstance(record, dict) or not isinstance(record.get("record"), str):
        raise Unreadable(f"line {number} is no record of an export")
    return record


def _csv_records(first: str, file: TextIO) -> Iterator[Record]:
    csv.field_size_limit(2**31 - 1)
    head = io.StringIO(first + file.readline(), newline="")
    columns = next(csv.reader(head), [])
    if tuple(columns) != COLUMNS:
        raise Unreadable(f"this is no export: neither JSON Lines nor the columns {','.join(COLUMNS)}")
    try:
        for number, cells in enumerate(csv.reader(file, strict=True), start=2):
            if cells:
                yield _csv_record(cells, number)
    except csv.Error as error:
        raise Unreadable(f"the CSV ends or breaks in the middle of a record: {error}") from None


def _csv_record(cells: list[str], number: int) -> Record:
    try:
        if len(cells) != len(COLUMNS):
            raise ValueError
        values = dict(zip(COLUMNS, (unescaped(cell) for cell in cells)))  # noqa: B905 - Python 3.9
        if values["record"] != "entry":
            record = json.loads(values["why"])
            if not isinstance(record, dict) or record.get("record") != values["record"]:
                raise ValueError
            return record
        return {**values, "number": int(values["number"])}
    except (ValueError, RecursionError):
        raise Unreadable(f"record {number} is none of an export: it was cut or changed") from None


def visible(text: str) -> str:
    """A text on one line in which no character moves the cursor: it came from outside."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def heads_of(lines: Iterable[str]) -> Heads:
    """Anchored heads by chain; lines that are none are passed over."""
    found: Heads = {}
    for line in lines:
        try:
            head = json.loads(line)
            known = {"number": int(head["number"]), "hash": str(head["hash"]), "at": str(head["at"])}
            found.setdefault(str(head["chain"]), []).append(known)
        except (ValueError, KeyError, TypeError, RecursionError):
            continue
    return found


class Verifier:
    """Takes the records of one export in their order, one chain at a time in memory.

    Attributes:
        problems: chain (or ``the file``) and its first broken link.
        notes: what is no fault but limits what was verified.
    """

    def __init__(self, heads: Heads | None = None) -> None:
        self.heads: Heads = heads or {}
        self.problems: list[tuple[str, str]] = []
        self.notes: list[str] = []
        self.entries = 0
        self.chains: list[str] = []
        self._digest = hashlib.sha256()
        self._header: Record = {}
        self._open: list[Record] = []  # entries of the chain that is being read
        self._ended = False
        self._day, self._day_hash = "", GENESIS
        self._removed: dict[str, list[tuple[int, str]]] = {}
        self._newer = 0

    def take(self, record: Record) -> None:
        """One record."""
        kind = record.get("record")
        if self._ended:
            self._fault("the file", "something was added after its end")
            return
        if not self._header:
            self._begin(record)
        elif kind == "entry":
            if self._open and self._open[0].get("chain") != record.get("chain"):
                self._close(None)
            self._open.append(record)
            self.entries += 1
        elif kind == "chain":
            self._close(record)
        elif kind == "damage":
            self._fault(str(record.get("chain")), str(record.get("problem")))
            self.chains.append(str(record.get("chain")))
        elif kind == "end":
            self._end(record)
        else:
            self._fault("the file", f"it holds a record of an unknown kind: {kind!r}")
        if kind != "end":
            self._digest.update(canonical(record))

    def finish(self) -> bool:
        """After the last record; whether everything is whole."""
        if self._open:
            self._close(None)
        if not self._header:
            self._fault("the file", "it has no records")
        elif not self._ended:
            self._fault("the file", "it was cut: its end is missing")
        self._look_for_missing_chains()
        if self._newer:
            self.notes.append(f"{self._newer} anchored heads are newer than this export")
        return not self.problems

    def _fault(self, chain: str, problem: str) -> None:
        if all(known != chain for known, _ in self.problems):
            self.problems.append((chain, problem))

    def _begin(self, record: Record) -> None:
        self._header = record
        if record.get("record") != "export" or record.get("format") != FORMAT:
            self._fault("the file", "its beginning is missing, or it is of a format that this verifier does not know")
            return
        if not self._whole:
            parts = {name: record.get(name) for name in ("chain", "since", "until") if record.get(name)}
            said = ", ".join(f"{name} {value}" for name, value in sorted(parts.items()))
            self.notes.append(f"the export is a part of the trail ({said}): what lies outside of it is not verified")

    @property
    def _whole(self) -> bool:
        return not any(self._header.get(name) for name in ("chain", "since", "until"))

    def _close(self, footer: Record | None) -> None:
        """The entries of a chain are all there."""
        entries, self._open = self._open, []
        chain = str(entries[0].get("chain")) if entries else str((footer or {}).get("chain"))
        if chain in self.chains:
            self._fault(chain, "its entries stand in two places of the file; their order was changed")
            return
        self.chains.append(chain)
        try:
            problem = self._problem(chain, entries, footer)
        except (KeyError, TypeError, ValueError):
            problem = "a field of an entry or of its end is missing or of the wrong kind"
        if problem:
            self._fault(chain, problem)
        if chain.startswith(SYSTEM) and entries:
            self._day, self._day_hash = chain, str(entries[-1].get("hash"))
            self._note_removals(entries)

    def _problem(self, chain: str, entries: list[Record], footer: Record | None) -> str:
        if footer is None:
            previous = self._day_hash if chain.startswith(SYSTEM) else GENESIS
            return _broken_link(chain, entries, 1, previous, "") or "its end is missing: entries may have been cut"
        if str(footer["chain"]) != chain:
            return f"its end is missing, that of chain {footer['chain']} stands in its place"
        first, last, before = int(footer["first"]), int(footer["last"]), str(footer["before"])
        after = self._day if chain.startswith(SYSTEM) and first == 1 else ""
        return (
            self._begins_wrong(chain, first, before, entries)
            or _broken_link(chain, entries, first, before, after)
            or _ends_wrong(entries, first, last, footer.get("remembered"), bool(self._header.get("until")))
            or self._against_heads(chain, entries, first)
            or str(footer.get("problem", ""))
        )

    def _begins_wrong(self, chain: str, first: int, before: str, entries: list[Record]) -> str:
        """Whether the chain may begin where it does."""
        if self._header.get("since") or (self._header.get("chain") and chain.startswith(SYSTEM)):
            return ""
        previous = self._day_hash if chain.startswith(SYSTEM) else GENESIS
        if first == 1:
            if before == previous:
                return ""
            if entries and entries[0]["previous"] != previous and chain.startswith(SYSTEM) and self._day:
                return f"entry 1 does not continue the last entry of {self._day}"
            return "it does not say rightly what entry 1 continues"
        gone = self._removed.get(chain, [])
        if (first - 1, before) in gone or any(last >= first for last, _ in gone) or self._header.get("chain"):
            return ""  # the second: a removal that died before its end
        missing = f"entries 1 to {first - 1} are missing"
        return f"{missing}, and the system chain does not say that retention removed them"

    def _note_removals(self, entries: list[Record]) -> None:
        for entry in entries:
            match = _REMOVAL.match(str(entry.get("why"))) if entry.get("what") == REMOVED else None
            if match is not None:
                self._removed.setdefault(match.group(1), []).append((int(match.group(2)), match.group(3)))

    def _against_heads(self, chain: str, entries: list[Record], first: int) -> str:
        last = first - 1 + len(entries)
        for head in sorted(self.heads.get(chain, []), key=lambda known: int(known["number"])):
            number = int(head["number"])
            if first <= number <= last and entries[number - first]["hash"] != head["hash"]:
                return f"entry {number} is not the one that was anchored at {head['at']}"
            if number > last and not self._header.get("until"):
                if str(head["at"]) > str(self._header.get("at")):
                    self._newer += 1
                    continue
                return f"entries {last + 1} to {number} were anchored at {head['at']} and are gone"
        return ""

    def _look_for_missing_chains(self) -> None:
        if not self._header or not self._whole:
            return
        for chain, heads in sorted(self.heads.items()):
            earlier = [head for head in heads if str(head["at"]) <= str(self._header.get("at"))]
            if chain not in self.chains and earlier and chain not in self._removed:
                self._fault(chain, f"it was anchored with {earlier[-1]['number']} entries and is not in the file")

    def _end(self, record: Record) -> None:
        if self._open:
            self._close(None)
        self._ended = True
        if (record.get("chains"), record.get("entries")) != (len(self.chains), self.entries):
            told = f"it was written with {record.get('chains')} chains and {record.get('entries')} entries"
            has = f"has {len(self.chains)} and {self.entries}"
            self._fault("the file", f"{told} and {has}: some were removed or added")
        elif record.get("digest") != self._digest.hexdigest():
            self._fault("the file", "it is not as it was written: a record was changed, moved or replaced")


def _broken_link(chain: str, entries: list[Record], first: int, before: str, after: str) -> str:
    previous = before
    for number, entry in enumerate(entries, start=first):
        if entry["number"] != number:
            if any(other["number"] == number for other in entries):
                return f"entry {entry['number']} stands where entry {number} belongs; their order was changed"
            return f"entry {number} is missing; entry {entry['number']} stands in its place"
        if entry["chain"] != chain:
            return f"entry {number} belongs to another chain"
        if entry["previous"] != previous:
            of = f"the last entry of {after}" if number == 1 and after else "the entry before it"
            return f"entry {number} does not continue {of}"
        if entry["hash"] != hash_of(entry):
            return f"entry {number} was changed after it was written"
        previous = str(entry["hash"])
    return ""


def _ends_wrong(entries: list[Record], first: int, last: int, remembered: Any, to_a_date: bool) -> str:
    there = first - 1 + len(entries)
    if there < last:
        return f"entries {there + 1} to {last} are missing at the end"
    if there > last:
        return f"entries {last + 1} to {there} were added after the export"
    if remembered is None or to_a_date:
        return ""
    number, expected = int(remembered["last"]), str(remembered["hash"])
    if number > there:
        return f"entries {there + 1} to {number} are missing at the end"
    if number >= first and entries[number - first]["hash"] != expected:
        return f"entry {number} is not the one the incident remembers"
    return ""


def main(arguments: list[str] | None = None) -> int:
    """Verify the file that is named."""
    parser = argparse.ArgumentParser(description="Verify an exported ARGUS audit trail.")
    parser.add_argument("file", help="the export, JSON Lines or CSV; - for standard input")
    parser.add_argument("--heads", help="the anchored heads (heads.jsonl): only they show a forgery that fits itself")
    chosen = parser.parse_args(arguments)
    try:
        heads: Heads = {}
        if chosen.heads:
            with open(chosen.heads, encoding="utf-8", errors="replace") as lines:
                heads = heads_of(lines)
        verifier = Verifier(heads)
        if chosen.file == "-":
            _take_all(verifier, io.TextIOWrapper(sys.stdin.buffer, encoding="utf-8", newline=""))
        else:
            with open(chosen.file, encoding="utf-8", newline="") as file:
                _take_all(verifier, file)
    except OSError as error:
        print(f"{error.filename} cannot be read: {error.strerror}", file=sys.stderr)
        return 2
    whole = verifier.finish()
    for chain, problem in verifier.problems:
        print(f"BROKEN  {visible(chain)}: {visible(problem)}")
    for note in verifier.notes:
        print(f"note: {visible(note)}")
    if not chosen.heads:
        print("note: without --heads a forgery that fits itself, or a chain taken out with its end, would not show")
    verdict = "whole" if whole else f"{len(verifier.problems)} broken"
    print(f"{len(verifier.chains)} chains, {verifier.entries} entries: {verdict}")
    return 0 if whole else 1


def _take_all(verifier: Verifier, file: TextIO) -> None:
    try:
        for record in records(file):
            verifier.take(record)
    except (Unreadable, UnicodeDecodeError) as error:
        text = "it is no UTF-8" if isinstance(error, UnicodeDecodeError) else str(error)
        verifier._fault("the file", text)


if __name__ == "__main__":
    sys.exit(main())
