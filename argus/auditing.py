"""The command `audit`: walk the hash chains in the store itself, past every page and interface.

In: a store and the anchored heads. Out: the first broken link of each chain, or that all are whole (rule H12).
"""

from __future__ import annotations

import json
from argparse import Namespace
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from argus.tables import Paper
from argus.target import Trouble, folder_of
from shared.adapters.stores.anchor_file import AnchorFile
from shared.config.load import ConfigError
from shared.model.audit import GENESIS, AuditEntry
from shared.model.errors import ArgusError, PermanentError
from shared.ports.anchor import Head
from shared.ports.store import Store, Table
from shared.records import audit_chain, incidents

SYSTEM = "system-"


@dataclass(frozen=True, slots=True)
class Walked:
    """One chain; ``problem`` is empty when it is whole."""

    chain: str
    entries: int
    problem: str


def walk(store: Store, heads: Mapping[str, Head]) -> list[Walked]:
    """Verify every chain of a store.

    Args:
        heads: anchored heads by chain; they show a cut tail and a chain that is gone.
    """
    known = store.partitions(Table.INCIDENTS)
    found, before = [], GENESIS
    for chain in sorted({*known, *heads}):
        try:
            incident = incidents.load(store, chain)
            entries = incidents.audit(store, chain)
        except (PermanentError, ValueError):  # rows that nothing of ours has written
            found.append(Walked(chain, 0, "a row of it cannot be read"))
            continue
        if not entries and incident is None and chain not in heads:
            continue  # rows of an incident that is being created
        if chain.startswith(SYSTEM):
            problem = audit_chain.verify(entries, before)
            before = entries[-1].hash if entries else before
        elif incident is None:
            problem = audit_chain.verify(entries) or "the incident of this chain is gone"
        else:
            held = incident.incident
            problem = audit_chain.verify_incident(entries, chain, held.entries, held.audit_head)
        found.append(Walked(chain, len(entries), problem or _against(entries, heads.get(chain))))
    return found


def _against(entries: tuple[AuditEntry, ...], head: Head | None) -> str:
    if head is None:
        return ""
    problem = audit_chain.verify_head(entries, head.number, head.hash)
    return f"{problem} (compared with the anchored head of {head.at:%Y-%m-%d %H:%M:%S} UTC)" if problem else ""


def verify(args: Namespace, paper: Paper, environ: Mapping[str, str], start: Path) -> int:
    """Verify all chains, or the one that is named; 1 when a link is broken."""
    store, heads = _opened(args, environ, start)
    walked = [item for item in walk(store, heads) if item.chain.startswith(args.id or "")]
    if args.id and not walked:
        raise Trouble(f"no chain begins with {args.id}", "list incidents with `python -m argus incidents --all`")
    broken = [item for item in walked if item.problem]
    for item in broken:
        paper.line(f"BROKEN  {item.chain}: {item.problem}", "red")
    if walked and not heads:
        paper.line("no head is anchored yet, or heads.jsonl is gone: a chain cut at its end would not show", "yellow")
    entries = sum(item.entries for item in walked)
    paper.line(f"{len(walked)} chains, {entries} entries, {len(broken)} broken", "red" if broken else "green")
    return 1 if broken else 0


def show(args: Namespace, paper: Paper, environ: Mapping[str, str], start: Path) -> int:
    """Show the entries of one chain; 1 when a link is broken."""
    store, heads = _opened(args, environ, start)
    chains = [item for item in walk(store, heads) if item.chain.startswith(args.id)]
    if len(chains) != 1:
        raise Trouble(f"{len(chains)} chains begin with {args.id}", "give the whole id")
    (item,) = chains
    if not item.entries:  # nothing to show, or nothing that can be read
        paper.line(f"BROKEN: {item.problem}", "red")
        return 1
    paper.table(
        ("NO", "AT (UTC)", "WHO", "WHAT", "HASH", "WHY"),
        [
            (str(e.number), f"{e.at:%Y-%m-%d %H:%M:%S}", _who(e), e.what, e.hash[:12], e.why)
            for e in incidents.audit(store, item.chain)
        ],
    )
    paper.line(f"BROKEN: {item.problem}" if item.problem else "whole", "red" if item.problem else "green")
    return 1 if item.problem else 0


def _who(entry: AuditEntry) -> str:
    return f"{entry.person or '-'} {entry.agent}/{entry.micro_agent}"


def _opened(args: Namespace, environ: Mapping[str, str], start: Path) -> tuple[Store, Mapping[str, Head]]:
    from shared import wiring  # the only command that opens the store itself

    folder = folder_of(environ, start)
    environ = {**_settings(folder), **environ}
    file = environ.get("ARGUS_STORE", "")
    if file and not Path(file).is_file():  # opening it would make an empty one, in which nothing is broken
        raise Trouble(f"there is no store at {file}", "it was moved or removed; `make up` begins a new one")
    config = args.config or environ.get("ARGUS_CONFIG")
    try:
        store = wiring.open_store(Path(config) if config else None, environ)
    except ConfigError as exc:
        raise Trouble(f"the configuration cannot be used:\n{exc}", "name another one with --config") from exc
    except ArgusError as exc:
        raise Trouble(f"the store cannot be opened: {exc}") from exc
    heads = environ.get("ARGUS_HEADS") or (str(folder / "heads.jsonl") if folder else "")
    return store, AnchorFile(Path(heads)).latest() if heads else {}


def _settings(folder: Path | None) -> dict[str, str]:
    """App settings of a local stack, so that the same store is opened that its hosts use."""
    file = folder / "settings.json" if folder is not None else None
    if file is None or not file.is_file():
        return {}
    try:
        values = json.loads(file.read_text(encoding="utf-8"))["Values"]
    except (OSError, ValueError, KeyError, TypeError) as exc:
        raise Trouble(
            f"{file} cannot be read", "start the stack again with `make up`; it writes the file anew"
        ) from exc
    return {str(name): str(value) for name, value in dict(values).items()}
