"""The commands `backup` and `restore`: a whole store in one file, and back into a store of either kind.

In: a store, or a file. Out: a gzip file of JSON lines whose first line counts and seals the others, or the rows of it.
"""

from __future__ import annotations

import gzip
import os
import shutil
import sys
import zlib
from argparse import Namespace
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO, cast

from argus.opening import opened, person
from argus.tables import Paper
from argus.target import Trouble
from shared.model.errors import ArgusError
from shared.ports.store import Store
from shared.records import backup as rows_of
from shared.records import doctor, journal, reviving
from shared.records.versioned import Versioned, bare

PROGRESS_EVERY = 5000
KEPT_OUT = """what is in it: every row of the store, in the same form for SQLite and Table Storage, so that a backup
of one restores into the other. Hosts may run while it is written: claims of groups are read before
incidents, and an incident is read again until nobody wrote to it meanwhile.

what is not in it, and what that means:
  queues            An event that a hop committed is a row until it was sent, and the sweep sends it again. Lost with
                    the queues are signals that were accepted and not yet judged (a source that repeats its firing
                    says it again) and what had waited in a queue for more than a minute: for that, restore asks every
                    open incident to look again, unless --queues-kept says that the queues are still there.
  Durable history   A wait is started again from the stored request and its votes.
  anchored heads    Keep heads.jsonl where it is; `audit verify` then names the entries that are newer than the backup.
  knowledge, logs   Git and the wiki keep what was published."""


def write(args: Namespace, paper: Paper, environ: Mapping[str, str], start: Path) -> int:
    """Write a backup; it is there under its name only when it is whole."""
    target = Path(args.file)
    if target.is_dir():
        raise Trouble(f"{target} is a folder", "name a file, such as argus.jsonl.gz")
    found = opened(args, environ, start)
    seal, now = rows_of.Seal(), datetime.now(UTC)
    partial, rows = (target.with_name(f"{target.name}.{kind}") for kind in ("partial", "rows"))
    try:
        with _private(rows) as file, gzip.GzipFile("", "wb", 6, file, 0) as packed:
            for count, line in enumerate(rows_of.lines(bare(found.store), seal), start=1):
                packed.write(line)
                _progress(count, "rows read")
        header = seal.header(now)
        with _private(partial) as file, rows.open("rb") as body:
            file.write(gzip.compress(rows_of.header_line(header), mtime=0))  # members of a gzip file follow each other
            shutil.copyfileobj(body, file)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(target)
    except OSError as error:
        raise Trouble(f"{error.filename or target} cannot be written: {error.strerror}") from error
    except ArgusError as error:
        raise Trouble(f"the backup was given up: {error}") from error
    finally:
        for left in (partial, rows):
            left.unlink(missing_ok=True)
    _clear()
    _table(paper, header.tables)
    paper.line(f"{sum(header.tables.values())} rows in {target}, {target.stat().st_size} bytes", "green")
    return 0


def read(args: Namespace, paper: Paper, environ: Mapping[str, str], start: Path) -> int:
    """Restore a backup; 1 when something differs from what is in it."""
    source = Path(args.file)
    header = _checked(source)
    found = opened(args, environ, start, new=True)
    store = bare(found.store)
    try:
        held = rows_of.emptiness(store)
        if held and not args.into_existing:
            raise Trouble(
                f"the store is not empty: it has {held}",
                "restore into a new one, or complete this one with --into-existing: see --help",
            )
        done = _restore(store, source, bool(held))
        problems = _after(found.store, store, header, done, bool(held), args)
    except ArgusError as error:
        raise Trouble(f"the restore was given up: {error}", "do it again with --into-existing") from error
    _clear()
    _table(paper, done.written)
    for problem in problems:
        paper.line(problem, "red")
    said = f"{sum(done.written.values())} rows restored from {header.at:%Y-%m-%d %H:%M:%S} UTC"
    paper.line(said + (f", {done.present} were there" if done.present else ""), "red" if problems else "green")
    paper.line("next: python -m argus audit verify; then start the hosts, whose sweep goes on with what was open")
    return 1 if problems else 0


def _restore(store: Store, source: Path, existing: bool) -> rows_of.Restored:
    done = rows_of.Restored()
    with _rows(source) as (_, body):
        for done in rows_of.restore(store, body, existing):
            _progress(sum(done.written.values()), "rows written", every=1)
    return done


def _after(
    shown: Store, store: Store, header: rows_of.Header, done: rows_of.Restored, existing: bool, args: Namespace
) -> list[str]:
    """Compare, note it in the audit trail, and see to it that the sweep finds what is left to do."""
    problems = [f"{name} holds something else and was left alone" for name in done.differing]
    if not existing:
        there, wanted = rows_of.counts(store), {name: count for name, count in header.tables.items() if count}
        if there != wanted:
            problems.append(f"the store has {sum(there.values())} rows, the backup {sum(wanted.values())}")
    now, versioned = datetime.now(UTC), shown if isinstance(shown, Versioned) else Versioned(shown)
    if done.written:
        told = f"{sum(done.written.values())} rows of a backup of {header.at.isoformat(timespec='seconds')}"
        journal.system(versioned, "restored from a backup", told, person(args), header.sha256, now)
    if not args.queues_kept:
        reviving.look_again(versioned, header.sha256, now)
    for forgotten in doctor.forgotten(versioned):
        doctor.repair(versioned, forgotten, now)
    return problems


def _checked(source: Path) -> rows_of.Header:
    """Read the whole file before anything is written."""
    with _rows(source) as (header, body):
        rows_of.check(header, _counted(body))
    _clear()
    return header


def _counted(body: Iterator[bytes]) -> Iterator[bytes]:
    for count, line in enumerate(body, start=1):
        _progress(count, "rows checked")
        yield line


@contextmanager
def _rows(source: Path) -> Iterator[tuple[rows_of.Header, Iterator[bytes]]]:
    try:
        with gzip.open(source, "rb") as packed:
            file = cast(BinaryIO, packed)
            yield rows_of.read_header(file.readline(1_000_000)), iter(file)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise Trouble(f"{source} is no backup, or was cut: {error}") from error
    except OSError as error:
        raise Trouble(f"{source} cannot be read: {error.strerror}") from error
    except ArgusError as error:
        raise Trouble(f"{source}: {error}") from error


@contextmanager
def _private(path: Path) -> Iterator[BinaryIO]:
    """A new file that only its owner can read: bodies of alerts are in it."""
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        yield file


def _table(paper: Paper, counts: Mapping[str, int]) -> None:
    paper.table(("TABLE", "ROWS"), [(name, str(count)) for name, count in counts.items() if count])


def _progress(count: int, what: str, every: int = PROGRESS_EVERY) -> None:
    if count % every == 0 and sys.stderr.isatty():
        print(f"\r{count} {what}", end="", file=sys.stderr)


def _clear() -> None:
    if sys.stderr.isatty():
        print("\r\x1b[K", end="", file=sys.stderr)
