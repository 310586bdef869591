"""The ServiceNow stand-in: pysnow works with it, and it refuses what an instance refuses."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pysnow
import pytest
import requests
from starlette.testclient import TestClient

from local.sandbox.servicenow.query import parse_query
from local.sandbox.servicenow.rules import CLOSE_CODES, INCIDENT_FIELDS, PRIORITY
from tests.local.sandbox.conftest import Clock
from tests.local.sandbox.processes import SECRETS

TOKEN = SECRETS["ARGUS_SANDBOX_SERVICENOW_TOKEN"]
BEARER = {"Authorization": f"Bearer {TOKEN}"}
TABLE = "/servicenow/api/now/table/incident"
RESOLUTION = {"close_code": "Solution provided", "close_notes": "rolled back to 2.4.0"}


def opened(client: TestClient, **fields: Any) -> dict[str, Any]:
    reply = client.post(TABLE, json={"short_description": "checkout fails", **fields}, headers=BEARER)
    assert reply.status_code == 201, reply.text
    record: dict[str, Any] = reply.json()["result"]
    return record


def patched(client: TestClient, sys_id: str, **fields: Any) -> Any:
    return client.patch(f"{TABLE}/{sys_id}", json=fields, headers=BEARER)


def found(client: TestClient, query: str, table: str = "incident", **parameters: Any) -> list[dict[str, Any]]:
    parameters["sysparm_query"] = query
    reply = client.get(f"/servicenow/api/now/table/{table}", params=parameters, headers=BEARER)
    assert reply.status_code == 200
    rows: list[dict[str, Any]] = reply.json()["result"]
    return rows


@pytest.fixture
def snow(live: str) -> Iterator[pysnow.Client]:
    session = requests.Session()
    session.headers["Authorization"] = f"Bearer {TOKEN}"
    host = live.removeprefix("http://") + "/servicenow"
    with session:
        yield pysnow.Client(host=host, use_ssl=False, session=session)


def test_pysnow_inserts_queries_patches_and_updates(snow: pysnow.Client) -> None:
    def table() -> Any:
        return snow.resource(api_path="/table/incident")

    made = (
        table().create({"short_description": "disk full", "impact": 1, "urgency": 1, "correlation_id": "INC-1"}).one()
    )
    assert (made["number"], made["priority"], made["state"]) == ("INC0010001", "1", "1")
    assert table().get(query={"correlation_id": "INC-1"}).one()["sys_id"] == made["sys_id"]
    changed = table().request(
        "PATCH", path_append=f"/{made['sys_id']}", data='{"state": "2", "work_notes": "[argus:e1]"}'
    )
    assert changed.one()["state"] == "2"
    assert table().update({"sys_id": made["sys_id"]}, {"urgency": "3"}).one()["priority"] == "3"
    notes = snow.resource(api_path="/table/sys_journal_field")
    query = f"element_id={made['sys_id']}^element=work_notes^valueLIKE[argus:e1]"
    assert notes.get(query=query).one()["value"] == "[argus:e1]"
    assert next(iter(table().get(query={"correlation_id": "INC-1"}, stream=True).all()))["number"] == "INC0010001"


def test_pysnow_raises_on_a_refusal_when_the_result_is_read(snow: pysnow.Client) -> None:
    reply = snow.resource(api_path="/table/incident").create({"short_description": ""})
    with pytest.raises(requests.HTTPError) as caught:
        reply.one()
    assert caught.value.response.status_code == 403


@pytest.mark.parametrize(
    "headers",
    [
        pytest.param({}, id="nobody"),
        pytest.param({"Authorization": "Bearer wrong"}, id="wrong-token"),
        pytest.param({"Authorization": "Basic !!!"}, id="basic-that-is-no-base64"),
        pytest.param({"Authorization": "Digest x"}, id="other-scheme"),
    ],
)
def test_without_the_token_401(client: TestClient, headers: dict[str, str]) -> None:
    reply = client.post(TABLE, json={"short_description": "x"}, headers=headers)
    assert reply.status_code == 401
    assert reply.json()["status"] == "failure"
    assert "Basic" in reply.headers["WWW-Authenticate"]


def test_basic_authentication_names_the_user(client: TestClient) -> None:
    reply = client.post(TABLE, json={"short_description": "x"}, auth=("jana", TOKEN))
    assert reply.json()["result"]["sys_created_by"] == "jana"


@pytest.mark.parametrize(("levels", "priority"), PRIORITY.items())
def test_priority_is_computed_and_a_written_one_is_overwritten(
    client: TestClient, levels: tuple[str, str], priority: str
) -> None:
    record = opened(client, impact=int(levels[0]), urgency=levels[1], priority="1")
    assert record["priority"] == priority


@pytest.mark.parametrize(
    ("fields", "detail"),
    [
        pytest.param({"short_description": " "}, "Short description is mandatory", id="no-short-description"),
        pytest.param({"impact": "4"}, "impact", id="impact-out-of-range"),
        pytest.param({"urgency": 0}, "urgency", id="urgency-out-of-range"),
        pytest.param({"state": "5"}, "state", id="state-does-not-exist"),
        pytest.param({"state": "6"}, "mandatory: Resolution code, Resolution notes", id="resolve-without-a-reason"),
        pytest.param({"state": "6", "close_code": "Solution provided"}, "Resolution notes", id="resolve-without-notes"),
        pytest.param({"state": "6", "close_code": "Magic", "close_notes": "x"}, "close_code", id="unknown-close-code"),
        pytest.param({"state": "3"}, "On hold reason", id="hold-without-a-reason"),
        pytest.param({"state": "3", "hold_reason": "2"}, "On hold reason", id="hold-for-an-unknown-reason"),
    ],
)
def test_refused_with_403_and_nothing_changes(client: TestClient, fields: dict[str, Any], detail: str) -> None:
    record = opened(client)
    reply = patched(client, record["sys_id"], work_notes="lost with the rest", **fields)
    assert reply.status_code == 403
    assert reply.json() == {
        "error": {"message": "Operation Failed", "detail": reply.json()["error"]["detail"]},
        "status": "failure",
    }
    assert detail in reply.json()["error"]["detail"]
    assert found(client, "", "sys_journal_field") == []
    assert found(client, f"sys_id={record['sys_id']}")[0] == record


@pytest.mark.parametrize("code", CLOSE_CODES)
def test_resolving_with_code_and_notes(client: TestClient, clock: Clock, code: str) -> None:
    record = opened(client)
    clock.forward(90)
    resolved = patched(client, record["sys_id"], state=6, close_code=code, close_notes="done").json()["result"]
    assert (resolved["state"], resolved["resolved_at"], resolved["active"]) == ("6", "2026-11-21 03:01:30", "true")


def test_a_closed_incident_is_read_only_until_it_is_reopened(client: TestClient) -> None:
    sys_id = opened(client)["sys_id"]
    assert patched(client, sys_id, state=6, **RESOLUTION).status_code == 200
    assert patched(client, sys_id, state=7).json()["result"]["active"] == "false"
    reply = patched(client, sys_id, work_notes="too late")
    assert (reply.status_code, reply.json()["error"]["detail"][:13]) == (403, "ACL Exception")
    again = patched(client, sys_id, state=2, work_notes="it is back").json()["result"]
    assert (again["state"], again["reopen_count"], again["resolved_at"], again["closed_at"]) == ("2", "1", "", "")


def test_a_canceled_incident_stays_so(client: TestClient) -> None:
    sys_id = opened(client)["sys_id"]
    assert patched(client, sys_id, state=8).status_code == 200
    assert patched(client, sys_id, state=2).status_code == 403


def test_a_resolved_incident_cannot_be_put_on_hold(client: TestClient) -> None:
    sys_id = opened(client, state=6, **RESOLUTION)["sys_id"]
    assert patched(client, sys_id, state=3, hold_reason="4").status_code == 403


def test_hold_with_a_reason_and_back(client: TestClient) -> None:
    sys_id = opened(client)["sys_id"]
    assert patched(client, sys_id, state="3", hold_reason="4").json()["result"]["hold_reason"] == "4"
    assert patched(client, sys_id, state="2").json()["result"]["hold_reason"] == ""


def test_journal_fields_are_appended_and_never_returned(client: TestClient, clock: Clock) -> None:
    record = opened(client, work_notes="first")
    clock.forward(1)
    record = patched(client, record["sys_id"], work_notes="second", comments="for the caller").json()["result"]
    assert (record["work_notes"], record["comments"]) == ("", "")
    query = f"element_id={record['sys_id']}^ORDERBYDESCsys_created_on"
    rows = found(client, query, "sys_journal_field")
    assert [(row["element"], row["value"]) for row in rows][-1] == ("work_notes", "first")
    assert len(rows) == 3
    assert "first" in client.get("/").text


def test_a_repeated_note_is_there_twice(client: TestClient) -> None:
    sys_id = opened(client)["sys_id"]
    for _ in range(2):
        patched(client, sys_id, work_notes="same")
    assert len(found(client, f"element_id={sys_id}", "sys_journal_field")) == 2


def test_a_long_short_description_is_cut_and_unknown_fields_are_dropped(client: TestClient) -> None:
    record = opened(client, short_description="x" * 200, argus_severity="1", assignment_group="Network")
    assert len(record["short_description"]) == 160
    assert "argus_severity" not in record
    reason = client.get("/api/received/servicenow").json()["received"][0]["reason"]
    assert "argus_severity dropped: no such field" in reason
    assert "assignment_group dropped: not a sys_id" in reason


def test_references_come_back_as_links_unless_excluded(client: TestClient) -> None:
    group = "a" * 32
    record = opened(client, assignment_group=group)
    assert record["assignment_group"]["value"] == group
    plain = found(client, f"sys_id={record['sys_id']}", sysparm_exclude_reference_link="true")
    assert plain[0]["assignment_group"] == group


def test_columns_display_values_offset_and_count(client: TestClient) -> None:
    for impact in (1, 2, 3):
        opened(client, impact=impact, urgency=1)
    parameters = {"sysparm_query": "ORDERBYDESCnumber", "sysparm_fields": "number,priority", "sysparm_limit": 1}
    parameters |= {"sysparm_offset": 1, "sysparm_display_value": "true"}
    reply = client.get(TABLE, params=parameters, headers=BEARER)
    assert reply.json()["result"] == [{"number": "INC0010002", "priority": "2 - High"}]
    assert reply.headers["X-Total-Count"] == "3"
    both = found(client, "number=INC0010001", sysparm_display_value="all", sysparm_fields="state")
    assert both == [{"state": {"display_value": "New", "value": "1"}}]


def test_one_record_by_sys_id_and_404(client: TestClient) -> None:
    record = opened(client)
    assert client.get(f"{TABLE}/{record['sys_id']}", headers=BEARER).json()["result"] == record
    missing = client.get(f"{TABLE}/{'0' * 32}", headers=BEARER)
    assert (missing.status_code, missing.json()["error"]["message"]) == (404, "No Record found")
    assert patched(client, "0" * 32, state=2).status_code == 404


def test_a_location_header_leads_to_the_new_record(client: TestClient) -> None:
    reply = client.post(TABLE, json={"short_description": "x"}, headers=BEARER)
    assert client.get(reply.headers["Location"], headers=BEARER).json()["result"]["short_description"] == "x"


@pytest.mark.parametrize(
    ("body", "content_type", "status"),
    [
        pytest.param(b"{", "application/json", 400, id="not-json"),
        pytest.param(b"[]", "application/json", 400, id="not-an-object"),
        pytest.param(b"a=1", "application/x-www-form-urlencoded", 415, id="a-form"),
    ],
)
def test_unreadable_bodies(client: TestClient, body: bytes, content_type: str, status: int) -> None:
    reply = client.post(TABLE, content=body, headers={**BEARER, "Content-Type": content_type})
    assert (reply.status_code, reply.json()["status"]) == (status, "failure")


def test_the_journal_and_deletes_are_forbidden_and_unknown_tables_refused(client: TestClient) -> None:
    journal = client.post("/servicenow/api/now/table/sys_journal_field", json={"value": "forged"}, headers=BEARER)
    assert journal.status_code == 403
    assert client.delete(f"{TABLE}/{opened(client)['sys_id']}", headers=BEARER).status_code == 403
    assert client.get("/servicenow/api/now/table/sys_user", headers=BEARER).status_code == 400


def test_an_article_is_always_a_draft(client: TestClient) -> None:
    path = "/servicenow/api/now/table/kb_knowledge"
    sent = {"short_description": "Roll back the shop", "text": "<p>x</p>", "workflow_state": "published"}
    made = client.post(path, json=sent, headers=BEARER).json()["result"]
    assert (made["number"], made["workflow_state"]) == ("KB0010001", "draft")
    assert (
        client.patch(f"{path}/{made['sys_id']}", json={"text": "new"}, headers=BEARER).json()["result"]["text"] == "new"
    )
    assert client.post(path, json={"text": "no title"}, headers=BEARER).status_code == 403


ROWS = [
    {"number": "A", "state": "1", "short_description": "Disk full", "priority": "1"},
    {"number": "B", "state": "6", "short_description": "disk slow", "priority": "3"},
    {"number": "C", "state": "7", "short_description": "network", "priority": ""},
]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        pytest.param("", "ABC", id="no-query-is-everything"),
        pytest.param("state=1", "A", id="equal"),
        pytest.param("state!=7^short_descriptionLIKEDISK", "AB", id="and-like-ignores-case"),
        pytest.param("state=1^ORstate=7", "AC", id="or"),
        pytest.param("stateIN6,7^priorityISNOTEMPTY", "B", id="in-and-not-empty"),
        pytest.param("stateNOT IN6,7", "A", id="not-in"),
        pytest.param("short_descriptionNOT LIKEdisk", "C", id="not-like"),
        pytest.param("short_descriptionSTARTSWITHdisk^numberENDSWITHb", "B", id="starts-and-ends"),
        pytest.param("priorityISEMPTY^NQnumber=A", "AC", id="new-query"),
        pytest.param("state>=6^state<7^EQ", "B", id="compare"),
        pytest.param("state>6^NQstate<=1", "AC", id="compare-strictly"),
        pytest.param("ORDERBYDESCnumber", "CBA", id="descending"),
        pytest.param("ORDERBYpriority^ORDERBYnumber", "CAB", id="two-orders"),
        pytest.param("correlation_idd=X^state=1", "A", id="a-mistyped-field-is-ignored"),
        pytest.param("ORDERBYnothing^???", "ABC", id="rubbish-is-ignored"),
        pytest.param("number=X^ORstate=1", "A", id="an-injected-or-widens-the-result"),
    ],
)
def test_encoded_queries(query: str, expected: str) -> None:
    rows = parse_query(query, INCIDENT_FIELDS).select(ROWS)
    assert "".join(row["number"] for row in rows) == expected


def test_ignored_terms_are_shown_as_a_trap(client: TestClient) -> None:
    opened(client)
    assert len(found(client, "corelation_id=INC-1")) == 1
    assert "corelation_id=INC-1" in client.get("/api/received/servicenow").json()["received"][0]["reason"]
