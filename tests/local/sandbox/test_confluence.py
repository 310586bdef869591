"""The Confluence stand-in: the v2 client and the raw v1 calls work with it, and it refuses what the vendor refuses."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import requests
from atlassian.confluence_v2 import ConfluenceV2
from starlette.testclient import TestClient

from local.sandbox.confluence.site import SPACE_ID
from local.sandbox.confluence.storage_format import render, storage_problem
from tests.local.sandbox.conftest import Clock
from tests.local.sandbox.processes import SECRETS

TOKEN = SECRETS["ARGUS_SANDBOX_CONFLUENCE_TOKEN"]
BEARER = {"Authorization": f"Bearer {TOKEN}"}
PAGES = "/confluence/wiki/api/v2/pages"
CONTENT = "/confluence/wiki/rest/api/content"


def draft(**changes: Any) -> dict[str, Any]:
    body = {"storage": {"representation": "storage", "value": "<p>Roll back.</p>"}}
    return {"spaceId": SPACE_ID, "status": "current", "title": "Checkout fails", "body": body, **changes}


def created(client: TestClient, **changes: Any) -> dict[str, Any]:
    reply = client.post(PAGES, json=draft(**changes), headers=BEARER)
    assert reply.status_code == 200, reply.text
    page: dict[str, Any] = reply.json()
    return page


def update(page: dict[str, Any], **changes: Any) -> dict[str, Any]:
    number = page["version"]["number"] + 1
    return {**draft(), "id": page["id"], "version": {"number": number, "message": "again"}, **changes}


def refusal(call: Callable[[], Any]) -> tuple[int, str]:
    """Status and reason; the client's own error text stays empty, it does not read ``title``."""
    with pytest.raises(requests.HTTPError) as caught:
        call()
    return caught.value.response.status_code, caught.value.response.json()["errors"][0]["title"]


@pytest.fixture
def wiki(live: str) -> Iterator[ConfluenceV2]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        client = ConfluenceV2(f"{live}/confluence/wiki", token=TOKEN, timeout=10, retry_with_header=False)
    yield client
    client.close()


def test_the_v2_client_finds_the_space_creates_and_updates(wiki: ConfluenceV2) -> None:
    space = wiki.get_space_by_key("OPS")
    page = wiki.create_page(space["id"], "Checkout fails", "<p>one</p>", representation="storage")
    assert wiki.get_page_by_title("OPS", "Checkout fails")["results"][0]["id"] == page["id"]
    changed = wiki.update_page(
        page["id"], "Checkout fails", "<p>two</p>", status="current", version=1, representation="storage"
    )
    assert changed["version"]["number"] == 2
    read = wiki.get_page_by_id(page["id"], body_format="storage")
    assert read["body"]["storage"]["value"] == "<p>two</p>"
    stale = {"status": "current", "version": 1, "representation": "storage"}
    status, title = refusal(lambda: wiki.update_page(page["id"], "Checkout fails", "<p>x</p>", **stale))
    assert (status, title[:27]) == (409, "Version must be incremented")


def test_the_v2_client_without_representation_meets_the_vendors_500(wiki: ConfluenceV2) -> None:
    refused = refusal(lambda: wiki.create_page(SPACE_ID, "Checkout fails", "<p>one</p>"))
    assert refused == (500, "Internal Server Error")


def test_labels_and_attachments_go_through_raw_v1_calls(wiki: ConfluenceV2) -> None:
    page_id = wiki.create_page(SPACE_ID, "With files", "<p>x</p>", representation="storage")["id"]
    wiki.post(f"rest/api/content/{page_id}/label", data=[{"prefix": "global", "name": "Runbook"}])
    assert [label["name"] for label in wiki.get_page_labels(page_id)] == ["runbook"]
    data = bytes(range(256)) + b"\r\nend\n"
    for version in (1, 2):
        answer = wiki.put(
            f"rest/api/content/{page_id}/child/attachment",
            headers={"X-Atlassian-Token": "nocheck", "Accept": "application/json"},
            files={"file": ("timeline.bin", data, "application/octet-stream")},
        )
        attached = answer["results"][0]
        assert (attached["title"], attached["version"]["number"]) == ("timeline.bin", version)
        assert attached["extensions"]["fileSize"] == len(data)


