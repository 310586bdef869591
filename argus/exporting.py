"""The command `audit export`: the audit trail as JSON Lines or CSV, for people who do not have ARGUS.

In: a store. Out: records that `argus/verify_export.py`, copied beside them, verifies with nothing but Python.
"""

from __future__ import annotations

import contextlib
import csv
import hashlib
import json
import sys
from argparse import Namespace
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TextIO

from argus.opening import opened
from argus.tables import Paper
from argus.target import Trouble
from argus.verify_export import COLUMNS, FORMAT, canonical
from argus.walking import GONE, UNREADABLE, Walked, walk
from shared.model.audit import AuditEntry
from shared.model.errors import ArgusError
from shared.ports.store import Store

# What a spreadsheet may take for a formula, cheatsheetseries.owasp.org "CSV Injection"; full-width forms as well.
_DANGEROUS = tuple("=+-@\t\r\n'＝＋－＠")
PROGRESS_EVERY = 2000
Record = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Part:
    """Which part of the trail: a chain by the beginning of its name, and times; empty and ``None`` mean all."""

    chain: str = ""
    since: datetime | None = None
    until: datetime | None = None

    def of(self, entries: Sequence[AuditEntry]) -> Sequence[AuditEntry]:
        """The entries of one chain that fall into it, without gaps, whatever the clocks of several hosts said."""
        inside = [i for i, entry in enumerate(entries) if self._holds(entry.at)]
        return entries[inside[0] : inside[-1] + 1] if inside else ()

    def _holds(self, at: datetime) -> bool:
        return (self.since is None or at >= self.since) and (self.until is None or at < self.until)


def export(args: Namespace, paper: Paper, environ: Mapping[str, str], start: Path) -> int:
    """Write the trail, or a part of it; 1 when a chain could not be read."""
    part = Part(args.incident or args.id, moment(args.since), moment(args.until))
    found = opened(args, environ, start)
    counts = {"chain": 0, "entry": 0, "damage": 0}
    show = sys.stderr.isatty()
    try:
        with _target(args.out, paper) as (file, said):
            write = (csv_writer if args.format == "csv" else json_writer)(file)
            for record in records(found.store, part, datetime.now(UTC)):
                write(record)
                kind = str(record["record"])
                counts[kind] = counts.get(kind, 0) + 1
                if show and kind == "entry" and counts[kind] % PROGRESS_EVERY == 0:
                    print(f"\r{counts['chain']} chains, {counts[kind]} entries", end="", file=sys.stderr)
    except OSError as error:
        raise Trouble(f"{args.out} cannot be written: {error.strerror}") from error
    except ArgusError as error:
        raise Trouble(f"the store cannot be read: {error}") from error
    if part.chain and not counts["chain"] + counts["damage"]:
        raise Trouble(f"no chain begins with {part.chain}", "list incidents with `python -m argus incidents --all`")
    end = "\r" if show else ""
    print(f"{end}{counts['chain']} chains, {counts['entry']} entries written{said}", file=sys.stderr)
    if counts["damage"]:
        print(f"{counts['damage']} chains cannot be read; see `python -m argus audit verify`", file=sys.stderr)
    return 1 if counts["damage"] else 0


def records(store: Store, part: Part, now: datetime) -> Iterator[Record]:
    """Every record of an export, in order; one chain at a time is in memory."""
    digest = hashlib.sha256()
    chains = entries = 0
    for record in _before_the_end(store, part, now):
        digest.update(canonical(record))
        chains += record["record"] in ("chain", "damage")
        entries += record["record"] == "entry"
        yield record
    yield {"record": "end", "chains": chains, "entries": entries, "digest": digest.hexdigest()}


def _before_the_end(store: Store, part: Part, now: datetime) -> Iterator[Record]:
    yield {
        "record": "export",
        "format": FORMAT,
        "what": "ARGUS audit trail",
        "at": now.isoformat(),
        "chain": part.chain,
        "since": part.since.isoformat() if part.since else "",
        "until": part.until.isoformat() if part.until else "",
    }
    for walked, found in walk(store, {}):
        if not walked.chain.startswith(part.chain):
            continue
        if walked.problem == UNREADABLE:
            yield {"record": "damage", "chain": walked.chain, "problem": UNREADABLE}
            continue
        chosen = part.of(found)
        if not chosen and (found or part.since or part.until):
            continue
        yield from (_entry(entry) for entry in chosen)
        yield _footer(walked, found, chosen)


def _entry(entry: AuditEntry) -> Record:
    return {
        "record": "entry",
        "chain": entry.chain,
        "number": entry.number,
        "at": entry.at.isoformat(),
        "agent": str(entry.agent),
        "micro_agent": str(entry.micro_agent),
        "person": entry.person,
        "what": entry.what,
        "why": entry.why,
        "content_hash": entry.content_hash,
        "previous": entry.previous,
        "hash": entry.hash,
    }


def _footer(walked: Walked, found: Sequence[AuditEntry], chosen: Sequence[AuditEntry]) -> Record:
    """What says that a chain is complete: its bounds, and what its incident remembers of it."""
    skipped = found.index(chosen[0]) if chosen else 0
    first = walked.first + skipped
    record: Record = {
        "record": "chain",
        "chain": walked.chain,
        "first": first,
        "last": first - 1 + len(chosen),
        "before": found[skipped - 1].hash if skipped else walked.before,
    }
    if walked.remembered is not None:
        record["remembered"] = {"last": walked.remembered[0], "hash": walked.remembered[1]}
    if walked.problem == GONE:
        record["problem"] = GONE
    return record


def escaped(cell: str) -> str:
    """A cell that no spreadsheet takes for a formula; `verify_export.unescaped` undoes it."""
    if "\0" in cell:  # no CSV reader takes it before Python 3.11
        return "'json:" + json.dumps(cell)
    return f"'{cell}" if cell.startswith(_DANGEROUS) else cell


def json_writer(file: TextIO) -> Callable[[Record], object]:
    """Writes one JSON object a line."""
    return lambda record: file.write(json.dumps(record, ensure_ascii=False) + "\n")


def csv_writer(file: TextIO) -> Callable[[Record], object]:
    """Writes a head line and one CSV record each; what is no entry holds its JSON in the column ``why``."""
    writer = csv.writer(file, lineterminator="\r\n")
    writer.writerow(COLUMNS)

    def write(record: Record) -> None:
        if record["record"] != "entry":
            shown = {"record": record["record"], "chain": record.get("chain", ""), "why": json.dumps(record)}
        else:
            shown = {name: str(record[name]) for name in COLUMNS}
        writer.writerow([escaped(str(shown.get(name, ""))) for name in COLUMNS])

    return write


def moment(text: str) -> datetime | None:
    """A time of the command line: a date or an ISO time, UTC unless it says otherwise.

    Raises:
        Trouble: it is neither.
    """
    if not text:
        return None
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise Trouble(f"{text!r} is no time", "write 2026-11-20 or 2026-11-20T12:30:00+01:00") from None
    return at if at.tzinfo else at.replace(tzinfo=UTC)


@contextlib.contextmanager
def _target(name: str, paper: Paper) -> Iterator[tuple[TextIO, str]]:
    """Standard output, or a file that is there only when it is whole."""
    if name == "-":
        yield paper.out, ""
        return
    path = Path(name)
    partial = path.with_name(path.name + ".partial")
    try:
        with partial.open("w", encoding="utf-8", newline="") as file:
            yield file, f" to {name}"
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
