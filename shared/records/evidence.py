"""Evidence rows and draft texts of an incident, kept under the hash of their content.

In: evidence and texts. Out: rows `evidence|<hash>` that may be written any number of times before the transaction.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace

from shared.model import codec
from shared.model.diagnosis import Evidence
from shared.ports.store import Operation, Row, Store, Table, Upsert
from shared.records.remembering import Remembering
from shared.records.rows import pack, unpack
from shared.records.together import write_together

PREFIX = "evidence|"
ID_DIGITS = 16
MAX_TOGETHER = 90  # a transaction takes 100 rows
MAX_IN_COMMIT = 40
MAX_CHARS_IN_COMMIT = 200_000
MAX_CHARS_TOGETHER = 700_000  # and 4 MiB, of which a character may need 4 bytes
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
    return put_all(store, incident_id, (evidence,))[0]


def put_all(store: Store, incident_id: str, found: Iterable[Evidence]) -> tuple[str, ...]:
    """Keep evidence, in as few transactions as it fits into; keeping it again changes nothing.

    Returns:
        The ids, in the same order.
    """
    kept = [identified(item) for item in found]
    _keep(store, incident_id, rows_of(kept))
    return tuple(item.id for item in kept)


def rows_of(found: Iterable[Evidence]) -> tuple[Upsert, ...]:
    """Rows of evidence, each once."""
    kept = {item.id: item for item in map(identified, found)}
    return tuple(Upsert(PREFIX + name, pack(item, **{_KIND: _EVIDENCE})) for name, item in kept.items())


def rows_of_texts(texts: Iterable[str]) -> tuple[Upsert, ...]:
    """Rows of texts, each once."""
    return tuple(Upsert(PREFIX + text_id(text), pack(Text(text), **{_KIND: _TEXT})) for text in dict.fromkeys(texts))


def put_before(store: Store, incident_id: str, rows: tuple[Upsert, ...]) -> tuple[Upsert, ...]:
    """Rows for a commit: all of them where they leave room for what else is committed; else they are kept at once.

    They are found by their content, so that a row whose commit never comes says nothing wrong.

    Returns:
        Rows for the transaction.
    """
    if len(rows) <= MAX_IN_COMMIT and sum(map(_chars, rows)) <= MAX_CHARS_IN_COMMIT:
        return rows
    _keep(store, incident_id, rows)
    return ()


def get(store: Store, incident_id: str, evidence_id: str) -> Evidence | None:
    """One piece of evidence, or ``None``."""
    row = store.get(Table.INCIDENTS, incident_id, PREFIX + evidence_id)
    return None if row is None else of_row(row)


def of_row(row: Row) -> Evidence | None:
    """The evidence of a row; ``None`` for any other row."""
    wanted = row.key.startswith(PREFIX) and row.values.get(_KIND) == _EVIDENCE
    return unpack(Evidence, row.values) if wanted else None


def all_of(store: Store, incident_id: str) -> tuple[Evidence, ...]:
    """Every piece of evidence of an incident, in order of id."""
    found: list[Evidence] = []
    start: str | None = PREFIX
    while start is not None:
        page = store.query(Table.INCIDENTS, incident_id, start, PREFIX[:-1] + "}")
        found += [unpack(Evidence, row.values) for row in page.rows if row.values.get(_KIND) == _EVIDENCE]
        start = page.next_key
    return tuple(found)


def some_of(store: Store, incident_id: str, wanted: Collection[str]) -> Mapping[str, Evidence]:
    """Evidence by id, in the order it is wanted; what is not there is left out."""
    if not wanted:
        return {}
    if isinstance(store, Remembering) and store.holds(Table.INCIDENTS, incident_id, (PREFIX + name for name in wanted)):
        found: Iterable[Evidence | None] = (get(store, incident_id, name) for name in wanted)
    else:
        found = all_of(store, incident_id)
    known = {item.id: item for item in found if item is not None}
    return {name: known[name] for name in wanted if name in known}


def put_text(store: Store, incident_id: str, text: str) -> str:
    """Keep a text.

    Returns:
        The id that `get_text` takes.
    """
    _keep(store, incident_id, rows_of_texts((text,)))
    return text_id(text)


def text_id(text: str) -> str:
    """The id of a text, which its content makes."""
    return _digest(text)


def get_text(store: Store, incident_id: str, text_id: str) -> str | None:
    """A kept text, or ``None``."""
    row = store.get(Table.INCIDENTS, incident_id, PREFIX + text_id)
    return unpack(Text, row.values).text if row is not None and row.values.get(_KIND) == _TEXT else None


def _keep(store: Store, incident_id: str, rows: Iterable[Upsert]) -> None:
    together: list[Operation] = []
    chars = 0
    for row in rows:
        size = _chars(row)
        if together and (len(together) == MAX_TOGETHER or chars + size > MAX_CHARS_TOGETHER):
            write_together(store, Table.INCIDENTS, incident_id, together)
            together, chars = [], 0
        together.append(row)
        chars += size
    if together:
        write_together(store, Table.INCIDENTS, incident_id, together)


def _chars(row: Upsert) -> int:
    return sum(len(value) for value in row.values.values() if isinstance(value, str))


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:ID_DIGITS]
