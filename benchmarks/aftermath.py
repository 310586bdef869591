"""What must hold on any stack once everything is calm; shared by benchmarks and tests that play storms.

In: a stack's statistics, store, tickets and logs. Out: what is wrong, as sentences.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from local.demo.operator import get_json
from shared.model.event import ClosingRequested
from shared.ports.store import Store
from shared.records import incidents, quarantine

SDK = "azure."  # stumbles over links that broke under it; the host says what became of the message
AWAY = "shared.model.errors.TransientError: "  # a bus or store that is away is what a kill looks like from outside


def queue_problems(stats: str) -> Iterator[str]:
    """Messages that nobody has worked off.

    Args:
        stats: address of the broker's statistics.
    """
    for queue in get_json(stats + "/queues"):
        for kind in ("active", "locked", "dead_letter"):
            if queue.get(kind) and queue["name"] != "quarantine":
                yield f"queue {queue['name']}: {queue[kind]} {kind}"
        if queue["name"] == "quarantine" and any(queue.get(kind) for kind in ("active", "locked", "scheduled")):
            yield "something is in quarantine"


def quarantine_problems(store: Store) -> Iterator[str]:
    """What was given up, with its reason."""
    for entry in quarantine.listed(store, datetime.now(UTC)):
        yield f"quarantined from {entry.origin}: {entry.message}"


def left_undone(store: Store, incident_id: str, of: str, settled: bool = True) -> Iterator[str]:
    """What an incident still has to send, to see worked off, or to release.

    Args:
        settled: its group must be free, too; that takes 20 s after its end.
    """
    waiting = incidents.outbox(store, incident_id)
    left = [event.type for event, _, _ in waiting if settled or not isinstance(event.data, ClosingRequested)]
    if left:
        yield f"outbox of {of}: {', '.join(left)}"
    if incidents.held(store, incident_id):
        yield f"something is held for {of}"


def repeated_notes(ticket: Mapping[str, Any]) -> Iterator[str]:
    """Notes that stand in a ticket more than once."""
    for text, times in Counter(entry["value"] for entry in ticket.get("journal", [])).items():
        if times > 1:
            yield f"ticket {ticket['number']} has the note {text[:60]!r} {times} times"


def _lines_of(line: str) -> list[str]:
    """A line of a log; a JSON line with an exception as the lines that the exception has."""
    try:
        entry = json.loads(line) if line.startswith("{") else {}
    except ValueError:
        entry = {}
    if str(entry.get("logger", "")).startswith(SDK):
        return []
    return str(entry.get("exception", line)).splitlines() or [line]


def tracebacks(log: Path) -> list[str]:
    """Every traceback in a log by its last two lines, but for those that a kill explains."""
    lines: list[str] = []
    for line in log.read_text(encoding="utf-8", errors="replace").splitlines():
        lines += _lines_of(line)
    found = []
    for start, line in enumerate(lines):
        if "Traceback (most recent call last)" in line:
            end = next((i for i in range(start + 1, len(lines)) if not lines[i].startswith((" ", "\t"))), start)
            if not lines[end].startswith(AWAY):
                found.append(" ".join(part.strip() for part in (line, lines[end - 1], lines[end])))
    return found
