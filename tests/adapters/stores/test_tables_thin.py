"""What the thin client for Table Storage makes of answers, transactions, connections and proxies.

What it has in common with azure-data-tables is in `test_tables` and in the contract of the stores.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from shared.adapters.stores.tables import changeset
from shared.adapters.stores.tables.rest import RestService
from shared.adapters.stores.tables.settings import Config
from shared.adapters.stores.tables.store import TablesStore
from shared.model.errors import PermanentError, Reason, TransientError
from shared.ports.store import Conflict, ConflictKind, Delete, Insert, Replace, Table, Upsert
from tests.adapters.stores.places import PATIENCE_S
from tests.adapters.stores.table_service import Fault, TableService, table_service

T = Table.INCIDENTS


@pytest.fixture
def service() -> Iterator[TableService]:
    with table_service() as running:
        running.rows.create("incidents")
        yield running


@pytest.fixture
def rows(service: TableService) -> Iterator[TablesStore]:
    store = patient(service.connection)
    yield store
    store.close()


def patient(connection: str) -> TablesStore:
    given = {"connection": connection, "connect_s": PATIENCE_S, "read_s": PATIENCE_S}
    return TablesStore(RestService(Config.model_validate(given)))


def test_a_shared_access_signature_goes_with_every_call_and_into_no_part(service: TableService) -> None:
    address = f"http://127.0.0.1:{service.port}/argus"
    rows = patient(f"TableEndpoint={address};SharedAccessSignature=sv=2020&sig=hunter2%3D")
    for call in (
        lambda: rows.get(T, "p", "k"),
        lambda: rows.query(T, "p"),
        lambda: rows.write(T, "p", Insert("k", {})),
        lambda: rows.transact(T, "p", [Insert("k", {})]),
    ):
        with pytest.raises(TransientError):  # the stand-in knows keys only
            call()
        assert service.urls[-1].endswith("sv=2020&sig=hunter2%3D")
    assert f"?timeout={PATIENCE_S:.0f}&sv=" in service.urls[0]
    assert service.urls[-1] == "/argus/$batch?sv=2020&sig=hunter2%3D"
    rows.close()


def test_a_time_that_does_not_exist_in_utc_is_the_caller_s_fault(rows: TablesStore) -> None:
    late = datetime.max.replace(tzinfo=timezone(timedelta(hours=-1)))
    with pytest.raises(PermanentError, match="after the year 9999"):
        rows.write(T, "p", Insert("k", {"at": late}))


@pytest.mark.parametrize(
    "entity",
    [
        b'{"value": 1}',
        b'["a"]',
        b"null",
        b'{"PartitionKey": 1, "RowKey": "k", "odata.etag": "e"}',
        b'{"PartitionKey": "p", "RowKey": "k"}',
        b'{"PartitionKey": "p", "RowKey": "k", "odata.etag": "e", "n@odata.type": "Edm.Int64", "n": "x"}',
        b'{"PartitionKey": "p", "RowKey": "k", "odata.etag": "e", "n@odata.type": "Edm.Binary", "n": "x"}',
        b'{"PartitionKey": "p", "RowKey": "k", "odata.etag": "e", "n@odata.type": "Edm.DateTime", "n": "2026-01-01"}',
        b'{"PartitionKey": "p", "RowKey": "k", "odata.etag": "e"',
    ],
)
def test_an_entity_that_is_none_is_never_taken_for_an_answer(
    service: TableService, rows: TablesStore, entity: bytes
) -> None:
    for body, call in (
        (entity, lambda: rows.get(T, "p", "k")),
        (b'{"value": [%s]}' % entity, lambda: rows.query(T, "p")),
    ):
        service.faults.append(Fault(200, body=body))
        with pytest.raises(TransientError, match="unreadable") as raised:
            call()
        assert raised.value.sent is False
        assert raised.value.__context__ is None


def batch_answer(*statuses: str, cut: int = 0, boundary: str = "b") -> bytes:
    inner = "".join(
        f"--c\r\nContent-Type: application/http\r\nContent-Transfer-Encoding: binary\r\n\r\n{status}\r\n"
        for status in statuses
    )
    text = f"--{boundary}\r\nContent-Type: multipart/mixed; boundary=c\r\n\r\n{inner}--c--\r\n--{boundary}--\r\n"
    return text.encode()[: len(text) - cut]


GOOD = "HTTP/1.1 204 No Content\r\nDataServiceVersion: 3.0;\r\nETag: W/\"datetime'1'\"\r\n\r\n"


def test_the_answers_of_a_transaction_are_found() -> None:
    deleted = "HTTP/1.1 204 No Content\r\nCache-Control: no-cache\r\n\r\n"
    found = changeset.read("multipart/mixed; boundary=b", batch_answer(GOOD, deleted, GOOD))
    assert [(one.status, one.etag) for one in found] == [
        (204, "W/\"datetime'1'\""), (204, ""), (204, "W/\"datetime'1'\"")
    ]  # fmt: skip
    assert changeset.read('Multipart/Mixed; charset="x"; boundary="b"', b"\r\n" + batch_answer(GOOD))[0].status == 204


def test_a_refusal_may_stand_without_a_changeset() -> None:
    body = b"--b\r\nContent-Type: application/http\r\n\r\nHTTP/1.1 409 Conflict\r\nA: b\r\n\r\n{}\r\n--b--\r\n"
    (found,) = changeset.read("multipart/mixed; boundary=b", body)
    assert (found.status, found.body) == (409, b"{}")


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        pytest.param(batch_answer(GOOD, GOOD, cut=12), "multipart/mixed; boundary=b", id="cut-off"),
        pytest.param(batch_answer(GOOD, GOOD, cut=4), "multipart/mixed; boundary=b", id="cut-off-at-the-end"),
        pytest.param(batch_answer(GOOD), "multipart/mixed; boundary=b", id="too-few"),
        pytest.param(batch_answer(GOOD, GOOD, GOOD), "multipart/mixed; boundary=b", id="too-many"),
        pytest.param(batch_answer(), "multipart/mixed; boundary=b", id="none"),
        pytest.param(batch_answer(GOOD, GOOD), "multipart/mixed; boundary=x", id="another-boundary"),
        pytest.param(batch_answer(GOOD, GOOD), "application/json", id="no-multipart"),
        pytest.param(batch_answer(GOOD, GOOD), "", id="no-type"),
        pytest.param(
            batch_answer(GOOD, "HTTP/1.1 204 No Content\r\n\r\n"), "multipart/mixed; boundary=b", id="no-etag"
        ),
        pytest.param(batch_answer(GOOD, "nonsense\r\n\r\n"), "multipart/mixed; boundary=b", id="no-status"),
        pytest.param(b"", "multipart/mixed; boundary=b", id="empty"),
    ],
)
def test_a_transaction_s_answer_that_is_not_whole_leaves_it_open(
    service: TableService, rows: TablesStore, body: bytes, kind: str
) -> None:
    service.faults.append(Fault(202, body=body, headers=(("Content-Type", kind),)))
    with pytest.raises(TransientError, match="unreadable") as raised:
        rows.transact(T, "p", [Insert("a", {}), Upsert("b", {})])
    assert raised.value.sent is None


@pytest.mark.parametrize("status", [200, 201, 202, 206])
@pytest.mark.parametrize(
    "operation", [Upsert("k", {}), Replace("k", {}, None), Delete("k", None)], ids=["upsert", "replace", "delete"]
)
def test_a_success_of_another_kind_is_no_success(
    service: TableService, rows: TablesStore, operation: Any, status: int
) -> None:
    service.faults.append(Fault(status, body=b""))
    with pytest.raises(TransientError, match="unreadable") as raised:
        rows.write(T, "p", operation)
    assert raised.value.sent is None


def test_an_etag_cannot_bring_headers_of_its_own(service: TableService, rows: TablesStore) -> None:
    rows.write(T, "p", Upsert("k", {}))
    etag = "W/\"datetime'1'\"\r\nx-evil: 1"
    for call in (
        lambda: rows.write(T, "p", Replace("k", {}, etag)),
        lambda: rows.write(T, "p", Delete("k", etag)),
        lambda: rows.transact(T, "p", [Replace("k", {}, etag), Insert("l", {})]),
    ):
        with pytest.raises(Conflict) as refused:
            call()
        assert (refused.value.row_key, refused.value.kind) == ("k", ConflictKind.CHANGED)


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        (Fault(403, body=b'<m:error xmlns:m="x"><m:code>AuthenticationFailed</m:code></m:error>'), "Failed"),
        (Fault(503, body=b"<?xml?><error><code>ServerBusy</code></error>"), r"\(ServerBusy\)"),
        (Fault(503, body=b"", headers=(("x-ms-error-code", "ServerBusy"),)), r"\(ServerBusy\)"),
        (Fault(500, body=b'{"odata.error": {"code": "</script>"}}'), r"answered 500$"),
    ],
)  # fmt: skip
def test_the_code_of_an_error_is_found_wherever_it_stands(
    service: TableService, rows: TablesStore, fault: Fault, told: str
) -> None:
    service.faults.append(fault)
    with pytest.raises(TransientError, match=told) as raised:
        rows.write(T, "p", Insert("k", {}))
    if "ServerBusy" in told:
        assert (raised.value.reason, raised.value.sent) == (Reason.RATE_LIMITED, False)


def test_connections_are_kept_and_shared_by_threads(service: TableService, rows: TablesStore) -> None:
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda n: rows.write(T, f"p{n}", Insert("k", {"n": n})), range(40)))
    assert {rows.get(T, f"p{n}", "k").values["n"] for n in range(40)} == set(range(40))  # type: ignore[union-attr]
    assert service.connections <= 4


def test_a_connection_that_the_service_closed_is_not_used_again(service: TableService, rows: TablesStore) -> None:
    for turn in range(3):
        rows.write(T, "p", Upsert("k", {"n": turn}))
        service.faults.append(Fault(204, headers=(("ETag", "W/\"datetime'1'\""), ("Connection", "close"))))
        rows.write(T, "p", Upsert("k", {"n": turn}))
    assert service.connections >= 3


def test_a_proxy_of_the_environment_is_used_and_its_word_is_not_told(
    service: TableService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", f"http://me:hunter2@127.0.0.1:{service.port}")
    monkeypatch.setenv("NO_PROXY", "")
    rows = patient(service.connection.replace(f":{service.port}/", ":9/"))
    rows.write(T, "p", Insert("j", {}))
    assert service.urls[-1].startswith("http://127.0.0.1:9/argus/incidents?")
    rows.close()
    monkeypatch.setenv("HTTP_PROXY", "http://me:hunter2@127.0.0.1:9")
    away = patient(service.connection)
    with pytest.raises(TransientError) as raised:
        away.write(T, "p", Insert("k", {}))
    assert (raised.value.reason, raised.value.sent) == (Reason.UNAVAILABLE, False)
    assert "hunter2" not in str(raised.value)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    away.close()
    away.write(T, "p", Insert("k", {}))
    away.close()
