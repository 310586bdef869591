"""The Table Storage adapter when the service, the network or another tool is not at its best."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from shared.adapters.stores.tables.rest import RestService
from shared.adapters.stores.tables.sdk import SdkService
from shared.adapters.stores.tables.service import Service
from shared.adapters.stores.tables.settings import Config
from shared.adapters.stores.tables.store import TablesStore
from shared.model.errors import PermanentError, Reason, TransientError
from shared.ports.store import Conflict, ConflictKind, Delete, Insert, Replace, Store, Table, Upsert
from tests.adapters.stores.places import PATIENCE_S
from tests.adapters.stores.table_service import Fault, TableService, table_service

T = Table.INCIDENTS
Client = Callable[[Config], Service]
Open = Callable[..., TablesStore]
BUSY = Fault(503, "ServerBusy", headers=(("Retry-After", "7"),))


@pytest.fixture
def service() -> Iterator[TableService]:
    with table_service() as running:
        running.rows.create("incidents")
        yield running


@pytest.fixture(params=[RestService, SdkService], ids=["thin", "sdk"])
def client(request: pytest.FixtureRequest) -> Client:
    chosen: Client = request.param
    return chosen


@pytest.fixture
def open_on(client: Client) -> Iterator[Open]:
    opened: list[TablesStore] = []

    def open_one(connection: str, prefix: str = "", **settings: Any) -> TablesStore:
        given = {"connection": connection, "connect_s": PATIENCE_S, "read_s": PATIENCE_S, **settings}
        opened.append(TablesStore(client(Config.model_validate(given)), prefix))
        return opened[-1]

    yield open_one
    for store in opened:
        store.close()


@pytest.fixture
def rows(service: TableService, open_on: Open) -> TablesStore:
    return open_on(service.connection)


CHANGES = {
    "insert": lambda rows: rows.write(T, "p", Insert("k", {"n": 1})),
    "upsert": lambda rows: rows.write(T, "p", Upsert("k", {"n": 1})),
    "replace": lambda rows: rows.write(T, "p", Replace("old", {"n": 1}, None)),
    "delete": lambda rows: rows.write(T, "p", Delete("old", None)),
    "transact": lambda rows: rows.transact(T, "p", [Insert("k", {"n": 1}), Delete("old", None)]),
}
READS = {
    "get": lambda rows: rows.get(T, "p", "old"),
    "query": lambda rows: rows.query(T, "p"),
    "partitions": lambda rows: rows.partitions(T),
}
Call = Callable[[Store], object]


def failed(service: TableService, rows: Store, call: Call, fault: Fault) -> TransientError:
    """What a call raises that meets a fault, after exactly one request."""
    rows.write(T, "p", Upsert("old", {"n": 0}))
    service.faults.append(fault)
    service.seen.clear()
    with pytest.raises(TransientError) as raised:
        call(rows)
    assert len(service.seen) == 1, "there is one retry layer, and it is not here"
    return raised.value


@pytest.mark.parametrize("call", [*CHANGES.values(), *READS.values()], ids=[*CHANGES, *READS])
def test_throttling_is_transient_and_says_how_long(service: TableService, rows: Store, call: Call) -> None:
    error = failed(service, rows, call, BUSY)
    assert (error.reason, error.retry_after, error.sent) == (Reason.RATE_LIMITED, timedelta(seconds=7), False)
    assert str(error) == "the table store answered 503 (ServerBusy)"
    call(rows)


@pytest.mark.parametrize("done", [True, False], ids=["done", "not-done"])
@pytest.mark.parametrize(
    "fault",
    [Fault(500, "InternalError"), Fault(503, "OperationTimedOut"), Fault(502), Fault(0), Fault(200), Fault(202)],
    ids=["500", "503-timed-out", "502-of-a-proxy", "connection-lost", "not-json", "no-transaction-answer"],
)
@pytest.mark.parametrize("call", CHANGES.values(), ids=CHANGES)
def test_a_change_without_a_clear_answer_may_have_happened(
    service: TableService, rows: Store, call: Call, fault: Fault, done: bool
) -> None:
    if (fault.status, call) in {(202, CHANGES["delete"]), (200, CHANGES["delete"])}:
        return  # the service's own yes has no body either
    error = failed(service, rows, call, Fault(fault.status, fault.code, done=done))
    assert error.sent is None
    assert error.reason in (Reason.UNAVAILABLE, Reason.TIMEOUT)


@pytest.mark.parametrize(
    "fault", [Fault(500, "InternalError"), Fault(0), Fault(200), Fault(404), Fault(302)], ids=lambda f: f"{f.status}"
)
@pytest.mark.parametrize("call", READS.values(), ids=READS)
def test_a_read_that_fails_is_never_an_empty_answer(
    service: TableService, rows: Store, call: Call, fault: Fault
) -> None:
    service.faults += [None, fault]
    rows.write(T, "p", Upsert("old", {"n": 0}))
    with pytest.raises((TransientError, PermanentError)) as raised:
        call(rows)
    assert isinstance(raised.value, PermanentError) or raised.value.sent is False


def test_an_insert_whose_answer_got_lost_is_not_sent_again_from_here(service: TableService, rows: Store) -> None:
    """The SDK's own retry would meet its own row and say that somebody else was quicker."""
    service.faults.append(Fault(0, done=True))
    with pytest.raises(TransientError) as raised:
        rows.write(T, "p", Insert("claim", {"owner": "me"}))
    assert raised.value.sent is None
    found = rows.get(T, "p", "claim")
    assert found is not None
    assert found.values == {"owner": "me"}, "who comes back looks first, and finds its own"
    with pytest.raises(Conflict):
        rows.write(T, "p", Insert("claim", {"owner": "other"}))


