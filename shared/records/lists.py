"""Reading the lists page by page: all incidents and all alerts ever, newest first, merged over the shards lazily.

In: what is looked for, and where the last page ended. Out: one page, what was read for it, and where the next begins.
"""

from __future__ import annotations

import heapq
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Generic, TypeVar

import orjson

from shared.model import codec
from shared.ports.store import Properties, Row, Store, Table
from shared.records import index
from shared.records.index import CLOSED_PREFIX, LINES_END, NAME_PREFIX, OPEN_PREFIX, SHARDS, AlertLine, IncidentLine
from shared.records.rows import document, text

T = TypeVar("T")
Raw = dict[str, Any]
Late = Callable[[], bool]

MOST_READ = 6000  # rows for one page; more would make a person wait, and cost many queries
MOST_COUNTED = 20_000  # open incidents that are counted one by one
_FIRST_WITH_FILTER, _THEN, _MOST_AT_ONCE = 64, 160, 1000
_LOOK_AT_CLOCK = 64
_PREFIX = {"open": OPEN_PREFIX, "closed": CLOSED_PREFIX}
_CURSOR = re.compile(r"(?:open:|closed:)?(\d{15})\|[A-Za-z0-9._~-]{1,200}")


@dataclass(frozen=True, slots=True)
class Filter:
    """Which incidents a list shows.

    Attributes:
        state: ``open`` (everything not closed), ``closed``, ``all``, or one state of the lifecycle.
        text: words that must all occur in id, title, service, ticket or people, whatever their case.
        severity: such as ``sev1``; empty for every one.
    """

    state: str = "open"
    service: str = ""
    text: str = ""
    severity: str = ""

    @property
    def narrow(self) -> bool:
        """Whether more than the state is asked for."""
        return bool(self.service or self.text or self.severity)

    def matches(self, line: Raw) -> bool:
        """Whether a line, as JSON, is shown."""
        if self.severity and line["severity"] != self.severity:
            return False
        if self.service and line["service"].casefold() != self.service.casefold():
            return False
        if self.state not in ("open", "closed", "all") and line["state"] != self.state:
            return False
        named = ("id", "title", "service", "ticket", "assignee", "acknowledged_by")
        return _has(self.text, (line.get(name, "") for name in named))


@dataclass(frozen=True, slots=True)
class AlertFilter:
    """Which alerts a list shows.

    Attributes:
        state: ``firing``, ``resolved``, or empty for both.
        text: words that must all occur in name, service, summary, resource, source or the incident's id.
    """

    state: str = ""
    service: str = ""
    text: str = ""
    severity: str = ""

    @property
    def narrow(self) -> bool:
        """Whether not every alert is asked for."""
        return bool(self.state or self.service or self.text or self.severity)

    def matches(self, line: Raw) -> bool:
        """Whether a line, as JSON, is shown."""
        alert = line["alert"]
        if (self.severity and alert["severity"] != self.severity) or (self.state and alert["status"] != self.state):
            return False
        if self.service and alert["service"].casefold() != self.service.casefold():
            return False
        named = ("name", "service", "summary", "resource", "source")
        return _has(self.text, (*(alert.get(name, "") for name in named), line["incident_id"]))


@dataclass(frozen=True, slots=True)
class Found(Generic[T]):
    """One page.

    Attributes:
        next: where the next page begins; empty at the end.
        read: rows that were read for this page.
        back_to: how far back was read; ``None`` when nothing was.
        early: it was stopped because it had read enough, not because the page was full or the list at its end.
    """

    lines: tuple[T, ...] = ()
    next: str = ""
    read: int = 0
    back_to: datetime | None = None
    early: bool = False


@dataclass(slots=True)
class Counted:
    """What is open, at one moment.

    Attributes:
        more: there are more than were counted.
        waiting: the newest few that wait for a decision; ``decisions`` counts all of them.
    """

    total: int = 0
    severities: dict[str, int] = field(default_factory=dict)
    services: set[str] = field(default_factory=set)
    decisions: int = 0
    waiting: list[IncidentLine] = field(default_factory=list)
    more: bool = False


def never() -> bool:
    """There is always time."""
    return False


def is_cursor(cursor: str) -> bool:
    """Whether a text can be where a page begins."""
    return not cursor or _CURSOR.fullmatch(cursor) is not None


