"""Rows of `knowledge`: learned runbooks, and one row per closed incident that all counts are made from.

In: runbooks and closed incidents. Out: index rows, themes and counts; a repeat counts once because it is one row.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime

from shared.model.incident import Incident
from shared.model.runbook import Runbook
from shared.ports.store import Conflict, Insert, Replace, Row, Store, Table, Upsert
from shared.records.rows import key_of, moment, pack, text, unpack

RUNBOOK = "runbook|"
CASE = "case|"
WORKED, FAILED, NO_ACTION = "worked", "failed", ""


@dataclass(frozen=True, slots=True)
class Learned:
    """A runbook the chronicler wrote.

    Attributes:
        theme: the theme it was learned from.
        incidents: incidents it was seen in, oldest first.
        url: where people read it; empty when it is published nowhere.
    """

    runbook: Runbook
    theme: str
    incidents: tuple[str, ...]
    url: str = ""


@dataclass(frozen=True, slots=True)
class Case:
    """A closed incident, as far as learning needs it.

    Attributes:
        runbook: the runbook its last action came from; empty without one.
        result: ``worked``, ``failed``, or empty when nothing was executed.
    """

    incident_id: str
    service: str
    theme: str
    title: str
    closed_at: datetime
    action: str = ""
    runbook: str = ""
    result: str = NO_ACTION


@dataclass(frozen=True, slots=True)
class Tally:
    """How often something worked, and how often it did not."""

    successes: int = 0
    failures: int = 0


def theme_of(incident: Incident) -> str:
    """The theme of an incident: its service and its main cause, or its first alert's name without one."""
    hypotheses = incident.diagnosis.hypotheses if incident.diagnosis else ()
    if hypotheses:
        return f"{incident.service or 'unknown'}/{hypotheses[0].cause}"
    first = min(incident.alerts, key=lambda alert: (alert.starts_at, alert.name), default=None)
    return f"{incident.service or 'unknown'}/{first.name if first else incident.title}"


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of a service.

    Attributes:
        cases: closed incidents, oldest first.
        runbooks: learned ones, in order of id.
    """

    cases: tuple[Case, ...]
    runbooks: tuple[Learned, ...]

    def runbook(self, runbook_id: str) -> Learned | None:
        """The learned runbook of this id, or ``None``."""
        return next((item for item in self.runbooks if item.runbook.id == runbook_id), None)


def put_case(store: Store, case: Case) -> None:
    """Remember a closed incident; the same incident again replaces what was remembered of it."""
    store.write(
        Table.KNOWLEDGE,
        _partition(case.service),
        Upsert(
            CASE + case.incident_id,
            {
                "incident": case.incident_id,
                "service": case.service,
                "theme": case.theme[:2000],
                "title": case.title[:2000],
                "closed_at": case.closed_at,
                "action": case.action,
                "runbook": case.runbook,
                "result": case.result,
            },
        ),
    )


def cases(store: Store, service: str) -> tuple[Case, ...]:
    """Every closed incident of a service, oldest first."""
    return _cases(_rows(store, service, CASE))


def of_service(store: Store, service: str) -> Known:
    """Closed incidents and learned runbooks of a service, by one query."""
    rows = list(_rows(store, service, CASE, RUNBOOK))
    learned = tuple(unpack(Learned, row.values) for row in rows if row.key.startswith(RUNBOOK))
    return Known(_cases(row for row in rows if row.key.startswith(CASE)), learned)


def _cases(rows: Iterable[Row]) -> tuple[Case, ...]:
    found = [
        Case(
            incident_id=text(row.values, "incident"),
            service=text(row.values, "service"),
            theme=text(row.values, "theme"),
            title=text(row.values, "title"),
            closed_at=closed_at,
            action=text(row.values, "action"),
            runbook=text(row.values, "runbook"),
            result=text(row.values, "result"),
        )
        for row in rows
        if (closed_at := moment(row.values, "closed_at")) is not None
    ]
    return tuple(sorted(found, key=lambda case: (case.closed_at, case.incident_id)))


def tally(of: Iterable[Case]) -> Tally:
    """Count what worked and what failed."""
    results = [case.result for case in of]
    return Tally(results.count(WORKED), results.count(FAILED))


def put_runbook(store: Store, service: str, learned: Learned) -> None:
    """Keep a learned runbook of a service under its id; two incidents that teach it at once are both remembered."""
    partition, key = _partition(service), RUNBOOK + key_of(learned.runbook.id)
    while True:
        row = store.get(Table.KNOWLEDGE, partition, key)
        known = unpack(Learned, row.values).incidents if row is not None else ()
        values = pack(replace(learned, incidents=tuple(dict.fromkeys([*known, *learned.incidents]))))
        try:
            store.write(
                Table.KNOWLEDGE, partition, Insert(key, values) if row is None else Replace(key, values, row.etag)
            )
        except Conflict:
            continue
        return


def runbook_of(store: Store, service: str, runbook_id: str) -> Learned | None:
    """The learned runbook of this id, or ``None``."""
    row = store.get(Table.KNOWLEDGE, _partition(service), RUNBOOK + key_of(runbook_id))
    return None if row is None else unpack(Learned, row.values)


def runbooks(store: Store, service: str) -> tuple[Learned, ...]:
    """Every learned runbook of a service, in order of id."""
    return tuple(unpack(Learned, row.values) for row in _rows(store, service, RUNBOOK))


def _partition(service: str) -> str:
    return key_of(service or "unknown")


def _rows(store: Store, service: str, prefix: str, last: str = "") -> Iterator[Row]:
    start: str | None = prefix
    while start is not None:
        page = store.query(Table.KNOWLEDGE, _partition(service), start, (last or prefix)[:-1] + "}")
        yield from page.rows
        start = page.next_key
