"""Rows and messages of the version before are read by this one, and what a newer one wrote is never misread."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, get_args

import pytest

from shared.adapters.stores.sqlite import SqliteStore
from shared.model import codec, versions
from shared.model.approval import ApprovalRequest, Decision, Vote
from shared.model.audit import AuditEntry, TimelineEntry
from shared.model.errors import PermanentError, Reason, TransientError
from shared.model.event import GroupsOpened, Payload
from shared.model.incident import Incident
from shared.model.lifecycle import State
from shared.model.pipeline import Queue
from shared.ports.bus import Message
from shared.ports.store import Insert, Row, Store, Table
from shared.records import (
    approvals,
    audit_chain,
    counters,
    evidence,
    groups,
    incidents,
    index,
    knowledge,
    payloads,
    quarantine,
)
from shared.records import windows as series
from shared.records.rows import moment, unpack
from shared.records.versioned import Versioned, bare, kind_of
from tests.model.take_version import FOLDER, RULE, read_value
from tests.pipeline.world import World, settings

EARLIER = [str(version) for version in range(versions.FIRST, versions.CURRENT)]


def kept(version: str, name: str) -> list[dict[str, Any]]:
    """Lines of a fixture."""
    return [json.loads(line) for line in (FOLDER / version / f"{name}.jsonl").read_text("utf-8").splitlines()]


def filled(store: Store, version: str, name: str) -> Store:
    """A store as it was left by an earlier version, under the one that product code uses."""
    for line in kept(version, name):
        values = {key: read_value(value) for key, value in line["values"].items()}
        store.write(Table(line["table"]), line["partition"], Insert(line["key"], values))
    return Versioned(store)


# How each kind of row is read; a kind without a reader has no fixture that proves anything.
READERS: Mapping[str, Callable[[Store, Row], object]] = {
    "incidents/incident": lambda store, row: incidents.load(store, row.partition),
    "incidents/timeline": lambda store, row: unpack(TimelineEntry, row.values),
    "incidents/audit": lambda store, row: unpack(AuditEntry, row.values).hash,
    "incidents/inbox": lambda store, row: moment(row.values, "at"),
    "incidents/outbox": lambda store, row: incidents.event_of(row),
    "incidents/intent": lambda store, row: incidents.intent_of(
        store, row.partition, row.key.removeprefix(incidents.INTENT)
    ),
    "incidents/held": lambda store, row: incidents.held(store, row.partition),
    "incidents/released": lambda store, row: (
        incidents.released_from(store, incidents.held(store, row.partition)[0].event) or row.values["by"]
    ),
    "incidents/evidence": lambda store, row: (
        evidence.all_of(store, row.partition)
        or evidence.get_text(store, row.partition, row.key.removeprefix(evidence.PREFIX))
    ),
    "groups/group": lambda store, row: unpack(groups.GroupState, row.values),
    "groups/members": lambda store, row: groups.everything_known(store, row.key.partition("|m|")[0]),
    "windows": lambda store, row: list(series.of_service(store, settings(rules={"slow": RULE}), "shop")),
    "counters": lambda store, row: counters.read(store, "service=shop|environment=production").count,
    "pending": lambda store, row: list(incidents.pending(store)),
    "incidentindex": lambda store, row: index.incidents(store),
    "alertindex": lambda store, row: index.alerts(store),
    "approvals/request": lambda store, row: unpack(ApprovalRequest, row.values),
    "approvals/vote": lambda store, row: unpack(Vote, row.values),
    "approvals/decision": lambda store, row: unpack(Decision, row.values),
    "approvals/executed": lambda store, row: approvals.executed(store, row.partition, str(row.values["event"])),
    "approvals/execution": lambda store, row: row.values["event"],
    "leases": lambda store, row: json.loads(str(row.values["attempts"])),
    "knowledge/case": lambda store, row: knowledge.cases(store, "shop"),
    "knowledge/runbook": lambda store, row: knowledge.runbooks(store, "shop"),
    "payloads": lambda store, row: payloads.get(store, f"{row.partition}/{row.key.partition('|')[0]}"),
    "quarantine": lambda store, row: row.values.get("message") or row.values.get("times"),
}


@pytest.mark.parametrize("version", EARLIER)
def test_every_kind_of_row_of_an_earlier_version_is_read(store: SqliteStore, tmp_path: Path, version: str) -> None:
    read = set()
    other = SqliteStore(tmp_path / "waiting.db")
    for seen in (filled(store, version, "rows"), filled(other, version, "waiting")):
        for table in Table:
            for partition in seen.partitions(table):
                for row in incidents.rows(seen, partition, "", table):
                    assert READERS[kind_of(table, row.key)](seen, row), f"{table}/{row.key}"
                    read.add(kind_of(table, row.key))
    other.close()
    assert read == set(READERS)


NEWER = {"1": {GroupsOpened.TYPE}}  # what a version did not say yet


@pytest.mark.parametrize("version", EARLIER)
def test_m1_every_message_of_an_earlier_version_is_read(version: str) -> None:
    bodies = {line["name"]: line["body"].encode() for line in kept(version, "messages")}
    assert codec.reference_of(bodies.pop("reference")) == "20261120-01/event-1"
    known = {kind.TYPE for kind in get_args(Payload)} - NEWER[version]
    assert {codec.decode_event(body).type for body in bodies.values()} == known
    assert set(bodies) == known
    for body in bodies.values():
        assert json.loads(codec.encode_event(codec.decode_event(body)))["schemaversion"] == versions.CURRENT


@pytest.mark.parametrize("version", EARLIER)
def test_h8_an_incident_that_an_earlier_version_left_waiting_goes_on_to_its_end(
    store: SqliteStore, version: str
) -> None:
    """Also what that version had committed and never sent is sent."""
    world = World(filled(store, version, "waiting"), settings(rules={"slow": RULE}))
    ticket = world.incident().ticket
    assert ticket is not None
    world.desk.state[ticket.key] = "open"
    began = world.now
    world.clock[0] += timedelta(minutes=5)
    world.pass_time(timedelta(minutes=3))
    assert not world.rows(incidents.OUTBOX)
    world.vote()
    world.settle()
    world.resolves(starts_at=began)
    world.settle()
    assert world.incident().state is State.CLOSED
    assert len(world.workload.runs) == 1
    assert not world.audit_problem()
    assert world.incident().version > 8


def test_every_earlier_version_has_its_fixtures() -> None:
    assert {path.name for path in FOLDER.iterdir()} >= set(EARLIER)
    for version in EARLIER:
        carried = {line["values"].get(versions.ROW_PROPERTY) for line in kept(version, "rows")}
        assert carried == {None if version == "1" else int(version)}


# The version on rows


def test_every_row_that_is_written_carries_the_version_and_no_reader_sees_it(store: SqliteStore) -> None:
    world = World(Versioned(store))
    world.fires()
    world.settle()
    found = 0
    for table in Table:
        for partition in store.partitions(table):
            for row in incidents.rows(store, partition, "", table):
                assert row.values[versions.ROW_PROPERTY] == versions.CURRENT, f"{table}/{row.key}"
                shown = world.inner.get(table, partition, row.key)
                assert shown is not None
                assert versions.ROW_PROPERTY not in shown.values
                assert shown.etag == row.etag
                found += 1
    assert found > 20


def test_a_row_of_a_newer_argus_is_left_to_the_hosts_that_know_it(store: SqliteStore) -> None:
    newer = {versions.ROW_PROPERTY: versions.CURRENT + 1, "doc00": "{}"}
    store.write(Table.INCIDENTS, "i1", Insert(incidents.INCIDENT, newer))
    with pytest.raises(TransientError, match=r"incidents/incident was written by a newer ARGUS \(schema 3") as refused:
        incidents.load(Versioned(store), "i1")
    assert refused.value.reason is Reason.NOT_YET
    with pytest.raises(TransientError):
        list(incidents.rows(Versioned(store), "i1", "inc"))


@pytest.mark.parametrize("wrong", ["2", 0, -1, True, 1.5])
def test_what_is_no_version_is_refused(store: SqliteStore, wrong: Any) -> None:
    store.write(Table.LEASES, "p", Insert("lease", {versions.ROW_PROPERTY: wrong}))
    with pytest.raises(PermanentError, match="no schema version"):
        Versioned(store).get(Table.LEASES, "p", "lease")


def test_an_upgrade_sees_the_document_and_what_is_written_back_is_current(store: SqliteStore) -> None:
    """The machinery for versions to come, with steps of its own."""
    long = "x" * 40_000

    def rename(row: versions.Content) -> versions.Content:
        doc = dict(row["doc"])  # type: ignore[call-overload]
        return {**row, "doc": {"title": doc.pop("name") + long}, "extra": "new"}

    steps = {("knowledge/runbook", 1): rename}
    seen = Versioned(store, steps)
    store.write(Table.KNOWLEDGE, "shop", Insert("runbook|a", {"doc00": '{"na', "doc01": 'me":"n"}', "url": "u"}))
    store.write(Table.KNOWLEDGE, "shop", Insert("case|a", {"theme": "t"}))
    row = seen.get(Table.KNOWLEDGE, "shop", "runbook|a")
    assert row is not None
    assert {k: v for k, v in row.values.items() if not k.startswith("doc")} == {"extra": "new", "url": "u"}
    text = "".join(str(row.values[f"doc{i:02d}"]) for i in range(3))
    assert json.loads(text) == {"title": "n" + long}
    other = seen.get(Table.KNOWLEDGE, "shop", "case|a")
    assert other is not None
    assert other.values == {"theme": "t"}
    seen.write(Table.KNOWLEDGE, "shop", Insert("runbook|b", row.values))
    again = seen.get(Table.KNOWLEDGE, "shop", "runbook|b")
    assert again is not None
    assert again.values == row.values
    assert bare(seen) is store


def test_steps_are_taken_one_after_the_other() -> None:
    steps: versions.Steps = {
        ("k", 1): lambda c: {**c, "trace": [1]},
        ("k", 3): lambda c: {**c, "trace": [*c["trace"], 3]},  # type: ignore[misc]
        ("other", 2): lambda c: {"wrong": True},
    }
    assert versions.upgrade("k", {}, 1, steps, to=4) == {"trace": [1, 3]}
    assert versions.upgrade("k", {}, 2, {}, to=4) == {}


# The version on messages


def test_m1_a_message_of_a_newer_argus_is_refused_before_anything_else_of_it_is_read() -> None:
    body = json.dumps({"specversion": "1.0", "schemaversion": 3, "type": "argus.unheard.of.v9", "data": 7}).encode()
    with pytest.raises(PermanentError, match=r"the message was written by a newer ARGUS \(schema 3") as refused:
        codec.decode_event(body)
    assert refused.value.reason is Reason.BAD_INPUT


@pytest.mark.parametrize("wrong", ["2", 0, True])
def test_m1_a_message_with_something_else_for_a_version_is_refused(wrong: Any) -> None:
    body = json.dumps({"specversion": "1.0", "schemaversion": wrong}).encode()
    with pytest.raises(PermanentError, match="no schema version"):
        codec.decode_event(body)


def test_h10_a_message_of_a_newer_argus_is_kept_as_it_is_so_that_it_can_be_sent_again(store: SqliteStore) -> None:
    world = World(store)
    content = {"specversion": "1.0", "schemaversion": 3, "id": "e1", "type": "argus.new.v1", "data": {"token": "ours"}}
    world.bus.put(Queue.TICKETS, Message("newer.0", json.dumps(content).encode()))
    world.settle()
    [row] = quarantine.listed(store, world.now)
    assert "written by a newer ARGUS" in row.message
    body = payloads.get(store, row.payload)
    assert body is not None
    assert json.loads(body) == content


def test_an_old_incident_row_keeps_its_hash_chain(store: SqliteStore) -> None:
    for name in filled(store, "1", "rows").partitions(Table.INCIDENTS):
        loaded = incidents.load(Versioned(store), name)
        if loaded is not None:
            held: Incident = loaded.incident
            entries = incidents.audit(Versioned(store), name)
            assert audit_chain.verify_incident(entries, name, held.entries, held.audit_head) == ""
            assert isinstance(held.opened_at, datetime)
