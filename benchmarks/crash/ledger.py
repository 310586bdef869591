"""What became of every performance, read from the store and from what the far sides received.

In: a town at rest. Out: one outcome per performance in words that two runs have in common, and far sides' records.
"""

from __future__ import annotations

import json
import re
import sqlite3
from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

from benchmarks.crash.scripts import Performance, Play
from benchmarks.crash.stage import incident_id_of, key_of
from benchmarks.crash.town import Town
from local.demo.operator import get_json
from shared.ports.store import Store, Table
from shared.records import approvals, groups, incidents
from shared.records.rows import text

MOST = 10_000  # entries the sandbox gives out
REPEAT = " · possible repeat"
_INCIDENT = re.compile(r"/incidents/([0-9a-f-]{36})")
_MARKER = re.compile(r"\[argus:([A-Za-z0-9._:-]+)\]")
_CHANGING = re.compile(r"\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b|\d+")


@dataclass(frozen=True, slots=True)
class Card:
    """A card that Teams took: what it says, and whether it says that it may be a repeat."""

    kind: str
    title: str
    whole: str
    repeat: bool


@dataclass(frozen=True, slots=True)
class FarSides:
    """What everybody outside has received.

    Attributes:
        cards: by incident id, in order of arrival.
        tickets: by correlation id.
        pages: how many Confluence pages there are of each document, by its id.
        versions: how often the page of a document was written.
        depot: how often each key was carried out, depot and shop together.
        waits: status of each durable instance.
    """

    cards: Mapping[str, list[Card]]
    tickets: Mapping[str, list[Mapping[str, Any]]]
    pages: Counter[str]
    versions: Mapping[str, int]
    depot: Counter[str]
    waits: Mapping[str, str]


@dataclass(slots=True)
class Outcome:
    """What became of one performance; everything in it is the same in every run of its script.

    Attributes:
        facts: single values by name, such as the state.
        notes: what the ticket was told, without numbers and names.
        cards: what people were told, likewise; counted with repeats.
        marked: how many cards say that they may be a repeat.
    """

    facts: dict[str, object] = field(default_factory=dict)
    notes: Counter[str] = field(default_factory=Counter)
    cards: Counter[str] = field(default_factory=Counter)
    marked: Counter[str] = field(default_factory=Counter)


def far_sides(town: Town) -> FarSides:
    """Ask everybody."""
    sandbox = town.url("sandbox")
    received = {
        system: get_json(f"{sandbox}/api/received/{system}?limit={MOST}")
        for system in ("teams", "servicenow", "confluence")
    }
    cards: dict[str, list[Card]] = {}
    for entry in reversed(received["teams"]["received"]):
        if entry["verdict"] == "accepted":
            found = _INCIDENT.search(json.dumps(entry["body"]))
            cards.setdefault(found[1] if found else "", []).append(_card(entry["body"]))
    tickets: dict[str, list[Mapping[str, Any]]] = {}
    for ticket in received["servicenow"]["tickets"]:
        tickets.setdefault(ticket["correlation_id"], []).append(ticket)
    pages = [(_document(page), int(page["version"]["number"])) for page in received["confluence"]["pages"]]
    return FarSides(
        cards=cards,
        tickets=tickets,
        pages=Counter(document for document, _ in pages),
        versions=dict(pages),
        depot=_carried_out(town),
        waits=waits(town),
    )


def outcome(performance: Performance, store: Store, far: FarSides) -> Outcome:
    """What became of a performance."""
    found = Outcome()
    identity = incident_id_of(performance)
    loaded = incidents.load(store, identity)
    tickets = far.tickets.get(identity, [])
    found.facts["incident"] = loaded is not None
    found.facts["tickets"] = len(tickets)
    if loaded is None:
        return found
    incident, loop = loaded.incident, performance.script.play is Play.LOOP
    group = groups.state_of(store, key_of(performance.service))
    newest = group is not None and group.generation == performance.generation
    found.facts |= {
        "state": str(incident.state),
        "members": sorted((alert.name, str(alert.status)) for alert in incident.alerts if not loop or not alert.rule),
        "verdict": str(incident.approval.verdict) if incident.approval else "",
        "actions": [(result.action, str(result.state)) for result in incident.actions],
        "executions": [far.depot[key] for key in _execution_keys(store, incident.approval.id)]
        if incident.approval
        else [],
        "documents": sorted({(str(document.kind), document.destination) for document in incident.documents}),
        "pages": [far.pages[document.id] for document in incident.documents if document.destination == "confluence"],
        "ticket": [str(ticket["state"]) for ticket in tickets],
        "group": str(group.state) if group is not None and newest else "closed",
        "wait": far.waits.get(incident.approval.id, "none") if incident.approval else "",
    }
    if loop:
        return found  # how often the shop was measured, and what its rules had to say meanwhile, differs by seconds
    found.facts["severity"] = str(incident.severity)
    found.notes = Counter(_general(note, performance) for ticket in tickets for note in _notes(ticket))
    for card in far.cards.get(identity, []):
        said = _general(f"{card.kind}: {card.title}", performance)
        found.cards[said] += 1
        found.marked[said] += card.repeat
    return found


def markers(ticket: Mapping[str, Any]) -> Counter[str]:
    """How often each note stands in a ticket, by its marker."""
    return Counter(match for entry in ticket.get("journal", []) for match in _MARKER.findall(entry["value"]))


def _notes(ticket: Mapping[str, Any]) -> Iterable[str]:
    """What each note is about: its first sentence, as results are worded by how they were found out."""
    for entry in ticket.get("journal", []):
        yield entry["value"].split(". ")[0].partition("\n")[0]


def _general(said: str, performance: Performance) -> str:
    return _CHANGING.sub("#", said.replace(performance.service, "(service)"))


def _card(body: Mapping[str, Any]) -> Card:
    content = body["attachments"][0]["content"]
    headline, title = (item["text"] for item in content["body"][0]["items"][:2])
    whole = json.dumps(content, sort_keys=True, ensure_ascii=False)
    kind = headline.replace(REPEAT, "")
    return Card(kind, title, whole.replace(REPEAT, ""), REPEAT in headline)


def _document(page: Mapping[str, Any]) -> str:
    """Id of the document a page is, from the property that is written last; else its title."""
    kept = page["properties"].get("argus.source")
    return str(kept["document"]) if kept else f"(unfinished) {page['title']}"


def _execution_keys(store: Store, approval: str) -> list[str]:
    row = store.get(Table.APPROVALS, approval, approvals.EXECUTION)
    return [] if row is None else [text(row.values, "event")]


def _carried_out(town: Town) -> Counter[str]:
    """What depot and shop have done, from their own logs; every carried-out request is a line there."""
    keys: Counter[str] = Counter()
    for place in ("depot", "shop"):
        lines = (town.places.data / place / "deploys.jsonl").read_text(encoding="utf-8").splitlines()
        keys.update(key for line in lines if (key := json.loads(line)["idempotency_key"]))
    return keys


def waits(town: Town) -> Mapping[str, str]:
    """Status of every durable instance, by approval."""
    hub = town.places.data / "durable.db"
    with closing(sqlite3.connect(f"{hub.resolve().as_uri()}?mode=ro", uri=True)) as db:
        return {str(name): str(status) for name, status in db.execute("SELECT id, status FROM instances")}
