"""Evidence rows and draft texts of an incident, kept under the hash of their content.

In: evidence and texts. Out: rows `evidence|<hash>` that may be written any number of times before the transaction.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass, replace

from shared.model import codec
from shared.model.diagnosis import Evidence
from shared.ports.store import Store, Table, Upsert
from shared.records.rows import pack, unpack

PREFIX = "evidence|"
ID_DIGITS = 16
_KIND = "kind"
_EVIDENCE, _TEXT = "evidence", "text"


@dataclass(frozen=True, slots=True)
class Text:
    """A written text, such as a draft."""

    text: str


def identified(evidence: Evidence) -> Evidence:
    """The evidence with finite numbers only, under the id of that content."""
    points = tuple(point for point in evidence.points if math.isfinite(point.value))
    if evidence.id and len(points) == len(evidence.points):
        return evidence
    bare = replace(evidence, id="", points=points)
    return replace(bare, id=_digest(codec.canonical(bare)))


def put(store: Store, incident_id: str, evidence: Evidence) -> str:
    """Keep one piece of evidence; keeping it again changes nothing.

    Returns:
        Its id.
    """
    kept = identified(evidence)
    store.write(Table.INCIDENTS, incident_id, Upsert(PREFIX + kept.id, pack(kept, **{_KIND: _EVIDENCE})))
    return kept.id


def get(store: Store, incident_id: str, evidence_id: str) -> Evidence | None:
    """One piece of evidence, or ``None``."""
    row = store.get(Table.INCIDENTS, incident_id, PREFIX + evidence_id)
    return unpack(Evidence, row.values) if row is not None and row.values.get(_KIND) == _EVIDENCE else None


def all_of(store: Store, incident_id: str) -> tuple[Evidence, ...]:
    """Every piece of evidence of an incident, in order of id."""
    found: list[Evidence] = []
    start: str | None = PREFIX
    while start is not None:
        page = store.query(Table.INCIDENTS, incident_id, start, PREFIX[:-1] + "}")
        found += [unpack(Evidence, row.values) for row in page.rows if row.values.get(_KIND) == _EVIDENCE]
        start = page.next_key
    return tuple(found)


def put_text(store: Store, incident_id: str, text: str) -> str:
    """Keep a text.

    Returns:
        The id that `get_text` takes.
    """
    text_id = _digest(text)
    store.write(Table.INCIDENTS, incident_id, Upsert(PREFIX + text_id, pack(Text(text), **{_KIND: _TEXT})))
    return text_id


def get_text(store: Store, incident_id: str, text_id: str) -> str | None:
    """A kept text, or ``None``."""
    row = store.get(Table.INCIDENTS, incident_id, PREFIX + text_id)
    return unpack(Text, row.values).text if row is not None and row.values.get(_KIND) == _TEXT else None


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:ID_DIGITS]
