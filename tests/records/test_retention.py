"""Rule H11: what has been kept for long enough goes, what something needs stays, and no crash falls in between."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from argus.walking import walk
from shared.adapters.stores.sqlite import SqliteStore
from shared.config.schema import Retention
from shared.model.event import (
    Event,
    IncidentAcknowledged,
    TicketUpdateRequested,
    UpdateKind,
)
from shared.model.incident import Incident
from shared.model.lifecycle import State
from shared.model.pipeline import Queue
from shared.ports.anchor import Head
from shared.ports.store import Delete, Replace, Table, Upsert
from shared.records import counters, groups, incidents, index, journal, payloads
from shared.records.retention import rules_of
from shared.records.rows import pack
from tests.pipeline.faults import Crash, FragileStore, Points
from tests.pipeline.world import GROUP, World
from tests.records.stage import DAY, content, kinds, purge, rules

# Working rows


def test_h11_working_rows_go_a_week_after_the_end_and_the_rest_stays(closed: World) -> None:
    store, incident_id = closed.inner, closed.incident().id
    before = content(store)
    assert not any(tally.rows for tally in purge(store, closed.now + 6.9 * DAY).values())
    assert content(store) == before
    tally = purge(store, closed.now + 8 * DAY)["working rows of closed incidents"]
    after = content(store)
    assert kinds(before, incident_id) >= {"inbox", "intent", "incident", "timeline", "audit", "evidence"}
    assert kinds(after, incident_id) == {"incident", "timeline", "audit", "evidence"}
    assert tally.units == 1
    assert tally.rows == sum(key[2].startswith(("inbox|", "intent|", "released|")) for key in before)
    assert not closed.audit_problem()
    assert {key for key in before if key[0] == "approvals"} == {key for key in after if key[0] == "approvals"}


def test_h11_an_older_event_is_too_old_afterwards_and_never_run(closed: World) -> None:
    """Each message that was ever worked off comes once more, after its inbox row is gone."""
    sent = [(queue, message) for queue, message in closed.bus.sent if queue not in (Queue.SIGNALS, Queue.QUARANTINE)]
    purge(closed.inner, closed.now + 8 * DAY)

    def effects() -> list[int]:
        said = [notice for _, notice, _ in closed.chat.posts if not notice.title.startswith("Given up")]
        return [len(closed.workload.runs), len(closed.desk.notes), len(said), closed.wiki.changes]

    before = effects()
    story = closed.story()
    closed.clock[0] += 8 * DAY
    for queue, message in sent:
        closed.bus.put(queue, replace(message, not_before=None))
    closed.settle()
    assert effects() == before
    refused = [entry for entry in closed.timeline()[len(story) :] if entry.what == "quarantined"]
    assert len(refused) == len(sent)
    assert all("too_old" in entry.why for entry in refused)
    assert closed.incident().state is State.CLOSED


def test_h11_an_event_that_is_younger_is_still_worked_off(closed: World) -> None:
    closed.clock[0] += 8 * DAY
    purge(closed.inner, closed.now)
    late = closed.say(IncidentAcknowledged("vera"), closed.incident().id, time=closed.now - 6 * DAY)
    closed.settle()
    assert closed.rows(incidents.INBOX) == [incidents.INBOX + late.id]
    assert not closed.audit_problem()


@pytest.mark.parametrize("kind", ["outbox", "held"])
def test_h11_what_waits_to_be_sent_or_released_keeps_its_incident_as_it_is(closed: World, kind: str) -> None:
    event = Event("e-late", "/people/x", closed.incident().id, closed.now, TicketUpdateRequested(UpdateKind.NOTE, "n"))
    row = (
        incidents.outbox_row(event, closed.now)
        if kind == "outbox"
        else incidents.held_row(event, "a reason", closed.now + DAY, "oncall", closed.now)
    )
    closed.inner.write(Table.INCIDENTS, event.subject, row)
    before = content(closed.inner)
    tally = purge(closed.inner, closed.now + 8 * DAY)["working rows of closed incidents"]
    assert (tally.rows, tally.kept) == (0, {"has events that are not sent or are held": 1})
    assert {k: v for k, v in content(closed.inner).items() if k[0] == "incidents"} == {
        k: v for k, v in before.items() if k[0] == "incidents"
    }


def test_h11_an_open_incident_is_never_touched(world: World) -> None:
    """However old it is: no row of it, of its group, its counters, its bodies."""
    reference = payloads.put(world.inner, "receipt-1", b"body", world.now)
    world.fires(payload=reference)
    world.settle()
    again = [world.signal(payload=reference, at=world.now) for _ in range(3)]
    world.deliver(*again)
    world.settle()
    world.engine.memory.flush(world.store, world.now, True)
    before = content(world.inner)
    assert {"groups", "counters", "payloads", "alertindex", "approvals"} <= {key[0] for key in before}
    purge(world.inner, world.now + 3000 * DAY, chosen=rules(closed_incidents_days=30))
    assert content(world.inner) == before
    world.vote()
    world.settle()
    world.resolves()
    world.settle()
    assert world.incident().state is State.CLOSED
    assert len(world.workload.runs) == 1


def test_h11_an_incident_that_is_opened_again_meanwhile_stays_as_it_is(closed: World) -> None:
    """Between the look and the deletion somebody writes to it."""
    store = closed.inner

    class Meanwhile(FragileStore):
        def query(self, *arguments: Any, **more: Any) -> Any:
            page = super().query(*arguments, **more)
            if arguments[2:3] == (incidents.RELEASED,):  # the last of the working rows was read
                loaded = incidents.load(store, closed.incident().id)
                assert loaded is not None
                row = pack(replace(loaded.incident, state=State.INVESTIGATING))
                store.write(Table.INCIDENTS, loaded.incident.id, Replace(incidents.INCIDENT, row, None))
            return page

    inbox = closed.rows(incidents.INBOX)
    tally = purge(Meanwhile(store, Points()), closed.now + 8 * DAY)["working rows of closed incidents"]
    assert tally.rows == 0
    assert closed.rows(incidents.INBOX) == inbox
    assert closed.incident().purged_before is None


# Every crash, and two at once


def _lively(world: World) -> None:
    """Something for every rule."""
    now, store = world.now, world.inner
    payloads.put(store, "old", b"body", now)
    counted = {counters.entry(GROUP, 1): counters.Repeats(3, now, now)}
    counters.write(store, "dead", counters.address(GROUP), counted, now)


@pytest.mark.parametrize("whole", [False, True], ids=["working-rows", "whole-incidents"])
def test_h11_a_crash_anywhere_is_made_good_by_the_next_run(closed: World, tmp_path: Path, whole: bool) -> None:
    _lively(closed)
    chosen = rules(closed_incidents_days=60 if whole else 0)
    now = closed.now + 200 * DAY
    original = content(closed.inner, but="no such prefix")

    def fresh(name: str) -> SqliteStore:
        copy = SqliteStore(tmp_path / name)
        for (table, partition, key), (_, values) in original.items():
            copy.write(Table(table), partition, Upsert(key, values))
        return copy

    calm = fresh("calm.db")
    points = Points()
    purge(FragileStore(calm, points), now, chosen=chosen)
    expected = {key: values for key, (_, values) in content(calm).items()}
    assert points.count > 5
    for number in range(1, points.count + 1):
        for when in ("before", "after"):
            store = fresh(f"{when}-{number}.db")
            with pytest.raises(Crash):
                purge(FragileStore(store, Points(**{when: [number]})), now, chosen=chosen)
            assert not [item for item, _ in walk(store, {}) if item.problem], (when, number)
            purge(store, now, chosen=chosen)
            assert {key: values for key, (_, values) in content(store).items()} == expected, (when, number)
            assert not [item for item, _ in walk(store, {}) if item.problem]
            store.close()
    calm.close()


def test_h11_two_purges_at_once_do_the_work_of_one(closed: World) -> None:
    _lively(closed)
    now = closed.now + 200 * DAY
    due = sum(tally.rows for tally in purge(closed.inner, now, dry=True).values())
    with ThreadPoolExecutor(4) as pool:
        done = list(pool.map(lambda _: purge(closed.inner, now), range(4)))
    assert sum(tally.rows for tallies in done for tally in tallies.values()) >= due
    assert not any(tally.rows for tally in purge(closed.inner, now, dry=True).values())
    assert not closed.audit_problem()


def test_a_dry_run_tells_what_a_run_does_and_changes_nothing(closed: World) -> None:
    _lively(closed)
    before = content(closed.inner, but="no such prefix")
    now = closed.now + 200 * DAY
    told = purge(closed.inner, now, dry=True, chosen=rules(closed_incidents_days=60))
    assert content(closed.inner, but="no such prefix") == before
    done = purge(closed.inner, now, chosen=rules(closed_incidents_days=60))
    assert {name: (t.rows, t.units, t.kept) for name, t in told.items()} == {
        name: (t.rows, t.units, t.kept) for name, t in done.items()
    }
    assert {tally.table for tally in done.values() if tally.rows} >= {
        Table.INCIDENTS, Table.PAYLOADS, Table.COUNTERS, Table.GROUPS, Table.WINDOWS, Table.ALERT_INDEX
    }  # fmt: skip


def test_h12_the_system_chain_says_that_and_what(closed: World) -> None:
    now = closed.now + 8 * DAY
    purge(closed.inner, now)
    entries = incidents.audit(closed.inner, journal.system_chain(now))
    assert [entry.what for entry in entries] == ["purge begun", "purge done"]
    assert "rows: working rows of closed incidents" in entries[1].why
    purge(closed.inner, now)
    assert len(incidents.audit(closed.inner, journal.system_chain(now))) == 2, "nothing went, nothing is told"
    assert not [item for item, _ in walk(closed.inner, {}) if item.problem]


def test_h10_what_is_still_retried_needs_its_rows_whatever_the_configuration_says() -> None:
    short = rules_of(Retention.model_validate({"working_rows_days": 2, "payloads_days": 2}), retry_hours=240)
    assert short.working_rows == short.payloads == 11 * DAY


def test_zero_days_are_for_ever(closed: World) -> None:
    _lively(closed)
    forever = rules(**dict.fromkeys(Retention.model_fields, 0))
    assert not purge(closed.inner, closed.now + 9000 * DAY, chosen=forever).get("kept bodies")
    assert not any(t.rows for t in purge(closed.inner, closed.now + 9000 * DAY, chosen=forever).values())


# Whole incidents


def test_h12_a_closed_incident_that_is_taken_out_leaves_a_stub_and_its_approval(closed: World) -> None:
    old = closed.incident()
    now = closed.now + 70 * DAY
    heads = {old.id: [journal_head(old)]}
    tally = purge(closed.inner, now, chosen=rules(closed_incidents_days=60))["closed incidents"]
    assert (tally.units, closed.rows("")) == (1, [incidents.INCIDENT])
    stub = closed.incident()
    assert (stub.title, stub.alerts, stub.diagnosis, stub.documents) == ("(removed by retention)", (), None, ())
    assert (stub.entries, stub.audit_head, stub.purged_before) == (old.entries, old.audit_head, now)
    assert not index.incidents(closed.inner)
    assert closed.inner.get(Table.APPROVALS, old.approval.id if old.approval else "", "decision") is not None
    assert groups.state_of(closed.inner, GROUP) is not None
    assert not [item for item, _ in walk(closed.inner, heads) if item.problem]
    again = purge(closed.inner, now, chosen=rules(closed_incidents_days=60))["closed incidents"]
    assert again.rows == 0


def journal_head(incident: Incident) -> Head:
    return Head(incident.id, incident.entries, incident.audit_head, incident.updated_at)


def test_h12_a_chain_that_is_gone_without_a_word_of_the_system_chain_is_no_retention(closed: World) -> None:
    purge(closed.inner, closed.now + 70 * DAY, chosen=rules(closed_incidents_days=60))
    for partition in closed.inner.partitions(Table.INCIDENTS):
        for row in list(incidents.rows(closed.inner, partition, incidents.AUDIT)) if "system" in partition else ():
            closed.inner.write(Table.INCIDENTS, partition, Delete(row.key, None))
    assert [item.problem for item, _ in walk(closed.inner, {}) if item.chain == closed.incident().id] == [
        f"entries 1 to {closed.incident().entries} are missing at the end"
    ]


def test_h11_a_creation_that_comes_after_its_incident_was_taken_out_creates_nothing(closed: World) -> None:
    creation = next(m for q, m in closed.bus.sent if q is Queue.INCIDENTS)
    now = closed.now + 70 * DAY
    purge(closed.inner, now, chosen=rules(closed_incidents_days=60))
    closed.clock[0] = now + DAY
    closed.bus.put(Queue.INCIDENTS, creation)
    closed.settle()
    assert closed.incident().state is State.CLOSED
    assert closed.story() == ["quarantined"]
    assert not [item for item, _ in walk(closed.inner, {}) if item.problem]