def test_content_properties_through_the_v2_client(wiki: ConfluenceV2) -> None:
    page_id = wiki.create_page(SPACE_ID, "With a property", "<p>x</p>", representation="storage")["id"]
    made = wiki.create_page_property(page_id, "argus.source", {"sha256": "a"})
    changed = {"key": "argus.source", "value": {"sha256": "b"}, "version": {"number": 2}}
    assert wiki.update_v2_content_property("page", page_id, made["id"], changed)["value"] == {"sha256": "b"}
    assert [row["value"] for row in wiki.get_page_properties(page_id)] == [{"sha256": "b"}]
    status, title = refusal(lambda: wiki.get_page_property_by_key(page_id, "argus.source"))
    assert (status, "'property-id'" in title) == (400, True)


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer wrong"}])
def test_without_the_token_401(client: TestClient, headers: dict[str, str]) -> None:
    assert client.get(PAGES, headers=headers).status_code == 401
    assert client.post(PAGES, json=draft(), headers=headers).status_code == 401


@pytest.mark.parametrize(
    ("changes", "status", "text"),
    [
        pytest.param({"title": ""}, 400, "title", id="no-title"),
        pytest.param({"title": "x" * 256}, 400, "title", id="title-too-long"),
        pytest.param({"spaceId": "1"}, 404, "space", id="unknown-space"),
        pytest.param({"parentId": "999"}, 404, "parent", id="unknown-parent"),
        pytest.param({"status": "live"}, 400, "status", id="unknown-status"),
        pytest.param({"body": {}}, 400, "body.storage.value", id="no-body"),
        pytest.param({"body": {"storage": {"value": "<p/>"}}}, 500, "Internal Server Error", id="no-representation"),
        pytest.param({"body": {"representation": "wiki", "value": "x"}}, 400, "representation", id="wiki-markup"),
        pytest.param({"body": {"representation": "storage", "value": "<p>a<br></p>"}}, 400, "xhtml", id="html-not-xml"),
    ],
)
def test_refused_pages(client: TestClient, changes: dict[str, Any], status: int, text: str) -> None:
    reply = client.post(PAGES, json=draft(**changes), headers=BEARER)
    assert reply.status_code == status
    assert text in reply.json()["errors"][0]["title"]
    assert client.get(PAGES, headers=BEARER).json()["results"] == []


def test_titles_are_unique_in_the_space_also_for_updates(client: TestClient) -> None:
    created(client)
    assert client.post(PAGES, json=draft(title="CHECKOUT fails"), headers=BEARER).status_code == 400
    other = created(client, title="Other")
    taken = client.put(f"{PAGES}/{other['id']}", json=update(other), headers=BEARER)
    assert "already exists" in taken.json()["errors"][0]["title"]


@pytest.mark.parametrize("missing", ["id", "status", "title", "body", "version"])
def test_an_update_needs_every_field(client: TestClient, missing: str) -> None:
    page = created(client)
    sent = {key: value for key, value in update(page).items() if key != missing}
    reply = client.put(f"{PAGES}/{page['id']}", json=sent, headers=BEARER)
    assert (reply.status_code, missing in reply.json()["errors"][0]["title"]) == (400, True)


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        pytest.param({"version": {"number": 1}}, 409, id="version-not-raised"),
        pytest.param({"version": {"number": 3}}, 409, id="version-skipped"),
        pytest.param({"version": {}}, 400, id="version-without-number"),
        pytest.param({"id": "1"}, 400, id="other-id"),
        pytest.param({"status": "archived?"}, 400, id="unknown-status"),
    ],
)
def test_refused_updates_change_nothing(client: TestClient, changes: dict[str, Any], status: int) -> None:
    page = created(client)
    reply = client.put(f"{PAGES}/{page['id']}", json=update(page, **changes), headers=BEARER)
    assert reply.status_code == status
    assert client.get(f"{PAGES}/{page['id']}", headers=BEARER).json()["version"]["number"] == 1


def test_a_version_tells_who_wrote_it_and_why(client: TestClient, clock: Clock) -> None:
    page = created(client)
    reply = client.put(f"{PAGES}/{page['id']}", json=update(page), auth=("jana", TOKEN))
    version = reply.json()["version"]
    assert (version["number"], version["authorId"], version["message"]) == (2, "jana", "again")


@pytest.mark.parametrize(
    ("page_id", "status"), [pytest.param("65599", 404, id="unknown"), pytest.param("abc", 400, id="not-a-number")]
)
def test_unknown_pages(client: TestClient, page_id: str, status: int) -> None:
    assert client.get(f"{PAGES}/{page_id}", headers=BEARER).status_code == status