def incidents(
    store: Store,
    wanted: Filter,
    cursor: str = "",
    size: int = 50,
    most: int = MOST_READ,
    late: Late = never,
    tenant: str = "default",
) -> Found[IncidentLine]:
    """Incidents that match, those that are not closed first, each newest first.

    What is open is read from rows of its own, so that years of closed incidents cost nothing.

    Args:
        cursor: ``next`` of the page before; empty for the first.
        most: how many rows may be read.
        late: whether a search with a filter has taken long enough; asked after every `_LOOK_AT_CLOCK` rows.
    """
    parts = {"all": ("open", "closed"), "closed": ("closed",)}.get(wanted.state, ("open",))
    part, _, at = cursor.rpartition(":")
    if part in parts:
        parts = parts[parts.index(part) :]
    page: Found[IncidentLine] = Found()
    first = _first(size, wanted.narrow)
    for number, name in enumerate(parts):
        more = _page(
            _walk(store, Table.INCIDENT_INDEX, _PREFIX[name], at, first, tenant),
            _matching(wanted),
            lambda raw: codec.from_json(IncidentLine, raw),
            size - len(page.lines),
            most - page.read,
            late if wanted.narrow else never,
        )
        at = ""
        page = Found(
            page.lines + more.lines,
            f"{name}:{more.next}" if more.next else "",
            page.read + more.read,
            more.back_to or page.back_to,
            more.early,
        )
        if page.next:
            return page
        if len(page.lines) >= size and number + 1 < len(parts):
            return _begun(store, page, parts[number + 1], tenant)
    return page


def alerts(
    store: Store,
    wanted: AlertFilter,
    cursor: str = "",
    size: int = 50,
    most: int = MOST_READ,
    late: Late = never,
    tenant: str = "default",
) -> Found[AlertLine]:
    """Alerts that match, newest first, whether they opened an incident or not; see `incidents`."""
    return _page(
        _walk(store, Table.ALERT_INDEX, "", cursor, _first(size, wanted.narrow), tenant),
        _matching(wanted),
        lambda raw: codec.from_json(AlertLine, raw),
        size,
        most,
        late if wanted.narrow else never,
    )


def named(store: Store, name: str, limit: int, tenant: str = "default") -> list[tuple[str, str]]:
    """Incidents whose id or ticket number begins with a name, whatever their age.

    Returns:
        At most ``limit`` pairs of the whole name in lower case and the incident's id.
    """
    start = index.name_key(name)
    pages = [
        store.query(Table.INCIDENT_INDEX, f"{tenant}-{i:02x}", start, start + "\uffff", limit).rows
        for i in range(SHARDS)
    ]
    keys = sorted(row.key.removeprefix(NAME_PREFIX) for page in pages for row in page)
    return [(key.rpartition("|")[0], index.id_of(key)) for key in keys[:limit]]


def lines_named(store: Store, name: str, limit: int, tenant: str = "default") -> tuple[IncidentLine, ...]:
    """The lines of `named`; each is a read of its own, so keep ``limit`` small."""
    found: dict[str, IncidentLine] = {}
    start = index.name_key(name)
    for i in range(SHARDS):
        partition = f"{tenant}-{i:02x}"
        for pointer in store.query(Table.INCIDENT_INDEX, partition, start, start + "\uffff", limit).rows:
            if len(found) >= limit:
                break
            row = store.get(Table.INCIDENT_INDEX, partition, text(pointer.values, "key"))
            if row is not None:
                line = codec.from_json(IncidentLine, raw_of(row.values))
                found[line.id] = line
    return tuple(sorted(found.values(), key=lambda line: line.opened_at, reverse=True))


def count_open(store: Store, shown: int = 3, tenant: str = "default") -> Counted:
    """Count what is open, by reading the rows of open incidents once."""
    counted, asked = Counted(), list[tuple[str, Raw]]()
    for i in range(SHARDS):
        start: str | None = OPEN_PREFIX
        while start is not None and not counted.more:
            page = store.query(Table.INCIDENT_INDEX, f"{tenant}-{i:02x}", start, OPEN_PREFIX + LINES_END, _MOST_AT_ONCE)
            for row in page.rows:
                raw = raw_of(row.values)
                count_line(counted, raw)
                if raw.get("awaiting"):
                    asked.append((row.key, raw))
            start, counted.more = page.next_key, counted.total >= MOST_COUNTED
    asked.sort(key=lambda one: one[0])
    counted.waiting = [codec.from_json(IncidentLine, raw) for _, raw in asked[:shown]]
    return counted