def test_an_answer_that_takes_too_long(service: TableService, open_on: Open) -> None:
    rows = open_on(service.connection, read_s=0.1)
    for call, sent in ((CHANGES["insert"], None), (CHANGES["transact"], None), (READS["get"], False)):
        service.faults.append(Fault(wait=True))
        with pytest.raises(TransientError) as raised:
            call(rows)
        assert (raised.value.reason, raised.value.sent) == (Reason.TIMEOUT, sent)
    rows.close()


def test_the_edge_can_give_up_in_time() -> None:
    config = Config(connection="UseDevelopmentStorage=true")
    assert config.connect_s + config.read_s < 3


def test_the_service_is_told_to_give_up_as_well(service: TableService, rows: Store, open_on: Open) -> None:
    """Else a write that nobody waits for any more could land long after others have read."""
    for name, call in {"old": lambda rows: rows.write(T, "p", Upsert("old", {})), **READS, **CHANGES}.items():
        if name != "transact":  # which has no such parameter
            call(rows)
            assert f"timeout={PATIENCE_S:.0f}" in service.urls[-1], name
    open_on(service.connection, read_s=PATIENCE_S - 0.5).write(T, "p", Upsert("k", {}))
    assert f"timeout={PATIENCE_S:.0f}" in service.urls[-1]


def test_nobody_listens(open_on: Open) -> None:
    with table_service() as service:
        connection = service.connection
    rows = open_on(connection)
    for call in (*CHANGES.values(), *READS.values()):
        with pytest.raises(TransientError) as raised:
            call(rows)
        assert (raised.value.reason, raised.value.sent) == (Reason.UNAVAILABLE, False)
    rows.close()


def test_a_store_that_does_not_let_us_in_is_not_the_fault_of_the_event(service: TableService, open_on: Open) -> None:
    key = service.key
    rows = open_on(service.connection.replace(key, "QUFBQUFB" + key[8:]))
    for call in (*CHANGES.values(), *READS.values()):
        with pytest.raises(TransientError) as raised:
            call(rows)
        assert (raised.value.reason, raised.value.sent) == (Reason.UNAUTHORIZED, False)
    rows.close()


def test_a_secret_is_in_no_error_and_in_no_log(caplog: pytest.LogCaptureFixture, open_on: Open) -> None:
    with table_service() as service:
        address = f"http://127.0.0.1:{service.port}/argus"
    signature = "hunter2hunter2hunter2"
    config = {"connection": f"TableEndpoint={address};SharedAccessSignature=sv=2020&sig={signature}"}
    assert signature not in repr(Config.model_validate(config))
    rows = open_on(config["connection"])
    with caplog.at_level(logging.DEBUG):
        for call in (*CHANGES.values(), *READS.values()):
            with pytest.raises(TransientError) as raised:
                call(rows)
            shown = "".join(traceback.format_exception(raised.value))
            assert signature not in shown
            assert address not in shown
    assert signature not in caplog.text
    rows.close()
    with pytest.raises(PermanentError) as refused:
        open_on(f"AccountName=a;AccountKey={signature}abc;TableEndpoint=http:///x").get(T, "p", "k")
    assert signature not in "".join(traceback.format_exception(refused.value))


def test_tables_are_made_by_the_first_write_and_by_no_read(service: TableService, rows: Store) -> None:
    where = Table.KNOWLEDGE
    assert rows.get(where, "p", "k") is None
    assert rows.query(where, "p").rows == ()
    assert rows.partitions(where) == ()
    for gone in (Replace("k", {}, None), Delete("k", None)):
        with pytest.raises(Conflict) as refused:
            rows.write(Table.LEASES, "p", gone)
        assert refused.value.kind is ConflictKind.MISSING
    assert "POST /argus/Tables" in service.seen, "the replace made it"
    service.seen.clear()
    rows.transact(where, "p", [Insert("k", {"n": 1}), Insert("l", {"n": 2})])
    assert service.seen == ["POST /argus/$batch", "POST /argus/Tables", "POST /argus/$batch"]
    assert rows.partitions(where) == ("p",)