def test_a_body_is_only_sent_when_asked_for(client: TestClient) -> None:
    path = f"{PAGES}/{created(client)['id']}"
    assert client.get(path, headers=BEARER).json()["body"] == {}
    assert client.get(path, params={"body-format": "storage"}, headers=BEARER).json()["body"]["storage"]["value"]
    assert client.get(path, params={"body-format": "none"}, headers=BEARER).status_code == 400


def test_lists_are_paged_with_a_cursor(client: TestClient) -> None:
    titles = [f"Page {n}" for n in range(5)]
    for title in titles:
        created(client, title=title)
    first = client.get(PAGES, params={"space-id": SPACE_ID, "limit": 3}, headers=BEARER).json()
    second = client.get("/confluence" + first["_links"]["next"], headers=BEARER).json()
    assert [row["title"] for row in first["results"] + second["results"]] == titles
    assert "next" not in second["_links"]
    assert client.get(PAGES, params={"limit": 0}, headers=BEARER).status_code == 400
    assert client.get(PAGES, params={"space-id": "1"}, headers=BEARER).json()["results"] == []


def test_a_deleted_page_is_gone_and_frees_its_title(client: TestClient) -> None:
    page = created(client)
    assert client.delete(f"{PAGES}/{page['id']}", headers=BEARER).status_code == 204
    assert client.get(f"{PAGES}/{page['id']}", headers=BEARER).status_code == 404
    assert created(client)["id"] != page["id"]


def test_spaces_by_key_and_id(client: TestClient) -> None:
    spaces = "/confluence/wiki/api/v2/spaces"
    assert [row["id"] for row in client.get(spaces, params={"keys": "OPS"}, headers=BEARER).json()["results"]] == [
        SPACE_ID
    ]
    assert client.get(spaces, params={"keys": "NO"}, headers=BEARER).json()["results"] == []
    assert client.get(f"{spaces}/{SPACE_ID}", headers=BEARER).json()["key"] == "OPS"
    assert client.get(f"{spaces}/7", headers=BEARER).status_code == 404


@pytest.mark.parametrize(
    "sent",
    [
        pytest.param([], id="none"),
        pytest.param([{"prefix": "odd", "name": "x"}], id="unknown-prefix"),
        pytest.param([{"name": "two words"}], id="space-in-name"),
        pytest.param([{"name": ""}], id="empty-name"),
        pytest.param("runbook", id="a-text"),
    ],
)
def test_refused_labels(client: TestClient, sent: Any) -> None:
    page = created(client)
    assert client.post(f"{CONTENT}/{page['id']}/label", json=sent, headers=BEARER).status_code == 400


def test_a_label_twice_is_one_and_v2_cannot_write_labels(client: TestClient) -> None:
    page = created(client)
    for _ in range(2):
        client.post(f"{CONTENT}/{page['id']}/label", json=[{"name": "runbook"}], headers=BEARER)
    assert client.get(f"{CONTENT}/{page['id']}/label", headers=BEARER).json()["size"] == 1
    assert client.post(f"{PAGES}/{page['id']}/labels", json=[{"name": "x"}], headers=BEARER).status_code == 405


def test_refused_attachments(client: TestClient) -> None:
    path = f"{CONTENT}/{created(client)['id']}/child/attachment"
    token = {**BEARER, "X-Atlassian-Token": "no-check"}
    files = {"file": ("a.txt", b"text")}
    assert client.put(path, files=files, headers=BEARER).status_code == 403
    assert client.put(path, json={}, headers=token).status_code == 415
    assert client.put(path, files={"data": ("a.txt", b"text")}, headers=token).status_code == 400
    assert client.post(path, files=files, headers=token).status_code == 200
    assert client.post(path, files=files, headers=token).status_code == 400
    assert client.get(path, headers=BEARER).json()["results"][0]["extensions"]["fileSize"] == 4


def test_refused_properties_and_deletion(client: TestClient) -> None:
    path = f"{PAGES}/{created(client)['id']}/properties"
    made = client.post(path, json={"key": "k", "value": 1}, headers=BEARER).json()
    assert client.post(path, json={"key": "k", "value": 2}, headers=BEARER).status_code == 409
    assert client.post(path, json={"key": "big", "value": "x" * 40_000}, headers=BEARER).status_code == 400
    assert client.post(path, json={"value": 1}, headers=BEARER).status_code == 400
    one = f"{path}/{made['id']}"
    stale = {"key": "k", "value": 2, "version": {"number": 1}}
    assert client.put(one, json=stale, headers=BEARER).status_code == 409
    assert client.put(one, json=stale | {"key": "other"}, headers=BEARER).status_code == 400
    assert client.get(path, params={"key": "k"}, headers=BEARER).json()["results"] == [made]
    assert client.get(one, headers=BEARER).json() == made
    assert client.delete(one, headers=BEARER).status_code == 204
    assert client.get(one, headers=BEARER).status_code == 404


