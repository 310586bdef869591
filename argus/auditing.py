"""The command `audit`: walk the hash chains in the store itself, past every page and interface.

In: a store and the anchored heads. Out: the first broken link of each chain, or that all are whole (rule H12).
"""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path

from argus.opening import Opened, opened
from argus.tables import Paper
from argus.target import Trouble
from argus.walking import GRACE, History, Walked, walk
from shared.model.audit import AuditEntry
from shared.model.errors import ArgusError
from shared.records import anchoring


def verify(args: Namespace, paper: Paper, environ: Mapping[str, str], start: Path) -> int:
    """Verify all chains, or the one that is named; 1 when a link is broken, or the anchor itself."""
    found = opened(args, environ, start)
    history = _history(found)
    walked = [item for item, _ in _walk(found, history) if item.chain.startswith(args.id or "")]
    if args.id and not walked:
        raise Trouble(f"no chain begins with {args.id}", "list incidents with `python -m argus incidents --all`")
    walked.sort(key=lambda item: item.chain)
    broken = [item for item in walked if item.problem]
    for item in broken:
        paper.line(f"BROKEN  {item.chain}: {item.problem}", "red")
    anchor = _anchor_problem(found)
    if anchor:
        paper.line(f"BROKEN  the anchored heads: {anchor}", "red")
    _tell_what_heads_do_not_show(paper, walked, history)
    entries = sum(item.entries for item in walked)
    style = "red" if broken or anchor else "green"
    paper.line(f"{len(walked)} chains, {entries} entries, {len(broken)} broken", style)
    return 1 if broken or anchor else 0


def show(args: Namespace, paper: Paper, environ: Mapping[str, str], start: Path) -> int:
    """Show the entries of one chain; 1 when a link is broken."""
    found = opened(args, environ, start)
    chosen: list[tuple[Walked, tuple[AuditEntry, ...]]] = []
    for item, entries in _walk(found, _history(found)):
        if item.chain.startswith(args.id):
            chosen.append((item, entries if not chosen else ()))
    if len(chosen) != 1:
        raise Trouble(f"{len(chosen)} chains begin with {args.id}", "give the whole id")
    ((item, entries),) = chosen
    if not item.entries:  # nothing to show, or nothing that can be read
        paper.line(f"BROKEN: {item.problem}" if item.problem else "no entries", "red" if item.problem else "")
        return 1 if item.problem else 0
    paper.table(
        ("NO", "AT (UTC)", "WHO", "WHAT", "HASH", "WHY"),
        [(str(e.number), f"{e.at:%Y-%m-%d %H:%M:%S}", _who(e), e.what, e.hash[:12], e.why) for e in entries],
    )
    paper.line(f"BROKEN: {item.problem}" if item.problem else "whole", "red" if item.problem else "green")
    return 1 if item.problem else 0


def _walk(found: Opened, history: History) -> Iterator[tuple[Walked, tuple[AuditEntry, ...]]]:
    try:
        yield from walk(found.store, history)
    except ArgusError as error:
        raise Trouble(f"the store cannot be read: {error}") from error


def _history(found: Opened) -> History:
    try:
        return found.anchor.history() if found.anchor is not None else {}
    except ArgusError as error:
        raise Trouble(str(error)) from error


def _anchor_problem(found: Opened) -> str:
    return "" if found.anchor is None else anchoring.problem_of(found.store, found.anchor)


def _tell_what_heads_do_not_show(paper: Paper, walked: list[Walked], history: History) -> None:
    if walked and not history:
        paper.line("no head is anchored yet, or heads.jsonl is gone: a chain cut at its end would not show", "yellow")
        return
    now = datetime.now(UTC)
    late = [item.unvouched_since for item in walked if item.unvouched_since and now - item.unvouched_since > GRACE]
    if late:
        oldest = f"{min(late):%Y-%m-%d %H:%M:%S} UTC"
        count = "1 chain ends" if len(late) == 1 else f"{len(late)} chains end"
        paper.line(
            f"{count} with entries that no anchored head vouches for, the oldest of {oldest}: hosts did not run since, "
            "or the heads were cut",
            "yellow",
        )


def _who(entry: AuditEntry) -> str:
    return f"{entry.person or '-'} {entry.agent}/{entry.micro_agent}"