def count_line(counted: Counted, line: Mapping[str, Any]) -> None:
    """Add one open incident to a count: its severity, its service, and the decision it waits for."""
    counted.total += 1
    counted.severities[line["severity"]] = counted.severities.get(line["severity"], 0) + 1
    counted.services.add(line["service"])
    counted.decisions += bool(line.get("awaiting"))


def text_of(values: Properties) -> str:
    """The JSON text of a packed row."""
    return str(values["doc00"]) if "doc01" not in values else document(values)


def raw_of(values: Properties) -> Raw:
    """A packed row as plain JSON; much cheaper than the model value."""
    held = text_of(values)
    try:
        found: Raw = orjson.loads(held)
    except ValueError:  # Python's own JSON knows infinity
        found = json.loads(held)
    return found


def _begun(store: Store, page: Found[IncidentLine], part: str, tenant: str) -> Found[IncidentLine]:
    """A page that is full just where a part ends: the next one begins with the next part, if there is anything."""
    for row in _walk(store, Table.INCIDENT_INDEX, _PREFIX[part], "", 1, tenant):
        return Found(page.lines, f"{part}:{row.key.removeprefix(_PREFIX[part])}", page.read + 1, page.back_to)
    return page


def _page(
    rows: Iterator[Row],
    match: Callable[[Row], Raw | None],
    build: Callable[[Raw], T],
    size: int,
    most: int,
    late: Late,
) -> Found[T]:
    lines: list[T] = []
    read, last = 0, ""
    for row in rows:
        key = row.key[row.key.find("|") + 1 :] if row.key > LINES_END else row.key
        if len(lines) >= size or read >= most or (read and read % _LOOK_AT_CLOCK == 0 and late()):
            return Found(tuple(lines), key, read, index.moment_of(last) if last else None, early=len(lines) < size)
        read, last = read + 1, key
        raw = match(row)
        if raw is not None:
            lines.append(build(raw))
    return Found(tuple(lines), "", read, index.moment_of(last) if last else None)


def _matching(wanted: Filter | AlertFilter) -> Callable[[Row], Raw | None]:
    needles = _needles(wanted)

    def look(row: Row) -> Raw | None:
        if needles:
            held = text_of(row.values).casefold()
            if any(needle not in held for needle in needles):
                return None  # seen without taking the line apart, which costs three times as much
        raw = raw_of(row.values)
        return raw if wanted.matches(raw) else None

    return look


def _needles(wanted: Filter | AlertFilter) -> tuple[str, ...]:
    """What the JSON of every line that matches has in it; others may have it too."""
    words = [word for word in wanted.text.casefold().split() if json.dumps(word, ensure_ascii=False)[1:-1] == word]
    exact = (("severity", wanted.severity), ("service", wanted.service))
    fields = [f'"{name}":{json.dumps(value.casefold(), ensure_ascii=False)}' for name, value in exact if value]
    return (*words, *fields)


def _has(words: str, texts: Iterator[str] | tuple[str, ...]) -> bool:
    if not words:
        return True
    held = " ".join(texts).casefold()
    return all(word in held for word in words.casefold().split())


def _first(size: int, narrow: bool) -> int:
    """How many rows of each shard to begin with: enough for a page unless the shards are far out of balance."""
    return _FIRST_WITH_FILTER if narrow else min(size + 1, 16 + size // 4, _MOST_AT_ONCE)


def _walk(store: Store, table: Table, prefix: str, at: str, first: int, tenant: str) -> Iterator[Row]:
    """Rows from a key on, newest first over all shards; a shard is read on only when its rows are used up."""

    def one(partition: str) -> Iterator[Row]:
        start: str | None = prefix + at
        limit = first
        while start is not None:
            page = store.query(table, partition, start, prefix + LINES_END, limit)
            yield from page.rows
            start, limit = page.next_key, max(limit, _THEN)

    return heapq.merge(*(one(f"{tenant}-{i:02x}") for i in range(SHARDS)), key=lambda row: row.key)