@pytest.mark.parametrize(
    ("text", "fine"),
    [
        pytest.param("plain text", True, id="text"),
        pytest.param("<p>caf&eacute;&nbsp;&amp; more</p>", True, id="html-entities"),
        pytest.param('<ac:link><ri:page ri:content-title="x"/></ac:link>', True, id="known-prefixes"),
        pytest.param("<ac:plain-text-body><![CDATA[a < b &nbsp; c]]></ac:plain-text-body>", True, id="cdata"),
        pytest.param("<p>one", False, id="not-closed"),
        pytest.param("<p>a<br></p>", False, id="bare-br"),
        pytest.param("a & b", False, id="bare-ampersand"),
        pytest.param("&unknown;", False, id="unknown-entity"),
        pytest.param("<x:y/>", False, id="unknown-prefix"),
        pytest.param("</storage><storage>", False, id="leaving-the-wrapper"),
        pytest.param('<!DOCTYPE x [<!ENTITY e "v">]><p>&e;</p>', False, id="own-entities"),
        pytest.param("<b>" * 300 + "</b>" * 300, False, id="nested-without-end"),
    ],
)
def test_storage_format(text: str, fine: bool) -> None:
    assert (storage_problem(text) == "") is fine


def test_the_position_of_a_mistake_is_that_of_the_text() -> None:
    assert "[1,2]" in storage_problem("a & b") or "[1,3]" in storage_problem("a & b")


HOSTILE = (
    '<p onclick="x()">a<script>alert(1)</script></p><a href="javascript:alert(2)">b</a><a href="//evil">c</a>'
    '<a href="https://ok.example/?a=1&amp;b=2">d</a><iframe src="x"/><ac:structured-macro ac:name="code">'
    '<ac:parameter ac:name="language">sh</ac:parameter><ac:plain-text-body><![CDATA[<b>raw</b>]]></ac:plain-text-body>'
    '</ac:structured-macro><ac:structured-macro ac:name="info"><ac:parameter ac:name="title">T</ac:parameter>'
    "<ac:rich-text-body><p>note</p></ac:rich-text-body></ac:structured-macro>"
    '<ac:structured-macro ac:name="status"><ac:parameter ac:name="title">OK</ac:parameter></ac:structured-macro>'
    "<ac:task-list><ac:task><ac:task-status>complete</ac:task-status><ac:task-body>t</ac:task-body></ac:task></ac:task-list>"
    '<ac:structured-macro ac:name="toc"/><ac:layout><hr/>tail</ac:layout>'
)


def test_rendering_shows_content_and_drops_what_could_run() -> None:
    shown = render(HOSTILE)
    for gone in ("onclick", "script", "alert", "iframe", "//evil", "language"):
        assert gone not in shown
    for kept in (
        "<p>a</p>",
        "b",
        '<a href="https://ok.example/?a=1&amp;b=2"',
        "&lt;b&gt;raw&lt;/b&gt;",
        "☑ t",
        "<hr>tail",
    ):
        assert kept in shown
    assert '<div class="panel info"><strong>T</strong><p>note</p></div>' in shown


def test_a_page_can_be_read_by_a_person_without_signing_in(client: TestClient) -> None:
    body = {"storage": {"representation": "storage", "value": f"<h2>Steps</h2>{HOSTILE}"}}
    page = created(client, title="<b>Title</b>", body=body)
    client.post(f"{CONTENT}/{page['id']}/label", json=[{"name": "runbook"}], headers=BEARER)
    address = page["_links"]["base"] + page["_links"]["webui"]
    reply = client.get(address)
    assert reply.status_code == 200
    assert "<h2>Steps</h2>" in reply.text
    assert "runbook" in reply.text
    assert "<b>Title</b>" not in reply.text
    assert "default-src 'none'" in reply.headers["content-security-policy"]
    assert client.get(f"/confluence/wiki/spaces/OPS/pages/{page['id']}").status_code == 200
    assert client.get("/confluence/wiki/spaces/OPS/pages/1").status_code == 404
    assert f"/confluence/wiki/spaces/OPS/pages/{page['id']}" in client.get("/").text