def test_hosts_that_make_a_table_at_once(service: TableService, open_on: Open) -> None:
    stores = [open_on(service.connection) for _ in range(4)]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda n: stores[n].write(Table.WINDOWS, "p", Insert(f"{n}", {"n": n})), range(4)))
    assert len(stores[0].query(Table.WINDOWS, "p").rows) == 4
    for store in stores:
        store.close()


def test_a_table_that_cannot_be_made(service: TableService, rows: Store) -> None:
    """In Azure the app's role may be for rows only; then whoever installs ARGUS makes the tables."""
    service.faults += [None, Fault(403, "AuthorizationPermissionMismatch")]
    with pytest.raises(TransientError, match=r"403 \(AuthorizationPermissionMismatch\)") as raised:
        rows.write(Table.WINDOWS, "p", Insert("k", {}))
    assert raised.value.sent is False


@pytest.mark.parametrize("short", [1, 3, 1000])
def test_pages_that_the_service_cuts_short_lose_nothing(service: TableService, rows: Store, short: int) -> None:
    rows.transact(T, "p", [Insert(f"{n:02}", {"n": n}) for n in range(20)])
    rows.write(T, "q", Insert("x", {}))
    service.short = short
    page = rows.query(T, "p", limit=7)
    assert [row.key for row in page.rows] == [f"{n:02}" for n in range(7)]
    assert page.next_key == "07"
    assert [row.key for row in rows.query(T, "p", start="18").rows] == ["18", "19"]
    assert rows.query(T, "p", limit=20).next_key is None
    assert rows.partitions(T) == ("p", "q")


@pytest.mark.parametrize("index", [0, 1, 37, 99])
def test_the_operation_that_was_refused_is_named(rows: Store, index: int) -> None:
    rows.write(T, "p", Insert(f"{index:02}", {}))
    with pytest.raises(Conflict) as refused:
        rows.transact(T, "p", [Insert(f"{n:02}", {}) for n in range(100)])
    assert (refused.value.row_key, refused.value.kind) == (f"{index:02}", ConflictKind.EXISTS)


def test_a_refusal_that_names_no_operation_blames_no_row(service: TableService, rows: Store) -> None:
    rows.write(T, "p", Insert("there", {}))
    service.mute = True
    with pytest.raises(TransientError) as raised:
        rows.transact(T, "p", [Insert("fine", {}), Insert("there", {})])
    assert (raised.value.reason, raised.value.sent) == (Reason.CONFLICT, False)
    with pytest.raises(Conflict) as refused:
        rows.transact(T, "p", [Insert("there", {})])
    assert refused.value.row_key == "there"


def test_what_another_tool_wrote(service: TableService, rows: Store) -> None:
    base = {"PartitionKey": "p"}
    service.rows.insert("incidents", {**base, "RowKey": "small", "n": 5, "at@odata.type": "Edm.DateTime",
                                      "at": "2026-11-20T10:00:00.1234567Z"})  # fmt: skip
    found = rows.get(T, "p", "small")
    assert found is not None
    assert found.values == {"n": 5, "at": datetime(2026, 11, 20, 10, 0, 0, 123456, tzinfo=UTC)}
    assert type(found.values["at"]) is datetime
    odd = {**base, "RowKey": "odd", "id": "c9da6455-213d-42c9-9a79-3e9149a57833"}
    service.rows.tables["incidents"][b"\0p", "odd".encode("utf-16-be")] = {
        **odd, "id@odata.type": "Edm.Guid", "odata.etag": "W/\"datetime'1'\"",
    }  # fmt: skip
    with pytest.raises(PermanentError, match=r"^the row incidents/p/odd is damaged$"):
        rows.query(T, "p")


def test_it_can_be_used_again_after_it_was_closed(rows: TablesStore) -> None:
    rows.write(T, "p", Insert("k", {"n": 1}))
    rows.close()
    assert rows.get(T, "p", "k") is not None


def test_a_prefix_keeps_installations_apart(service: TableService, open_on: Open) -> None:
    stores = [open_on(service.connection, prefix) for prefix in ("blue", "green")]
    stores[0].write(T, "p", Insert("k", {}))
    assert stores[1].get(T, "p", "k") is None
    assert "blueincidents" in service.rows.tables
    for store in stores:
        store.close()
